"""The stage: its columns, its place in a recipe, its makers."""

from __future__ import annotations

from datagen import tables
from datagen.config import load
from datagen.pipeline import Pipeline
from datagen.stages.agreement import Agreement
from datagen.testing.batches import batch_for
from datagen.testing.records import clip_rows


def test_all_rows_and_columns() -> None:
    rows = clip_rows(200, seed=3, null_rate=0.2)
    columns = Agreement().process(batch_for(Agreement(), rows)).columns
    assert columns is not None and columns.num_rows == len(rows) and columns.schema.equals(tables.AGREEMENT)
    words = columns["affect_agreement"].to_pylist()
    assert {"agree", None} <= set(words)
    # Made clips shift arousal and valence with the emotion: most that are decided agree.
    assert words.count("agree") > 3 * words.count("conflict")


def test_it_stands_behind_describe() -> None:
    stages = load("cpqa", profile="offline").stages()
    stages["agreement"] = Agreement()
    order = Pipeline(stages).order
    assert order.index("agreement") > order.index("describe")
    assert not Agreement().check()
    assert set(Agreement().provenance()[0].columns) == set(tables.AGREEMENT.names)
