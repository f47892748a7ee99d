"""Takes alike: deciding many at once comes to what going through them one by one comes to."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.quality import takes
from datagen.quality.takes import TOLERANCE, Alike, delivery, repeats

ALIKE = Alike(0.5, 1.0, 1.0, 0.05, 0.05)


def one_by_one(cell, spoken, fixed, keep):
    kept, found = {}, []
    for row, here in enumerate(cell):
        near = [other for other in kept.get(here, []) if (abs(spoken[other] - spoken[row]) <= TOLERANCE).all()]
        repeat = len(near) >= keep and not fixed[row]
        found.append(near[0] if repeat else -1)
        if not repeat:
            kept.setdefault(here, []).append(row)
    return found


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 400),
    cells=st.sampled_from([1, 2, 30]),
    width=st.sampled_from([1, 3, 8]),
    keep=st.integers(1, 4),
    few=st.sampled_from([2, 64]),  # nearly all cells on a grid, or nearly none
)
def test_whole_rounds_decide_as_one_row_after_the_other_does(seed, rows, cells, width, keep, few):
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, cells, rows)
    # Many on the very edge of the tolerance, and below zero.
    spoken = rng.integers(-width * 2, width * 2, (rows, 5)) * (TOLERANCE // 2) + rng.integers(-1, 2, (rows, 5))
    spoken[:, rng.integers(0, 5, 3)] = 0
    fixed = np.arange(rows) < rng.integers(0, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(takes, "_FEW", few)
        patch.setattr(takes, "_BLOCK", 50)
        assert repeats(cell, spoken, fixed, keep).tolist() == one_by_one(cell, spoken, fixed, keep)


def test_a_grid_too_large_to_number_is_made_coarser():
    rng = np.random.default_rng(5)
    spoken = np.repeat(rng.integers(-(10**14), 10**14, (100, 5)), 3, axis=0)
    cell = np.zeros(300, np.int64)
    assert repeats(cell, spoken, np.zeros(300, bool), 2).tolist() == one_by_one(cell, spoken, np.zeros(300), 2)


@pytest.mark.parametrize("spread", [0.1, 3, 40])
def test_a_hundred_thousand_takes_of_one_cell(spread):
    rng = np.random.default_rng(1)
    spoken = (rng.normal(0, spread, (100_000, 5)) * TOLERANCE).astype(np.int64)
    found = repeats(np.zeros(len(spoken), np.int64), spoken, np.zeros(len(spoken), bool), 3)
    gone = np.flatnonzero(found >= 0)
    assert (found[gone] < gone).all() and (found[found[gone]] == -1).all()
    assert (np.abs(spoken[gone] - spoken[found[gone]]) <= TOLERANCE).all()
    stay = np.flatnonzero(found < 0)
    again = repeats(np.zeros(len(stay), np.int64), spoken[stay], np.zeros(len(stay), bool), 3)
    assert (again == -1).all()
    assert {0.1: len(stay) < 20, 3: 1000 < len(stay) < 60_000, 40: len(stay) > 99_900}[spread]


def test_what_was_not_measured_is_told_apart():
    row = {"f0_median_hz": 120.0, "f0_range_st": 5.0, "level_dbfs": -25.0, "rate_syl_s": 4.0, "duration": 2.0}
    rows = [row, row | {"f0_median_hz": None}, row | {"rate_syl_s": 0.0}, row | {"level_dbfs": float("inf")}]
    spoken, measured = delivery(pa.Table.from_pylist(rows), ALIKE)
    assert measured.tolist() == [True, False, False, False]
    higher, _ = delivery(pa.Table.from_pylist([row | {"f0_median_hz": 240.0, "duration": 2.0 * 1.05}]), ALIKE)
    assert (higher - spoken[0]).tolist() == [[24 * TOLERANCE, 0, 0, 0, TOLERANCE]]  # an octave is 24 half semitones
