"""All pairs of a cell, or of two blocks of rows, whose cosine reaches a threshold: exact, in bounded memory.

The matrix product is taken tile by tile over sketches (``sketch.py``), then over whole vectors for what passes, and
what is left is decided in float64, rounded to six decimals: the answer does not depend on how rows were blocked.
Pairs come out in pieces of at most one tile, so a cell of a hundred thousand like vectors costs time, not memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from datagen.neighbours.arrays import DECIMALS, SLACK, Doubles, Ints, Vectors, blocks
from datagen.neighbours.sketch import Sketch

_TILE = 1024  #: rows and columns of a product that is looked at at once: 4 MB, which a cache holds
_GATHER = 512  #: pairs whose vectors are put side by side at once: 1.5 MB of 384 dimensions
_DENSE = 1 / 64  #: of a tile: from here on a product of all is cheaper than looking at pairs one by one


class Found(NamedTuple):
    """Near pairs: ``pairs`` int64 ``(n, 2)`` of ids with the lower first, ``cosines`` float64 rounded."""

    pairs: Ints
    cosines: Doubles


def within(
    home_vectors: Vectors,
    home_ids: Ints,
    visitor_vectors: Vectors,
    visitor_ids: Ints,
    threshold: float,
    sketch: Sketch | None = None,
) -> Iterator[Found]:
    """Near pairs among the rows at home in a cell, and between these and its visitors (not among visitors).

    A pair whose rows visit each other's cells is found in both; ``arrays.unique_pairs`` takes one of them out.

    Args:
        home_vectors, visitor_vectors: ``(rows, dimensions)`` float32 unit vectors, in memory or mapped.
        home_ids, visitor_ids: int64, unique.
        threshold: least cosine, of the cosine rounded to six decimals.
        sketch: spares most of the work; None compares whole vectors at once.
    """
    yield from inside(home_vectors, home_ids, threshold, sketch)
    yield from across(home_vectors, home_ids, visitor_vectors, visitor_ids, threshold, sketch)


def inside(vectors: Vectors, ids: Ints, threshold: float, sketch: Sketch | None = None) -> Iterator[Found]:
    """Near pairs among some rows."""
    rows = _Rows(vectors, ids, None if sketch is None else sketch.of(vectors))
    tiles = _Tiles(threshold, len(vectors), len(vectors))
    for first, end in blocks(len(vectors), _TILE):
        here = rows.part(first, end)
        for other, stop in blocks(end, _TILE):
            yield from tiles.near(here, rows.part(other, stop), diagonal=other == first)


def across(
    left: Vectors, left_ids: Ints, right: Vectors, right_ids: Ints, threshold: float, sketch: Sketch | None = None
) -> Iterator[Found]:
    """Near pairs of one row of ``left`` and one of ``right``; no id may be in both."""
    if not len(left) or not len(right):
        return
    one = _Rows(left, left_ids, None if sketch is None else sketch.of(left))
    two = _Rows(right, right_ids, None if sketch is None else sketch.of(right))
    tiles = _Tiles(threshold, len(left), len(right))
    for first, end in blocks(len(left), _TILE):
        here = one.part(first, end)
        for other, stop in blocks(len(right), _TILE):
            yield from tiles.near(here, two.part(other, stop))


class _Rows(NamedTuple):
    vectors: Vectors
    ids: Ints
    short: Vectors | None

    def part(self, first: int, end: int) -> _Rows:
        short = None if self.short is None else self.short[first:end]
        return _Rows(self.vectors[first:end], self.ids[first:end], short)


class _Tiles:
    """Tile by tile, in memory that is asked for once: fresh pages for every product took as long as the product."""

    def __init__(self, threshold: float, rows: int, columns: int) -> None:
        self.threshold = threshold
        self._product = np.empty(min(rows, _TILE) * min(columns, _TILE), np.float32)
        self._above = np.empty(len(self._product), bool)

    def near(self, a: _Rows, b: _Rows, *, diagonal: bool = False) -> Iterator[Found]:
        """Near pairs of one tile; of a tile on the diagonal (rows with themselves) only those below it."""
        few = _DENSE * len(a.ids) * len(b.ids)
        if a.short is None or b.short is None:
            at, near = self._candidates(a.vectors, b.vectors, diagonal)
        else:
            at, near = self._candidates(a.short, b.short, diagonal)
            if len(at) > few:
                at, near = self._candidates(a.vectors, b.vectors, diagonal)
            elif len(at):
                close = _products(a.vectors, b.vectors, at, near) >= self.threshold - SLACK
                at, near = at[close], near[close]
        if not len(at):
            return
        if len(at) > few:
            cosines = (a.vectors.astype(np.float64) @ b.vectors.astype(np.float64).T)[at, near]
        else:
            cosines = _products(a.vectors, b.vectors, at, near, np.float64)
        cosines = np.round(cosines, DECIMALS)
        reached = cosines >= self.threshold
        if reached.any():
            one, other = a.ids[at[reached]], b.ids[near[reached]]
            yield Found(np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1), cosines[reached])

    def _candidates(self, a: Vectors, b: Vectors, diagonal: bool) -> tuple[Ints, Ints]:
        """Rows and columns where the product may reach the threshold."""
        size = len(a) * len(b)
        product = np.matmul(a, b.T, out=self._product[:size].reshape(len(a), len(b))).reshape(-1)
        above = np.greater_equal(product, np.float32(self.threshold - SLACK), out=self._above[:size])
        at, near = np.divmod(np.flatnonzero(above), len(b))
        if diagonal:
            below = at > near
            at, near = at[below], near[below]
        return at, near


def _products(a: Vectors, b: Vectors, at: Ints, near: Ints, kind: type = np.float32) -> Doubles:
    """Products of the pairs ``(a[at], b[near])`` one by one, summed in ``kind``."""
    products: Doubles = np.empty(len(at), kind)
    for first, end in blocks(len(at), _GATHER):
        left, right = a[at[first:end]], b[near[first:end]]
        if kind is np.float64:
            left, right = left.astype(np.float64), right.astype(np.float64)
        products[first:end] = np.einsum("ij,ij->i", left, right)
    return products
