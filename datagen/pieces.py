"""Row ranges of a unit: planned from the shard alone, so that a rerun plans the same; less what is already done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

Range = tuple[int, int]  #: first row, and the one after the last


def planned(rows: int, seconds: Sequence[float] | None, most_rows: int, most_seconds: float | None) -> list[Range]:
    """Consecutive ranges within a stage's batch limits. ``seconds``: audio seconds per row, where they are known."""
    bounds, total = [0], 0.0
    for row in range(rows):
        length = seconds[row] if seconds else 0.0
        held = row - bounds[-1]
        if held and (held >= most_rows or (most_seconds and total + length > most_seconds)):
            bounds.append(row)
            total = 0.0
        total += length
    bounds.append(rows)
    return [(lo, hi) for lo, hi in itertools.pairwise(bounds) if hi > lo]


def apart(found: Iterable[Range], rows: int) -> list[Range]:
    """Of finished ranges a set that does not overlap.

    They do overlap when a worker finished a piece and was lost before it could say so: the piece was done again in
    halves, and all three are there when the driver dies as well.
    """
    kept: list[Range] = []
    for lo, hi in sorted(found, key=lambda r: (r[0], -r[1])):
        if (not kept or lo >= kept[-1][1]) and lo < hi <= rows:
            kept.append((lo, hi))
    return kept


def missing(wanted: Iterable[Range], done: Sequence[Range]) -> list[Range]:
    """``wanted`` without the rows in ``done`` (sorted, not overlapping)."""
    left: list[Range] = []
    for lo, hi in wanted:
        for done_lo, done_hi in done:
            if done_lo < hi and done_hi > lo:
                if done_lo > lo:
                    left.append((lo, done_lo))
                lo = done_hi
        if lo < hi:
            left.append((lo, hi))
    return left
