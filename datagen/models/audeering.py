"""wav2vec 2.0 with small heads on the mean of its last states, in the form in which audEERING publishes them.

Two models share it: arousal, dominance and valence (Wagner et al. 2023, "Dawn of the transformer era in speech emotion
recognition", arXiv 2203.07378), and age with sex (Burkhardt et al. 2023, arXiv 2306.16962). Their cards define classes
of their own around ``Wav2Vec2Model``; a head is dense -> tanh -> out_proj. transformers would load such a checkpoint
into the wrong class without an error and leave the head random, so names are compared here, one by one.

Clips run in padded batches. That is exact for the published models: every norm of theirs is per frame
(``feat_extract_norm: layer``), the encoder zeroes frames behind a clip's end before the positional convolution and
masks them in attention, and the mean is taken over the clip's own frames. A checkpoint with a norm over time
(``group``) would be changed by padding; its clips run in batches of one length.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.errors import EnvironmentFault, RowError
from datagen.models import manifest
from datagen.models.batching import Batcher, Floats, pad
from datagen.models.device import batch_seconds

#: Outputs in the order of the published heads, for checkpoints whose config names them ``LABEL_0`` and so on.
DIMENSIONS = ("arousal", "dominance", "valence")
SEXES = ("female", "male", "child")
#: Head -> its outputs. Names as in the state dict.
DIMENSION_HEADS = {"classifier": DIMENSIONS}
AGE_GENDER_HEADS = {"age": ("age",), "gender": SEXES}

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
#: Used in training only. Some checkpoints carry it although their config has no use for it, others lack it.
_TRAINING_ONLY = "wav2vec2.masked_spec_embed"
#: Weight norm as torch spelt it up to 2.0 -> as it does now.
_RENAMED = {
    "pos_conv_embed.conv.weight_g": "pos_conv_embed.conv.parametrizations.weight.original0",
    "pos_conv_embed.conv.weight_v": "pos_conv_embed.conv.parametrizations.weight.original1",
}


Answer = dict[str, float | None]


def missing(model: manifest.Model) -> str | None:
    """What has to be installed or fetched before ``model`` can run, or None. Imports nothing."""
    if any(importlib.util.find_spec(package) is None for package in ("torch", "transformers")):
        return f"model {model.entry.name} needs torch and transformers; install the main environment: make setup-main"
    return manifest.missing(model)


def normalised(sound: Floats) -> Floats:
    """Zero mean, unit variance, as ``Wav2Vec2FeatureExtractor`` with ``do_normalize`` does it, on the clip alone."""
    scaled: Floats = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    return scaled


class Network:
    """A checkpoint, loaded: sounds -> what each head says of them.

    Args:
        folder: ``config.json``, ``preprocessor_config.json`` and the weights.
        heads: see ``DIMENSION_HEADS``.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        EnvironmentFault: the checkpoint is not of this architecture, or weights are missing or left over.
    """

    def __init__(self, folder: Path, heads: Mapping[str, Sequence[str]], device: str) -> None:
        import torch
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        self.config: Any = Wav2Vec2Config.from_json_file(str(folder / "config.json"))
        if self.config.model_type != "wav2vec2" or self.config.add_adapter:
            raise EnvironmentFault(f"{folder}: config.json is not that of a wav2vec 2.0 without adapters")
        self.normalise = bool(json.loads((folder / "preprocessor_config.json").read_text("utf-8"))["do_normalize"])
        labels = dict(self.config.id2label or {})
        self.heads = {name: _ordered(outputs, labels, folder, len(heads) == 1) for name, outputs in heads.items()}
        size = self.config.hidden_size
        parts: dict[str, Any] = {"wav2vec2": Wav2Vec2Model(self.config)}
        for name, outputs in heads.items():
            parts[name] = torch.nn.ModuleDict(
                {"dense": torch.nn.Linear(size, size), "out_proj": torch.nn.Linear(size, len(outputs))}
            )
        self.parts: Any = torch.nn.ModuleDict(parts)
        _fill(self.parts, _weights(folder), folder)
        self.parts.float().eval().to(device)
        self.device = device

    @property
    def equal_lengths(self) -> bool:
        """Whether padding would change the result, so that only clips of one length may share a batch."""
        return bool(self.config.feat_extract_norm != "layer")

    def frames(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Frames that the convolutions make of so many samples; 0 or less: too short for a single one."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def __call__(self, sounds: Sequence[Floats]) -> list[dict[str, npt.NDArray[np.float64]]]:
        """Each sound (float32 [samples], 16 kHz) -> head -> its outputs, in the order of ``heads`` as given.

        A sound too short for one frame (25 ms) gets NaN. What shares the call changes nothing but float noise.

        Raises:
            RowError: what the model says of a sound that is long enough is not a number.
        """
        nothing = {name: np.full(len(outputs), np.nan) for name, outputs in self.heads.items()}
        answers = [nothing] * len(sounds)
        lengths = np.array([len(sound) for sound in sounds], np.int64)
        batches: dict[int, list[int]] = {}
        for at in map(int, np.flatnonzero(self.frames(lengths) > 0)):
            batches.setdefault(int(lengths[at]) if self.equal_lengths else 0, []).append(at)
        for batch in batches.values():
            found = self._run([sounds[at] for at in batch])
            for row, at in enumerate(batch):
                answers[at] = {name: values[row] for name, values in found.items()}
        return answers

    def _run(self, sounds: list[Floats]) -> dict[str, npt.NDArray[np.float64]]:
        import torch

        batch, lengths = pad([normalised(sound) for sound in sounds] if self.normalise else sounds)
        # Models with a group norm were trained without a mask, and never meet padding here; where nothing is padded,
        # attention is faster without one, and the same.
        mask = None
        if lengths.min() < batch.shape[1] and not self.equal_lengths:
            mask = torch.from_numpy(np.arange(batch.shape[1])[None] < lengths[:, None]).long().to(self.device)
        frames = torch.from_numpy(self.frames(lengths)).to(self.device)
        # Convolutions on a GPU would round to TF32 (10 bits) by default; which batch a clip is in would then show.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            values = torch.from_numpy(batch).to(self.device)
            states = self.parts["wav2vec2"](values, attention_mask=mask).last_hidden_state
            own = torch.arange(states.shape[1], device=self.device)[None] < frames[:, None]
            pooled = states.masked_fill(~own[..., None], 0.0).sum(1) / frames[:, None]
            found = {}
            for name, order in self.heads.items():
                head = self.parts[name]
                out = head["out_proj"](torch.tanh(head["dense"](pooled)))
                found[name] = out[:, order].double().cpu().numpy()
        if not all(np.isfinite(values).all() for values in found.values()):
            raise RowError("NotFinite", "the model's answer is not a number")
        return found


def batcher(name: str, network: Network, seconds: float) -> Batcher:
    """Plans batches of at most so many audio seconds that ``network`` can take without a change in its answers."""
    return Batcher(name, batch_seconds(seconds, network.device), equal=network.equal_lengths)


class Dimensions:
    """Arousal, dominance and valence, each about 0..1 and not clipped."""

    def __init__(self, folder: Path, device: str) -> None:
        self.network = Network(folder, DIMENSION_HEADS, device)

    def __call__(self, sounds: Sequence[Floats]) -> list[Answer]:
        """Sounds -> by name; None where a sound is too short."""
        return [_named(DIMENSIONS, found["classifier"]) for found in self.network(sounds)]


class AgeGender:
    """Age in years, and probabilities (summing to 1) of ``female``, ``male``, ``child``."""

    def __init__(self, folder: Path, device: str) -> None:
        self.network = Network(folder, AGE_GENDER_HEADS, device)

    def __call__(self, sounds: Sequence[Floats]) -> list[Answer]:
        """Sounds -> ``age`` and the three names; None where a sound is too short."""
        answers = []
        for found in self.network(sounds):
            power = np.exp(found["gender"] - found["gender"].max())
            answers.append(_named(("age",), found["age"] * 100) | _named(SEXES, power / power.sum()))
        return answers


def _named(names: Sequence[str], values: npt.NDArray[np.float64]) -> Answer:
    return {name: float(x) if np.isfinite(x) else None for name, x in zip(names, values, strict=True)}


def _ordered(outputs: Sequence[str], id2label: Mapping[int, str], folder: Path, alone: bool) -> list[int]:
    """Where each of ``outputs`` stands in its head: where the config says so, else in the published order.

    A config has one list of labels. It must be that of the head where there is but one (``alone``), unless it names
    nothing; a model with two heads cannot name both, and the published ones name neither.
    """
    places = {str(label).lower(): int(place) for place, label in id2label.items()}
    if set(outputs) == set(places):
        return [places[name] for name in outputs]
    if alone and not all(name.startswith("label_") for name in places):
        raise EnvironmentFault(f"{folder}: config.json names the outputs {', '.join(places)}, not {', '.join(outputs)}")
    return list(range(len(outputs)))


def _weights(folder: Path) -> dict[str, Any]:
    """The state dict, in today's spelling. Nothing is unpickled but tensors."""
    import torch
    from safetensors.torch import load_file

    safe, pickled = (folder / name for name in _WEIGHTS)
    file = safe if safe.is_file() else pickled
    try:
        state = load_file(file) if file == safe else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EnvironmentFault(f"{file}: cannot be read as weights: {type(error).__name__}: {error}") from error
    for old, new in _RENAMED.items():
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return dict(state)


def _fill(parts: Any, state: Mapping[str, Any], folder: Path) -> None:
    """Load ``state`` into ``parts``; what is missing, left over, of another shape or no number is an error."""
    own = parts.state_dict()
    wrong = {
        "missing": sorted(own.keys() - state.keys() - {_TRAINING_ONLY}),
        "left over": sorted(state.keys() - own.keys() - {_TRAINING_ONLY}),
        "of another shape": sorted(n for n in own.keys() & state.keys() if own[n].shape != state[n].shape),
        "not finite": sorted(n for n in own.keys() & state.keys() if not state[n].isfinite().all()),
    }
    told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in wrong.items() if names)
    if told:
        raise EnvironmentFault(
            f"{folder}: not the weights of this model ({told}); fetch it again with `datagen models pull`"
        )
    parts.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
