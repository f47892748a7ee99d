"""Loading an aligner from a folder. Two libraries publish such checkpoints; the folder's files tell them apart:

- ``config.json``: transformers' ``Wav2Vec2ForCTC`` with its processor;
- one ``.pth`` or ``.pt`` file under the name of a torchaudio bundle: that bundle's state dict, whose sizes and labels
  torchaudio knows;
- one such file under any name, and ``bundle.json`` with ``params`` (arguments of ``torchaudio.models.wav2vec2_model``)
  and ``labels`` (in the order of the head, the blank first): a wav2vec 2.0 model of one's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datagen.errors import EnvironmentFault
from datagen.models.aligner.acoustic import Acoustic, Bundle, HuggingFace

#: Beside a state dict that is no published bundle: ``params`` and ``labels``.
SIDECAR = "bundle.json"
#: Used in pretraining only: there or not there, as the checkpoint's config happens to be.
_UNUSED = frozenset({"wav2vec2.masked_spec_embed"})


def load(folder: Path, device: str = "cpu") -> Acoustic:
    """The aligner in ``folder``; nothing is looked up anywhere else.

    Raises:
        EnvironmentFault: no aligner there, weights missing, weights left over, or a head that does not fit its labels.
    """
    acoustic = _huggingface(folder, device) if (folder / "config.json").is_file() else _torchaudio(folder, device)
    size = _head(acoustic.model).weight.shape[0]
    beyond = [label for label, code in acoustic.dictionary.items() if code >= size and len(label) == 1]
    if beyond or acoustic.blank >= size:
        raise EnvironmentFault(f"{folder}: the head has {size} outputs, {len(beyond)} of its labels go beyond them")
    return acoustic


def _head(model: Any) -> Any:
    return model.aux if hasattr(model, "aux") else model.lm_head


def _huggingface(folder: Path, device: str) -> Acoustic:
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    labels = Wav2Vec2Processor.from_pretrained(folder, local_files_only=True).tokenizer.get_vocab()
    model, report = Wav2Vec2ForCTC.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    _complete(folder, report["missing_keys"], report["unexpected_keys"])
    if model.config.add_adapter:
        raise EnvironmentFault(f"{folder}: an aligner with an adapter behind its encoder is not supported")
    return HuggingFace(model, labels, device)


def _torchaudio(folder: Path, device: str) -> Acoustic:
    import torch
    import torchaudio

    files = [file for file in sorted(folder.glob("*.pt*")) if file.suffix in (".pt", ".pth")]
    if len(files) != 1:
        raise EnvironmentFault(f"{folder}: neither a config.json nor a single .pt or .pth file; no aligner is here")
    (file,) = files
    params, labels, superfluous = _architecture(file)
    weights = torch.load(file, map_location="cpu", weights_only=True)
    for name in ("aux.weight", "aux.bias"):
        if name in weights and superfluous:
            kept = [row for row in range(len(weights[name])) if row not in superfluous]
            weights[name] = weights[name][kept]
    with torch.device("meta"):
        model = torchaudio.models.wav2vec2_model(**params)
    try:
        report = model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:  # sizes
        raise EnvironmentFault(f"{file}: {error}") from error
    _complete(file, report.missing_keys, report.unexpected_keys)
    return Bundle(model.float(), {label: code for code, label in enumerate(labels)}, device)


def _architecture(file: Path) -> tuple[dict[str, Any], list[str], tuple[int, ...]]:
    """(arguments of the factory, labels with the blank first, rows of the published head that stand for nothing)."""
    import torchaudio

    sidecar = file.parent / SIDECAR
    if sidecar.is_file():
        said = json.loads(sidecar.read_text("utf-8"))
        return said["params"], said["labels"], ()
    for name in torchaudio.pipelines.__all__:
        bundle = getattr(torchaudio.pipelines, name)
        if getattr(bundle, "_path", None) == file.name and hasattr(bundle, "get_labels"):
            if bundle._normalize_waveform or bundle._model_type != "Wav2Vec2":
                raise EnvironmentFault(f"{file}: bundles like {name} are no aligners here")
            return bundle._params, list(bundle.get_labels()), bundle._remove_aux_axis
    raise EnvironmentFault(f"{file}: not the file name of a torchaudio bundle, and no {SIDECAR} beside it")


def _complete(where: Path, missing: Iterable[str], left_over: Iterable[str]) -> None:
    absent, extra = sorted(set(missing) - _UNUSED), sorted(set(left_over) - _UNUSED)
    if absent or extra:
        named = [f"missing: {', '.join(absent[:5])}"] * bool(absent) + [f"left over: {', '.join(extra[:5])}"] * bool(
            extra
        )
        raise EnvironmentFault(
            f"{where}: weights do not fit the model, which would answer at random ({'; '.join(named)}); "
            "pull it again or mend the folder"
        )
