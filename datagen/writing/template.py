"""The embedded writer: texts from templates and measured facts, deterministic, nothing invented.

For one record it lists what can be asked (``writing/asks.py``), fills the prompts of ``prompts/template`` with facts,
and holds every item to the same checks as ``verify``. Texts are English whatever the clip's language; quotations stay
in the original.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from datagen import tables
from datagen.llm.prompts import Prompt
from datagen.quality import checks, facts
from datagen.quality.dice import Dice
from datagen.quality.facts import Record
from datagen.writing import contrast, rows
from datagen.writing.asks import NUMBER_OF, VOICE_LEVELS, Ask, evidence, plan
from datagen.writing.rows import LANGUAGE

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def write(
    record: Record, prompts: Mapping[str, Prompt], counts: Mapping[str, int], modes: Iterable[str], seed: int
) -> tuple[list[dict[str, Any]], list[checks.Finding]]:
    """All samples of one clip in canonical order -> (rows of ``tables.SAMPLES``, findings of the items refused).

    ``counts``: most items per task and mode; tasks that are not in it are not written.
    """
    made: list[dict[str, Any]] = []
    refused: list[checks.Finding] = []
    asked_of_all = "classification" if "classification" in counts else "qa"
    for task in tables.TASKS:
        for mode in tables.MODES:
            if task not in counts or mode not in modes:
                continue
            index, shared = 0, record.contrast is not None and task == asked_of_all
            asks = plan(record, task, Dice(seed, record.clip_id, task, mode, "plan"))
            for ask in contrast.foremost(asks) if shared else asks:
                if index >= counts[task]:
                    break
                joint = shared and contrast.asks_for_emotion(ask)
                row = _row(record, prompts[task], ask, task, mode, index, seed, joint)
                if row is None:
                    continue
                findings = checks.check(row, record, LANGUAGE)
                again = checks.duplicates([(r["clip_id"], r["mode"], r["task"], r["question"]) for r in (*made, row)])
                refused += findings
                if findings or again:  # what was asked before is no loss: there is the row that asks it
                    continue
                made.append(row)
                index, shared = index + 1, shared and not joint
    return made, refused


# --- One sample ---------------------------------------------------------------------------------------------


def _row(
    record: Record, prompt: Prompt, ask: Ask, task: str, mode: str, index: int, seed: int, joint: bool
) -> dict[str, Any] | None:
    """The row for one slot, or None when explicit mode has nothing to show. ``joint``: all of the contrast group are
    asked the same."""
    explicit = mode == "explicit"
    items = _in_mode(record, ask, task, explicit)
    shown = rows.shown(record, task, mode, items)
    if explicit and shown is None:
        return None
    group = record.contrast
    options = contrast.options(group, seed) if group and joint and ask.options else ask.options
    numbers = {item["field"]: item["value"] for item in items if item["field"] in facts.NUMBER_FIELDS}
    dice = Dice(seed, record.clip_id, task, mode, index, ask.ask)
    variables: dict[str, Any] = {
        "pick": _picking(dice),
        "ask": ask.ask,
        "field": ask.field,
        "numbers": numbers,
        "levels": {name: record.get(name) for name in VOICE_LEVELS if record.has(name)},
        **({"label": ask.label} if ask.label is not None else {}),
        **({"options": list(options)} if options is not None else {}),
        **({"age": numbers["age_years"]} if "age_years" in numbers else {}),
        **ask.variables,
    }
    row: dict[str, Any] = {
        **rows.slot(record, task, mode, index),
        "question_type": ask.question_type,
        "options": list(options) if options is not None else None,
        "answer_label": ask.label,
        "evidence": items,
        "metadata_context": shown,
        "writer": "template",
        "prompt_hash": prompt.hash,
    }
    row |= prompt.render(("question", "reasoning", "answer", "response", "response_style"), variables)
    beside: tuple[str, ...] = ()
    if group and joint:
        same = contrast.dice(group, seed, "question")
        if group.question:
            row["question"], beside = rows.listed(group.question, options, same), ("contrast_question",)
        else:
            row |= prompt.render(("question",), variables | {"pick": _picking(same)})
    if task != "response":
        return rows.seal(row, record, beside)
    row["scenario"] = record.scenario
    for emotion in contrast.other_voices(record, seed):
        found = prompt.render(("response", "response_style"), variables | {"emotion": emotion, "pick": _picking(dice)})
        other = {"rejected_response": found["response"], "rejected_style": found["response_style"]}
        pair = rows.seal({**row, **other, "rejected_emotion": emotion}, record)
        if not any(finding.check == "rejected_reply" for finding in checks.check(pair, record, LANGUAGE)):
            return pair
    return rows.seal(row, record)


def _picking(dice: Dice) -> Any:
    return lambda *phrases, **values: _fill(dice.one(phrases), values)


def _in_mode(record: Record, ask: Ask, task: str, explicit: bool) -> list[dict[str, Any]]:
    """Evidence as the mode words it: measured numbers are named only where the trainee can read them."""
    if task == "caption" and explicit:
        numbers = [NUMBER_OF[item["field"]] for item in ask.evidence if item["field"] in NUMBER_OF]
        names = [name for name in (*numbers, "age_years") if record.has(name)]
        return [*ask.evidence, *(evidence(record, name) for name in names)]
    if task == "reasoning" and not explicit:
        return [item for item in ask.evidence if item["field"] not in facts.NUMBER_FIELDS]
    return list(ask.evidence)


def _fill(phrase: str, values: Mapping[str, Any]) -> str:
    """``{name}`` replaced in one pass; braces in a value stay what they are."""
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), phrase)
