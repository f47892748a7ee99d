"""Exact search: every row with every other, block by block, over a matrix in memory or mapped from a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from datagen.neighbours.arrays import Ints, Vectors, blocks, check, release
from datagen.neighbours.search import Found, across, inside
from datagen.neighbours.sketch import Sketch

BLOCK = 16_384  #: rows of a block: 24 MB of 384 dimensions


def strips(rows: int, block: int = BLOCK) -> list[tuple[int, int]]:
    """Ranges of rows, one a task: each is compared with itself and with all rows before it."""
    return list(blocks(rows, block))


def strip(
    vectors: Vectors,
    ids: Ints,
    rows: tuple[int, int],
    threshold: float,
    sketch: Sketch | None = None,
    block: int = BLOCK,
) -> Iterator[Found]:
    """Near pairs of the rows of one strip with each other and with all rows before them.

    Args:
        vectors: ``(all rows, dimensions)`` float32 unit vectors, in memory or mapped; a block at a time is read.
        ids: int64 per row, unique.
        rows: ``(first, end)``, one of ``strips``.

    Raises:
        ValueError: a row of the strip is no unit vector.
    """
    first, end = rows
    here = check(np.array(vectors[first:end]), first)
    yield from inside(here, ids[first:end], threshold, sketch)
    for other, stop in blocks(first, block):
        there = np.array(vectors[other:stop])
        release(vectors)
        yield from across(here, ids[first:end], there, ids[other:stop], threshold, sketch)
