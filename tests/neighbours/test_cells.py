"""Cells: where rows are at home, whom they visit, and what is missed by looking no further."""

from __future__ import annotations

import io

import numpy as np
import pytest

from datagen.neighbours import cells, choose
from datagen.neighbours.arrays import Ints
from datagen.neighbours.cells import Cells, by_cell, visitors_by_cell
from datagen.neighbours.recall import Neighbours, halves, measure, neighbours, together, tune

from .vectors import clustered, plain

ROWS, DIMENSIONS = 3000, 48


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(ROWS, DIMENSIONS, centres=900)  # far more than cells: many rows lie between cells


@pytest.fixture(scope="module")
def fitted(vectors: np.ndarray) -> Cells:
    return cells.fit(vectors, ROWS, seed=1, count=30)


def test_fitting_twice_gives_the_same_cells(vectors: np.ndarray, fitted: Cells) -> None:
    again = cells.fit(vectors, ROWS, seed=1, count=30)
    assert (again.centroids == fitted.centroids).all() and (again.sketch.basis == fitted.sketch.basis).all()
    assert (cells.fit(vectors, ROWS, seed=2, count=30).centroids != fitted.centroids).any()
    np.testing.assert_allclose(np.linalg.norm(fitted.centroids, axis=1), 1, atol=1e-5)


def test_a_row_is_assigned_by_itself_alone(vectors: np.ndarray, fitted: Cells) -> None:
    wide = fitted.with_margin(0.08)
    home, visits = wide.assign(vectors)
    assert len(visits.cells) > ROWS / 4
    order = np.random.default_rng(5).permutation(ROWS)
    for rows in (order, order[:1], order[:257], order[100:101]):
        other, seen = wide.assign(vectors[rows])
        assert (other == home[rows]).all()
        for place, row in enumerate(rows.tolist()):
            mine = visits.cells[visits.offsets[row] : visits.offsets[row + 1]]
            assert seen.cells[seen.offsets[place] : seen.offsets[place + 1]].tolist() == mine.tolist()
            assert home[row] not in mine


def test_rows_visit_what_is_within_the_margin(vectors: np.ndarray, fitted: Cells) -> None:
    margin = 0.05
    home, visits = fitted.with_margin(margin).assign(vectors[:400])
    near = vectors[:400].astype(np.float64) @ fitted.sketch.basis @ fitted.centroids.T
    for row in range(400):
        best = near[row].max()
        wanted = set(np.flatnonzero(near[row] >= best - margin)) - {int(home[row])}
        sure = set(np.flatnonzero(near[row] >= best - margin + 1e-5)) - {int(home[row])}
        assert sure <= set(visits.cells[visits.offsets[row] : visits.offsets[row + 1]].tolist()) <= wanted | sure
        assert near[row][home[row]] == pytest.approx(best, abs=1e-6)


def test_equals_go_to_the_cell_of_the_lower_number(fitted: Cells) -> None:
    twice = Cells(fitted.sketch, np.concatenate([fitted.centroids, fitted.centroids]), 0.01)
    rows = clustered(200, DIMENSIONS, seed=9)
    home, visits = twice.assign(rows)
    assert (home < 30).all()
    assert all(home[row] + 30 in visits.cells[visits.offsets[row] : visits.offsets[row + 1]] for row in range(200))


def test_no_row_visits_more_cells_than_the_most(fitted: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MAX_VISITS", 5)
    _, visits = fitted.with_margin(3.0).assign(clustered(50, DIMENSIONS))
    assert np.diff(visits.offsets).tolist() == [5] * 50


def test_cells_come_back_from_a_file(fitted: Cells, vectors: np.ndarray) -> None:
    file = io.BytesIO()
    np.savez(file, **fitted.with_margin(0.03).arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        back = Cells.of_arrays(arrays)
    assert back.margin == 0.03 and len(back) == 30
    assert (back.assign(vectors)[0] == fitted.assign(vectors)[0]).all()


def test_rows_by_cell_and_visitors_by_cell(vectors: np.ndarray, fitted: Cells) -> None:
    home, visits = fitted.with_margin(0.05).assign(vectors)
    rows, starts = by_cell(home, 30)
    guests, first = visitors_by_cell(visits, 30)
    assert sorted(rows.tolist()) == list(range(ROWS)) and len(guests) == len(visits.cells)
    for cell in range(30):
        assert (home[rows[starts[cell] : starts[cell + 1]]] == cell).all()
        for row in guests[first[cell] : first[cell + 1]].tolist():
            assert cell in visits.cells[visits.offsets[row] : visits.offsets[row + 1]]


def test_gaps_are_the_margins_with_which_cells_are_visited(vectors: np.ndarray, fitted: Cells) -> None:
    some = vectors[:300]
    home, _ = fitted.assign(some)
    assert (fitted.gaps(some, home) <= 1e-6).all()
    target = (home + 7) % 30
    gaps = fitted.gaps(some, target)
    for row in range(0, 300, 11):
        for margin, visited in ((gaps[row] - 1e-4, False), (gaps[row] + 1e-4, True)):
            _, visits = fitted.with_margin(margin).assign(some[row : row + 1])
            assert (target[row] in visits.cells) == visited


# --- Recall -------------------------------------------------------------------------------------------------


def known_of(vectors: np.ndarray, rows: Ints, threshold: float) -> Neighbours:
    return neighbours(vectors[rows], rows, vectors, np.arange(len(vectors)), threshold)


def test_neighbours_of_sampled_rows_are_exact(vectors: np.ndarray) -> None:
    rows = np.arange(0, ROWS, 7)
    known = known_of(vectors, rows, 0.93)
    asked = set(rows.tolist())
    wanted = {pair for pair in plain(vectors, 0.93) if asked & set(pair)}
    assert {tuple(pair) for pair in known.pairs.tolist()} == wanted and len(wanted) > 50
    assert (vectors[known.sampled] == known.first).all() and (vectors[known.other] == known.second).all()


def test_neighbours_do_not_depend_on_how_rows_are_parted(vectors: np.ndarray) -> None:
    rows, ids = np.arange(0, ROWS, 7), np.arange(ROWS)
    whole = known_of(vectors, rows, 0.93)
    order = np.random.default_rng(1).permutation(ROWS)
    parts = [neighbours(vectors[rows], rows, vectors[part], ids[part], 0.93) for part in np.array_split(order, 5)]
    joined = together(parts)
    assert (joined.sampled == whole.sampled).all() and (joined.other == whole.other).all()
    assert (joined.second == whole.second).all()


def test_one_large_group_of_like_rows_is_not_the_whole_sample() -> None:
    alike = np.concatenate([np.repeat(clustered(1, 32, copies=0), 2000, axis=0), clustered(1000, 32)])
    known = known_of(alike, np.arange(0, 3000, 10), 0.95)
    assert np.bincount(known.sampled).max() == 16


def test_the_margin_reaches_the_recall_asked_for(vectors: np.ndarray, fitted: Cells) -> None:
    tuned_on, measured_on = halves(np.arange(ROWS), ROWS // 2, 0)
    assert not set(tuned_on) & set(measured_on)
    known = known_of(vectors, tuned_on, 0.9)
    margins = []
    for recall in (0.5, 0.9, 0.99):
        tuned = tune(fitted, known, recall, sample=vectors[tuned_on], threshold=0.9)
        home, visits = tuned.assign(vectors)
        where = [{int(h), *visits.cells[a:b].tolist()} for h, a, b in zip(home, visits.offsets, visits.offsets[1:])]  # noqa: B905
        other = known_of(vectors, measured_on, 0.9).pairs
        found = np.mean([home[b] in where[a] or home[a] in where[b] for a, b in other.tolist()])
        assert found >= recall - 0.02
        margins.append(tuned.margin)
    assert margins == sorted(margins) and margins[0] < margins[2] < 0.5


def test_without_known_pairs_the_margin_is_learnt_from_constructed_ones(fitted: Cells) -> None:
    apart = clustered(800, DIMENSIONS, centres=900, copies=0)
    none = known_of(apart, np.arange(0), 0.95)
    assert len(none) == 0
    strict = tune(fitted, none, 0.99, sample=apart, threshold=0.95).margin
    loose = tune(fitted, none, 0.99, sample=apart, threshold=0.7).margin
    assert 0 < strict < loose


def test_measured_recall_counts_pairs_that_were_found(vectors: np.ndarray) -> None:
    known = known_of(vectors, np.arange(0, ROWS, 5), 0.93)
    everything = np.array(sorted(plain(vectors, 0.93)))
    whole = measure(known, 600, everything)
    assert whole.recall == 1.0 and whole.found == whole.pairs == len(known.pairs)
    missing = everything[np.any(everything != known.pairs[0], axis=1)]
    assert measure(known, 600, missing).found == whole.pairs - 1
    assert measure(known, 600, np.zeros((0, 2), np.int64)).recall == 0.0
    assert measure(known_of(vectors, np.arange(0), 0.93), 0, everything).recall is None


# --- Choosing -----------------------------------------------------------------------------------------------


def test_few_rows_and_full_recall_are_searched_exactly() -> None:
    assert choose.method(choose.EXACT_ROWS, 0.9) == "exact" and choose.method(choose.EXACT_ROWS + 1, 0.9) == "cells"
    assert choose.method(10**7, 1.0) == "exact"
    assert 900 < choose.cell_count(10**6) < 3000


def test_groups_of_cells_fit_the_memory_and_cover_all() -> None:
    sizes = np.array([10, 10, 10, 500, 10, 0, 10])
    rows_gb = 4e-9 * (384 + 96)
    assert choose.groups(sizes, 384, 31 * rows_gb) == [(0, 3), (3, 4), (4, 7)]
    assert choose.groups(sizes, 384, 1.0) == [(0, 7)]
    assert choose.groups(sizes[:0], 384, 1.0) == []
