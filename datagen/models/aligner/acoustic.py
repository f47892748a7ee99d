"""wav2vec 2.0 with a CTC head: log-probabilities of characters per frame, for many sounds at once.

Why a batch gives what one sound alone would give: the convolutions have no padding, so a frame of a shorter sound never
meets the zeros behind it; layer norm looks at one frame; group norm looks at all of them, so that its mean and variance
are taken over the sound's own frames only; behind the front end, foreign frames are zeros for the positional
convolution and hidden from attention.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from datagen.errors import EnvironmentFault
from datagen.models.batching import Floats, pad, plan
from datagen.tables import SAMPLE_RATE

#: Samples that one frame needs; whatever is shorter is filled up with zeros.
SHORTEST = 400


class Acoustic(ABC):
    """Sounds -> log-probabilities.

    Attributes:
        dictionary: character (lower case) -> code.
        blank: code of the CTC blank.
        front_seconds: audio seconds that share one pass through the convolutions, padding included. Sound by sound is
            no slower on a CPU, and the first layer alone fills 6.5 MB a second; a GPU would wait for instructions.
    """

    def __init__(self, model: Any, labels: dict[str, int], device: str) -> None:
        self.model = model.to(device).eval()
        self.device = device
        self.dictionary = {label.lower(): code for label, code in labels.items()}
        pads = [code for label, code in self.dictionary.items() if label in ("[pad]", "<pad>")]
        self.blank = pads[-1] if pads else 0
        self.front_seconds = 0.0 if device == "cpu" else 160.0
        self._own: list[int] | None = None  # lengths in samples of the batch that passes through the convolutions
        self._mind_group_norm()

    def log_probabilities(self, sounds: Sequence[Floats]) -> tuple[Any, list[int]]:
        """(float32 tensor [sounds, frames, codes] on the device, each sound's own number of frames).

        Args:
            sounds: float32 [samples], 16 kHz, not empty.
        """
        import torch

        with torch.inference_mode():
            lengths = [max(len(sound), SHORTEST) for sound in sounds]
            frames = [self._frames(length) for length in lengths]
            heard = torch.tensor([self._heard(len(sound)) for sound in sounds], device=self.device)
            features = self._front(sounds, lengths, frames)
            # Attention is faster without a mask, and the same where nothing is to be hidden.
            logits = self._encode(features, None if bool((heard == max(frames)).all()) else heard)
            return torch.log_softmax(logits, -1), frames

    def _frames(self, samples: int, layers: int | None = None) -> int:
        """Frames of a sound after all convolutions, or after so many."""
        for layer in list(self._layers())[:layers]:
            samples = (samples - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
        return samples

    def _heard(self, samples: int) -> int:
        """Frames of a sound that attention may look at."""
        return self._frames(max(samples, SHORTEST))

    def _front(self, sounds: Sequence[Floats], lengths: Sequence[int], frames: Sequence[int]) -> Any:
        """Through the convolutions: [sounds, frames, channels], zeros behind a sound's own frames."""
        import torch

        features = None
        for rows in plan(lengths, int(self.front_seconds * SAMPLE_RATE)):
            batch, _ = pad([_filled(sounds[row]) for row in rows])
            uneven = len({lengths[row] for row in rows}) > 1
            self._own = [lengths[row] for row in rows] if uneven else None
            try:
                found = self._convolve(torch.from_numpy(batch).to(self.device))
            finally:
                self._own = None
            if features is None:
                features = found.new_zeros(len(sounds), max(frames), found.shape[-1])
            for row, own in zip(rows, found, strict=True):
                features[row, : frames[row]] = own[: frames[row]]
        return features

    def _mind_group_norm(self) -> None:
        """Group norm of an uneven batch: each sound's own frames only."""
        import torch

        def masked(norm: Any, inputs: tuple[Any, ...], _: Any) -> Any:
            if self._own is None:
                return None
            frames = [self._frames(length, 1) for length in self._own]
            return group_norm(inputs[0], torch.tensor(frames, device=self.device), norm)

        for at, layer in enumerate(self._layers()):
            norm = getattr(layer, "layer_norm", None)
            if not isinstance(norm, torch.nn.GroupNorm):
                continue
            if at or norm.num_groups != norm.num_channels:
                raise EnvironmentFault("this aligner normalises by groups in a way no known wav2vec 2.0 does")
            norm.register_forward_hook(masked)

    @abstractmethod
    def _layers(self) -> Iterable[Any]:
        """The convolutions, each with ``conv`` and, where it has one, ``layer_norm``."""

    @abstractmethod
    def _convolve(self, batch: Any) -> Any:
        """[sounds, samples] -> [sounds, frames, channels]."""

    @abstractmethod
    def _encode(self, features: Any, heard: Any | None) -> Any:
        """[sounds, frames, channels] -> logits [sounds, frames, codes]; ``heard``: how many frames of each count."""


def group_norm(hidden: Any, frames: Any, norm: Any) -> Any:
    """``norm`` (one group per channel) with mean and variance over the first ``frames`` of each sound.

    Args:
        hidden: [sounds, channels, time]; ``frames``: [sounds].
    """
    import torch

    inside = (torch.arange(hidden.shape[-1], device=hidden.device) < frames[:, None])[:, None]
    count = frames[:, None, None]
    mean = (hidden * inside).sum(-1, keepdim=True) / count
    centred = (hidden - mean) * inside
    variance = centred.square().sum(-1, keepdim=True) / count
    return centred * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


class Bundle(Acoustic):
    """``torchaudio.models.Wav2Vec2Model``, as its bundles publish it."""

    def _layers(self) -> Iterable[Any]:
        return self.model.feature_extractor.conv_layers  # type: ignore[no-any-return]

    def _convolve(self, batch: Any) -> Any:
        return self.model.feature_extractor(batch, None)[0]

    def _heard(self, samples: int) -> int:
        # whisperx tells this model the length before the filling up: nothing is heard then, not even the one frame.
        return super()._heard(samples) if samples >= SHORTEST else 0

    def _encode(self, features: Any, heard: Any | None) -> Any:
        return self.model.aux(self.model.encoder(features, heard))


class HuggingFace(Acoustic):
    """``transformers.Wav2Vec2ForCTC``. No normalisation of the sound, whatever its processor says: as whisperx."""

    def _layers(self) -> Iterable[Any]:
        return self.model.wav2vec2.feature_extractor.conv_layers  # type: ignore[no-any-return]

    def _convolve(self, batch: Any) -> Any:
        return self.model.wav2vec2.feature_extractor(batch).mT

    def _encode(self, features: Any, heard: Any | None) -> Any:
        import torch

        hidden, _ = self.model.wav2vec2.feature_projection(features)
        mask = None
        if heard is not None:
            mask = torch.arange(hidden.shape[1], device=hidden.device) < heard[:, None]
        hidden = self.model.wav2vec2.encoder(hidden, attention_mask=mask).last_hidden_state
        return self.model.lm_head(hidden)


def _filled(sound: Floats) -> Floats:
    return sound if len(sound) >= SHORTEST else np.pad(sound, (0, SHORTEST - len(sound)))
