"""What the stage ``blind`` found over a whole run: accuracy without ears beside chance and beside the commonest label.

Pure, on whole columns; nothing is asked.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import tables
from datagen.quality.figures import counts, groups, mean, share

#: Columns of ``samples`` that ``summary`` looks at.
COLUMNS = ("task", "mode", "question_type", "answer_label", "evidence", *tables.BLIND.names)


def summary(samples: pa.Table) -> dict[str, Any]:
    """Figures for quality.json: over all samples, and per question type, task, mode and label.

    ``labels`` is there to be looked at: a reader that guesses "neutral" whenever it does not know makes neutral samples
    look answerable, and no others.

    Args:
        samples: ``COLUMNS``, of any part of a run (the RL rows alone, say).
    """
    table = samples.select(list(COLUMNS))
    table = table.append_column("field", _first_field(table["evidence"])).drop_columns(["evidence"])
    return {
        **_figures(table),
        "reasons": counts(table["blind_reason"]),
        "question_types": {name: _figures(part) for name, part in groups(table, "question_type").items()},
        "tasks": {name: _figures(part) for name, part in groups(table, "task").items()},
        "modes": {name: _figures(part) for name, part in groups(table, "mode").items()},
        "labels": {name: _figures(part) for name, part in groups(table, "answer_label").items()},
    }


def _figures(part: pa.Table) -> dict[str, Any]:
    """``samples`` counts those that have a label and were asked; the means are over what has a score.

    ``chance`` and ``majority`` are over the same samples as ``text_accuracy``, or as ``question_accuracy`` where there
    is none; ``majority`` is the accuracy of always saying the commonest label of what is asked for (emotion, ...).
    Differences are taken sample by sample, so that both sides are of the same samples: ``*_excess`` is what lies above
    chance, ``evidence_gain`` what a rationale's evidence recovers above its words.
    """
    asked = part.filter(pc.is_valid(part["blind_chance"]))
    scored = asked.filter(pc.is_valid(asked["blind_text_accuracy"]))
    base = scored if scored.num_rows else asked.filter(pc.is_valid(asked["blind_question_accuracy"]))
    contributions = counts(asked["audio_contribution"])
    weak, strong = contributions.get("weak", 0), contributions.get("strong", 0)
    return {
        "samples": asked.num_rows,
        "question_accuracy": mean(asked["blind_question_accuracy"]),
        "question_excess": _difference(asked, "blind_question_accuracy", "blind_chance"),
        "text_accuracy": mean(asked["blind_text_accuracy"]),
        "text_excess": _difference(asked, "blind_text_accuracy", "blind_chance"),
        "evidence_accuracy": mean(asked["evidence_accuracy"]),
        # Of the same rationales: what their words alone recover.
        "evidence_text_accuracy": mean(scored.filter(pc.is_valid(scored["evidence_accuracy"]))["blind_text_accuracy"]),
        "evidence_gain": _difference(asked, "evidence_accuracy", "blind_text_accuracy"),
        "chance": mean(base["blind_chance"]),
        "majority": _majority(base),
        "weak": weak,
        "strong": strong,
        "unknown": asked.num_rows - weak - strong,
        "strong_share": share(strong, weak + strong),
    }


def _difference(part: pa.Table, what: str, above: str) -> float | None:
    """Mean over the samples that have both."""
    return mean(pc.subtract(part[what], part[above]))


def _majority(part: pa.Table) -> float | None:
    cells = part.group_by(["field", "answer_label"], use_threads=False).aggregate([([], "count_all")])
    best = cells.group_by("field", use_threads=False).aggregate([("count_all", "max")])
    return share(pc.sum(best["count_all_max"]).as_py() or 0, part.num_rows)


def _first_field(evidence: pa.ChunkedArray) -> pa.Array:
    """The field that decides the answer: the first item's; null without evidence."""
    whole = evidence.combine_chunks()
    whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    filled = pc.greater(pc.fill_null(pc.list_value_length(whole), 0), 0)
    first = pc.struct_field(pc.list_element(whole.filter(filled), 0), "field")
    return pc.replace_with_mask(pa.nulls(len(whole), pa.string()), filled, first)
