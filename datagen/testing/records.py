"""Clip rows as a finished measuring run would leave them: for tests of writers, checks, routing and exports.

    rows = clip_rows(20, seed=1)                       # plain dicts, every fact known
    table = clip_table(200, seed=1, null_rate=0.2)     # Arrow, each fact missing in a fifth of the rows

Values hang together as they do in real speech: levels follow from numbers, numbers from emotion and sex, word times
from the text and the rate; the same text comes in several emotions, so contrast groups exist.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from datagen import tables
from datagen.quality.emotions import SENTIMENT_OF

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "Dogs are sitting by the door.",
        "Kids are talking by the door.",
        "Don't forget a jacket.",
        "It's eleven o'clock.",
        "Would you please close the window before we leave the house tonight?",
        "He told her that the train to Boston leaves at a quarter past nine, and she believed him.",
        "I never thought we would see the old lighthouse again after all those years away from the coast.",
        "Stop!",
    ),
    "de": (
        "Der Lappen liegt auf dem Eisschrank.",
        "Das will sie am Mittwoch abgeben.",
        "Heute Abend könnte ich es ihm sagen, wenn er endlich nach Hause käme.",
        "Mist, wieder nichts geschafft.",
    ),
    "es": ("Me enfada mucho que lleguen tarde otra vez.", "La casa de mi abuela está cerca del río."),
    "pl": ("Jutro rano pojedziemy nad morze całą rodziną.", "Bardzo się cieszę, że przyszedłeś."),
}
STYLES = (None, "read", "conversation")
EVENTS = ("laughter", "sigh", "breath", "cough", "crying")

#: Mean shift of (pitch, range, loudness, rate, pauses, arousal) per emotion, in standard deviations.
_SHIFT: dict[str, tuple[float, ...]] = {
    "angry": (1.0, 0.8, 1.3, 0.8, -0.8, 1.5),
    "disgusted": (-0.6, 0.0, -0.1, -0.7, 0.5, 0.0),
    "fearful": (1.2, 0.0, 0.2, 1.0, -0.2, 1.1),
    "happy": (1.1, 1.2, 0.8, 0.7, -0.5, 1.2),
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "other": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "sad": (-0.8, -1.0, -1.2, -1.0, 1.0, -1.4),
    "surprised": (1.5, 1.4, 0.6, 0.2, 0.0, 1.2),
}
#: What a stage may leave null, alone or as a group that has one reason.
NULLABLE: tuple[tuple[str, ...], ...] = (
    ("transcript", "words", "asr_confidence", "transcript_source", "cue_relation"),
    ("words",),
    ("emotion", "emotion_raw", "emotion_margin", "label_source", "sentiment"),
    ("sentiment",),
    ("sex",),
    ("age_years",),
    ("style",),
    ("events",),
    ("cue_relation",),
    ("text_lang", "speech_lang"),
    ("f0_median_hz", "f0_pct", "pitch_level"),
    ("f0_range_st", "f0_range_pct", "pitch_range_level"),
    ("level_dbfs", "level_pct", "loudness_level"),
    ("rate_syl_s", "rate_source", "rate_pct", "rate_level"),
    ("pause_ratio", "longest_pause_s", "pause_pct", "pause_level"),
    ("arousal", "arousal_pct", "arousal_level"),
    ("dominance", "dominance_pct", "dominance_level"),
    ("valence", "valence_pct", "valence_level"),
)

CLIP_SCHEMA = pa.schema(
    [
        field
        for schema in (
            tables.CLIPS, tables.TRANSCRIBE, tables.EMOTION, tables.AGE_GENDER, tables.AFFECT, tables.PROSODY,
            tables.EVENTS, tables.DESCRIBE, tables.AGREEMENT, tables.NEIGHBOURS, tables.CONDENSE,
            tables.SPLIT, tables.SCENARIO,
        )
        for field in schema
        if not tables.is_heavy(field)
    ]
)  # fmt: skip


def clip_rows(
    count: int, seed: int = 0, *, null_rate: float = 0.0, language: str | None = None
) -> list[dict[str, Any]]:
    """``count`` fully described clips, without audio. ``null_rate``: how often each group of facts is missing."""
    return [_row(index, seed, null_rate, language) for index in range(count)]


def clip_table(count: int, seed: int = 0, *, null_rate: float = 0.0, language: str | None = None) -> pa.Table:
    """The same as one Arrow table with every column of a finished clips table but the heavy ones."""
    return tables.from_rows(clip_rows(count, seed, null_rate=null_rate, language=language), CLIP_SCHEMA)


def without(row: Mapping[str, Any], groups: tuple[int, ...]) -> dict[str, Any]:
    """A copy in which the given groups of ``NULLABLE`` are null."""
    return {**row, **{name: None for group in groups for name in NULLABLE[group]}}


def joined(samples: pa.Table, clips: pa.Table) -> pa.Table:
    """What the engine hands to a stage on ``samples``: their columns, with those of their clip beside them."""
    place = {clip: index for index, clip in enumerate(clips["clip_id"].to_pylist())}
    taken = clips.take(pa.array([place[clip] for clip in samples["clip_id"].to_pylist()], pa.int64()))
    for name in taken.column_names:
        if name not in samples.column_names:
            samples = samples.append_column(taken.schema.field(name), taken[name])
    return samples


def _row(index: int, seed: int, null_rate: float, language: str | None) -> dict[str, Any]:
    dice = random.Random(f"{seed}:{index}")
    lang = language or dice.choices(("en", "de", "es", "pl"), (7, 3, 1, 1))[0]
    text = dice.choice(SENTENCES[lang])
    emotion = dice.choice(tables.EMOTIONS)
    sex = dice.choice(("female", "male"))
    z = [dice.gauss(shift, 0.7) for shift in _SHIFT[emotion]]
    rate = round(min(7.5, max(2.0, 4.5 + 0.8 * z[3])), 6)
    words = _words(text, rate, dice)
    duration = round(words[-1]["end"] + 0.25, 6)
    arousal, dominance = _share(z[5]), _share(0.7 * z[5] + dice.gauss(0, 0.4))
    valence = _share({"positive": 1.0, "negative": -1.0}.get(SENTIMENT_OF.get(emotion, ""), 0.0) + dice.gauss(0, 0.4))
    name = hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=8).hexdigest()
    group = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    row: dict[str, Any] = {
        "clip_id": f"{name}-0-0-{int(duration * 1000)}",
        "recording_id": name,
        "corpus": f"made_{lang}",
        "channel": 0,
        "start": 0.0,
        "end": duration,
        "duration": duration,
        "speaker": f"made_{lang}/{sex[0]}{index % 6}",
        "sex": sex,
        "age_years": float(dice.randint(19, 78)),
        "speech_lang": lang,
        "style": dice.choice(STYLES),
        "licence": "CC0-1.0",
        "labels": [{"field": "emotion", "value": emotion, "source": "corpus", "reason": None}],
        "level_dbfs": round(-27.0 + 5.0 * z[2], 6),
        "clipping_ratio": 0.0,
        "snr_db": round(dice.uniform(18, 45), 6),
        "audio_hash": hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        "transcript": text,
        "words": words,
        "text_lang": lang,
        "asr_confidence": 1.0,
        "transcript_source": "gold",
        "emotion": emotion,
        "emotion_raw": emotion,
        "emotion_margin": round(dice.uniform(0.2, 0.95), 6),
        "label_source": dice.choice(("gold", "pseudo")),
        "sentiment": SENTIMENT_OF.get(emotion),
        "f0_median_hz": round((205.0 if sex == "female" else 118.0) * 2 ** (z[0] / 5), 6),
        "f0_range_st": round(max(1.0, 8.0 + 2.5 * z[1]), 6),
        "voiced_ratio": round(dice.uniform(0.4, 0.8), 6),
        "rate_syl_s": rate,
        "rate_source": "words",
        "pause_ratio": round(_share(z[4] - 1.2) * 0.6, 6),
        "longest_pause_s": round(0.4 * _share(z[4]), 6),
        "events": _events(duration, dice),
        "arousal": arousal,
        "dominance": dominance,
        "valence": valence,
        "cue_relation": dice.choice((None, "neutral_text", "matched", "conflict")),
        "contrast_group_id": group,
        "contrast_type": "same_speaker:emotion",
        "contrast_emotions": sorted(tables.EMOTIONS),
        "text_cluster": group,
        "stratum": f"{emotion}|{sex}|made_{lang}",
        "sampling_weight": 1.0,
        "split": "train",
    }
    scores = {"f0": z[0], "f0_range": z[1], "level": z[2], "rate": z[3], "pause": z[4]}
    names = {"f0": "pitch", "f0_range": "pitch_range", "level": "loudness", "rate": "rate", "pause": "pause"}
    for key, score in scores.items():
        row[f"{key}_pct"] = _share(score)
        row[f"{names[key]}_level"] = _level(_share(score))
    for key in ("arousal", "dominance", "valence"):
        row[f"{key}_pct"] = row[key]
        row[f"{key}_level"] = _level(row[key])
    missing = tuple(group for group in range(len(NULLABLE)) if dice.random() < null_rate)
    return without(row, missing)


def _words(text: str, rate: float, dice: random.Random) -> list[dict[str, Any]]:
    """Words with times: about a syllable per three letters, a short gap after each, a longer one after a comma."""
    at, found = 0.2, []
    for word in text.split():
        length = max(1, round(len(word) / 3)) / rate
        found.append({"word": word, "start": round(at, 2), "end": round(at + length, 2), "score": 0.9})
        at += length + (0.25 if word.endswith(",") else 0.03) + 0.02 * dice.random()
    return found


def _events(duration: float, dice: random.Random) -> list[dict[str, Any]] | None:
    if dice.random() < 0.7:
        return []
    start = round(dice.uniform(0.0, max(0.1, duration - 0.6)), 2)
    # The corpus's: without a score, with times of its own.
    return [{"event": dice.choice(EVENTS), "start": start, "end": round(start + 0.5, 2), "score": None}]


def _share(score: float) -> float:
    """A standard score to 0..1, logistic."""
    return round(1.0 / (1.0 + math.exp(-1.7 * score)), 6)


def _level(share: float) -> str:
    return "low" if share < 0.3 else "high" if share > 0.7 else "normal"
