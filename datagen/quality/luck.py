"""Numbers that depend on a name and a seed alone: whoever draws them, in whatever order, draws the same."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]

#: Constants of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA).
STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def luck(seed: int, name: str) -> int:
    """64 bits that depend on seed and name alone. For columns of names: ``draws(name_hashes(names), seed)``."""
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")


def name_hashes(names: pa.Array | pa.ChunkedArray) -> Words:
    """64-bit hash of every name (strings, none null), a whole column at once: SplitMix64 over their bytes, 8 at a time.

    Not made to withstand names that were chosen to collide; clip ids are hashes themselves.
    """
    chunks = names.chunks if isinstance(names, pa.ChunkedArray) else [names]
    return np.concatenate([np.zeros(0, np.uint64), *(_hashes(chunk) for chunk in chunks)])


def _hashes(names: pa.Array) -> Words:
    names = names.cast(pa.large_string())
    _, offsets, data = names.buffers()
    if not len(names):
        return np.zeros(0, np.uint64)
    place = np.frombuffer(offsets, np.int64, len(names) + 1, names.offset * 8)
    first, last = int(place[0]), int(place[-1])
    held = np.frombuffer(data, np.uint8)[first:last] if data is not None else np.zeros(0, np.uint8)
    text = np.concatenate([held, np.zeros(8, np.uint8)])  # the last word may reach beyond
    # A view of the 8 bytes from each byte on: words of a name begin anywhere.
    words = np.ndarray((len(held) + 1,), np.dtype("<u8"), text, strides=(1,))
    start, length = place[:-1] - first, np.diff(place)
    found = mixed(length.astype(np.uint64))
    rows = np.arange(len(names))
    for at in range(0, int(length.max()), 8):
        rows = rows[length[rows] > at]
        word = words[start[rows] + at]
        beyond = np.maximum(at + 8 - length[rows], 0).astype(np.uint64) * np.uint64(8)
        word &= np.uint64(0xFFFFFFFFFFFFFFFF) >> beyond
        found[rows] = mixed(found[rows] ^ word)
    return found


def draws(hashes: Words, seed: int) -> Words:
    """64 bits for every hash under this seed."""
    return mixed(hashes ^ np.uint64(luck(seed, "draw")))


def mixed(words: Words) -> Words:
    """SplitMix64: one to one, and every bit of the result depends on every bit of the word."""
    with np.errstate(over="ignore"):
        word = words + np.uint64(STEP)
        word = (word ^ (word >> np.uint64(30))) * _FIRST
        word = (word ^ (word >> np.uint64(27))) * _SECOND
        mixed_word: Words = word ^ (word >> np.uint64(31))
    return mixed_word


def uniform(words: Words) -> npt.NDArray[np.float64]:
    """Strictly between 0 and 1, from the upper 53 bits."""
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
