"""Columns of finished samples to rounded figures: what ``blind_figures`` and ``judge_figures`` are made of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGITS = 4


def mean(column: pa.ChunkedArray | pa.Array) -> float | None:
    """Of what is not null; None of nothing. Summed in row order, so that it is the same everywhere."""
    known = values(column)
    return round(float(known.mean()), DIGITS) if len(known) else None


def values(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """What is not null, as 64-bit floats."""
    known = column.drop_null().cast(pa.float64())
    return np.asarray(known.to_numpy())


def share(part: int | float, whole: int | float) -> float | None:
    return round(part / whole, DIGITS) if whole else None


def counts(column: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    """Value -> rows, nulls left out, by name."""
    found = column.drop_null().value_counts().to_pylist()
    return {str(each["values"]): each["counts"] for each in sorted(found, key=lambda each: str(each["values"]))}


def groups(table: pa.Table, column: str) -> dict[str, pa.Table]:
    """The table, cut by a column's values, by name; rows without one are in no part."""
    return {name: table.filter(pc.equal(table[column], name)) for name in counts(table[column])}


def correlation(left: pa.ChunkedArray, right: pa.ChunkedArray) -> float | None:
    """Pearson's r where both are known; None of fewer than three rows or where one does not vary."""
    both = pc.and_(pc.is_valid(left), pc.is_valid(right))
    x, y = values(left.filter(both)), values(right.filter(both))
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return round(float(np.corrcoef(x, y)[0, 1]), DIGITS)
