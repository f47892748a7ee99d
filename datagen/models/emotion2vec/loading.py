"""An emotion2vec folder -> the library's model with exactly its weights, and its labels. Nothing in it is evaluated."""

from __future__ import annotations

import ast
import contextlib
import io
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.errors import EnvironmentFault

#: What only pre-training uses: in the published configuration, not among the published weights.
_PRETRAINING = ("modality_encoders.AUDIO.decoder.", "_ema")
#: FunASR silences labels that begin so.
_UNUSED = "unuse"
_MAX_LAYERS = 64


@dataclass(frozen=True)
class Label:
    """``raw`` as in ``tokens.txt`` ("生气/angry"), ``name`` the English half in lower case; ``<unk>`` is "unknown"."""

    raw: str
    name: str


@dataclass(frozen=True)
class Loaded:
    """``layers``: (channels, kernel, stride) of the convolutions over the waveform. ``outputs``: where in the head the
    ``labels`` stand."""

    model: Any
    layers: list[tuple[int, int, int]]
    labels: tuple[Label, ...]
    outputs: list[int]


def load(folder: Path, threads: int) -> Loaded:
    """The model of a folder with ``config.yaml``, ``model.pt`` and ``tokens.txt``, on the CPU.

    Raises:
        EnvironmentFault: a file is damaged, or they do not describe one and the same emotion2vec.
    """
    config = config_of(folder / "config.yaml")
    layers = conv_layers(config["model_conf"]["modalities"]["audio"]["feature_encoder_spec"])
    tokens = [line.rstrip() for line in (folder / "tokens.txt").read_text("utf-8").splitlines()]
    model = _architecture(config, layers, tokens, threads, folder)
    _fill(model, _weights(folder / "model.pt", config.get("scope_map") or ()), folder, tokens)
    outputs = [at for at, token in enumerate(tokens) if not token.startswith(_UNUSED)]
    labels = tuple(label(tokens[at]) for at in outputs)
    if len({item.name for item in labels}) < max(len(labels), 2):
        raise EnvironmentFault(
            f"{folder / 'tokens.txt'}: labels are told apart by name, and these are not; rename them"
        )
    return Loaded(model, layers, labels, outputs)


def label(raw: str) -> Label:
    """A token of the model's list."""
    name = raw.rpartition("/")[2].strip().lower()
    return Label(raw, "unknown" if name == "<unk>" else name)


def conv_layers(spec: str) -> list[tuple[int, int, int]]:
    """``feature_encoder_spec``, e.g. ``[(512, 10, 5)] + [(512, 3, 2)] * 4`` -> (channels, kernel, stride) per layer.

    The library hands this text to ``eval``; here it is lists and tuples of numbers, ``+`` and ``*``, or refused.

    Raises:
        EnvironmentFault: it is anything else.
    """

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return number
            case ast.Tuple(elts=parts):
                return tuple(value(part) for part in parts)
            case ast.List(elts=parts):
                return [value(part) for part in parts]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                items, times = value(left), value(right)
                if isinstance(items, list) and isinstance(times, int) and len(items) * times <= _MAX_LAYERS:
                    return items * times
        raise ValueError

    try:
        layers = value(ast.parse(spec, mode="eval").body)
        good = isinstance(layers, list) and 0 < len(layers) <= _MAX_LAYERS
        good = good and all(len(layer) == 3 and min(layer) > 0 for layer in layers)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        good = False
    if not good:
        raise EnvironmentFault(
            f"feature_encoder_spec {str(spec)[:80]!r}: not a list of (channels, kernel, stride), which is all that "
            "an emotion2vec has there; pull the model again or take its own config.yaml"
        )
    return layers  # type: ignore[no-any-return]


def receptive_field(layers: Sequence[tuple[int, int, int]]) -> int:
    """Samples that one frame is made of."""
    samples = 1
    for _, kernel, stride in reversed(layers):
        samples = (samples - 1) * stride + kernel
    return samples


def config_of(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf  # it reads "1e-05" as a number, plain YAML as a text

    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        config["model_conf"]["modalities"]["audio"]["feature_encoder_spec"]
    except Exception as error:
        raise EnvironmentFault(
            f"{path}: not the configuration of an emotion2vec ({type(error).__name__}: {error}); pull the model again"
        ) from error
    if config.get("model") != "Emotion2vec":
        raise EnvironmentFault(f"{path}: model is {config.get('model')!r}, not 'Emotion2vec'; name another model")
    return config  # type: ignore[no-any-return]


def _architecture(
    config: dict[str, Any], layers: list[tuple[int, int, int]], tokens: list[str], threads: int, folder: Path
) -> Any:
    """The library's model with random weights and without the decoder of pre-training."""
    with contextlib.redirect_stdout(io.StringIO()):  # advice on FFmpeg, version numbers
        from funasr import AutoModel

    config["model_conf"]["modalities"]["audio"]["feature_encoder_spec"] = repr(layers)
    try:
        # With model_conf given, FunASR looks up no hub and reads no file; without init_param it unpickles nothing.
        model, _ = AutoModel.build_model(
            model="Emotion2vec", model_conf=config["model_conf"], tokenizer="CharTokenizer",
            tokenizer_conf={"token_list": tokens}, device="cpu", ncpu=threads,
        )  # fmt: skip
    except Exception as error:
        raise EnvironmentFault(
            f"{folder}: FunASR cannot build the model of its config.yaml and tokens.txt "
            f"({type(error).__name__}: {error}); pull the model again"
        ) from error
    model.modality_encoders["AUDIO"].remove_pretraining_modules()
    return model


def _weights(path: Path, scope_map: Sequence[str]) -> dict[str, Any]:
    """Tensors of a model file under the library's names; nothing but tensors and plain values is unpickled."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise EnvironmentFault(
            f"{path}: damaged, or holds Python objects beside its tensors, which are not unpickled; pull the model "
            f"again, or save its tensors anew ({str(error).splitlines()[0][:200]})"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise EnvironmentFault(f"{path}: damaged ({error}); pull the model again") from error
    for key in ("state_dict", "model_state_dict", "model"):
        state = state.get(key, state) if isinstance(state, dict) else {}
    prefixes = [*zip(scope_map[::2], scope_map[1::2], strict=False), ("module.", "none")]
    named = {_renamed(name, prefixes): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith(_PRETRAINING)}


def _renamed(name: str, prefixes: Sequence[tuple[str, str]]) -> str:
    """``scope_map`` says which prefix in the file stands for which in the library; "none" = no prefix."""
    for source, target in prefixes:
        if source.lower() != "none" and name.startswith(source):
            name = ("" if target.lower() == "none" else target) + name.removeprefix(source)
    return name


def _fill(model: Any, weights: dict[str, Any], folder: Path, tokens: Sequence[str]) -> None:
    """Every weight of the model from the file, or an error that names what is amiss."""
    own = model.state_dict()
    shapes = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in weights.items()}
    known = (shapes.get("proj.weight") or (len(tokens),))[0]
    wrong_head = known != len(tokens)
    faults = [f"the head knows {known} labels, tokens.txt has {len(tokens)}"] if wrong_head else []
    if missing := sorted(own.keys() - weights.keys()):
        faults.append(f"{len(missing)} weights are missing ({_some(missing)})")
    if left := sorted(weights.keys() - own.keys()):
        faults.append(f"{len(left)} are left over ({_some(left)})")
    odd = [name for name in sorted(own.keys() & weights.keys()) if shapes[name] != tuple(own[name].shape)]
    if odd := [name for name in odd if not (wrong_head and name.startswith("proj."))]:
        faults.append(f"{len(odd)} have another shape ({_some(odd)})")
    if endless := [name for name in sorted(own.keys() & weights.keys()) if not weights[name].isfinite().all()]:
        faults.append(f"{len(endless)} are not finite ({_some(endless)})")
    if faults:
        raise EnvironmentFault(
            f"{folder}: model.pt is not the model of its config.yaml and tokens.txt: {'; '.join(faults)}. Pull the "
            "model again; all three files must come from the same release"
        )
    model.load_state_dict(weights, strict=True)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
