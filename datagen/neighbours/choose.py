"""Which method, how many cells, and which cells one task takes: from the number of rows, the memory and the recall."""

from __future__ import annotations

import math
from typing import Literal

from datagen.neighbours.arrays import Ints

Method = Literal["exact", "cells"]

#: Up to here every row is compared with every other: nothing is missed and nothing is to be tuned.
EXACT_ROWS = 40_000
#: Rows whose neighbours are looked up exactly to tune, and as many to measure on.
SAMPLED_ROWS = 3072
VISITS = 3.0  #: cells a row is looked up in, home included, on the hardest vectors (see docs/performance.md)
_WORK = 96  #: directions and a copy or two beside each vector while it is worked on, in float32 numbers


def method(rows: int, recall: float, exact_rows: int = EXACT_ROWS) -> Method:
    """``exact`` for few rows, and whenever nothing may be missed."""
    return "exact" if rows <= exact_rows or recall >= 1.0 else "cells"


def cell_count(rows: int) -> int:
    """As many cells as make finding the cells as dear as searching them: work per row grows with sqrt(rows)."""
    return max(1, round(math.sqrt(VISITS * rows)))


def groups(sizes: Ints, dimensions: int, memory_gb: float) -> list[tuple[int, int]]:
    """Ranges of cells ``(first, end)``, one a task, whose rows fit into ``memory_gb`` together.

    ``sizes``: rows of each cell, at home and visiting. A cell that is larger than the memory is a task of its own,
    and the one thing that is not bounded: it takes several hundred thousand near-same texts.
    """
    room = memory_gb * 1e9 / (4.0 * (dimensions + _WORK))
    ranges: list[tuple[int, int]] = []
    first, held = 0, 0.0
    for cell, size in enumerate(sizes.tolist()):
        if cell > first and held + size > room:
            ranges.append((first, cell))
            first, held = cell, 0.0
        held += size
    if len(sizes) > first:
        ranges.append((first, len(sizes)))
    return ranges
