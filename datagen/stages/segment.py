"""segment: recordings become clips, each a stretch of one channel, at most ``max_seconds`` long.

``auto`` takes the corpus's utterances where it gives times, the whole file where it is short, and voice activity
otherwise. What is left out and why:

- A recording of digital silence, or one in which nobody speaks, is dropped with the reason. A *labelled* short file is
  kept although the voice detector hears nothing in it: people whisper, sob and laugh, and somebody has listened to it.
  The same holds for utterances the corpus marks. Quiet is no reason: the detector hears every recording at one level.
- Between utterances or stretches of speech lies what becomes no clip.
- ``turns``: where two speakers of one channel talk at once, neither gets the stretch: its facts would be about both.
  ``auto`` cuts so where a diarizer found several voices in a channel and the corpus marks no utterances in it.
- Several channels: a voice that leaks into another's microphone is not that other's speech; a channel that repeats
  the one before it adds nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.errors import RowError
from datagen.models import silero
from datagen.speech import cuts, labels, text, turns
from datagen.speech.audio import decode_flac, encode_flac
from datagen.speech.cuts import Span
from datagen.speech.labels import Note
from datagen.stage import Drop, Kind, Output, Provenance, Reject, Stage, StageConfig
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

_MS = SAMPLE_RATE // 1000
#: Fields whose times mark utterances, the surest first.
_UTTERANCE_FIELDS = ("transcript", "emotion", "style", "speaker", "arousal", "dominance", "valence")
#: Fields that show that somebody listened to the recording.
_HEARD_FIELDS = frozenset({"transcript", "words", "emotion", "intensity", "event", *labels.RATINGS})
#: A voice this much louder in another channel, beside each channel's own usual level and outright, is a leak.
_LEAK_DB, _LEAK_OUTRIGHT_DB = 10.0, 15.0


class SegmentConfig(StageConfig):
    method: Literal["auto", "given", "turns", "vad"] = "auto"
    max_seconds: float = Field(30.0, gt=1, le=60, description="no clip is longer")
    min_seconds: float = Field(0.3, gt=0, description="what is shorter becomes no clip")
    split_pause: float = Field(0.8, gt=0, description="a pause of so many seconds ends a clip (vad, turns)")
    shortest_piece: float = Field(2.0, ge=0, description="seconds below which cutting at a pause is avoided")
    pad: float = Field(0.2, ge=0, le=1, description="seconds kept around speech, where there is a pause (vad, turns)")
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which on a frame is speech")
    min_speech: float = Field(0.1, ge=0, description="seconds of speech below which nobody speaks")


class _Channel(NamedTuple):
    number: int
    samples: Floats
    speech: Floats  # probability per frame of silero.FRAME samples; -1 where it is a leak from another channel
    notes: list[Note]
    turns: list[Note]  # speakers with times
    voices: int  # that a diarizer found; 0 where none was asked


class Segment(Stage):
    name: ClassVar[str] = "segment"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "recordings"
    kind: ClassVar[Kind] = Kind.EXPAND
    Config: ClassVar[type[StageConfig]] = SegmentConfig

    reads = ("corpus", "licence", "official_split", "duration", "audio")
    optional_reads = ("annotations",)
    creates = {"clips": tables.CLIPS}
    batch_rows = 64
    batch_seconds = 1800.0

    def semantics(self) -> dict[str, Any]:
        return {"vad": silero.revision()}

    def provenance(self) -> tuple[Provenance, ...]:
        return (silero.provenance("start", "end", "level_dbfs", "snr_db"),)

    def check(self) -> str | None:
        return None if silero.model_path() else "the voice activity model is missing: pip install faster-whisper"

    def setup(self) -> None:
        self.detect = silero.Silero()

    def process(self, batch: pa.Table) -> Output:
        output = Output()
        clips: list[dict[str, Any]] = []
        columns = {name: batch[name].to_pylist() for name in batch.column_names if name != "audio"}
        for row in range(batch.num_rows):
            recording = {name: values[row] for name, values in columns.items()}
            try:
                found = list(self._clips(recording, decode_flac(batch["audio"][row].as_py())))
            except RowError as error:
                output.rejects.append(Reject(row, error.error_class, error.message))
                continue
            except _Nothing as nothing:
                output.drops.append(Drop(row, str(nothing)))
                continue
            clips += found
        output.created["clips"] = tables.from_rows(clips, tables.CLIPS)
        return output

    # --- One recording --------------------------------------------------------------------------------------

    def _clips(self, recording: dict[str, Any], audio: Floats) -> Iterator[dict[str, Any]]:
        sound = audio.reshape(len(audio), -1)
        if not np.any(np.abs(sound) > 1.5 / 32768):
            raise _Nothing("no speech: digital silence")
        if len(sound) < self.config.min_seconds * SAMPLE_RATE:
            raise _Nothing(f"shorter than {self.config.min_seconds} s")
        notes = [n for n in recording.get("annotations") or [] if _usable(n)]
        channels = self._channels(sound, notes)
        spans = [(channel, span) for channel in channels for span in self._spans(channel, len(channels))]
        if not spans:
            long = len(sound) > self.config.max_seconds * SAMPLE_RATE
            missing = {"turns": "no turns are given", "given": "no utterances are given" if long else None}
            raise _Nothing(missing.get(self.config.method) or "no speech")
        anyone = np.maximum.reduce([channel.speech for channel in channels]) >= self.config.threshold
        spoken = np.concatenate(([0], np.cumsum(anyone)))
        for channel, (start, end) in spans:
            place = spoken[int((start + end) / 2 / silero.FRAME_S)] / max(spoken[-1], 1)
            yield self._clip(recording, channel, round(start * 1000), round(end * 1000), len(sound), float(place))

    def _channels(self, sound: Floats, notes: Sequence[Note]) -> list[_Channel]:
        count = sound.shape[1]
        numbers = [
            at
            for at in range(count)
            if not any(np.max(np.abs(sound[:, at] - sound[:, other])) <= 2.5 / 32768 for other in range(at))
        ]
        tracks = [np.ascontiguousarray(sound[:, at]) for at in numbers]
        speech = _without_leaks(tracks, [self.detect(track) for track in tracks])
        return [
            _Channel(number, track, probability, *turns.settle(labels.of_channel(notes, number, count)))
            for number, track, probability in zip(numbers, tracks, speech, strict=True)
        ]

    def _spans(self, channel: _Channel, channels: int) -> list[Span]:
        """Begin and end of each clip in whole milliseconds, in order, without repetition."""
        config = self.config
        seconds = len(channel.samples) // _MS / 1000
        regions = cuts.speech_regions(channel.speech, silero.FRAME_S, config.threshold)
        regions = [(begin, min(end, seconds)) for begin, end in regions if begin < seconds]
        spoken = sum(end - begin for begin, end in regions) >= config.min_speech
        words = [(w["start"], w["end"]) for w in labels.word_list(channel.notes)]
        method = config.method
        given = [] if method == "vad" else _utterances(channel, method, seconds, config)
        short = seconds <= config.max_seconds
        if given:
            spans = [piece for span in given for piece in self._fit(span, words or regions, channel)]
        elif method == "turns" or (method == "given" and not short):
            spans = []
        elif method != "vad" and short:
            mine = [n for n in channel.notes if channels == 1 or n["channel"] is not None]
            labelled = any(n["field"] in _HEARD_FIELDS for n in mine)
            spans = [(0.0, seconds)] if spoken or labelled else []
        else:
            cores = _disjoint(words) or (regions if spoken else [])
            spans = self._cut(cores, (0.0, seconds), channel)
        whole_ms = sorted({(math.floor(a * 1000 + 1e-6), math.floor(b * 1000 + 1e-6)) for a, b in spans})
        limit = math.floor(config.max_seconds * 1000)
        return [(a / 1000, min(b, a + limit) / 1000) for a, b in whole_ms if b - a >= config.min_seconds * 1000]

    def _cut(self, cores: Sequence[Span], bounds: Span, channel: _Channel, pad: float | None = None) -> list[Span]:
        config = self.config
        limits = cuts.Limits(
            config.max_seconds, config.split_pause, config.shortest_piece, config.pad if pad is None else pad
        )
        return cuts.pieces(cores, limits, bounds, channel.speech, silero.FRAME_S)

    def _fit(self, span: Span, cores: Sequence[Span], channel: _Channel) -> list[Span]:
        """A given utterance stays as it is unless it is too long; then it is cut in its pauses."""
        if span[1] - span[0] <= self.config.max_seconds:
            return [span]
        return self._cut(_disjoint(cores), span, channel) or self._cut([span], span, channel, pad=0.0)

    def _clip(
        self, recording: dict[str, Any], channel: _Channel, start_ms: int, end_ms: int, length: int, place: float
    ) -> dict[str, Any]:
        samples = channel.samples[start_ms * _MS : end_ms * _MS]
        pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
        frames = slice(-(-start_ms * _MS // silero.FRAME), end_ms * _MS // silero.FRAME)
        level, snr = levels(_frames(channel.samples)[frames], channel.speech[frames], self.config.threshold)
        whole = start_ms == 0 and length - end_ms * _MS < _MS
        reached = labels.for_clip(channel.notes, start_ms / 1000, end_ms / 1000, whole=whole, place=place)
        value = {label["field"]: label["value"] for label in reached}
        name = value.get("speaker")
        return {
            "clip_id": f"{recording['recording_id']}-{channel.number}-{start_ms:08d}-{end_ms:08d}",
            "recording_id": recording["recording_id"],
            "corpus": recording["corpus"],
            "channel": channel.number,
            "start": start_ms / 1000,
            "end": end_ms / 1000,
            "duration": (end_ms - start_ms) / 1000,
            "speaker": f"{recording['corpus']}/{name}" if name else None,
            "sex": labels.sex(value.get("sex")),
            "age_years": _age(value.get("age_years")),
            "speech_lang": text.language(value.get("language")),
            "style": value.get("style"),
            "licence": recording["licence"],
            "official_split": recording["official_split"],
            "labels": reached,
            "level_dbfs": level,
            "clipping_ratio": round(float(np.mean((pcm == 32767) | (pcm == -32768))), 6),
            "snr_db": snr,
            "audio_hash": hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest(),
            "audio": encode_flac(pcm),
        }


class _Nothing(Exception):
    """Why a recording gives no clip."""


# --- Given times --------------------------------------------------------------------------------------------


def _usable(note: Note) -> bool:
    """Times must be numbers and run forward; an annotation whose times make no sense says nothing."""
    start, end = note["start"], note["end"]
    if start is None:
        return True
    return math.isfinite(start) and (end is None or (math.isfinite(end) and end > max(start, 0)))


def _utterances(channel: _Channel, method: str, seconds: float, config: SegmentConfig) -> list[Span]:
    if method == "turns":
        return _turns(channel.turns, seconds, config.split_pause)
    notes = [n for n in channel.notes if n["source"] != turns.SOURCE]
    taken: list[Span] = []
    for field in _UTTERANCE_FIELDS:
        spans = {
            (max(n["start"], 0.0), seconds if n["end"] is None else min(n["end"], seconds))
            for n in notes
            if n["field"] == field and n["start"] is not None
        }
        for begin, end in sorted(spans):
            # Less sure fields may add utterances, not cut across those already there.
            shared = sum(max(min(end, b) - max(begin, a), 0.0) for a, b in taken if (a, b) not in spans)
            if end - begin >= config.min_seconds and shared <= labels.DISTURBS * (end - begin):
                taken.append((begin, end))
    if not taken and method == "auto" and channel.voices > 1:
        return _turns(channel.turns, seconds, config.split_pause)
    return sorted(set(taken))


def _turns(notes: Sequence[Note], seconds: float, split_pause: float) -> list[Span]:
    """Stretches of one speaker alone; pauses of the same speaker shorter than ``split_pause`` are bridged."""
    voices: dict[str, list[Span]] = {}
    for note in notes:
        if note["field"] == "speaker" and note["start"] is not None:
            end = seconds if note["end"] is None else min(note["end"], seconds)
            voices.setdefault(note["value"], []).append((max(note["start"], 0.0), end))
    spans: list[Span] = []
    for name in sorted(voices):
        others = sorted(span for other, spoken in voices.items() if other != name for span in spoken)
        alone: list[Span] = []
        for begin, end in sorted(voices[name]):
            for a, b in others:
                if b <= begin or a >= end:
                    continue
                if a > begin:
                    alone.append((begin, a))
                begin = max(begin, b)
            if begin < end:
                alone.append((begin, end))
        joined: list[Span] = []
        for begin, end in alone:
            clear = not any(a < begin and b > joined[-1][1] for a, b in others) if joined else False
            if joined and clear and begin - joined[-1][1] < split_pause:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((begin, end))
        spans += joined
    return sorted(spans)


def _disjoint(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, overlapping ones joined."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _age(value: str | None) -> float | None:
    try:
        age = float(value or "")
    except ValueError:
        return None
    return age if 0 < age < 130 else None


# --- Sound --------------------------------------------------------------------------------------------------


def _without_leaks(tracks: Sequence[Floats], speech: list[Floats]) -> list[Floats]:
    """Speech probabilities, -1 where another channel's voice is what this one hears."""
    if len(tracks) < 2:
        return speech
    power = np.stack([_decibels(np.mean(np.square(_frames(track)), axis=1)) for track in tracks])
    usual = np.percentile(power, 95, axis=1, keepdims=True)
    cleaned = []
    for at, probability in enumerate(speech):
        others = [other for other in range(len(tracks)) if other != at]
        louder = np.max((power[others] - usual[others]) - (power[at] - usual[at]), axis=0) > _LEAK_DB
        outright = np.max(power[others] - power[at], axis=0) > _LEAK_OUTRIGHT_DB
        leak = louder | outright
        # The faint beginnings and ends of a leaking word are no louder over there: judge stretches as a whole.
        for begin, end in cuts.runs(probability >= 0.15):
            if np.mean(leak[begin:end]) >= 0.5:
                leak[begin:end] = True
        cleaned.append(np.where(leak, np.float32(-1), probability))
    return cleaned


def _frames(samples: Floats) -> Floats:
    """[n] -> [ceil(n / FRAME), FRAME], the last one filled up with zeros; a view where nothing has to be filled."""
    short = -len(samples) % silero.FRAME
    return np.pad(samples, (0, short)).reshape(-1, silero.FRAME) if short else samples.reshape(-1, silero.FRAME)


def _decibels(power: Floats) -> Floats:
    """Relative to full scale; not below -100 dB, under the noise of 16 bits."""
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)), dtype=np.float32)


def levels(frames: Floats, speech: Floats, threshold: float) -> tuple[float | None, float | None]:
    """Level of the speech in dBFS (RMS; a full-scale square wave has 0) and how far the pauses lie below it, in dB.

    Args:
        frames: float32 [n, FRAME], full scale 1.
        speech: probability of speech in each frame [n], negative where it is not to be used.

    Returns:
        Level over the frames that are speech; where the detector hears under 0.1 s of it (a whisper, a laugh), over
        those within 20 dB of the loudest. The distance is null without 0.15 s of pauses that hold more than zeros
        (padding is no room noise) and lie 0.1 s off the speech (its reverberation is none either).
    """
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if not np.any(power > 0):
        return None, None
    heard = speech >= threshold
    voiced = heard if np.count_nonzero(heard) * silero.FRAME_S >= 0.1 else power >= power.max() / 100
    level = 10 * np.log10(np.mean(power[voiced]))
    near = np.convolve(voiced, np.ones(2 * 3 + 1), mode="full")[3:-3] > 0
    quiet = (speech >= 0) & (speech < 0.15) & ~near & (np.mean(frames != 0, axis=1) > 0.5)
    if np.count_nonzero(quiet) * silero.FRAME_S < 0.15:
        return round(float(level), 6), None
    distance = float(level - 10 * np.log10(np.mean(power[quiet])))
    # Pauses louder than the speech are speech that the detector missed.
    return round(float(level), 6), round(distance, 6) if distance > 0 else None
