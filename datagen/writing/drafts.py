"""From a slot and what a model wrote for it to a row of ``samples``, and what is wrong with that row. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datagen.llm.instructions import Instructed
from datagen.quality import checks
from datagen.quality.checks import Finding
from datagen.quality.claims import split_quotes
from datagen.quality.dice import Dice
from datagen.quality.facts import GROUP, NUMBER_FIELDS, Record
from datagen.quality.grounding import evidence as ungrounded
from datagen.writing import contrast, rows
from datagen.writing.evidence import canonical
from datagen.writing.slots import Slot

Row = dict[str, Any]
TEXTS = ("question", "reasoning", "answer", "response", "response_style")
_MARKS = str.maketrans({"“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"'})


def question_given(slot: Slot, record: Record, prompt: Instructed, seed: int) -> str | None:
    """The question where it is not for the model to write: a request for a reply or a caption, or what all clips of a
    contrast group are asked. Without its options."""
    module: Any = prompt.template.module
    if slot.task in ("response", "caption"):
        return str(Dice(seed, record.clip_id, slot.mode, slot.index, slot.task).one(module.REQUESTS))
    if slot.joint and record.contrast is not None:
        if record.contrast.question is not None:
            return record.contrast.question
        return str(contrast.dice(record.contrast, seed, "question").one(module.QUESTIONS))
    return None


def draft(
    slot: Slot,
    record: Record,
    prompt: Instructed,
    said: Mapping[str, Any],
    question: str | None,
    writer: str,
    seed: int,
) -> tuple[Row, list[Finding]]:
    """The row, sealed, and all that speaks against it: our own conditions first, then the checks of ``verify``."""
    texts = {name: plain(str(said[name])) for name in TEXTS if name in said}
    asked = question if question is not None else texts.get("question", "")
    findings = [*(_unfit_question(asked, slot) if question is None else ())]
    items = canonical(said.get("evidence", ()), record)
    findings += [*_named_withheld(slot, items), *_other_conclusion(slot, texts.get("answer"))]
    items = _in_order(slot, items, record)
    group = record.contrast if slot.joint else None
    if group is not None:
        dice = contrast.dice(group, seed, f"{slot.task} list")
    else:
        dice = Dice(seed, record.clip_id, slot.task, slot.mode, slot.index, "list")
    told = slot.task in ("classification", "reasoning") and not slot.withheld
    row: Row = {
        **rows.slot(record, slot.task, slot.mode, slot.index),
        "question_type": slot.question_type,
        "question": rows.listed(asked, slot.options, dice),
        "options": list(slot.options) if slot.options else None,
        "reasoning": texts.get("reasoning"),
        "answer": slot.label if told else _bare(texts.get("answer"), slot),
        "answer_label": None if slot.task == "response" else slot.label,
        "response": texts.get("response"),
        "response_style": texts.get("response_style"),
        "evidence": items,
        "metadata_context": rows.shown(record, slot.task, slot.mode, items),
        "scenario": record.scenario if slot.task == "response" else None,
        "label_withheld": slot.withheld,
        "writer": writer,
        "prompt_hash": prompt.hash,
    }
    row = rows.seal(row, record, ("contrast_question",) if group and asked == group.question else ())
    return row, [*findings, *checks.check(row, record, rows.LANGUAGE)]


def plain(text: str) -> str:
    """On one line, with straight quotation marks."""
    return " ".join(text.translate(_MARKS).split())


def _bare(answer: str | None, slot: Slot) -> str | None:
    """A label alone, as the options spell it."""
    return answer.rstrip(".").lower() if answer is not None and slot.withheld else answer


def _unfit_question(text: str, slot: Slot) -> Iterable[Finding]:
    if not text.endswith("?"):
        yield Finding("question", "NotAQuestion", "the question does not end with a question mark")
    if slot.label and re.search(rf"\b{re.escape(slot.label)}\b", split_quotes(text)[0], re.IGNORECASE):
        yield Finding("leak", "LabelLeak", f"the question holds its answer '{slot.label}'")


def _named_withheld(slot: Slot, items: Sequence[Mapping[str, Any]]) -> Iterable[Finding]:
    for item in items:
        if GROUP.get(item["field"]) in slot.hidden:
            yield Finding("evidence", "UngroundedEvidence", f"evidence names '{item['field']}', which was not given")


def _other_conclusion(slot: Slot, answer: str | None) -> Iterable[Finding]:
    if slot.withheld and _bare(answer, slot) != slot.label:
        yield Finding("label", "OtherConclusion", f"without being told '{slot.label}' the writer came to '{answer}'")


def _in_order(slot: Slot, items: list[dict[str, Any]], record: Record) -> list[dict[str, Any]]:
    """What decides stands first. True numbers that the trainee cannot read are left out, so that a text that holds them
    has no evidence for them."""
    kept = [
        item for item in items
        if slot.mode == "explicit" or item["field"] not in NUMBER_FIELDS or any(ungrounded([item], record))
    ]  # fmt: skip
    if slot.question_type == "content":
        kept.sort(key=lambda item: GROUP.get(item["field"]) != "text")
    decides = [dict(item) for item in slot.decides]
    return [*decides, *(item for item in kept if item not in decides)]
