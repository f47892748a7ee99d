"""Where somebody speaks in a clip, the way WhisperX asks it: stretches of at most 30 s for Whisper to hear.

``pyannote``, WhisperX's default, is the segmentation model inside its wheel (``assets/pytorch_model.bin``, a PyTorch
pickle, which pyannote.audio loads with unpickling allowed; it comes with the package, never from data). The stock call
slides over one file after another; here the windows of many clips go through the model together. Each window is 5 s
long and heard for itself, so the scores are the same.

``silero`` is the ONNX model inside the faster-whisper wheel (v6), with the settings of silero's own
``get_speech_timestamps``, which are WhisperX's. Stock WhisperX fetches through ``torch.hub`` whatever silero's
repository holds that day, so its stretches may begin and end a little elsewhere.

``none`` hears everything: windows of 30 s, the last one shorter, words at their edges cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from datagen.models import silero
from datagen.stage import Provenance
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]
Method = Literal["pyannote", "silero", "none"]

#: Seconds that Whisper hears at once.
WINDOW_S = 30.0
#: WhisperX's defaults: probability at which speech begins, and below which it ends.
ONSET, OFFSET = 0.5, 0.363
#: Windows of 5 s per call of the segmentation model.
_TOGETHER = 64


class Stretch(NamedTuple):
    """From ``start`` to ``end``, seconds in the clip; ``speech_s`` of it are speech."""

    start: float
    end: float
    speech_s: float


class Detector(Protocol):
    def __call__(self, sounds: Sequence[Floats]) -> list[list[Stretch]]:
        """Stretches of each sound (float32 [samples], 16 kHz) in order; none where nobody speaks."""
        ...


def detector(method: Method, device: str) -> Detector:
    """Load a detector. ``device`` ("cpu" or "cuda") matters to pyannote only."""
    if method == "pyannote":
        return _Pyannote(device)
    return _Silero() if method == "silero" else _Everything()


def provenance(method: Method, *columns: str) -> Provenance | None:
    """Which detector decided what is heard; None for ``none``."""
    if method == "pyannote":
        revision = f"assets/pytorch_model.bin (whisperx {_installed('whisperx')})"
        note = "the voice activity model inside the whisperx wheel"
        return Provenance("pyannote-segmentation", revision, "MIT", columns, note)
    return silero.provenance(*columns) if method == "silero" else None


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def revision(method: Method) -> str:
    """What decides its output."""
    made = provenance(method)
    return made.revision if made else method


class _Pyannote:
    def __init__(self, device: str) -> None:
        import torch
        from whisperx.vads import Pyannote

        self.vad: Any = Pyannote(torch.device(device), chunk_size=WINDOW_S, vad_onset=ONSET, vad_offset=OFFSET)
        self._inference: Any = self.vad.vad_pipeline._segmentation

    def __call__(self, sounds: Sequence[Floats]) -> list[list[Stretch]]:
        return [
            _stretches(self.vad.merge_chunks(scores, WINDOW_S, onset=ONSET, offset=OFFSET))
            for scores in self.scores(sounds)
        ]

    def scores(self, sounds: Sequence[Floats]) -> list[Any]:
        """Probability of speech over each sound, a pyannote ``SlidingWindowFeature`` [frames, 1].

        What ``pyannote.audio.Inference.slide`` gives sound by sound: windows of 5 s, a tenth of it apart, the last one
        padded with zeros, added up under a Hamming window.
        """
        import torch
        from pyannote.audio.utils.reproducibility import fix_reproducibility
        from pyannote.core import Segment, SlidingWindow, SlidingWindowFeature

        inference, model = self._inference, self._inference.model
        fix_reproducibility(inference.device)
        size, step = model.audio.get_num_samples(inference.duration), round(inference.step * SAMPLE_RATE)
        starts = [_starts(len(sound), size, step) for sound in sounds]
        places = [(sound, at) for sound, mine in zip(sounds, starts, strict=True) for at in mine]
        outputs: list[Any] = []
        for begin in range(0, len(places), _TOGETHER):
            some = places[begin : begin + _TOGETHER]
            windows = np.zeros((len(some), 1, size), np.float32)
            for row, (sound, at) in enumerate(some):
                part = sound[at : at + size]
                windows[row, 0, : len(part)] = part
            outputs.extend(inference.infer(torch.from_numpy(windows)))
        slid = SlidingWindow(start=0.0, duration=inference.duration, step=inference.step)
        found, at = [], 0
        for sound, mine in zip(sounds, starts, strict=True):
            scores = inference.pre_aggregation_hook(np.stack(outputs[at : at + len(mine)]))
            at += len(mine)
            added = inference.aggregate(
                SlidingWindowFeature(scores, slid),
                model.receptive_field,
                warm_up=inference.warm_up,
                hamming=True,
                missing=0.0,
            )
            if mine[-1] + size > len(sound):  # the last window was padded
                added.data = added.crop(Segment(0.0, len(sound) / SAMPLE_RATE), mode="loose")
            found.append(added)
        return found


def _starts(length: int, size: int, step: int) -> list[int]:
    """First samples of the windows: as many whole ones as fit, then one for what is left, if anything is."""
    whole = max((length - size) // step + 1, 0)
    rest = length < size or (length - size) % step > 0
    return [number * step for number in range(whole + rest)]


class _Silero:
    def __init__(self) -> None:
        from faster_whisper.vad import VadOptions

        # The defaults of silero's own function; faster-whisper's are made for another purpose (2 s of silence).
        self._options = VadOptions(
            threshold=ONSET,
            min_speech_duration_ms=250,
            max_speech_duration_s=WINDOW_S,
            min_silence_duration_ms=100,
            speech_pad_ms=30,
        )

    def __call__(self, sounds: Sequence[Floats]) -> list[list[Stretch]]:
        from faster_whisper.vad import get_speech_timestamps
        from whisperx.diarize import Segment
        from whisperx.vads import Vad

        found = []
        for sound in sounds:
            spoken = [
                Segment(span["start"] / SAMPLE_RATE, span["end"] / SAMPLE_RATE)
                for span in get_speech_timestamps(sound, self._options)
            ]
            found.append(_stretches(Vad.merge_chunks(spoken, WINDOW_S, ONSET, OFFSET)) if spoken else [])
        return found


class _Everything:
    def __call__(self, sounds: Sequence[Floats]) -> list[list[Stretch]]:
        window = int(WINDOW_S * SAMPLE_RATE)
        return [[_whole(sound, at, window) for at in range(0, len(sound), window)] for sound in sounds]


def _whole(sound: Floats, begin: int, window: int) -> Stretch:
    end = min(begin + window, len(sound))
    return Stretch(begin / SAMPLE_RATE, end / SAMPLE_RATE, (end - begin) / SAMPLE_RATE)


def _stretches(merged: Sequence[dict[str, Any]]) -> list[Stretch]:
    return [
        Stretch(float(item["start"]), float(item["end"]), float(sum(end - start for start, end in item["segments"])))
        for item in merged
    ]
