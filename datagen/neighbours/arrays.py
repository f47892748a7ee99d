"""Arrays of unit vectors, in memory or mapped from a file: their types, checks, and reading them block by block."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from datagen.quality import luck

Vectors = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Cells32 = npt.NDArray[np.int32]

#: Cosines are rounded to this many decimals before they decide (and before they are stored).
DECIMALS = 6
#: Float32 products of unit vectors of up to some thousand dimensions are closer to the truth than this.
SLACK = 1e-5
#: Least cosine up to which a vector still counts as having unit length.
_UNIT = 1e-3


def check(vectors: npt.NDArray[np.floating], first: int = 0) -> Vectors:
    """``(rows, dimensions)`` float32 unit vectors, or a ValueError that names the first row that is none.

    ``first`` is the number of the first row, for the message.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"vectors: {vectors.ndim} axes of {vectors.dtype}; needed are 2 axes of float32")
    squares = np.einsum("ij,ij->i", vectors, vectors)
    wrong = np.flatnonzero(~(np.abs(squares - 1.0) <= 2 * _UNIT))  # also true of nan
    if len(wrong):
        raise ValueError(
            f"vectors: row {first + int(wrong[0])} has not unit length (its square is {squares[wrong[0]]})"
        )
    return vectors


def blocks(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges ``(first, end)`` of at most ``size`` rows, in order."""
    for first in range(0, rows, size):
        yield first, min(rows, first + size)


def release(vectors: npt.NDArray[np.generic]) -> None:
    """Give a mapped file's pages back to the system; they are read again when somebody looks at them.

    A process that reads a mapped file from one end to the other would otherwise count as holding all of it.
    Arrays in memory, and private maps (whose changes would be lost), are left alone.
    """
    mapped = getattr(vectors, "_mmap", None)
    if mapped is not None and getattr(vectors, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def mixed(ids: Ints, seed: int) -> npt.NDArray[np.uint64]:
    """A well-mixed 64-bit number per id: the ``seed``-th after it of the generator that ``luck`` mixes with."""
    return luck.mixed(ids.astype(np.uint64) + np.uint64(seed * luck.STEP % 2**64))


def chosen(ids: Ints, count: int, seed: int) -> Ints:
    """Places of ``count`` ids chosen by hash, in the order of the hash: the same ids in any order give the same."""
    numbers = mixed(ids, seed)
    least = np.argpartition(numbers, count)[:count] if count < len(ids) else np.arange(len(ids))
    return np.asarray(least[np.lexsort((ids[least], numbers[least]))], np.int64)


def unique_pairs(pairs: Ints, cosines: Doubles) -> tuple[Ints, Doubles]:
    """Pairs ``(n, 2)`` sorted by first and second id, each once."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, cosines = pairs[order], cosines[order]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[fresh], cosines[fresh]
