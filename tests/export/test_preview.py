"""Samples for the terminal: of as many kinds as there are, the same ones every time, and harmless."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from datagen.export.preview import preview
from datagen.testing.runs import memory_run

SAMPLES = memory_run(clips=4, shards=1).samples[0]


def test_three_samples_are_of_three_tasks_and_two_modes():
    shown = preview(SAMPLES)
    heads = [block.splitlines()[0].split() for block in shown]
    assert len({head[0] for head in heads}) == 3
    assert {head[1] for head in heads} == {"explicit", "implicit"}
    assert "question:" in shown[0]


@given(st.permutations(range(SAMPLES.num_rows)))
def test_the_order_of_rows_does_not_matter(order):
    assert preview(SAMPLES.take(order)) == preview(SAMPLES)


def test_few_samples_are_shown_as_they_are():
    assert preview(SAMPLES.slice(0, 0)) == []
    assert len(preview(SAMPLES.slice(0, 1))) == 1
    kinds = {(row["task"], row["mode"]) for row in SAMPLES.to_pylist() if row["route"] != "drop"}
    assert len(preview(SAMPLES, n=50)) == len(kinds)


def test_control_sequences_do_not_reach_the_terminal():
    row = {
        "sample_id": "s",
        "task": "qa",
        "mode": "explicit",
        "question": "\x1b[2J\x07hi\u202e\nthere",
        "answer": "x" * 2000,
    }
    (block,) = preview(pa.Table.from_pylist([row]))
    assert "\x1b" not in block and "\x07" not in block and "\u202e" not in block
    assert "hi there" in block
    assert all(len(line) <= 80 for line in block.splitlines())


def test_what_shows_most_is_shown_and_what_is_left_out_is_not() -> None:
    base = {"task": "qa", "mode": "implicit", "question": "?"}
    rows = [
        {**base, "sample_id": "a", "route": "drop", "transcript": "not published", "answer": "left out"},
        {**base, "sample_id": "b", "route": "sft", "transcript": None, "answer": "wordless"},
        {**base, "sample_id": "c", "route": "sft", "transcript": "words", "answer": "worded"},
        {**base, "sample_id": "d", "route": "rl", "transcript": None, "answer": "needs ears"},
    ]
    shown = [preview(pa.Table.from_pylist(rows[:n]))[0] for n in (2, 3, 4)]
    assert [block.split()[-1] for block in shown] == ["wordless", "worded", "ears"]
    assert preview(pa.Table.from_pylist(rows[:1])) == []


def test_shown_facts_are_broken_between_facts() -> None:
    facts = "{" + ",".join(f'"level_dbfs_{n}":-{n}.25' for n in range(20)) + "}"
    row = {"task": "qa", "mode": "explicit", "sample_id": "a", "metadata_context": facts}
    (block,) = preview(pa.Table.from_pylist([row]))
    assert max(map(len, block.splitlines())) <= 78
    assert all(f'"level_dbfs_{n}":-{n}.25' in block for n in range(20))
