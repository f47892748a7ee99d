"""emotion2vec+ (Ma et al. 2024, arXiv:2312.15185) through FunASR: nine emotion scores per clip, many clips at once.

FunASR's own ``generate`` takes clips one by one. Here clips of unlike length share a batch, and every score is what
the clip alone gets: the convolutions over the waveform see each clip's own samples only, the positional convolutions
get zeros behind the clip *before each of their layers* (a mask before the first one, as the library has it, lets the
padding back in through every norm and bias), attention skips the padding, and the mean is over the clip's own frames.

Three things the library lets pass are errors here: weights that the model file does not hold (it goes on with random
ones), weights that the model has no place for, and labels that do not fit the head. Only what the architecture needs
is taken from ``config.yaml``: it cannot name code, other files, or a device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.errors import RowError
from datagen.models import manifest
from datagen.models.batching import Floats, plan
from datagen.models.emotion2vec import loading
from datagen.tables import SAMPLE_RATE

#: Audio seconds that go through the first convolutions at once on a GPU: they make 512 channels at 3.2 kHz of it.
_CONV_SECONDS = 40


@dataclass(frozen=True)
class Prediction:
    """``scores``: float64 [labels], they sum to 1. ``embedding``: float32 [width], mean over the clip's frames."""

    scores: npt.NDArray[np.float64]
    embedding: Floats


def missing(model: manifest.Model) -> str | None:
    """What has to be installed or fetched before ``model`` can run, or None. Imports nothing."""
    if any(importlib.util.find_spec(package) is None for package in ("torch", "funasr")):
        return f"model {model.entry.name} needs torch and funasr; install the main environment: make setup-main"
    return manifest.missing(model)


class Emotion2vec:
    """A loaded model.

    Args:
        folder: ``config.yaml``, ``model.pt`` and ``tokens.txt`` as published.
        device: "cpu" or "cuda"; ``threads`` of the CPU.

    Raises:
        EnvironmentFault: a file is damaged, or does not hold exactly the model that ``config.yaml`` describes.
    """

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        loaded = loading.load(folder, threads)
        self.labels = loaded.labels
        self._layers, self._outputs, self._device = loaded.layers, loaded.outputs, device
        self._model = loaded.model.to(device).eval()
        self._encoder = self._model.modality_encoders["AUDIO"]
        # A group norm runs over time, where padding would count; a layer norm is per frame. On a CPU, clip by clip is
        # faster as well: the first layer's output of one clip fits into the cache, that of a batch does not.
        self._alone = device == "cpu" or self._encoder.modality_cfg.extractor_mode != "layer_norm"
        self.min_samples = loading.receptive_field(loaded.layers)

    def frames(self, samples: int) -> int:
        """Frames (50 Hz) that the convolutions make of so many samples."""
        for _, kernel, stride in self._layers:
            samples = (samples - kernel) // stride + 1
        return samples

    def __call__(self, sounds: Sequence[Floats]) -> list[Prediction]:
        """Sounds (float32 [samples], 16 kHz, of any lengths) -> what is heard in each, in order.

        Raises:
            RowError: a sound is too short for one frame (25 ms), or its scores are not numbers.
        """
        import torch

        shortest = min(map(len, sounds))
        if shortest < self.min_samples:
            raise RowError(
                "TooShort", f"{1000 * shortest / SAMPLE_RATE:.1f} ms of audio; emotion2vec hears nothing under "
                f"{1000 * self.min_samples / SAMPLE_RATE:.0f} ms"
            )  # fmt: skip
        lengths = [self.frames(len(sound)) for sound in sounds]
        # TF32 is cuDNN's default for convolutions: three digits, and other ones in another batch.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            states = self._contextualize(self._local_features(sounds), lengths)
            pooled = self._mean(states, lengths)
            logits = self._model.proj(pooled)[:, self._outputs]
            scores = logits.double().softmax(dim=-1).cpu().numpy()
            embeddings = pooled.float().cpu().numpy()
        if not np.isfinite(scores).all():
            raise RowError("NotFinite", "emotion2vec gives scores that are not numbers")
        return [Prediction(row, vector) for row, vector in zip(scores, embeddings, strict=True)]

    # --- The model, clips side by side -------------------------------------------------------------------------

    def _local_features(self, sounds: Sequence[Floats]) -> Any:
        """Convolutions over the waveform: [clips, frames, width], zeros behind each clip's own frames."""
        import torch
        from torch.nn import functional
        from torch.nn.utils.rnn import pad_sequence

        encoder, sources = self._encoder, [torch.from_numpy(sound) for sound in sounds]
        if self._model.cfg.normalize:
            sources = [functional.layer_norm(source, source.shape) for source in sources]
        found: dict[int, Any] = {}
        for group in plan([len(source) for source in sources], 0 if self._alone else _CONV_SECONDS * SAMPLE_RATE):
            batch = pad_sequence([sources[at] for at in group], batch_first=True).to(self._device)
            features = encoder.project_features(encoder.local_encoder(batch))
            found |= {at: features[row, : self.frames(len(sources[at]))] for row, at in enumerate(group)}
        return pad_sequence([found[at] for at in range(len(sources))], batch_first=True)

    def _contextualize(self, x: Any, lengths: Sequence[int]) -> Any:
        """Positions, extra tokens, transformer: frames [clips, frames, width] -> states of the same shape."""
        import torch
        from torch.nn import functional

        encoder, model = self._encoder, self._model
        padding = None
        if min(lengths) < x.shape[1]:
            ends = torch.tensor(lengths, device=x.device)
            padding = torch.arange(x.shape[1], device=x.device)[None] >= ends[:, None]
        if encoder.relative_positional_encoder is not None:
            x = x + self._positions(x, padding)
        bias, scale = self._alibi(x)
        extra = encoder.modality_cfg.num_extra_tokens
        if encoder.extra_tokens is not None:
            x = torch.cat([encoder.extra_tokens.expand(len(x), -1, -1), x], dim=1)
            if padding is not None:
                padding = functional.pad(padding, (extra, 0))
            if bias is not None:
                bias = functional.pad(bias, (extra, 0, extra, 0))
        depth = encoder.modality_cfg.prenet_depth
        per_layer = scale is not None and len(scale) > 1
        x = encoder.context_encoder(x, padding, bias, scale[:depth] if per_layer else scale)
        for at, block in enumerate(model.blocks):
            scaled = bias if bias is None or scale is None else bias * (scale[depth + at] if per_layer else scale[0])
            x, _ = block(x, padding_mask=padding, alibi_bias=scaled)
        if model.norm is not None:
            x = model.norm(x)
        return x[:, extra:]

    def _positions(self, x: Any, padding: Any) -> Any:
        """Positional convolutions, with zeros behind each clip before every layer, as where a clip is alone."""
        from torch import nn

        layers = list(self._encoder.relative_positional_encoder)
        if isinstance(layers[0], nn.LayerNorm):  # conv_pos_pre_ln: the norm, then the sequence of layers
            x = layers[0](x)
            layers = list(layers[1])
        for layer in layers:
            # Convolutions come packed in sequences of their own; what lies bare between them turns the axes over.
            if padding is not None and isinstance(layer, nn.Sequential):
                x = x.masked_fill(padding[:, None, :], 0.0)
            x = layer(x)
        return x

    def _alibi(self, x: Any) -> tuple[Any, Any]:
        """Bias of attention by distance [1, heads, frames, frames], and its scale where layers have their own.

        The bias depends on the distance of two frames alone: one for all clips of the batch.
        """
        import torch

        encoder = self._encoder
        if encoder.get_alibi_bias is None:
            return None, None
        bias = encoder.get_alibi_bias(
            batch_size=1, time_steps=x.shape[1], heads=encoder.modality_cfg.num_alibi_heads, dtype=torch.float32,
            device=x.device,
        )  # fmt: skip
        if encoder.alibi_scale is None:
            return bias, None
        scale = encoder.alibi_scale.clamp_min(0)
        return (bias * scale[0], None) if len(scale) == 1 else (bias, scale)

    @staticmethod
    def _mean(states: Any, lengths: Sequence[int]) -> Any:
        import torch

        ends = torch.tensor(lengths, device=states.device)
        outside = torch.arange(states.shape[1], device=states.device)[None] >= ends[:, None]
        return states.masked_fill(outside[:, :, None], 0.0).sum(dim=1) / ends[:, None]
