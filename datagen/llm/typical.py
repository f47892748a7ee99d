"""Clips as measuring leaves them in most corpora, to be written about in a rehearsal before there are any.

They are made up and never leave the rehearsal: what counts is how long their facts are as text, which questions they
admit, and that some say the same words in different ways.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_TEXTS = (
    "I never thought we would see each other again after all those years, and now you are here.",
    "Could you tell me when the next train leaves? I have been waiting for almost an hour.",
    "Well, that is what they said at the meeting, but nobody has heard anything since then.",
    "We should have left earlier.",
)
#: Emotion, sentiment, and where pitch, its range, loudness, rate, pauses and arousal lie: -1 low, 0 normal, 1 high.
_VOICES = (
    ("angry", "negative", (1, 1, 1, 1, -1, 1)),
    ("happy", "positive", (1, 1, 0, 1, 0, 1)),
    ("sad", "negative", (-1, -1, -1, -1, 1, -1)),
    ("neutral", "neutral", (0, 0, 0, 0, 0, 0)),
)
_LEVELS = {-1: "low", 0: "normal", 1: "high"}
#: Clips of the last text are a contrast group: one clip in four.
_CLIPS = [(text, voice) for text in _TEXTS[:3] for voice in _VOICES] + [(_TEXTS[3], voice) for voice in _VOICES]


def clips() -> list[dict[str, Any]]:
    """Sixteen of them, as values of the columns that stages read."""
    return [_clip(index, text, *voice) for index, (text, voice) in enumerate(_CLIPS)]


def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """``rows`` with the columns that a stage reads; what no row holds is null."""
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def _clip(index: int, text: str, emotion: str, sentiment: str, shifts: tuple[int, ...]) -> dict[str, Any]:
    pitch, spread, loudness, rate, pauses, arousal = shifts
    spoken = text.split()
    seconds = 0.4 * len(spoken)
    words = [
        {"word": word, "start": round(0.1 + 0.4 * at, 2), "end": round(0.4 + 0.4 * at, 2), "score": 0.9, "flag": None}
        for at, word in enumerate(spoken)
    ]
    contrast = text == _TEXTS[-1]
    return {
        "clip_id": f"typical{index:02d}-0-{round(1000 * seconds)}",
        "recording_id": f"typical{index:02d}",
        "corpus": "typical",
        "start": 0.0,
        "end": seconds,
        "duration": seconds,
        "speaker": f"typical/{index % 4}",
        "sex": ("female", "male")[index % 2],
        "speech_lang": "en",
        "text_lang": "en",
        "transcript": text,
        "transcript_source": "pseudo",
        "asr_confidence": 0.95,
        "asr_flags": [],
        "words": words,
        "word_count": len(spoken),
        "emotion": emotion,
        "emotion_raw": emotion,
        "emotion_predicted": emotion,
        "emotion_scores": [{"label": name, "score": 0.76 if name == emotion else 0.08} for name, *_ in _VOICES],
        "emotion_margin": 0.68,
        "label_source": "pseudo",
        "sentiment": sentiment,
        "text_emotion": "neutral",
        "text_sentiment": "neutral",
        "cue_relation": "neutral_text",
        "arousal": 0.5 + 0.3 * arousal,
        "dominance": 0.5,
        "valence": {"negative": 0.3, "neutral": 0.5, "positive": 0.7}[sentiment],
        "arousal_level": _LEVELS[arousal],
        "dominance_level": "normal",
        "valence_level": {"negative": "low", "neutral": "normal", "positive": "high"}[sentiment],
        "f0_median_hz": 160.0 + 50.0 * pitch,
        "f0_range_st": 9.0 + 4.0 * spread,
        "level_dbfs": -24.0 + 6.0 * loudness,
        "rate_syl_s": 4.4 + 1.2 * rate,
        "pause_ratio": 0.15 + 0.1 * pauses,
        "longest_pause_s": 0.4 + 0.3 * pauses,
        "pitch_level": _LEVELS[pitch],
        "pitch_range_level": _LEVELS[spread],
        "loudness_level": _LEVELS[loudness],
        "rate_level": _LEVELS[rate],
        "pause_level": _LEVELS[pauses],
        "contrast_group_id": "typical" if contrast else None,
        "contrast_type": "emotion" if contrast else None,
        "contrast_emotions": sorted(name for name, *_ in _VOICES) if contrast else None,
        "scenario": "A colleague says this on the phone, an hour before they are to meet." if contrast else None,
        "contrast_question": "What does the way this is said tell about the speaker?" if contrast else None,
        "split": "train",
    }
