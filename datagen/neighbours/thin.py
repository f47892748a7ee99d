"""A bound on near pairs: of each row's better neighbours, the best few."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from datagen.neighbours.arrays import Ints

#: Better neighbours remembered per row. Without a bound, ten thousand variants of one phrase would leave fifty million
#: pairs; a row stays by mistake only if all of these go and another near one does not.
MOST_BETTER = 64
_HELD = 1_000_000  #: pairs gathered before they are thinned


def thinned(pairs: Ints) -> Ints:
    """Distinct pairs ``(n, 2)`` of better and worse row, where the lower number is better, thinned to the bound.

    Thinning parts and then their union comes to the same as thinning all at once.
    """
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    pairs = pairs[fresh]
    place = np.arange(len(pairs)) - np.searchsorted(pairs[:, 1], pairs[:, 1])
    return np.asarray(pairs[place < MOST_BETTER])


def gathered(pieces: Iterable[Ints]) -> Ints:
    """All pairs of some pieces, thinned, and on the way thinned whenever there are many: like rows have billions."""
    kept, held = [np.zeros((0, 2), np.int64)], 0
    for pairs in pieces:
        kept.append(pairs)
        held += len(pairs)
        if held > _HELD:
            kept, held = [thinned(np.concatenate(kept))], 0
    return thinned(np.concatenate(kept))
