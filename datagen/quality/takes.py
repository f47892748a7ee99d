"""Takes that are spoken alike: how a clip is delivered, as coordinates, and which takes of a cell repeat others.

A cell may hold two takes or a hundred thousand, so takes are compared with their neighbours on a grid only, and many
cells at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.quality.ranking import floats

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

TOLERANCE = 1_000_000  #: what a coordinate of two takes alike may differ by: coordinates are whole millionths of it
MEASURES = ("f0_median_hz", "f0_range_st", "level_dbfs", "rate_syl_s", "duration")
_FAR = 1e9  # times the tolerance: no measurement, and no whole number that could overflow
_FEW = 64  # takes of a cell that are compared without a grid
_AXES = 3  # of the grid; more of them cost more looking up of neighbours than they save comparisons
_BLOCK = 4_000_000  # pairs compared at a time, 64 MB


@dataclass(frozen=True)
class Alike:
    """How far apart two takes may be and still count as spoken alike."""

    f0_st: float  #: median pitch, semitones
    f0_range_st: float  #: pitch range, semitones
    level_db: float
    rate: float  #: speaking rate, as a share
    duration: float  #: as a share


def delivery(clips: pa.Table, alike: Alike) -> tuple[Ints, Bools]:
    """``(rows, 5)`` in units of ``TOLERANCE``, and which rows were measured in full; the others are alike to nothing.

    Two rows are alike when no coordinate differs by more than ``TOLERANCE``. Whole numbers, so that no last digit of
    a logarithm decides.

    Args:
        clips: columns ``MEASURES``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = (
            12 * np.log2(floats(clips, "f0_median_hz")) / alike.f0_st,
            floats(clips, "f0_range_st") / alike.f0_range_st,
            floats(clips, "level_dbfs") / alike.level_db,
            np.log(floats(clips, "rate_syl_s")) / np.log1p(alike.rate),
            np.log(floats(clips, "duration")) / np.log1p(alike.duration),
        )
        spoken = np.stack(columns, axis=1)
        measured = np.all(np.abs(spoken) < _FAR, axis=1)  # false for NaN as well
    return np.rint(np.where(measured[:, None], spoken, 0) * TOLERANCE).astype(np.int64), measured


def repeats(cell: Ints, spoken: Ints, fixed: Bools, keep: int) -> Ints:
    """Which takes repeat others: per row the best row that stays and is alike, or -1 for a row that stays.

    The rule: rows are gone through from the best to the worst, and one goes when ``keep`` rows of its cell that stay
    are alike. Here all rows are decided at once whose better neighbours are, which comes to the same: a row that goes
    changes nothing for others, so an undecided row with no better undecided one around it stays unless it is covered
    already.

    Args:
        cell: per row, best row first; takes of different cells are never compared.
        spoken: ``(rows, 5)`` as from ``delivery``.
        fixed: rows that stay in any case (they count for the others).
        keep: how many takes alike stay, at least 1.
    """
    repeated = np.full(len(cell), -1, np.int64)
    crowded = np.flatnonzero(np.bincount(cell)[cell] > keep) if len(cell) else repeated
    if len(crowded):
        spoken, fixed = spoken[crowded], fixed[crowded]
        bins, edges = _grid(np.unique(cell[crowded], return_inverse=True)[1], spoken)
        stays = _decide(bins, edges, spoken, fixed, keep)
        best = _best(bins, edges, spoken, stays)
        gone = ~stays
        repeated[crowded[gone]] = crowded[best[gone]]
    return repeated


def _grid(cell: Ints, spoken: Ints) -> tuple[Ints, tuple[Ints, Ints]]:
    """Bin of each row, and the pairs of bins (both ways and each with itself) in which takes alike can lie.

    A small cell is one bin. A large one is cut along the axes that spread most, in steps of the tolerance or wider.
    """
    large = np.bincount(cell)[cell] > _FEW
    steps = np.where(large[:, None], spoken // TOLERANCE, 0)
    steps -= steps.min(axis=0)
    axes = steps[:, np.sort(np.argsort(-steps.max(axis=0), kind="stable")[:_AXES])]
    sizes = [int(size) for size in axes.max(axis=0) + 3]  # free on both sides, so that no neighbour is another row's
    while (int(cell.max()) + 1) * int(np.prod(sizes, dtype=object)) >= 2**62:
        widest = sizes.index(max(sizes))
        axes[:, widest] //= 2
        sizes[widest] = int(axes[:, widest].max()) + 3
    key = cell
    for axis, size in enumerate(sizes):
        key = key * size + axes[:, axis] + 1
    keys, bins = np.unique(key, return_inverse=True)
    cut = np.unique(bins[large])
    whole = np.setdiff1d(np.arange(len(keys)), cut, assume_unique=True)
    sources, targets = [whole], [whole]
    for first in (-1, 0, 1):
        for second in (-1, 0, 1):
            middle = keys[cut] + (first * sizes[1] + second) * sizes[2]
            low, high = np.searchsorted(keys, middle - 1), np.searchsorted(keys, middle + 1, side="right")
            sources.append(np.repeat(cut, high - low))
            targets.append(_ranges(low, high))
    return bins, (np.concatenate(sources), np.concatenate(targets))


def _decide(bins: Ints, edges: tuple[Ints, Ints], spoken: Ints, fixed: Bools, keep: int) -> Bools:
    """Which rows stay. A round decides the best undecided row of every bin whose neighbours have no better one."""
    stays = np.zeros(len(bins), bool)
    cover = np.zeros(len(bins), np.int64)
    source, target = edges
    left = np.argsort(bins, kind="stable")  # undecided rows, by bin and there the best first
    where, number = bins[left], int(bins.max()) + 1
    while len(left):
        starts = np.flatnonzero(np.diff(where, prepend=-1))
        # Bins that are done with are left out, so that a round costs what is left.
        renumbered = np.full(number, -1, np.int64)
        number = len(starts)
        renumbered[where[starts]] = np.arange(number)
        source, target = renumbered[source], renumbered[target]
        alive = (source >= 0) & (target >= 0)
        source, target = source[alive], target[alive]
        stops = np.append(starts[1:], len(left))
        where = np.repeat(np.arange(number), stops - starts)

        head = left[starts]
        around = head.copy()
        np.minimum.at(around, source, head[target])
        first = around == head
        stays[head[first]] = True
        pushed = first[source]
        for row, other in _meetings(head[source[pushed]], starts[target[pushed]], stops[target[pushed]]):
            np.add.at(cover, left[other[_alike(spoken, row, left[other])]], 1)
        undecided = ~stays[left] & (fixed[left] | (cover[left] < keep))
        left, where = left[undecided], where[undecided]
    return stays


def _best(bins: Ints, edges: tuple[Ints, Ints], spoken: Ints, stays: Bools) -> Ints:
    """Per row that goes the best row that stays and is alike."""
    best = np.full(len(bins), len(bins), np.int64)
    gone = np.flatnonzero(~stays)
    gone = gone[np.argsort(bins[gone], kind="stable")]
    kept = np.flatnonzero(stays)
    kept = kept[np.argsort(bins[kept], kind="stable")]
    # Two joins: a kept row with the edges of its bin, and each of these with the rows that go.
    source, target = edges
    order = np.argsort(source, kind="stable")
    source, target = source[order], target[order]
    low, high = np.searchsorted(source, bins[kept]), np.searchsorted(source, bins[kept], side="right")
    near = target[_ranges(low, high)]
    low_row, high_row = np.searchsorted(bins[gone], near), np.searchsorted(bins[gone], near, side="right")
    for row, other in _meetings(np.repeat(kept, high - low), low_row, high_row):
        alike = _alike(spoken, row, gone[other])
        np.minimum.at(best, gone[other[alike]], row[alike])
    return best


def _alike(spoken: Ints, one: Ints, other: Ints) -> Ints:
    """Which of the pairs are alike (indices)."""
    pairs = np.arange(len(one))
    for axis in range(spoken.shape[1]):
        column = spoken[:, axis]
        pairs = pairs[np.abs(column[one[pairs]] - column[other[pairs]]) <= TOLERANCE]
    return pairs


def _ranges(low: Ints, high: Ints) -> Ints:
    """All numbers from each ``low`` up to its ``high``, one range after the other."""
    sizes = high - low
    ends = np.cumsum(sizes)
    return np.asarray(np.arange(ends[-1] if len(ends) else 0) + np.repeat(low - ends + sizes, sizes))


def _meetings(rows: Ints, low: Ints, high: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each row paired with all numbers of its range, in blocks of about ``_BLOCK`` pairs."""
    ends = np.cumsum(high - low)
    done = 0
    while done < len(rows):
        before = int(ends[done - 1]) if done else 0
        until = max(done + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        part = slice(done, until)
        yield np.repeat(rows[part], high[part] - low[part]), _ranges(low[part], high[part])
        done = until
