"""Figures of the judge over a run: is it of one mind, is it readable, does it like what is long?"""

from __future__ import annotations

import pyarrow as pa

from datagen import tables
from datagen.quality import judge_figures

SCHEMA = pa.schema([
    *(tables.SAMPLES.field(name) for name in judge_figures.COLUMNS if name in tables.SAMPLES.names),
    *tables.JUDGE,
    ("label_source", pa.string()),
    ("gold_agreement", pa.bool_()),
])  # fmt: skip


def reply(score, words, **more):
    return {"task": "response", "response": "word " * words, "judge_score": score, "judge_votes": 8,
            "judge_failures": 0, **more}  # fmt: skip


def test_failures_spread_and_order_are_counted():
    rows = [
        reply(4.0, 5, judge_failures=2, judge_votes=6, judge_spread=0.5, judge_preference="chosen",
              judge_consistent=True, judge_content=5.0, judge_candidates=[4.0, None, 2.0]),
        reply(2.0, 5, judge_spread=0.0, judge_preference="tie", judge_consistent=False, judge_content=2.0),
        {"task": "caption", "answer": "It is calm.", "judge_votes": 0, "judge_failures": 4, "judge_reason": "unread"},
        {"task": "qa", "answer": "No.", "judge_reason": "the task is not judged"},
    ]  # fmt: skip
    found = judge_figures.summary(tables.from_rows(rows, SCHEMA))
    assert (found["samples"], found["score"], found["content"]) == (2, 3.0, 3.5)
    assert (found["votes"], found["failures"], found["parse_failure_rate"]) == (14, 6, 0.3)
    assert (found["spread"], found["swap_consistency"], found["pairs"]) == (0.25, 0.5, 2)
    assert found["preferences"] == {"chosen": 1, "tie": 1}
    assert (found["candidates"], found["candidate_score"]) == (2, 3.0)
    assert found["tasks"]["caption"]["parse_failure_rate"] == 1.0 and found["tasks"]["qa"]["score"] is None
    assert found["reasons"] == {"the task is not judged": 1, "unread": 1}


def test_a_taste_for_length_shows():
    rising = tables.from_rows([reply(float(n), 10 * n) for n in range(1, 6)], SCHEMA)
    falling = tables.from_rows([reply(float(n), 60 - 10 * n) for n in range(1, 6)], SCHEMA)
    same = tables.from_rows([reply(float(n), 7) for n in range(1, 6)], SCHEMA)
    correlations = [judge_figures.summary(table)["length_correlation"] for table in (rising, falling, same)]
    assert correlations == [1.0, -1.0, None]


def test_scores_are_told_apart_by_how_sure_the_label_is():
    rows = [
        reply(4.0, 3, label_source="gold", gold_agreement=True),
        reply(3.0, 3, label_source="gold", gold_agreement=False),
        reply(1.0, 3, label_source="pseudo"),
    ]
    table = tables.from_rows(rows, SCHEMA)
    found = judge_figures.summary(table)["score_by"]
    assert found["label_source"] == {"gold": {"samples": 2, "score": 3.5}, "pseudo": {"samples": 1, "score": 1.0}}
    assert found["gold_agreement"]["true"]["score"] == 4.0 and found["gold_agreement"]["false"]["score"] == 3.0
    assert judge_figures.summary(table.drop_columns(["label_source", "gold_agreement"]))["score_by"] == {}


def test_of_nothing_there_are_no_figures():
    found = judge_figures.summary(tables.from_rows([], SCHEMA))
    assert found["samples"] == 0 and found["parse_failure_rate"] is None and found["length_correlation"] is None
