"""What a language model is told of a clip: the record as one mapping, under the names that evidence uses."""

from __future__ import annotations

from typing import Any

from datagen.quality.facts import GROUP, NUMBER_FIELDS, Record, Span, format_number, format_time
from datagen.writing.slots import Slot, numbers_shown

#: In this order; a number follows the level it stands behind.
_ORDER = (
    "duration", "transcript", "words", "emotion", "sentiment", "cue_relation", "pitch_level", "f0_median_hz",
    "pitch_range_level", "f0_range_st", "loudness_level", "level_dbfs", "rate_level", "rate_syl_s", "pause_level",
    "pause_ratio", "longest_pause_s", "arousal_level", "arousal", "dominance_level", "dominance", "valence_level",
    "valence", "events", "sex", "age_years",
)  # fmt: skip

#: How a prompt calls what is asked for.
_ABOUT = {
    "emotion": "the feeling in the voice",
    "sentiment": "the sentiment in the voice",
    "transcript": "the words",
    "words": "when certain words are said",
    "pitch_level": "the pitch of the voice",
    "pitch_range_level": "the pitch range",
    "loudness_level": "the loudness",
    "rate_level": "the speaking rate",
    "pause_level": "the share of silence between the words",
    "arousal_level": "the vocal energy",
    "dominance_level": "the dominance in the voice",
    "sex": "the sex that the voice suggests",
    "events": "the sound that is no speech",
}


def facts_of(record: Record, slot: Slot) -> dict[str, Any]:
    """The facts for one slot; what is not known, or is withheld from it, is not there."""
    shown: dict[str, Any] = {}
    numbers = numbers_shown(slot.mode)
    for name in _ORDER:
        if not record.has(name) or GROUP[name] in slot.hidden or (name in NUMBER_FIELDS and name not in numbers):
            continue
        if name in ("words", "events"):
            shown[name] = [_timed(span) for span in (record.words if name == "words" else record.events)]
        elif name in NUMBER_FIELDS:
            text = format_number(name, record.get(name))
            shown[name] = float(text) if "." in text else int(text)
        else:
            shown[name] = record.get(name)
        if name == "emotion":
            shown |= _in_detail(record)
    return shown


def slot_of(slot: Slot, question: str | None = None, situation: str | None = None) -> dict[str, Any]:
    """The slot as its prompt shows it. ``question``: where it is given."""
    names_label = slot.task in ("qa", "reasoning", "response") and not slot.withheld
    entries: dict[str, Any] = {
        "task": slot.task,
        "mode": slot.mode,
        "numbers": slot.mode == "explicit",
        "question_type": slot.question_type,
        "about": _ABOUT.get(slot.field),
        "detail": slot.detail,
        "decides": [dict(item) for item in slot.decides] if names_label else None,
        "options": list(slot.options) if slot.options else None,
        "question": question,
        "situation": situation,
        "label": slot.label if names_label else None,
    }
    return {name: value for name, value in entries.items() if value not in (None, [])}


def _in_detail(record: Record) -> dict[str, Any]:
    detail: dict[str, Any] = {}
    if record.scores:
        detail["emotion_scores"] = {label: round(score, 2) for label, score in record.scores}
    if record.timeline:
        detail["emotion_timeline"] = [_timed(span) for span in record.timeline]
    return detail


def _timed(span: Span) -> list[Any]:
    if span.start is None or span.end is None:
        return [span.text]
    return [span.text, float(format_time(span.start)), float(format_time(span.end))]
