"""Contrast groups: one question for all voices that say the same words, and a reply to another of these voices.

What the clips of a group share is drawn by the group's id, so that it is the same for all of them; which other voice a
clip's reply is set against is drawn by the clip's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from datagen.quality import checks, lexicon, variants
from datagen.quality.dice import Dice
from datagen.quality.facts import ANSWERABLE, Contrast, Record
from datagen.writing import rows
from datagen.writing.asks import Ask


def dice(contrast: Contrast, seed: int, what: str) -> Dice:
    """For one thing that all clips of the group share."""
    return Dice(seed, contrast.group, what)


def options(contrast: Contrast, seed: int) -> tuple[str, ...]:
    """The emotions to choose from, in the order in which the group's question states them."""
    return tuple(dice(contrast, seed, "options").shuffled(ANSWERABLE))


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


def other_voices(record: Record, seed: int) -> list[str]:
    """Emotions of other voices of the clip's group, in drawn order: those to whom one may speak in a manner that does
    not suit this voice. Empty outside groups."""
    if record.contrast is None:
        return []
    own, styles = record.get("emotion"), _styles()
    others = [
        name for name in record.contrast.emotions if name != own and any(name in f and own not in f for f in styles)
    ]
    return Dice(seed, record.clip_id, "other voice").shuffled(others)


def manners(words: Iterable[str], unfit: str | None) -> list[str]:
    """Of words for a manner of speaking those that do not suit a speaker of the emotion ``unfit``."""
    known = lexicon.load(rows.LANGUAGE)
    styles = known.styles if known and unfit else ()
    return [word for word in words if all(unfit not in fits for pattern, fits in styles if pattern.search(word))]


def _styles() -> list[frozenset[str]]:
    """For each manner of speaking, the emotions that it suits."""
    words = lexicon.load(rows.LANGUAGE)
    return [fits for _, fits in words.styles] if words else []


def fit(record: Record) -> Record:
    """The record, without a situation that the checks refuse, which would spoil every reply, and without a question
    for its group that they refuse: one of ours takes its place."""
    words, group = lexicon.load(rows.LANGUAGE), record.contrast
    told = {"task": "response", "scenario": record.scenario}
    if words and any(variants.scenario(told, words)):
        record = replace(record, scenario=None)
    if group and group.question and checks.question(group.question, "emotion", record, rows.LANGUAGE):
        record = replace(record, contrast=replace(group, question=None))
    return record


def in_voice(record: Record, emotion: str) -> Record:
    """What is known of the same words said with another emotion: the words. The rest was measured on this voice."""
    known = {name: record.get(name) for name in ("transcript",) if record.has(name)}
    return Record(record.clip_id, {**known, "emotion": emotion}, language=record.language, scenario=record.scenario)
