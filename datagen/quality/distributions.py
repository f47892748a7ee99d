"""How a set is distributed: counts, hours, shares, entropy, association. Pure functions on tables.

Every number that may end up in a file is rounded to six decimals; orders never depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

DECIMALS = 6
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """A column of words as numbers: ``code`` (int64, -1 for null) is the place in ``names``, which are sorted."""

    code: Ints
    names: list[str]


def codes(column: pa.Array | pa.ChunkedArray) -> Codes:
    """Number the words of a column; the numbers depend on which words there are, not on the order of the rows."""
    code, words = _encoded(column)
    order = pc.array_sort_indices(words).to_numpy()
    rank = np.full(len(words) + 1, -1, np.int64)
    rank[order] = np.arange(len(words))
    return Codes(rank[code], words.take(pa.array(order)).to_pylist())


def grouped(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, int]:
    """Equal words, equal numbers (int64 per row, -1 for null), and how many words there are.

    For columns of millions of words of which only the number matters: which word has which number is left open.
    """
    code, words = _encoded(column)
    return code, len(words)


def _encoded(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_null(whole.type):
        whole = whole.cast(pa.string())
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    return pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def counts(table: pa.Table, by: Sequence[str]) -> pa.Table:
    """Rows per combination of the columns ``by``: columns ``by`` and ``rows`` (int64), sorted, nulls last."""
    grouped = table.select(list(by)).group_by(list(by), use_threads=False).aggregate([([], "count_all")])
    return _sorted(grouped.rename_columns([*by, "rows"]), by)


def hours(table: pa.Table, by: Sequence[str] = (), duration: str = "duration") -> pa.Table:
    """As ``counts``, with ``hours`` (float64) from the column ``duration`` in seconds (null counts as 0).

    With empty ``by``: one row for the whole table.
    """
    seconds = pc.fill_null(table.column(duration), 0.0).to_numpy()
    if not by:
        total = round(float(seconds.sum()) / 3600, DECIMALS)
        return pa.table({"rows": pa.array([table.num_rows], pa.int64()), "hours": pa.array([total], pa.float64())})
    keys = table.select(list(by))
    # Milliseconds are added as integers: their sum does not depend on the order of the rows.
    milliseconds = pa.array(np.rint(seconds * 1000).astype(np.int64))
    grouped = (
        keys.append_column("_ms", milliseconds)
        .group_by(list(by), use_threads=False)
        .aggregate([([], "count_all"), ("_ms", "sum")])
        .rename_columns([*by, "rows", "_ms"])
    )
    spent = np.round(grouped.column("_ms").to_numpy() / 3_600_000, DECIMALS)
    grouped = grouped.drop_columns(["_ms"]).append_column("hours", pa.array(spent, pa.float64()))
    return _sorted(grouped, by)


def _sorted(table: pa.Table, by: Sequence[str]) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in by])


def shares(weights: Sequence[float] | Floats) -> Floats:
    """``weights`` divided by their sum; zeros when there is nothing to divide."""
    values = np.asarray(weights, dtype=np.float64)
    total = values.sum()
    return np.round(values / total, DECIMALS) if total > 0 else np.zeros_like(values)


def entropy(weights: Sequence[float] | Floats) -> float:
    """Shannon entropy in bits of a distribution given by non-negative weights."""
    values = np.asarray(weights, dtype=np.float64)
    total = values.sum()
    if total <= 0:
        return 0.0
    share = values[values > 0] / total
    return round(float(-(share * np.log2(share)).sum()) + 0.0, DECIMALS)


def normalised_entropy(weights: Sequence[float] | Floats) -> float:
    """Entropy over its maximum for that many classes: 1 = even, 0 = all in one. 0 for fewer than two classes."""
    classes = len(weights)
    return round(entropy(weights) / float(np.log2(classes)), DECIMALS) if classes > 1 else 0.0


def max_min_ratio(weights: Sequence[float] | Floats) -> float | None:
    """Largest over smallest class; None when a class is empty or there are none."""
    values = np.asarray(weights, dtype=np.float64)
    if not len(values) or values.min() <= 0:
        return None
    return round(float(values.max() / values.min()), DECIMALS)


def bias_corrected_v(observed: Ints | Floats) -> float | None:
    """Cramér's V of a contingency table after Bergsma (2013, Journal of the Korean Statistical Society 42).

    0 (independent) to 1. Without the correction a small sample of independent columns looks associated; so would a
    set look after half of it was removed. None when fewer than two rows or two columns of the table are filled, or
    when the sample is too small to tell.
    """
    filled = observed[observed.sum(axis=1) > 0][:, observed.sum(axis=0) > 0].astype(np.float64)
    if min(filled.shape) < 2:
        return None
    total, (rows, columns) = filled.sum(), filled.shape
    expected = np.outer(filled.sum(axis=1), filled.sum(axis=0)) / total
    phi2 = float(((filled - expected) ** 2 / expected).sum()) / total
    phi2 = max(0.0, phi2 - (rows - 1) * (columns - 1) / (total - 1))
    sides = [side - (side - 1) ** 2 / (total - 1) for side in (rows, columns)]
    most = min(sides) - 1
    return round(min(1.0, float(np.sqrt(phi2 / most))), DECIMALS) if most > 0 else None


def cramers_v(table: pa.Table, first: str, second: str) -> float | None:
    """Cramér's V between two categorical columns, 0 (independent) to 1; rows with a null are left out.

    None when either column has fewer than two values. Without bias correction (Cramér 1946, section 21.9).
    """
    pair = counts(table.filter(pc.and_(pc.is_valid(table[first]), pc.is_valid(table[second]))), (first, second))
    rows = pc.dictionary_encode(pair.column(first)).combine_chunks()
    columns = pc.dictionary_encode(pair.column(second)).combine_chunks()
    shape = (len(rows.dictionary), len(columns.dictionary))
    if min(shape) < 2:
        return None
    observed = np.zeros(shape)
    observed[rows.indices.to_numpy(), columns.indices.to_numpy()] = pair.column("rows").to_numpy()
    total = observed.sum()
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / total
    chi2 = float(((observed - expected) ** 2 / expected).sum())
    return round(float(np.sqrt(chi2 / total / (min(shape) - 1))), DECIMALS)


def balance(table: pa.Table, column: str) -> Mapping[str, float | int | None]:
    """How evenly the values of ``column`` are filled: classes, normalised entropy, max/min ratio, share of nulls."""
    valid = table.filter(pc.is_valid(table[column]))
    weights = counts(valid, (column,)).column("rows").to_numpy()
    return {
        "classes": len(weights),
        "normalised_entropy": normalised_entropy(weights),
        "max_min_ratio": max_min_ratio(weights),
        "null_share": round(1 - valid.num_rows / table.num_rows, DECIMALS) if table.num_rows else 0.0,
    }
