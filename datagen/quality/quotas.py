"""Shares and a target, kept to together: which rows of a queue go so that every limit holds and the most stay.

Rows stand in a queue. A limit takes the rows of one kind from its end until their number fits that of the others; a
target cuts the queue itself. A row goes when it stands behind the mark of a limit on its kind, or behind the target's.
Removing a row can only make other limits take more, never less, so there is one largest set that satisfies all of
them, and the order in which they are applied does not matter. Marks are found on counts: but for one pass over the
rows, the cost does not grow with them.

Protected rows never go; a limit that could only be met by taking them is left unmet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_EPS = 1e-9  #: forgives what binary fractions lack: 0.4 / 0.6 * 3 is 2 clips, not 1


@dataclass(frozen=True)
class AtMost:
    """Clips of the cells ``kind`` may be at most ``share`` of them and the ``others`` together.

    ``to_the_clip``: up to one clip more, where limits on all kinds bind each other and rounding down would go on for
    ever.
    """

    reason: str
    kind: tuple[int, ...]
    others: tuple[int, ...]
    share: float  #: below 1
    to_the_clip: bool = False

    def most(self, others: int) -> int:
        exact = self.share / (1 - self.share) * others
        return ceil(exact - _EPS) if self.to_the_clip else floor(exact + _EPS)


class Queue:
    """Rows in their order, by cell. ``size`` is what a target counts: 1 or milliseconds."""

    def __init__(self, cell: Ints, cells: int, protected: Bools, size: Ints) -> None:
        self.length = len(cell)
        self.cell, self._protected = cell, protected
        self.places = [np.flatnonzero((cell == c) & ~protected) for c in range(cells)]
        self._sums = [np.concatenate([[0], np.cumsum(size[places])]) for places in self.places]
        self.safe = np.bincount(cell[protected], minlength=cells)
        self._safe_size = int(size[protected].sum())

    def ahead(self, cells: Sequence[int], marks: Ints) -> int:
        """Unprotected rows of some cells that stand ahead of their cell's mark."""
        return sum(int(np.searchsorted(self.places[c], marks[c])) for c in cells)

    def size(self, marks: Ints) -> int:
        found = self._safe_size
        for places, sums, mark in zip(self.places, self._sums, marks, strict=True):
            found += int(sums[np.searchsorted(places, mark)])
        return found

    def stays(self, marks: Ints) -> Bools:
        return np.asarray(self._protected | (np.arange(self.length) < marks[self.cell]))


@dataclass(frozen=True)
class Solution:
    """What became of each row in the queue: ``limit`` is -1 = stays, else the place of the limit that took it.

    ``len(limits)`` stands for the target.
    """

    limit: Ints


def solve(queue: Queue, limits: Sequence[AtMost], target: int | None) -> Solution:
    """Keep the most rows from the front of the queue such that every limit holds and their size fits the target."""
    marks = _settle(queue, limits, [queue.length] * len(limits), queue.length)
    front, size = queue.length, queue.size(_least(queue, limits, marks, queue.length))
    if target is not None and size > target:
        marks, front = _fill(queue, limits, target)
    stays = queue.stays(_least(queue, limits, marks, front))
    place = np.arange(queue.length)
    taken = np.full(queue.length, len(limits), np.int64)
    for number in reversed(range(len(limits))):
        concerned = np.isin(queue.cell, limits[number].kind)
        taken[concerned & (place >= marks[number]) & (place < front)] = number
    taken[stays] = -1
    return Solution(taken)


def _fill(queue: Queue, limits: Sequence[AtMost], target: int) -> tuple[list[int], int]:
    """Marks and front with which the size comes as near to the target as it can without going beyond."""

    def size(marks: list[int], front: int) -> int:
        return queue.size(_least(queue, limits, _settle(queue, limits, marks, front), front))

    def every(mark: int) -> list[int]:
        return [mark] * len(limits)

    front = _last(queue.length, lambda front: size(every(front), front) <= target)
    best = (_settle(queue, limits, every(front), front), front)
    # One row more may let in several that waited for it, and that is too much: let in only some of these.
    further = front + 1
    for number in range(len(limits)):

        def marks(mark: int, number: int = number) -> list[int]:
            return [mark if n == number else further for n in range(len(limits))]

        mark = _last(further, lambda mark: size(marks(mark), further) <= target)
        if size(marks(mark), further) <= target and size(marks(mark), further) > size(*best):
            best = (_settle(queue, limits, marks(mark), further), further)
    return best


def _last(top: int, fits: Callable[[int], bool]) -> int:
    """The largest number below ``top`` that fits, 0 if none does; whatever is below one that fits does, too."""
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _least(queue: Queue, limits: Sequence[AtMost], marks: list[int], front: int) -> Ints:
    """Per cell the foremost of the marks that concern it."""
    found = np.full(len(queue.places), front, np.int64)
    for limit, mark in zip(limits, marks, strict=True):
        for cell in limit.kind:
            found[cell] = min(found[cell], mark)
    return found


def _settle(queue: Queue, limits: Sequence[AtMost], marks: list[int], front: int) -> list[int]:
    """Marks, at or before the given ones, with which every limit is satisfied or has only protected rows left."""
    marks = list(marks)
    moved = True
    while moved:
        moved = False
        for number, limit in enumerate(limits):
            by_cell = _least(queue, limits, marks, front)
            free = queue.ahead(limit.kind, by_cell)
            others = queue.ahead(limit.others, by_cell) + int(queue.safe[list(limit.others)].sum())
            room = max(0, limit.most(others) - int(queue.safe[list(limit.kind)].sum()))
            if free > room:
                marks[number] = _mark(queue, limit.kind, by_cell, room)
                moved = True
    return marks


def _mark(queue: Queue, kind: Sequence[int], by_cell: Ints, room: int) -> int:
    """The rearmost mark ahead of which at most ``room`` unprotected rows of the kind stand."""
    return _last(queue.length + 1, lambda mark: queue.ahead(kind, np.minimum(by_cell, mark)) <= room)
