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
_GATHER = 8192  #: pairs whose vectors are put side by side at once
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
    short = None if sketch is None else sketch.of(vectors)
    for first, end in blocks(len(vectors), _TILE):
        for other, stop in blocks(end, _TILE):
            yield from _tile(vectors, ids, short, (first, end), vectors, ids, short, (other, stop), threshold)


def across(
    left: Vectors, left_ids: Ints, right: Vectors, right_ids: Ints, threshold: float, sketch: Sketch | None = None
) -> Iterator[Found]:
    """Near pairs of one row of ``left`` and one of ``right``; no id may be in both."""
    if not len(left) or not len(right):
        return
    short = (None, None) if sketch is None else (sketch.of(left), sketch.of(right))
    for first, end in blocks(len(left), _TILE):
        for other, stop in blocks(len(right), _TILE):
            tile = (left, left_ids, short[0], (first, end), right, right_ids, short[1], (other, stop))
            yield from _tile(*tile, threshold)


def _tile(
    left: Vectors,
    left_ids: Ints,
    left_short: Vectors | None,
    rows: tuple[int, int],
    right: Vectors,
    right_ids: Ints,
    right_short: Vectors | None,
    columns: tuple[int, int],
    threshold: float,
) -> Iterator[Found]:
    """Near pairs of one tile; of a tile on the diagonal (of one matrix with itself) only those below it."""
    diagonal = left is right and rows == columns
    a, b = left[rows[0] : rows[1]], right[columns[0] : columns[1]]
    if left_short is not None and right_short is not None:
        at, near = _above(left_short[rows[0] : rows[1]], right_short[columns[0] : columns[1]], threshold, diagonal)
        if len(at) and len(at) <= _DENSE * len(a) * len(b):
            close = _products(a, b, at, near, np.float32) >= threshold - SLACK
            at, near = at[close], near[close]
        elif len(at):
            at, near = _above(a, b, threshold, diagonal)
    else:
        at, near = _above(a, b, threshold, diagonal)
    if not len(at):
        return
    if len(at) <= _DENSE * len(a) * len(b):
        cosines = _products(a, b, at, near, np.float64)
    else:
        cosines = (a.astype(np.float64) @ b.astype(np.float64).T)[at, near]
    cosines = np.round(cosines, DECIMALS)
    reached = cosines >= threshold
    one, other = left_ids[rows[0] + at[reached]], right_ids[columns[0] + near[reached]]
    if len(one):
        yield Found(np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1), cosines[reached])


def _above(a: Vectors, b: Vectors, threshold: float, diagonal: bool) -> tuple[Ints, Ints]:
    """Rows and columns where the product may reach the threshold."""
    above = (a @ b.T) >= np.float32(threshold - SLACK)
    flat = np.flatnonzero(above)
    at, near = np.divmod(flat, len(b))
    if diagonal:
        below = at > near
        at, near = at[below], near[below]
    return at, near


def _products(a: Vectors, b: Vectors, at: Ints, near: Ints, kind: type) -> Doubles:
    """Products of the pairs ``(a[at], b[near])`` one by one, summed in ``kind``."""
    products: Doubles = np.empty(len(at), kind)
    for first, end in blocks(len(at), _GATHER):
        left, right = a[at[first:end]], b[near[first:end]]
        if kind is np.float64:
            left, right = left.astype(np.float64), right.astype(np.float64)
        products[first:end] = np.einsum("ij,ij->i", left, right)
    return products
