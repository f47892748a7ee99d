"""What every writer's rows have in common: bookkeeping, the metadata shown, and how a question states its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datagen import tables
from datagen.quality import checks, facts
from datagen.quality.dice import Dice
from datagen.quality.facts import Record

LANGUAGE = "en"  #: of all texts; quotations stay in the original

_LISTS = ("Choose one: {}.", "Options: {}.", "Answer with one of: {}.", "Pick from this list: {}.")
#: Columns of a row that not every task and writer fills.
EMPTY: dict[str, Any] = {
    **dict.fromkeys(("options", "reasoning", "answer", "answer_label", "response", "response_style", "scenario")),
    **dict.fromkeys(("rejected_response", "rejected_style", "rejected_emotion", "candidates", "question_type")),
    "label_withheld": False,
    "attempts": 1,
}


def slot(record: Record, task: str, mode: str, index: int) -> dict[str, Any]:
    """The columns that name a slot."""
    return {
        "clip_id": record.clip_id,
        "task": task,
        "mode": mode,
        "index": index,
        "sample_id": checks.sample_id(record.clip_id, task, mode, index),
    }


def shown(record: Record, task: str, mode: str, evidence: Sequence[Mapping[str, Any]]) -> str | None:
    """The metadata that a trainee sees beside the sound: in explicit mode all but what decides the answer."""
    if mode != "explicit":
        return None
    return facts.context(record, facts.withheld_groups(task, [item["field"] for item in evidence]))


def seal(row: Mapping[str, Any], record: Record, beside: Iterable[str] = ()) -> dict[str, Any]:
    """The row with what follows from its texts, columns in the order of the table. ``beside``: columns that it rests on
    and whose texts do not tell so."""
    row = {**EMPTY, **row}
    group = ("contrast_emotions", "contrast_group_id") if row["rejected_emotion"] else ()
    row["used_columns"] = sorted({*checks.required_columns(row, record, LANGUAGE), *group, *beside})
    row["sample_hash"] = checks.sample_hash(row)
    return {name: row[name] for name in tables.SAMPLES.names}


def listed(question: str, options: Sequence[str] | None, dice: Dice) -> str:
    """The question with the closed list of its options at its end."""
    return question if not options else f"{question} {dice.one(_LISTS).format(', '.join(options))}"
