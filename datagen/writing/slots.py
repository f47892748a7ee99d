"""What a language model is asked to write about one clip: planned here, so that it can invent no label.

A slot says everything but the words: task, mode, type of question, the fact that decides, the label, the shuffled
options, and for a contrast group the question itself. All of it follows from the record and the seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datagen import tables
from datagen.quality.dice import Dice
from datagen.quality.facts import GROUP, NUMBER_FIELDS, Record
from datagen.writing import contrast, rows
from datagen.writing.asks import Ask, plan

#: What a content question can be after, one after the other.
DETAILS = ("what the words are about", "a single thing that is mentioned", "what is said of somebody or something")
_DIMENSIONS = frozenset({"arousal", "dominance", "valence", "duration"})
_LONG = 5  # words from which on a text holds more than one thing to ask for


@dataclass(frozen=True)
class Slot:
    """``decides``: evidence of ours that stands first; empty where the model chooses the words that decide."""

    task: str
    mode: str
    index: int
    field: str
    question_type: str | None = None
    decides: tuple[Mapping[str, Any], ...] = ()
    label: str | None = None
    options: tuple[str, ...] | None = None
    detail: str | None = None
    joint: bool = False  #: all clips of the contrast group are asked the same question
    withheld: bool = False  #: the model is not told the label
    other: str | None = None  #: emotion of another voice of the group, to be replied to as well

    @property
    def prompt(self) -> str:
        """Name of the prompt file."""
        return "reasoning_withheld" if self.withheld else self.task

    @property
    def hidden(self) -> frozenset[str]:
        """Groups of facts that the model is not shown: those that name the label, where it is withheld; and for
        classification, whose question must fit every answer, all but the words."""
        if self.task == "classification":
            return frozenset(GROUP.values()) - {"text"}
        return frozenset({GROUP[self.field], "cue_relation"}) if self.withheld else frozenset()


def plan_clip(
    record: Record, counts: Mapping[str, int], modes: Iterable[str], seed: int, withheld_share: float
) -> list[Slot]:
    """All slots of one clip in canonical order; ``counts``: most per task and mode."""
    slots: list[Slot] = []
    asked_of_all = "classification" if "classification" in counts else "qa"
    for task in tables.TASKS:
        for mode in tables.MODES:
            if task not in counts or mode not in modes:
                continue
            shared = record.contrast is not None and task == asked_of_all
            dice = Dice(seed, record.clip_id, task, mode, "plan")
            before = len(slots)
            asks = _asks(record, task, dice)
            for ask in contrast.foremost(asks) if shared else asks:
                index = len(slots) - before
                if index == counts[task]:
                    break
                decides = _decides(task, ask)
                if mode == "explicit" and rows.shown(record, task, mode, decides) is None:
                    continue
                joint = shared and contrast.asks_for_emotion(ask)
                shared = shared and not joint
                slots.append(_slot(record, task, mode, index, ask, joint, seed, withheld_share))
    return slots


def _asks(record: Record, task: str, dice: Dice) -> Iterator[Ask]:
    """As for the embedded writer, but questions about the content, which a model can word more freely: those are about
    what is said in one respect or another, or about when a word is said."""
    if task != "qa":
        yield from plan(record, task, dice)
        return
    words = len((record.transcript or "").split())
    details = iter(DETAILS if words >= _LONG else DETAILS[:1])
    felt = False  # asked already what is said, and with which emotion: the ways to ask it are the model's
    for ask in plan(record, task, dice):
        if ask.question_type == "content+emotion":
            if not felt:
                yield ask
            felt = True
        elif ask.question_type != "content" or ask.field == "words":
            yield ask
        elif detail := next(details, None):
            yield Ask(detail, "transcript", "content", ())


def _slot(
    record: Record, task: str, mode: str, index: int, ask: Ask, joint: bool, seed: int, withheld_share: float
) -> Slot:
    options = contrast.options(record.contrast, seed) if record.contrast and joint and ask.options else ask.options
    luck = Dice(seed, record.clip_id, task, mode, index, "withheld").below(1_000)
    return Slot(
        task=task,
        mode=mode,
        index=index,
        field=ask.field,
        question_type=ask.question_type,
        decides=_decides(task, ask),
        label=record.get("emotion") if task == "response" else ask.label,
        options=options,
        detail=ask.ask if not ask.evidence and task == "qa" else None,
        joint=joint,
        withheld=task == "reasoning" and luck < 1_000 * withheld_share,
        other=next(iter(contrast.other_voices(record, seed)), None) if task == "response" else None,
    )


def _decides(task: str, ask: Ask) -> tuple[dict[str, Any], ...]:
    return ask.evidence[:1] if task != "caption" else ()


def numbers_shown(mode: str) -> frozenset[str]:
    """Numbers that a prompt holds: all where the trainee reads them too, else those that say how far a feeling goes."""
    return frozenset(NUMBER_FIELDS) if mode == "explicit" else _DIMENSIONS
