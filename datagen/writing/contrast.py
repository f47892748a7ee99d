"""Contrast groups: one question for all voices that say the same words, and a reply to another of these voices.

What the clips of a group share is drawn by the group's id, so that it is the same for all of them; which other voice a
clip's reply is set against is drawn by the clip's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from datagen.llm.dice import Dice
from datagen.quality.facts import ANSWERABLE, Contrast, Record
from datagen.writing.asks import Ask


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


def asks_for_emotion(ask: Ask) -> bool:
    """Whether it is what a group can be asked jointly."""
    return ask.field == "emotion" and ask.question_type == "emotion"


def foremost(asks: Iterable[Ask]) -> list[Ask]:
    """The asks with the one first that a group can be asked jointly: it must not fall to a limit. The first of its type
    takes its place, so that the types stay as spread as they were."""
    order = list(asks)
    place = next((place for place, ask in enumerate(order) if asks_for_emotion(ask)), None)
    if place is None:
        return order
    first = next(at for at, ask in enumerate(order) if ask.question_type == "emotion")
    order[first], order[place] = order[place], order[first]
    return [order.pop(first), *order]


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
