"""Who speaks when in a recording: pyannote's community-1 pipeline, on one channel at a time.

Segmentation in windows of 10 s (Bredin 2023, Interspeech; powerset loss of Plaquet & Bredin 2023), one voice embedding
per window and speaker (WeSpeaker ResNet34), clustering by VBx (Landini et al. 2022, Computer Speech & Language).

The weights are pickles, and pyannote unpickles whatever they hold. Files that were pulled are known by their hashes; in
a folder of one's own they are first read with torch's restricted unpickler, which knows the classes that checkpoints of
pyannote hold and no others, and the pipeline's ``config.yaml`` may name nothing but the folder's own files.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from datagen.errors import RunError
from datagen.models.batching import empty_cache, out_of_memory
from datagen.models.device import offline
from datagen.speech.turns import SOURCE
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

LIKE = "pyannote-community-1"  #: the manifest's model of this kind
_PIPELINE = "pyannote.audio.pipelines.SpeakerDiarization"
_PARTS = ("segmentation", "embedding", "plda")

_log = logging.getLogger(__name__)


class Turn(NamedTuple):
    """``voice`` counts from 0 in the order in which they are first heard; times in seconds of the recording."""

    start: float
    end: float
    voice: int


# --- From pyannote's answer to annotations ------------------------------------------------------------------


def turns(tracks: Iterable[tuple[float, float, str]], seconds: float) -> list[Turn]:
    """Tracks (start, end, label) as turns: in order, within the recording, to the millisecond.

    The last window is filled up with silence; a turn that runs on into it ends with the recording.
    """
    last = math.floor(seconds * 1000) / 1000
    inside = [(round(max(start, 0.0), 3), min(round(end, 3), last), label) for start, end, label in tracks]
    inside = sorted(track for track in inside if track[1] > track[0])
    voices = {label: at for at, label in enumerate(dict.fromkeys(label for _, _, label in inside))}
    return sorted(Turn(start, end, voices[label]) for start, end, label in inside)


def overlaps(found: Sequence[Turn]) -> list[tuple[float, float, int]]:
    """Stretches (start, end, most voices at once) in which more than one voice speaks, in order."""
    edges = sorted({edge for turn in found for edge in (turn.start, turn.end)})
    shared: list[tuple[float, float, int]] = []
    for begin, end in pairwise(edges):
        voices = len({turn.voice for turn in found if turn.start <= begin and turn.end >= end})
        if voices < 2:
            continue
        if shared and shared[-1][1] == begin:
            shared[-1] = (shared[-1][0], end, max(voices, shared[-1][2]))
        else:
            shared.append((begin, end, voices))
    return shared


def rows(recording_id: str, channel: int, found: Sequence[Turn]) -> list[dict[str, Any]]:
    """Rows of ``annotations``: a ``speaker`` per turn, named so that no other recording or channel has that name, and
    an ``overlap`` (value: how many at once) wherever voices overlap."""
    spoken = [(turn.start, turn.end, "speaker", f"{recording_id}-{channel}-{turn.voice:02d}") for turn in found]
    shared = [(start, end, "overlap", str(voices)) for start, end, voices in overlaps(found)]
    return [
        {
            "recording_id": recording_id, "channel": channel, "start": start, "end": end, "field": field,
            "value": value, "source": SOURCE,
        }
        for start, end, field, value in sorted([*spoken, *shared])
    ]  # fmt: skip


# --- The pipeline -------------------------------------------------------------------------------------------


class Diarizer:
    """The pipeline from a folder with ``config.yaml`` and the files it names.

    Args:
        own: the folder is the user's, its contents are not known by hash.
        device: ``"cpu"`` or ``"cuda"``.
        batch_seconds: seconds of sound per batch of windows; halved where memory runs out.

    Raises:
        RunError: ``config.yaml`` is no diarization pipeline of that folder, a checkpoint of one's own holds what is not
            loaded, or weights do not fit the architecture.
    """

    def __init__(self, path: Path, device: str = "cpu", batch_seconds: float = 160.0, *, own: bool = True) -> None:
        offline()
        check_config(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that torchcodec finds no FFmpeg; sound is handed over as arrays
            import torch
            from pyannote.audio import Pipeline

            if own:
                check_weights(path)
            try:
                pipeline: Any = Pipeline.from_pretrained(path)
            except RuntimeError as error:
                raise RunError(f"{path}: its weights do not fit their architecture: {error}") from error
        self.pipeline = pipeline.to(torch.device(device))
        self._windows = max(1, int(batch_seconds / pipeline._segmentation.duration))

    def __call__(
        self, sound: Floats, num_speakers: int | None = None, min_speakers: int | None = None,
        max_speakers: int | None = None,
    ) -> list[Turn]:  # fmt: skip
        """Turns in one channel: float32 [samples], 16 kHz. Digital silence has none."""
        import torch

        if not len(sound) or not np.any(np.abs(sound) > 1.5 / 32768):
            return []
        file = {"waveform": torch.from_numpy(np.ascontiguousarray(sound))[None], "sample_rate": SAMPLE_RATE}
        bounds = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
        while True:
            self.pipeline.segmentation_batch_size = self.pipeline.embedding_batch_size = self._windows
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # fewer voices than asked for; one window, so no deviation of it
                    answer = self.pipeline(dict(file), **bounds)
                break
            except Exception as error:
                if not out_of_memory(error) or self._windows == 1:
                    raise
                self._windows //= 2
                empty_cache()
                _log.warning("diarizer: out of memory; going on with %d windows per batch", self._windows)
        tracks = answer.speaker_diarization.itertracks(yield_label=True)
        return turns(((segment.start, segment.end, label) for segment, _, label in tracks), len(sound) / SAMPLE_RATE)


def check_config(path: Path) -> None:
    """Refuse a ``config.yaml`` that is anything but the diarization pipeline made of the files beside it.

    Raises:
        RunError: see there; the file could otherwise have any class called, or a model looked up on the Hub.
    """
    file = path / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text("utf-8"))
        pipeline = config["pipeline"]
        name, params = pipeline["name"], pipeline.get("params") or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise RunError(f"{file}: not the configuration of a pyannote pipeline: {error}") from error
    if name != _PIPELINE:
        raise RunError(f"{file}: pipeline {name} is not {_PIPELINE}")
    if "preprocessors" in config:
        raise RunError(f"{file}: preprocessors are not supported")
    for part in _PARTS:
        said = params.get(part)
        inside = isinstance(said, str) and said.startswith("$model/") and ".." not in said and "@" not in said
        if not inside or not (path / str(said).removeprefix("$model/")).is_dir():
            raise RunError(f"{file}: {part}: {said!r} is no folder beside it; write $model/{part}")


def check_weights(path: Path) -> None:
    """Read the checkpoints with torch's restricted unpickler before pyannote reads them with the unrestricted one.

    Raises:
        RunError: a checkpoint holds a class or function that checkpoints of pyannote do not hold, or wants a model that
            is not pyannote's.
    """
    import pickle

    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from torch.torch_version import TorchVersion

    for file in sorted(path.rglob("*.bin")):
        try:
            with torch.serialization.safe_globals([Problem, Resolution, Specifications, TorchVersion]):
                held = torch.load(file, map_location="cpu", weights_only=True)
            architecture: Mapping[str, str] = held["pyannote.audio"]["architecture"]
        except pickle.UnpicklingError as error:
            reason = next((line for line in str(error).splitlines() if "nsupported" in line), str(error))
            raise RunError(f"{file}: not loaded, it holds more than weights: {reason.strip()}") from error
        except (KeyError, TypeError, EOFError, RuntimeError) as error:
            raise RunError(f"{file}: not a checkpoint of pyannote.audio: {error}") from error
        if not architecture.get("module", "").startswith("pyannote.audio.models."):
            raise RunError(f"{file}: wants {architecture.get('module')}, which is no model of pyannote.audio")
