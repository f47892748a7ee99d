"""What the stage ``judge`` found over a whole run, and how far it can be trusted. Pure, on whole columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import tables
from datagen.quality.figures import correlation, counts, groups, mean, share
from datagen.quality.judging import CRITERIA

#: Columns of ``samples`` that ``summary`` looks at.
COLUMNS = ("task", "reasoning", "answer", "response", *tables.JUDGE.names)
#: Columns by which scores are told apart where the table has them: a judge that is worth its price likes samples with
#: wrong labels less. ``gold_agreement``: the corpus's label is the model's first choice.
BY = ("label_source", "gold_agreement")


def summary(samples: pa.Table) -> dict[str, Any]:
    """Figures for quality.json: over all samples and per task.

    Args:
        samples: ``COLUMNS``, and those of ``BY`` that there are; any part of a run.
    """
    names = [name for name in BY if name in samples.column_names]
    table = samples.select(["task", *tables.JUDGE.names, *names]).append_column("length", _length(samples))
    return {
        **_figures(table),
        "reasons": counts(table["judge_reason"]),
        "tasks": {name: _figures(part) for name, part in groups(table, "task").items()},
        "score_by": {name: _by(table, name) for name in names},
    }


def _figures(part: pa.Table) -> dict[str, Any]:
    """``parse_failure_rate``: answers that could not be read. ``spread``: a criterion's votes among themselves, in
    points. ``swap_consistency``: pairs of which both orders say the same. ``length_correlation``: of score and words;
    judges like long texts.
    """
    read = pc.sum(part["judge_votes"]).as_py() or 0
    failed = pc.sum(part["judge_failures"]).as_py() or 0
    preferences = counts(part["judge_preference"])
    candidates = pc.list_flatten(part["judge_candidates"])
    return {
        "samples": part.num_rows - part["judge_score"].null_count,
        "score": mean(part["judge_score"]),
        **{name: mean(part[f"judge_{name}"]) for name in CRITERIA},
        "votes": read,
        "failures": failed,
        "parse_failure_rate": share(failed, read + failed),
        "spread": mean(part["judge_spread"]),
        "pairs": sum(preferences.values()),
        "preferences": preferences,
        "swap_consistency": mean(part["judge_consistent"].cast(pa.int8())),
        "candidates": len(candidates) - candidates.null_count,
        "candidate_score": mean(candidates),
        "length_correlation": correlation(part["judge_score"], part["length"]),
    }


def _length(table: pa.Table) -> pa.ChunkedArray:
    """Words of the text that was judged: the response, else the reasoning, else the answer."""
    text = pc.coalesce(table["response"], table["reasoning"], table["answer"])
    return pc.count_substring_regex(text, r"\S+")


def _by(table: pa.Table, name: str) -> dict[str, Any]:
    named = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    return {
        value: {"samples": part.num_rows - part["judge_score"].null_count, "score": mean(part["judge_score"])}
        for value, part in groups(named, name).items()
    }
