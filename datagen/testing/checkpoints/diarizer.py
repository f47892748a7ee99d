"""A diarization pipeline with random weights, in the files in which community-1 is published for pyannote.audio 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: As published, but for the batch sizes and ``segmentation_step`` (0.1 there, which costs five times as much).
CONFIG = """\
dependencies:
  pyannote.audio: 4.0.0

pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 4
    segmentation_step: 0.5
    embedding: $model/embedding
    embedding_batch_size: 4
    embedding_exclude_overlap: true
    plda: $model/plda

params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""
#: Powerset of three speakers, two at a time: nobody, each of the three, each pair.
_SPEAKERS, _AT_ONCE = 3, 2
_EMBEDDING = 256
_LDA = 128


def build(folder: Path, seed: int = 7) -> Path:
    """Writes ``config.yaml``, ``segmentation/``, ``embedding/`` and ``plda/`` (21 MB) and returns ``folder``.

    The segmentation model is a narrow PyanNet over windows of 4 s; the embedding model is the published architecture
    (WeSpeaker's ResNet34, which has no narrower one) on 16 mel bands instead of 80. Who is heard is noise, but depends
    on the sound: there are turns, silence and overlap.
    """
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        segmentation = PyanNet(lstm={"hidden_size": 8, "num_layers": 1}, linear={"hidden_size": 8, "num_layers": 1})
        segmentation.specifications = Specifications(
            problem=Problem.MONO_LABEL_CLASSIFICATION, resolution=Resolution.FRAME, duration=4.0, min_duration=None,
            warm_up=(0.0, 0.0), classes=[f"speaker#{at + 1}" for at in range(_SPEAKERS)],
            powerset_max_classes=_AT_ONCE, permutation_invariant=True,
        )  # fmt: skip
        segmentation.build()
        embedding = WeSpeakerResNet34(num_mel_bins=16)
        embedding.specifications = Specifications(
            problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=4.0, min_duration=None,
            warm_up=(0.0, 0.0), classes=None, powerset_max_classes=None, permutation_invariant=False,
        )  # fmt: skip
        with torch.no_grad():
            _slow(segmentation)
    finally:
        torch.random.set_rng_state(state)
    folder.mkdir(parents=True, exist_ok=True)
    _save(segmentation, folder / "segmentation")
    _save(embedding, folder / "embedding")
    _plda(folder / "plda", seed)
    (folder / "config.yaml").write_text(CONFIG, "utf-8")
    return folder


def _slow(segmentation: Any) -> None:
    """Weights with which the LSTM remembers some seconds, so that turns last; and pairs are rarer than one voice."""
    for name, weight in segmentation.lstm.named_parameters():
        if name.startswith("weight"):
            weight.normal_(std=0.3 if "_ih_" in name else 0.1)
        else:
            gates = weight.view(4, -1)  # input, forget, cell, output
            gates.zero_()
            if "_ih_" in name:
                gates[0], gates[1] = -1.0, 5.0
    segmentation.linear[0].weight.normal_(std=0.5)
    segmentation.classifier.weight.normal_(std=5.0)
    segmentation.classifier.bias.zero_()
    segmentation.classifier.bias[1 + _SPEAKERS :] = -4.0


def _save(model: Any, folder: Path) -> None:
    """A Lightning checkpoint as pyannote's own trainer writes it."""
    from importlib.metadata import version

    import torch

    folder.mkdir(exist_ok=True)
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": version("lightning"),
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def _plda(folder: Path, seed: int) -> None:
    """The two transforms of VBx: centring, whitening and LDA of the embeddings; PLDA of what comes out of that."""
    import numpy as np

    random = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    lda = np.linalg.qr(random.normal(size=(_EMBEDDING, _LDA)))[0]
    mean1, mean2 = random.normal(size=_EMBEDDING) * 0.01, random.normal(size=_LDA) * 0.01
    np.savez(folder / "xvec_transform.npz", mean1=mean1, mean2=mean2, lda=lda)
    transform = np.linalg.qr(random.normal(size=(_LDA, _LDA)))[0]
    np.savez(
        folder / "plda.npz", mu=random.normal(size=_LDA) * 0.01, tr=transform,
        psi=np.sort(random.uniform(0.1, 4, _LDA))[::-1],
    )  # fmt: skip
