"""A bound on near pairs: the best of each row, and none twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.neighbours import thin

PAIRS = st.lists(st.tuples(st.integers(0, 8), st.integers(9, 14)), max_size=60)


def array(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)


@settings(max_examples=150, deadline=None)
@given(PAIRS, st.integers(1, 4), st.integers(0, 20), st.integers(1, 7))
def test_the_best_of_each_row_stay_however_pairs_were_gathered(
    pairs: list[tuple[int, int]], most: int, held: int, step: int
) -> None:
    wanted = []
    for worse in sorted({pair[1] for pair in pairs}):
        wanted += [[better, worse] for better in sorted({b for b, w in pairs if w == worse})[:most]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thin, "MOST_BETTER", most)
        patch.setattr(thin, "_HELD", held)
        assert thin.thinned(array(pairs)).tolist() == wanted
        pieces = [array(pairs[first : first + step]) for first in range(0, len(pairs), step)]
        assert thin.gathered(pieces).tolist() == wanted
