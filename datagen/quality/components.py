"""Connected components of a graph given as edges: who belongs together, whatever the order of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


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


def number(keys: Sequence[object]) -> Ints:
    """Equal keys get equal numbers, in order of first appearance."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)
