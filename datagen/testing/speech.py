"""Synthetic speech with known truth: a source-filter voice in NumPy, for tests and for trying things out.

It is not meant to sound pretty. It is meant to have what measurements look for (harmonics at a known F0, formants,
syllables that rise and fall, pauses, level, spectral tilt, breath, whisper) at places and values that are known,
so that a measured value can be compared with the true one. Same arguments, same samples.

    samples, truth = synth("The harbour was quiet. Nobody spoke.", f0_hz=190, rate=4.5, level_db=-24, seed=3)
    truth.f0_median_hz, truth.words[0], truth.pauses
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.testing.source_filter import (
    CONSONANTS,
    FRICATIVE,
    SAMPLE_RATE,
    SONORANT,
    STOP,
    VOWELS,
    Floats,
    Syllable,
    f0_contour,
    fade,
    gains,
    pulses,
    range_st,
    shaped,
)

F0_HOP_S = 0.01

_VOWEL_NAMES = tuple(VOWELS)
_VOWEL_OF = {"a": "A", "e": "E", "i": "I", "o": "o", "u": "V", "y": "i", "ee": "i", "ea": "i", "oo": "u", "ou": "u",
             "ai": "E", "ay": "E", "er": "3", "ir": "3", "ur": "3", "au": "a", "aw": "a", "ar": "a", "ie": "i",
             "ow": "a", "oa": "o", "oi": "o", "ei": "E", "ue": "u", "ä": "E", "ö": "3", "ü": "i"}  # fmt: skip
_FRICATIVE_LETTERS, _STOP_LETTERS = frozenset("sfhvzxc"), frozenset("ptkbdgqj")


@dataclass(frozen=True, slots=True)
class Span:
    """A named stretch of the signal, seconds from its beginning."""

    label: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What was put into the samples. Times in seconds from the first sample.

    ``f0_hz`` is sampled at ``f0_times`` (every 10 ms) and NaN where nothing vibrates; ``level_dbfs`` is the RMS over
    ``speech_spans`` before noise was added, in dB relative to full scale; ``rate_syl_s`` leaves pauses out.
    """

    duration: float
    f0_times: Floats
    f0_hz: Floats
    f0_median_hz: float | None
    f0_range_st: float | None
    syllables: tuple[Span, ...]
    words: tuple[Span, ...]
    pauses: tuple[Span, ...]
    speech_start: float
    speech_end: float
    rate_syl_s: float
    level_dbfs: float
    snr_db: float | None
    transcript: str | None

    @property
    def pause_ratio(self) -> float:
        """Share of silence between the first and the last speech."""
        return sum(p.end - p.start for p in self.pauses) / (self.speech_end - self.speech_start)

    @property
    def speech_spans(self) -> tuple[tuple[float, float], ...]:
        """Stretches of speech between the pauses."""
        edges = [self.speech_start, *(t for p in self.pauses for t in (p.start, p.end)), self.speech_end]
        return tuple(zip(edges[::2], edges[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker: pitch, vocal tract (formant factor: 1.0 long, about 1.17 short), habits."""

    name: str
    sex: str
    f0_hz: float
    formant_scale: float
    breathiness: float = 0.05
    gain_db: float = 0.0


#: Eight speakers, alternately female and male, distinct in pitch, vocal tract, breath and recording gain.
VOICES = (
    Voice("ada", "female", 205.0, 1.16, 0.10, 0.0),
    Voice("ben", "male", 112.0, 1.00, 0.04, -2.0),
    Voice("cleo", "female", 228.0, 1.19, 0.06, -4.0),
    Voice("dan", "male", 128.0, 1.04, 0.08, 1.5),
    Voice("eve", "female", 186.0, 1.13, 0.14, 2.0),
    Voice("finn", "male", 98.0, 0.97, 0.05, -5.0),
    Voice("gia", "female", 214.0, 1.15, 0.04, -1.0),
    Voice("hal", "male", 141.0, 1.06, 0.06, 0.5),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    syllables: list[Syllable]
    words: list[str] = field(default_factory=list)
    pauses: dict[int, float] = field(default_factory=dict)  # after syllable i, seconds
    transcript: str | None = None


# --- From text or a count to syllables ----------------------------------------------------------------------


def syllables(word: str) -> list[str]:
    """Vowel groups of a written word, at least one: ``"harbour" -> ["a", "ou"]``. A rough rule, not phonetics."""
    letters = re.sub(r"[^\w]|[\d_]", "", word.lower())
    groups = re.findall(r"[aeiouyäöü]{1,2}", letters)
    if len(groups) > 1 and letters.endswith("e") and not letters.endswith(("le", "ee")) and groups[-1] == "e":
        groups.pop()  # "quite", "spoke": the last e is silent
    return groups or ["e"]


def _plan_text(text: str) -> _Plan:
    plan = _Plan([], transcript=text)
    for token in text.split():
        bare = token.strip(".,;:!?\"'()-–—")
        if not bare:
            continue
        pieces = syllables(bare)
        for at, vowels in enumerate(pieces):
            before = bare.lower()[: bare.lower().find(vowels[0])] if at == 0 else bare.lower()[-2:]
            kind = SONORANT
            if set(before) & _FRICATIVE_LETTERS:
                kind = FRICATIVE
            elif set(before) & _STOP_LETTERS:
                kind = STOP
            vowel = _VOWEL_OF.get(vowels, _VOWEL_OF.get(vowels[0], "E"))
            plan.syllables.append(Syllable(vowel, kind, len(plan.words)))
        plan.words.append(bare)
        if token[-1] in ",;:":
            plan.pauses[len(plan.syllables) - 1] = 0.25
        elif token[-1] in ".!?":
            plan.pauses[len(plan.syllables) - 1] = 0.5
    if not plan.syllables:
        raise ValueError(f"no words in {text!r}")
    return plan


def _plan_count(count: int, rng: np.random.Generator) -> _Plan:
    vowels = rng.integers(len(_VOWEL_NAMES), size=count)
    consonants = rng.integers(len(CONSONANTS), size=count)
    made = [
        Syllable(_VOWEL_NAMES[v], CONSONANTS[c], i) for i, (v, c) in enumerate(zip(vowels, consonants, strict=True))
    ]
    return _Plan(made)


# --- Synthesis ----------------------------------------------------------------------------------------------


def synth(
    speech: str | int,
    *,
    f0_hz: float = 120.0,
    f0_range_st: float = 5.0,
    rate: float = 4.5,
    level_db: float = -26.0,
    tilt_db_octave: float = -6.0,
    breathiness: float = 0.05,
    formant_scale: float = 1.0,
    whispered: bool = False,
    pauses: Mapping[int, float] | None = None,
    noise_db: float | None = None,
    lead_s: float = 0.2,
    tail_s: float = 0.2,
    seed: int = 0,
) -> tuple[NDArray[np.float32], Truth]:
    """Speak a text, or ``speech`` syllables chosen by the seed.

    Args:
        speech: text (punctuation makes pauses: 0.25 s after a comma, 0.5 s after a sentence) or a syllable count.
        f0_hz: median F0 over voiced stretches, exact in the truth.
        f0_range_st: distance of the 5th and 95th percentile of F0, semitones.
        rate: syllables per second of speech, pauses left out.
        level_db: RMS over speech in dBFS. Above about -14 the peaks clip, as they would in a recorder.
        tilt_db_octave: slope of the source above 200 Hz; pressed and loud voices are flatter.
        breathiness: 0..1, share of noise in the voiced source.
        formant_scale: factor on all formants; 1.0 = a man's vocal tract, 1.17 = a woman's.
        whispered: noise instead of pulses everywhere; the truth then has no F0.
        pauses: seconds of silence after a syllable (by index); replaces those of the punctuation.
        noise_db: RMS of white background noise over the whole signal in dBFS; None = digital silence in pauses.
        lead_s, tail_s: silence before and after, seconds.

    Returns:
        float32 samples within [-1, 1] at 16 kHz, mono; and the truth.

    Raises:
        ValueError: no syllables, or a rate, F0 or duration that is not positive.
    """
    if rate <= 0 or f0_hz <= 0 or lead_s < 0 or tail_s < 0:
        raise ValueError("rate and f0_hz must be positive, lead_s and tail_s must not be negative")
    rng = np.random.default_rng(seed)
    plan = _plan_count(speech, rng) if isinstance(speech, int) else _plan_text(speech)
    count = len(plan.syllables)
    if count < 1:
        raise ValueError("at least one syllable is needed")
    gaps = dict(plan.pauses if pauses is None else pauses)
    gaps = {i: float(s) for i, s in sorted(gaps.items()) if 0 <= i < count - 1 and s > 0}

    lengths = rng.uniform(0.85, 1.15, count)
    lengths *= (count / rate) / lengths.sum()
    before = np.concatenate([[0.0], np.cumsum([gaps.get(i, 0.0) for i in range(count - 1)])])
    starts = lead_s + np.concatenate([[0.0], np.cumsum(lengths)[:-1]]) + before
    ends = starts + lengths
    total = round(float(ends[-1] + tail_s) * SAMPLE_RATE)
    time = np.arange(total) / SAMPLE_RATE

    voiced_gain, noise_gain, consonant_part = gains(plan.syllables, starts, lengths, time, whispered)
    f0 = f0_contour(time, starts, ends, voiced_gain > 0.05, f0_hz, f0_range_st, rng)
    source = np.zeros(total)
    noise = rng.standard_normal(total)
    if not whispered:
        source = pulses(f0) * voiced_gain * (1 - breathiness)
        source += noise * voiced_gain * breathiness
    else:
        noise_gain = np.maximum(noise_gain, voiced_gain)
    voice = shaped(
        source + noise * noise_gain, plan.syllables, starts, ends, consonant_part, formant_scale, tilt_db_octave
    )

    speaking = np.zeros(total, bool)
    for start, end in zip(starts, ends, strict=True):
        speaking[int(np.ceil(start * SAMPLE_RATE)) : int(end * SAMPLE_RATE)] = True
    voice *= fade(speaking)
    rms = float(np.sqrt(np.mean(voice[speaking] ** 2)))
    voice *= 10 ** (level_db / 20) / rms
    if noise_db is not None:
        voice += rng.standard_normal(total) * 10 ** (noise_db / 20)
    samples = np.clip(voice, -1.0, 1.0).astype(np.float32)

    f0_times = np.arange(0, total, int(F0_HOP_S * SAMPLE_RATE)) / SAMPLE_RATE
    at = (f0_times * SAMPLE_RATE).astype(int)
    track = np.where((voiced_gain[at] > 0.05) & (not whispered), f0[at], np.nan)
    known = track[np.isfinite(track)]
    spans = tuple(Span(s.vowel, float(a), float(b)) for s, a, b in zip(plan.syllables, starts, ends, strict=True))
    owner = np.array([s.word for s in plan.syllables])
    words = tuple(
        Span(w, float(starts[owner == i].min()), float(ends[owner == i].max())) for i, w in enumerate(plan.words)
    )
    return samples, Truth(
        duration=total / SAMPLE_RATE,
        f0_times=f0_times,
        f0_hz=track,
        f0_median_hz=float(np.median(known)) if known.size else None,
        f0_range_st=range_st(known) if known.size else None,
        syllables=spans,
        words=words,
        pauses=tuple(Span("", float(ends[i]), float(starts[i + 1])) for i in gaps),
        speech_start=float(starts[0]),
        speech_end=float(ends[-1]),
        rate_syl_s=float(rate),
        level_dbfs=float(level_db),
        snr_db=None if noise_db is None else float(level_db - noise_db),
        transcript=plan.transcript,
    )


# --- A small labelled corpus --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manner:
    """How an emotion changes a voice, relative to its neutral way of speaking."""

    f0_st: float = 0.0
    range_factor: float = 1.0
    level_db: float = 0.0
    rate_factor: float = 1.0
    tilt_db: float = 0.0  #: positive = flatter slope = more energy above 500 Hz


#: Directions as in Banse & Scherer (1996) and Juslin & Laukka (2003); sizes are ours, middle of what actors do.
MANNERS: Mapping[str, Manner] = {
    "neutral": Manner(),
    "calm": Manner(-1.0, 0.8, -3.0, 0.9, -1.0),
    "sad": Manner(-1.5, 0.7, -6.0, 0.8, -2.0),
    "disgusted": Manner(-0.5, 1.0, 1.0, 0.9, 0.5),
    "happy": Manner(4.0, 1.6, 5.0, 1.1, 2.0),
    "surprised": Manner(5.0, 1.8, 4.0, 1.05, 1.5),
    "fearful": Manner(5.5, 1.0, 3.0, 1.25, 1.5),
    "angry": Manner(4.5, 1.5, 8.0, 1.15, 3.0),
}
HIGH_AROUSAL = ("angry", "fearful", "happy", "surprised")
LOW_AROUSAL = ("calm", "neutral", "sad")

SENTENCES = (
    "The letters are lying on the kitchen table.",
    "Nobody told me that the train was late.",
    "We can leave as soon as it stops raining.",
    "She moved the boxes to the other room.",
    "There is a light in the house by the river.",
    "I have heard about the meeting on Friday.",
    "They painted the garden door green this summer.",
    "You said the key was under the stone.",
)


def corpus(
    folder: str | Path,
    *,
    name: str = "synthetic",
    speakers: int = 4,
    emotions: Sequence[str] = ("neutral", "sad", "happy", "angry"),
    sentences: int | Sequence[str] = 2,
    takes: int = 1,
    level_normalised: bool = False,
    noise_db: float | None = -70.0,
    suffix: str = "flac",
    language: str = "en",
    licence: str = "CC0-1.0",
    seed: int = 0,
) -> list[tuple[dict[str, Any], Truth]]:
    """Write a labelled corpus of parallel sentences as an AudioFolder: every speaker says all in every emotion.

    Layout: ``<folder>/<speaker>/<sentence>-<emotion>-<take>.<suffix>`` and ``<folder>/metadata.jsonl`` with the keys
    ``file_name, corpus, speaker, sex, emotion, transcript, language, style, licence``.

    Args:
        sentences: how many of ``SENTENCES`` (at most 8), or the texts.
        level_normalised: bring every file to one level, as some corpora are: level then says nothing.
        suffix: a format soundfile writes, such as ``flac`` or ``wav``.

    Returns:
        The metadata rows with their truths, in file order.
    """
    import soundfile

    if speakers > len(VOICES):
        raise ValueError(f"there are {len(VOICES)} voices, not {speakers}")
    unknown = [emotion for emotion in emotions if emotion not in MANNERS]
    if unknown:
        raise ValueError(f"no manner for {', '.join(unknown)}; there are: {', '.join(MANNERS)}")
    texts = SENTENCES[:sentences] if isinstance(sentences, int) else tuple(sentences)
    root = Path(folder)
    rows: list[tuple[dict[str, Any], Truth]] = []
    for voice_index, voice in enumerate(VOICES[:speakers]):
        (root / voice.name).mkdir(parents=True, exist_ok=True)
        for text_index, text in enumerate(texts):
            for emotion in emotions:
                for take in range(1, takes + 1):
                    # Seeded by what the clip is, so that adding an emotion or a speaker changes no other file.
                    key = [seed, voice_index, text_index, list(MANNERS).index(emotion), take]
                    samples, truth = say(text, voice, emotion, seed=_seed(key), level_normalised=level_normalised,
                                         noise_db=noise_db)  # fmt: skip
                    file = f"{voice.name}/{text_index:02d}-{emotion}-{take}.{suffix}"
                    soundfile.write(root / file, samples, SAMPLE_RATE, subtype="PCM_16")
                    row = {"file_name": file, "corpus": name, "speaker": voice.name, "sex": voice.sex,
                           "emotion": emotion, "transcript": text, "language": language,
                           "style": "synthetic", "licence": licence}  # fmt: skip
                    rows.append((row, truth))
    write_metadata(root, (row for row, _ in rows))
    return rows


def say(
    text: str,
    voice: Voice = VOICES[0],
    emotion: str = "neutral",
    *,
    seed: int = 0,
    level_normalised: bool = False,
    noise_db: float | None = None,
) -> tuple[NDArray[np.float32], Truth]:
    """``synth`` with a speaker's voice and an emotion's manner, and some variation from take to take."""
    manner = MANNERS[emotion]
    vary = np.random.default_rng([seed, 1]).normal(0.0, 1.0, 4)
    level = -26.0 if level_normalised else -26.0 + voice.gain_db + manner.level_db + 1.0 * vary[0]
    return synth(
        text,
        f0_hz=float(voice.f0_hz * 2 ** ((manner.f0_st + 0.5 * vary[1]) / 12)),
        f0_range_st=float(4.5 * manner.range_factor * 1.1 ** vary[2]),
        rate=float(4.4 * manner.rate_factor * 1.05 ** vary[3]),
        level_db=float(level),
        tilt_db_octave=-6.0 + manner.tilt_db,
        breathiness=voice.breathiness,
        formant_scale=voice.formant_scale,
        noise_db=noise_db,
        seed=seed,
    )


def write_metadata(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """``metadata.jsonl`` of an AudioFolder, one row per line in the order given."""
    path = folder / "metadata.jsonl"
    path.write_text("".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _seed(key: Sequence[int]) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])
