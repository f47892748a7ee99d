"""Word times by forced alignment: the numbers of ``whisperx.align``, for the segments of many clips at once.

WhisperX (Bain et al. 2023) runs its wav2vec 2.0 models on one segment at a time and finds the path in a loop over
tensors; here sounds share a batch (``acoustic``), the path is found for the whole batch at a time (``trellis``), and
neither pandas nor NLTK's data is needed (``words``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datagen.models import batching, manifest
from datagen.models.aligner.trellis import best_paths
from datagen.models.aligner.words import WILDCARD, Characters, Word, characters, words
from datagen.models.batching import Floats
from datagen.models.device import offline
from datagen.tables import SAMPLE_RATE

#: Audio seconds per model batch on a CPU: more does not pay there (docs/transcription.md).
CPU_SECONDS = 8.0


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip and what is said in it.

    ``samples``: float32, 16 kHz, ``clip[int(start * 16000):int(end * 16000)]``; ``start`` and ``end``: clip seconds.
    """

    samples: Floats
    text: str
    start: float
    end: float


def for_language(language: str) -> str | None:
    """Manifest name of the aligner for a language (ISO 639-1); None where there is none."""
    name = f"align-{language}"
    return name if name in manifest.entries() else None


class Aligner:
    """One language's aligner.

    Args:
        model: files as ``checkpoint.load`` knows them.
        language: ISO 639-1; decides whether words are parted by spaces.
        device: ``"cpu"`` or ``"cuda"``.
        batch_seconds: audio seconds per model batch, padding included; at most ``CPU_SECONDS`` on a CPU, halved by
            itself where memory is short.

    Raises:
        EnvironmentFault: see ``checkpoint.load``.
    """

    def __init__(self, model: manifest.Model, language: str, device: str = "cpu", batch_seconds: float = 160.0) -> None:
        offline()
        from datagen.models.aligner.checkpoint import load

        self.name = model.entry.name
        self.language = language
        self.room = batching.Room(self.name, min(batch_seconds, CPU_SECONDS) if device == "cpu" else batch_seconds)
        #: Audio seconds of all calls, as they were and as the model was given them: ``audio_s``, ``padded_s``.
        self.metrics = {"audio_s": 0.0, "padded_s": 0.0}
        self._acoustic = load(model.folder, device)

    def align(self, segments: Sequence[Segment]) -> list[list[Word] | None]:
        """Words of each segment; None where there is nothing to align or the text does not fit into the sound.

        A word is ``{"word", "start", "end", "score", "flag"}``: clip seconds to the millisecond, ``score`` 0..1; see
        ``words.words`` for the flags.

        Raises:
            EnvironmentFault: one segment alone does not fit into the device's memory.
        """
        texts = [characters(segment.text, self.language, self._acoustic.dictionary) for segment in segments]
        found: list[list[Word] | None] = [None] * len(segments)
        able = [at for at, text in enumerate(texts) if text and len(segments[at].samples)]
        lengths = [len(segment.samples) for segment in segments]

        def work(some: Sequence[int]) -> None:
            answers = self._align([segments[at] for at in some], [text for at in some if (text := texts[at])])
            for at, answer in zip(some, answers, strict=True):
                found[at] = answer
            self.metrics["audio_s"] += sum(lengths[at] for at in some) / SAMPLE_RATE
            self.metrics["padded_s"] += batching.padded(lengths, [some]) / SAMPLE_RATE

        def failed(some: Sequence[int], error: Exception) -> None:
            if not batching.out_of_memory(error):
                raise error
            self.room.shrink(len(some), max(lengths[at] for at in some) / SAMPLE_RATE, error)

        plan = batching.plan([lengths[at] for at in able], int(self.room.seconds * SAMPLE_RATE))
        batching.halving(([able[at] for at in batch] for batch in plan), work, failed)
        return found

    def _align(self, segments: Sequence[Segment], texts: Sequence[Characters]) -> list[list[Word] | None]:
        blank, chosen, frames = self._emissions([segment.samples for segment in segments], texts)
        paths = best_paths(blank, chosen, frames, [len(text.codes) for text in texts])
        return [
            words(text, path, self.language, segment.start, (segment.end - segment.start) / own) if path else None
            for segment, text, path, own in zip(segments, texts, paths, frames, strict=True)
        ]

    def _emissions(self, sounds: Sequence[Floats], texts: Sequence[Characters]) -> tuple[Floats, Floats, list[int]]:
        """Log-probabilities of the blank [sounds, frames] and of each text's own characters [sounds, frames, longest
        text], and the frames of each sound. Picked on the device: thousands of others stay there."""
        import torch

        every, frames = self._acoustic.log_probabilities(sounds)
        codes = np.zeros((len(texts), max(len(text.codes) for text in texts)), np.int64)
        for row, text in enumerate(texts):
            codes[row, : len(text.codes)] = text.codes
        with torch.inference_mode():
            picks = torch.from_numpy(codes).to(every.device)[:, None].expand(-1, every.shape[1], -1)
            chosen = every.gather(2, picks.clamp(min=0))
            if (codes == WILDCARD).any():
                others = every.clone()
                others[..., self._acoustic.blank] = -torch.inf
                chosen = torch.where(picks == WILDCARD, others.max(2, keepdim=True).values, chosen)
            return every[..., self._acoustic.blank].cpu().numpy(), chosen.cpu().numpy(), frames
