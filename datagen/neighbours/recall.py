"""What the search by cells misses, measured; and how far rows must be looked up so that it misses no more than asked.

Both look at rows chosen by hash and find their exact neighbours among all rows, in one pass over the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datagen.neighbours.arrays import Doubles, Ints, Vectors, blocks, chosen, mixed, release
from datagen.neighbours.cells import Cells
from datagen.neighbours.search import across
from datagen.neighbours.sketch import Sketch

_PER_ROW = 16  #: neighbours of one sampled row that are kept, chosen by hash: one group of like rows is not everything
_BLOCK = 32_768
_HELD = 20_000  #: neighbours gathered before they are sorted out
_FEWEST = 150  #: pairs from which a margin can be learnt; with fewer, pairs are constructed
_CONSTRUCTED = 2000
_TAIL = 0.1  #: of the gaps, from which the rarest are estimated


@dataclass(frozen=True)
class Measured:
    """``recall``: found / pairs, or None where the ``sampled`` rows have no neighbours at all."""

    recall: float | None
    sampled: int
    pairs: int
    found: int


@dataclass(frozen=True)
class Neighbours:
    """Exact near neighbours of sampled rows, at most 16 a row.

    ``sampled`` and ``other``: ids (int64) of the two rows of each pair; ``first`` and ``second``: their vectors.
    """

    sampled: Ints
    other: Ints
    first: Vectors
    second: Vectors

    def __len__(self) -> int:
        return len(self.sampled)

    @property
    def pairs(self) -> Ints:
        """``(n, 2)``, lower id first, each pair once."""
        lower, higher = np.minimum(self.sampled, self.other), np.maximum(self.sampled, self.other)
        return np.asarray(np.unique(np.stack([lower, higher], axis=1), axis=0))

    def of(self, sampled: Ints) -> Neighbours:
        """Only the neighbours of these sampled ids."""
        return self._take(np.flatnonzero(np.isin(self.sampled, sampled)))

    def _take(self, rows: Ints) -> Neighbours:
        return Neighbours(self.sampled[rows], self.other[rows], self.first[rows], self.second[rows])


def neighbours(
    sample: Vectors,
    sample_ids: Ints,
    vectors: Vectors,
    ids: Ints,
    threshold: float,
    sketch: Sketch | None = None,
    counts: Callable[[Ints, Ints], npt.NDArray[np.bool_]] | None = None,
) -> Neighbours:
    """Exact neighbours of sampled rows among all rows; one pass over ``vectors``, which may be mapped from a file.

    Tasks may each do this for a part of the rows; ``together`` joins what they found.

    Args:
        counts: of pairs of ids (sampled, other), which to look at; the others are as if they were far apart. It must
            be asked here, before the few of a row are chosen: afterwards the choice would depend on the parts.
    """
    # The sample is numbered from below zero, so that a row and its own copy in the sample are two.
    numbers = -1 - np.arange(len(sample_ids))
    none = np.zeros((0, sample.shape[1]), np.float32)
    pieces, held = [Neighbours(np.zeros(0, np.int64), np.zeros(0, np.int64), none, none)], 0
    for start, end in blocks(len(vectors), _BLOCK):
        here = np.array(vectors[start:end])
        release(vectors)
        for found in across(sample, numbers, here, np.arange(end - start), threshold, sketch):
            row, place = -1 - found.pairs[:, 0], found.pairs[:, 1]
            mine, other = sample_ids[row], ids[start + place]
            wanted = np.flatnonzero(mine != other if counts is None else (mine != other) & counts(mine, other))
            # A tile of like rows has a million pairs: most must go before any vector is copied.
            kept = wanted[_few(mine[wanted], other[wanted])]
            row, place = row[kept], place[kept]
            pieces.append(Neighbours(sample_ids[row], ids[start + place], sample[row], here[place]))
            held += len(row)
            if held > _HELD:
                pieces, held = [together(pieces)], 0
    return together(pieces)


def together(pieces: list[Neighbours]) -> Neighbours:
    """What several passes over parts of the rows found, in an order that does not depend on the parts."""
    sampled, other = (np.concatenate([getattr(piece, side) for piece in pieces]) for side in ("sampled", "other"))
    kept = _few(sampled, other)
    first, second = (np.concatenate([getattr(piece, side) for piece in pieces])[kept] for side in ("first", "second"))
    return Neighbours(sampled[kept], other[kept], first, second)


def _few(sampled: Ints, other: Ints) -> Ints:
    """Places of at most ``_PER_ROW`` neighbours a sampled row, those whose ids have the least hashes."""
    order = np.lexsort((other, mixed(other, 0), sampled))
    ids = sampled[order]
    return np.asarray(order[np.arange(len(ids)) - np.searchsorted(ids, ids) < _PER_ROW])


def tune(cells: Cells, known: Neighbours, recall: float, *, sample: Vectors, threshold: float) -> Cells:
    """Cells with the margin that should reach the recall asked for, learnt from known pairs.

    Where fewer than 150 pairs are known, pairs at exactly the threshold (the hardest there are) are constructed by
    moving sampled rows towards other rows, and the larger margin of both counts.
    """
    margins = [_margin(_gaps(cells, known.first, known.second), recall)] if len(known) else []
    if len(known) < _FEWEST and len(sample) > 1:
        rows = sample[:_CONSTRUCTED]
        margins.append(_margin(_gaps(cells, rows, _moved(rows, threshold)), recall))
    return cells.with_margin(max(margins, default=0.0))


def _gaps(cells: Cells, first: Vectors, second: Vectors) -> Doubles:
    """The margin with which each pair is found: one row need only visit the other's home."""
    none = cells.with_margin(0.0)
    (home, _), (other, _) = none.assign(first), none.assign(second)
    return np.asarray(np.minimum(cells.gaps(first, other), cells.gaps(second, home)))


def _margin(gaps: Doubles, recall: float) -> float:
    """The margin that all but a share of ``1 - recall`` of such gaps stay within.

    A few hundred gaps do not show their 998th thousandth, and the largest of them is an accident. So the tail beyond
    the largest tenth is taken for exponential, which is the usual model of excesses over a high threshold (Pickands
    1975) and falls slower than that of these gaps; its mean is raised by its standard error.
    """
    reachable = gaps[np.isfinite(gaps)]
    lost = (1.0 - recall) - (1.0 - len(reachable) / len(gaps))
    if not len(reachable):
        return 0.0
    if lost <= 0:
        return float(reachable.max())
    start = float(np.quantile(reachable, 1.0 - _TAIL))
    beyond = reachable[reachable > start] - start
    share = len(beyond) / len(gaps)
    if share <= lost:
        return float(np.quantile(reachable, 1.0 - lost))
    mean = float(beyond.mean()) * (1.0 + 1.0 / math.sqrt(len(beyond)))
    return start + mean * math.log(share / lost)


def _moved(rows: Vectors, threshold: float) -> Vectors:
    """For each row a vector at the threshold's cosine from it, in the direction of another sampled row.

    Such directions are those in which the vectors do differ; towards rows of the same cell none would ever leave it.
    """
    target = np.roll(rows, 1, axis=0).astype(np.float64)
    wide = rows.astype(np.float64)
    away = target - np.einsum("ij,ij->i", target, wide)[:, None] * wide
    lengths = np.linalg.norm(away, axis=1, keepdims=True)
    away = np.where(lengths > 1e-6, away / np.maximum(lengths, 1e-6), 0.0)
    moved = threshold * wide + math.sqrt(1.0 - threshold**2) * away
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def halves(ids: Ints, count: int, seed: int) -> tuple[Ints, Ints]:
    """Places of ``count`` rows to tune on and of as many others to measure on, both chosen by hash of their ids."""
    both = chosen(ids, 2 * count, seed + 1)
    return both[0::2], both[1::2]


def measure(known: Neighbours, rows: int, pairs: Ints) -> Measured:
    """How many of the exact pairs of ``rows`` sampled rows are among ``pairs`` (int64 ``(n, 2)``, lower id first)."""
    exact = known.pairs
    if not len(exact):
        return Measured(None, rows, 0, 0)
    ids = np.unique(exact)
    mine = pairs[np.isin(pairs[:, 0], ids) & np.isin(pairs[:, 1], ids)]

    def keys(some: Ints) -> Ints:
        return np.asarray(np.searchsorted(ids, some[:, 0]) * len(ids) + np.searchsorted(ids, some[:, 1]))

    found = int(np.isin(keys(exact), keys(mine)).sum())
    return Measured(found / len(exact), rows, len(exact), found)
