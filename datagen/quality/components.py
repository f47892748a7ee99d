"""Who belongs together, whatever the order of rows: values as numbers, and components of a graph given as edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
_MOST = 2**62  #: numbers of combinations are kept below


def components(nodes: int, edges: Ints) -> Ints:
    """Label every node with the lowest node of its component.

    Args:
        nodes: how many there are.
        edges: ``(edges, 2)`` of node indices.
    """
    label = np.arange(nodes)
    if not len(edges):
        return label
    left, right = edges[:, 0], edges[:, 1]
    while True:
        lower = np.minimum(label[left], label[right])
        before = label.copy()
        # Hook both roots onto the lower label, then shorten every path to its root.
        np.minimum.at(label, before[left], lower)
        np.minimum.at(label, before[right], lower)
        while not np.array_equal(label, shorter := label[label]):
            label = shorter
        if np.array_equal(label, before):
            return label


def joined_by(columns: Sequence[Sequence[str | None]]) -> Ints:
    """Component of each row when rows that share a value of any one column belong together.

    Values of different columns never meet; nulls join nothing. The label is the lowest row of the component.
    """
    rows = len(columns[0])
    edges = []
    for column in columns:
        first: dict[str, int] = {}
        for row, value in enumerate(column):
            if value is not None:
                edges.append((row, first.setdefault(value, row)))
    return components(rows, np.array(edges, np.int64).reshape(-1, 2))


def numbered(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Equal values get equal numbers from 0 on, null gets -1.

    Which number a value gets depends on the order of rows: good for finding equals, not for ordering anything.
    """
    if column.null_count == len(column):  # also columns of type null, which cannot be encoded
        return np.full(len(column), -1, np.int64)
    encoded = (column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def combined(columns: Sequence[Ints]) -> Ints:
    """Rows that are equal in all columns get equal numbers, from 0 on without gaps; -1 is a value like any other.

    Args:
        columns: at least one, of numbers from -1 on.
    """
    key, size = columns[0] + 1, _size(columns[0])
    for column in columns[1:]:
        width = _size(column)
        if size * width >= _MOST:
            key = numbered(pa.array(key))
            size = _size(key)
        key, size = key * width + column + 1, size * width
    return numbered(pa.array(key))


def distinct(values: Ints) -> Ints:
    """The different values, sorted. Sorting numbers is faster than ``numpy.unique``'s hashing where there are many."""
    ordered = np.sort(values)
    return np.asarray(ordered[np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))])


def _size(column: Ints) -> int:
    return int(column.max(initial=-1)) + 2
