"""Contrast groups: one question for all voices that say the same words, and a reply to another of these voices.

What the clips of a group share is drawn by the group's id, so that it is the same for all of them; which other voice a
clip's reply is set against is drawn by the clip's.
"""

from __future__ import annotations

from dataclasses import replace

from datagen.llm.dice import Dice
from datagen.quality.facts import ANSWERABLE, Contrast, Record


def dice(contrast: Contrast, seed: int, what: str) -> Dice:
    """For one thing that all clips of the group share."""
    return Dice(seed, contrast.group, what)


def options(contrast: Contrast, seed: int) -> tuple[str, ...]:
    """The emotions to choose from, in the order in which the group's question states them."""
    return tuple(dice(contrast, seed, "options").shuffled(ANSWERABLE))


def versions(record: Record) -> tuple[Record, ...]:
    """The record, and without the question that was written for its group: that one may fail the checks."""
    if record.contrast is None or record.contrast.question is None:
        return (record,)
    return record, replace(record, contrast=replace(record.contrast, question=None))


def other_voice(record: Record, seed: int) -> str | None:
    """The emotion of another voice of the clip's group; None outside groups."""
    if record.contrast is None:
        return None
    others = [name for name in record.contrast.emotions if name != record.get("emotion")]
    return Dice(seed, record.clip_id, "other voice").one(others)


def in_voice(record: Record, emotion: str) -> Record:
    """What is known of the same words said with another emotion: the words. The rest was measured on this voice."""
    known = {name: record.get(name) for name in ("transcript",) if record.has(name)}
    return Record(record.clip_id, {**known, "emotion": emotion}, language=record.language, scenario=record.scenario)
