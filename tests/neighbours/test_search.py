"""Search in cells and over whole matrices finds what a plain product finds, and no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.neighbours import exact, search, sketch
from datagen.neighbours.arrays import check, chosen, unique_pairs
from datagen.neighbours.search import Found

from .vectors import as_dict, clustered, plain, unit


def joined(found: list[Found]) -> dict[tuple[int, int], float]:
    if not found:
        return {}
    return as_dict(*unique_pairs(np.concatenate([f.pairs for f in found]), np.concatenate([f.cosines for f in found])))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(2, 90),
    dimensions=st.sampled_from([3, 40, 70]),
    width=st.sampled_from([None, 1, 8, 32]),
    threshold=st.sampled_from([-1.0, 0.3, 0.8, 0.95, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_a_sketch_loses_nothing(rows: int, dimensions: int, width: int | None, threshold: float, seed: int) -> None:
    vectors = clustered(rows, dimensions, centres=4, seed=seed)
    short = None if width is None else sketch.fit(vectors[: max(2, rows // 2)], width)
    found = list(search.inside(vectors, np.arange(rows), threshold, short))
    assert joined(found) == pytest.approx(plain(vectors, threshold), abs=1e-6)


def test_a_sketch_never_underestimates_a_cosine() -> None:
    vectors = clustered(600, 96)
    for width in (1, 16, 64, 96):
        short = sketch.fit(vectors[:200], width).of(vectors)
        assert short.shape == (600, width + 1)
        assert (short @ short.T >= vectors @ vectors.T - 1e-6).all()


def test_home_rows_meet_each_other_and_visitors_but_visitors_do_not_meet() -> None:
    vectors, ids = clustered(300, 24), np.random.default_rng(1).permutation(10_000)[:300]
    home, visitors = slice(0, 180), slice(180, 300)
    found = joined(list(search.within(vectors[home], ids[home], vectors[visitors], ids[visitors], 0.9)))
    wanted = {}
    for (a, b), cosine in plain(vectors, 0.9).items():
        if a < 180:
            wanted[min(ids[a], ids[b]), max(ids[a], ids[b])] = cosine
    assert found == pytest.approx(wanted, abs=1e-6) and len(found) > 20


def test_how_rows_are_blocked_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(500, 48)
    short, ids = sketch.fit(vectors, 16), np.arange(500)
    whole = joined(list(search.inside(vectors, ids, 0.9, short)))
    monkeypatch.setattr(search, "_TILE", 64)
    monkeypatch.setattr(search, "_GATHER", 7)
    found = list(search.inside(vectors, ids, 0.9, short))
    assert joined(found) == whole and len(found) > 10
    strips = exact.strips(len(vectors), 130)
    assert joined([piece for rows in strips for piece in exact.strip(vectors, ids, rows, 0.9, short, 130)]) == whole


def test_a_cell_of_like_vectors_comes_out_in_pieces_no_larger_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_TILE", 100)
    alike = np.repeat(clustered(1, 32, copies=0), 450, axis=0)
    sizes = [len(found.pairs) for found in search.inside(alike, np.arange(450), 0.95, sketch.fit(alike, 8))]
    assert max(sizes) <= 100 * 100 and sum(sizes) == 450 * 449 // 2


def test_a_cosine_is_decided_as_it_is_stored() -> None:
    angle = np.arccos(0.92)
    vectors = unit(np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]]))
    (found,) = search.inside(vectors, np.array([7, 3]), 0.92)
    assert found.pairs.tolist() == [[3, 7]] and found.cosines.tolist() == [0.92]
    assert not list(search.inside(vectors, np.array([7, 3]), 0.920001))


def test_the_width_of_the_filter_follows_the_vectors() -> None:
    random = np.random.default_rng(0)
    flat = random.standard_normal((1200, 300)) * (np.arange(300) < 20)
    groups = np.zeros(1200, np.int64)
    narrow, wide = sketch.best(unit(flat), groups, 0.9), sketch.best(clustered(1200, 300, centres=2), groups, 0.9)
    assert narrow is not None and narrow.width == min(sketch.WIDTHS)
    assert wide is None or wide.width > narrow.width
    assert sketch.best(unit(flat)[:, :20].copy(), groups, 0.9) is None, "nothing is shorter than 20 numbers"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0, 2.0])
def test_what_is_no_unit_vector_is_named(wrong: float) -> None:
    vectors = clustered(20, 8)
    vectors[13] *= wrong
    with pytest.raises(ValueError, match="row 113 has not unit length"):
        check(vectors, 100)
    with pytest.raises(ValueError, match="row 13"):
        list(exact.strip(vectors, np.arange(20), (0, 20), 0.9))


def test_a_sample_is_drawn_by_id_not_by_place() -> None:
    ids = np.random.default_rng(3).permutation(100_000)[:5000]
    order = np.random.default_rng(4).permutation(5000)
    assert ids[chosen(ids, 300, 1)].tolist() == ids[order][chosen(ids[order], 300, 1)].tolist()
    assert set(chosen(ids, 300, 1)) != set(chosen(ids, 300, 2))
    assert sorted(chosen(ids, 9999, 1).tolist()) == list(range(5000))
