"""The three states of a set that condensation goes through, and sums over its clips in each of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.distributions import DECIMALS, Floats, Ints

#: All clips; without copies and repeats; what select kept.
STATES = ("before", "deduplicated", "after")
_DUPLICATE = "duplicate:"

Bytes = npt.NDArray[np.int8]


def levels(reasons: pa.ChunkedArray) -> Bytes:
    """Per row the number of states it outlives after the first: 0 = a copy, 1 = not selected, 2 = kept."""
    copy = pc.fill_null(pc.starts_with(reasons, _DUPLICATE), False).to_numpy()
    kept = pc.is_null(reasons).to_numpy()
    return np.where(kept, 2, np.where(copy, 0, 1)).astype(np.int8)


def by_state(code: Ints, size: int, level: Bytes, weight: Floats | None = None) -> Ints:
    """``(size, 3)``: how many rows (or how much weight) each code has in each of ``STATES``; codes of -1 are left out.

    Weights must be whole numbers, so that their sum does not depend on the order of the rows.
    """
    known = code >= 0
    if not known.all():
        code, level = code[known], level[known]
        weight = None if weight is None else weight[known]
    cells = np.bincount(code * 3 + level, weight, size * 3).reshape(size, 3)
    return np.asarray(np.cumsum(cells[:, ::-1], axis=1)[:, ::-1], np.int64)


def hours(milliseconds: float) -> float:
    return round(float(milliseconds) / 3_600_000, DECIMALS)


def share(part: int, whole: int) -> float | None:
    return round(part / whole, DECIMALS) if whole else None
