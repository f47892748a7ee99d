"""Row ranges: whatever an earlier attempt left behind, every row is worked on once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datagen import pieces


def test_batches_keep_to_rows_and_seconds():
    assert pieces.planned(10, None, 4, None) == [(0, 4), (4, 8), (8, 10)]
    assert pieces.planned(5, [3.0, 3.0, 9.0, 1.0, 1.0], 10, 6.0) == [(0, 2), (2, 3), (3, 5)]
    assert pieces.planned(0, None, 4, None) == []


def test_a_piece_done_whole_and_in_halves_counts_once():
    assert pieces.apart([(4, 8), (0, 4), (0, 8)], 12) == [(0, 8)]


@given(st.integers(0, 40), st.integers(1, 9), st.lists(st.tuples(st.integers(0, 44), st.integers(0, 44)), max_size=12))
def test_every_row_is_done_or_left_and_never_both(rows, batch, found):
    done = pieces.apart([(min(r), max(r)) for r in found], rows)
    left = pieces.missing(pieces.planned(rows, None, batch, None), done)
    covered = [row for lo, hi in [*done, *left] for row in range(lo, hi)]
    assert sorted(covered) == list(range(rows))
