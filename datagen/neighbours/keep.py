"""Of near pairs, which rows stay: one of each group of copies, never none."""

from __future__ import annotations

import numpy as np

from datagen.neighbours.arrays import Ints

_ROUNDS = 30
_FEW = 2_000


def keep_first(order: Ints, pairs: Ints) -> Ints:
    """Per row the row it gives way to, or -1 where it stays.

    Rows are gone through from the best to the worst, and a row goes only when a better row *that stays* is near it:
    nothing goes through a chain, every row that goes has a near one that stays, and rows that stay are never near.

    Args:
        order: int64 ``(rows,)``, all rows from the best to the worst.
        pairs: int64 ``(n, 2)``, near rows in any order.

    Returns:
        int64 ``(rows,)``; a row with several near rows that stay names the best of them. Work grows with the pairs.
    """
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ranked = np.sort(rank[pairs], axis=1)  # better, worse
    gone = np.zeros(len(order), bool)
    decided = np.zeros(len(order), bool)
    open_ = ranked
    # All rows with no better open row stay at once, and what is near them goes. In an order that has nothing to do
    # with the pairs a few rounds decide all; a chain in the order of the rows is left to the loop.
    for _ in range(_ROUNDS):
        if len(open_) < _FEW:
            break
        waits = np.zeros(len(order), bool)
        waits[open_[:, 1]] = True
        stays = ~waits[open_[:, 0]]
        gone[open_[stays, 1]] = True
        decided[open_[stays, 0]] = True
        open_ = open_[~decided[open_[:, 0]] & ~gone[open_].any(axis=1)]
    for better, worse in open_[np.argsort(open_[:, 0], kind="stable")].tolist():
        if not gone[better]:
            gone[worse] = True
    keepers = ranked[~gone[ranked[:, 0]]]  # of these the worse row is gone
    keepers = keepers[np.lexsort((keepers[:, 0], keepers[:, 1]))]
    dup_of = np.full(len(order), -1, np.int64)
    first = np.ones(len(keepers), bool)
    first[1:] = keepers[1:, 1] != keepers[:-1, 1]
    dup_of[order[keepers[first, 1]]] = order[keepers[first, 0]]
    return dup_of
