"""The whole search in one process, who stays, and what it is said to cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.neighbours import choose, keep
from datagen.neighbours.costs import predict
from datagen.neighbours.keep import keep_first
from datagen.neighbours.pairs import near_pairs

from .vectors import as_dict, clustered, plain

ROWS = 6000


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(ROWS, 64, centres=300)


def test_exact_search_finds_all(vectors: np.ndarray) -> None:
    found = near_pairs(vectors, threshold=0.93)
    assert as_dict(found.pairs, found.cosines) == pytest.approx(plain(vectors, 0.93), abs=1e-6)
    assert found.measured["method"] == "exact" and found.measured["recall"] == 1.0


def test_cells_reach_the_recall_asked_for_and_find_nothing_that_is_not_there(vectors: np.ndarray) -> None:
    truth = plain(vectors, 0.93)
    found = near_pairs(vectors, threshold=0.93, recall=0.97, exact_rows=0, memory_gb=0.002)
    pairs = as_dict(found.pairs, found.cosines)
    assert found.measured["method"] == "cells" and found.measured["cells"] > 50
    assert len(pairs) / len(truth) >= 0.97 and abs(found.measured["recall"] - len(pairs) / len(truth)) < 0.02
    assert all(truth[pair] == pytest.approx(cosine, abs=1e-6) for pair, cosine in pairs.items())


def test_neither_order_nor_workers_nor_memory_nor_where_vectors_lie_changes_anything(
    vectors: np.ndarray, tmp_path: Path
) -> None:
    plainly = near_pairs(vectors, threshold=0.93, exact_rows=0)
    mapped = np.memmap(tmp_path / "vectors", np.float32, "w+", shape=vectors.shape)
    order = np.random.default_rng(8).permutation(ROWS)
    mapped[:] = vectors[order]
    other = near_pairs(mapped, threshold=0.93, exact_rows=0, ids=order, workers=2, memory_gb=0.001, scratch=tmp_path)
    assert (other.pairs == plainly.pairs).all() and (other.cosines == plainly.cosines).all()
    assert other.measured == plainly.measured
    assert (mapped == vectors[order]).all() and [file.name for file in tmp_path.iterdir()] == ["vectors"]


def test_no_pairs_are_a_result_too() -> None:
    found = near_pairs(clustered(50, 64, centres=50, copies=0), threshold=0.999)
    assert found.pairs.shape == (0, 2) and found.cosines.shape == (0,)
    assert near_pairs(np.zeros((0, 8), np.float32)).pairs.shape == (0, 2)
    cells = near_pairs(clustered(3, 8), exact_rows=0)
    assert cells.measured["method"] == "cells"


# --- Who stays ----------------------------------------------------------------------------------------------

graphs = st.integers(1, 14).flatmap(
    lambda rows: st.tuples(
        st.permutations(range(rows)),
        st.lists(
            st.tuples(st.integers(0, rows - 1), st.integers(0, rows - 1)).filter(lambda pair: pair[0] != pair[1]),
            max_size=30,
        ),
    )
)


def greedily(order: list[int], pairs: list[tuple[int, int]]) -> list[int]:
    """The definition, row by row."""
    near: dict[int, set[int]] = {row: set() for row in order}
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)
    dup_of, stays = [-1] * len(order), []
    for row in order:
        better = [kept for kept in stays if kept in near[row]]
        if better:
            dup_of[row] = better[0]
        else:
            stays.append(row)
    return dup_of


@pytest.mark.parametrize("few", [0, 10**6])
@settings(max_examples=150, deadline=None)
@given(graphs)
def test_a_row_goes_only_for_a_near_one_that_stays(few: int, graph: tuple[list[int], list[tuple[int, int]]]) -> None:
    order, pairs = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keep, "_FEW", few)  # by rounds only, or by the loop only
        got = keep_first(np.array(order), np.array(pairs, np.int64).reshape(-1, 2))
    assert got.tolist() == greedily(order, pairs)


def test_a_chain_in_order_leaves_every_second_row() -> None:
    rows = 50_000
    chain = np.stack([np.arange(rows - 1), np.arange(1, rows)], axis=1)
    dup_of = keep_first(np.arange(rows), chain)
    assert (dup_of[::2] == -1).all() and (dup_of[1::2] == np.arange(0, rows - 1, 2)).all()


# --- What it costs ------------------------------------------------------------------------------------------


def test_predicted_costs_grow_as_they_should() -> None:
    small, large = predict(100_000, 384), predict(10_000_000, 384)
    assert small.method == large.method == "cells"
    assert 100 < large.seconds / small.seconds < 1000
    assert predict(10_000_000, 384, workers=16).seconds < large.seconds / 8
    assert large.disk_gb == pytest.approx(15.4, rel=0.1) and large.memory_gb < 4
    assert predict(10_000_000, 384, memory_gb=4).memory_gb > large.memory_gb
    exact = predict(100_000, 384, recall=1.0)
    assert exact.method == "exact" and predict(200_000, 384, recall=1.0).seconds > 2.5 * exact.seconds
    assert choose.method(100_000, 1.0) == exact.method
