"""Which non-verbal sounds a clip holds, and when: the Audio Spectrogram Transformer, trained on AudioSet.

Gong, Chung & Glass 2021, "AST: Audio Spectrogram Transformer", Interspeech. The model hears a stretch as a whole and
scores 527 classes, independently of each other (a sigmoid each). Times come from windows that slide over the clip. By
the model's own recipe each window is filled up to 1024 frames (10.24 s) whatever its length, so a batch of windows
gives what one window alone gives: no masks, no sorting by length, and the price of a window does not depend on it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from datagen.digest import revision
from datagen.errors import RowError, RunError
from datagen.models.batching import empty_cache, out_of_memory
from datagen.resources import folder
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

LIKE = "ast-audioset"  #: the manifest's model of this kind
FRAMES = 1024  #: of 10 ms; what every window is filled up to
WINDOW_COST_S = FRAMES / 100  #: seconds of sound that one window costs the model
DECIMALS = 6
#: One frame of the filter bank (25 ms): in less there is nothing to hear.
_SHORTEST = SAMPLE_RATE // 40

_log = logging.getLogger(__name__)


# --- Names --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """``schemas/event_labels.yaml``: from AudioSet's classes (``labels``) and what corpora write (``spellings``)."""

    version: str
    labels: Mapping[str, str]
    spellings: Mapping[str, str]
    events: tuple[str, ...]

    def lookup(self, said: str) -> str:
        """The event a corpus means; a name that is not known stays as it is, in small letters with underscores.

        >>> vocabulary().lookup("[Laughing]"), vocabulary().lookup("Lip-Smack"), vocabulary().lookup("door slam")
        ('laughter', 'lip_smack', 'door_slam')
        """
        plain = _plain(said)
        return self.spellings.get(plain, plain.replace(" ", "_"))


def _plain(said: str) -> str:
    return " ".join(said.strip().strip("[]<>()*").casefold().replace("_", " ").replace("-", " ").split())


@cache
def vocabulary() -> Vocabulary:
    raw = yaml.safe_load((folder("schemas") / "event_labels.yaml").read_text("utf-8"))
    labels: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for event, names in raw["events"].items():
        labels |= dict.fromkeys(names["labels"], event)
        spellings |= dict.fromkeys((_plain(name) for name in (event, *names["labels"], *names["also"])), event)
    return Vocabulary(revision(raw), labels, spellings, tuple(raw["events"]))


# --- Windows ------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """``start`` and ``end`` in seconds of the clip, ``score`` 0..1."""

    event: str
    start: float
    end: float
    score: float


def windows(samples: int, window_s: float, hop_s: float) -> list[tuple[int, int]]:
    """Begin and end (in samples) of the windows over a clip; the last one ends with it, so that all of it is heard.

    A clip shorter than one window is one window; one shorter than 25 ms has none.
    """
    if samples < _SHORTEST:
        return []
    window, hop = round(window_s * SAMPLE_RATE), round(hop_s * SAMPLE_RATE)
    if samples <= window:
        return [(0, samples)]
    starts = [*range(0, samples - window, hop), samples - window]
    return [(start, start + window) for start in starts]


def spans(
    events: Sequence[str], times: Sequence[tuple[int, int]], scores: Scores, thresholds: Mapping[str, float]
) -> list[Event]:
    """Events over their threshold, ordered by time; windows that share sound and an event become one span.

    Args:
        events: names, one per column of ``scores`` [windows, events].
        times: begin and end of each window in samples, in order.
    """
    found = []
    for column, event in enumerate(events):
        joined: list[tuple[int, int, float]] = []
        for (begin, end), score in zip(times, scores[:, column].tolist(), strict=True):
            if score < thresholds[event]:
                continue
            if joined and begin < joined[-1][1]:
                joined[-1] = (joined[-1][0], end, max(joined[-1][2], score))
            else:
                joined.append((begin, end, score))
        found += [
            # Whole milliseconds, never beyond the end of the clip.
            Event(event, begin * 1000 // SAMPLE_RATE / 1000, end * 1000 // SAMPLE_RATE / 1000, score)
            for begin, end, score in joined
        ]
    return sorted(found, key=lambda span: (span.start, span.end, span.event))


# --- The model ----------------------------------------------------------------------------------------------


class Tagger:
    """AST from a folder with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        batch_seconds: seconds per batch of windows, of which each counts 10.24; halved where memory runs out.

    Raises:
        RunError: weights are missing, left over or of another shape (the model would be random, without a word), or not
            finite, or none of its labels is an event.
    """

    def __init__(self, path: Path, device: str = "cpu", batch_seconds: float = 160.0) -> None:
        import torch
        from transformers import ASTFeatureExtractor, ASTForAudioClassification

        self.extract = ASTFeatureExtractor.from_pretrained(path, local_files_only=True)
        try:
            model, report = ASTForAudioClassification.from_pretrained(
                path, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
        except RuntimeError as error:
            raise RunError(f"{path}: model.safetensors does not fit config.json: {error}") from error
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if report[what]:
                listed = ", ".join(sorted(str(key) for key in report[what])[:3])
                raise RunError(
                    f"{path}: {what.replace('_', ' ')} in model.safetensors ({len(report[what])}: {listed}, ...); "
                    "this is not the model that its config.json describes"
                )
        if endless := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
            raise RunError(f"{path}: {len(endless)} weights in model.safetensors are not finite ({endless[0]}, ...)")
        self.model = model.eval().to(device)
        self.device = device
        self._batch = max(1, int(batch_seconds / WINDOW_COST_S))
        known = vocabulary().labels
        columns: dict[str, list[int]] = {}
        for column, label in sorted(model.config.id2label.items()):
            if label in known:
                columns.setdefault(known[label], []).append(int(column))
        if not columns:
            raise RunError(f"{path}: none of its labels is an event of schemas/event_labels.yaml")
        self.events = tuple(event for event in vocabulary().events if event in columns)
        self._columns = [columns[event] for event in self.events]

    def classes(self, sounds: Sequence[Floats]) -> Floats:
        """Scores of all of the model's classes, as they are: float32 [sounds, classes], for sounds of any length
        from 25 ms; of what is longer than 10.24 s only the beginning is heard."""
        import torch

        if not sounds:
            return np.zeros((0, self.model.config.num_labels), np.float32)
        parts: list[Floats] = []
        at = 0
        while at < len(sounds):
            try:
                inputs = self.extract(list(sounds[at : at + self._batch]), SAMPLE_RATE, return_tensors="pt")
                with torch.inference_mode():
                    logits = self.model(inputs["input_values"].to(self.device)).logits
                parts.append(torch.sigmoid(logits).cpu().numpy())
            except Exception as error:
                if not out_of_memory(error) or self._batch == 1:
                    raise
                self._batch //= 2
                empty_cache()
                _log.warning("tagger: out of memory; going on with %d windows per batch", self._batch)
                continue
            at += len(parts[-1])
        return np.concatenate(parts)

    def scores(self, sounds: Sequence[Floats]) -> Scores:
        """Scores of ``self.events``, rounded: float64 [sounds, events]; the largest of the classes that mean it.

        Raises:
            RowError: a score is not a number.
        """
        found = self.classes(sounds).astype(np.float64)
        if not np.isfinite(found).all():
            raise RowError("NotFinite", "the tagger gives scores that are not numbers")
        best = np.stack([found[:, columns].max(axis=1) for columns in self._columns], axis=1)
        return np.asarray(np.round(best, DECIMALS))

    def __call__(
        self, sounds: Sequence[Floats], window_s: float, hop_s: float, thresholds: Mapping[str, float]
    ) -> list[list[Event]]:
        """Events of each clip (float32 [samples], 16 kHz); windows of all clips share batches."""
        cut = [windows(len(sound), window_s, hop_s) for sound in sounds]
        pieces = [sound[begin:end] for sound, times in zip(sounds, cut, strict=True) for begin, end in times]
        scores = self.scores(pieces)
        found, at = [], 0
        for times in cut:
            found.append(spans(self.events, times, scores[at : at + len(times)], thresholds))
            at += len(times)
        return found


def thresholds(default: float, own: Mapping[str, float]) -> dict[str, float]:
    """Threshold of every event of the vocabulary."""
    return {event: own.get(event, default) for event in vocabulary().events}
