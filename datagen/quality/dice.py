"""Seeded choices that are the same on every machine and in every Python version.

A ``Dice`` is thrown in order; its numbers come from blake2b over its name and a counter, so two slots never share a
sequence and no slot depends on what was written before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    def __init__(self, *name: str | int) -> None:
        self._name = "\x1f".join(map(str, name)).encode()
        self._throws = 0

    def below(self, sides: int) -> int:
        """An integer from 0 to ``sides`` - 1."""
        self._throws += 1
        data = self._name + b"\x1e" + str(self._throws).encode()
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") % sides

    def one(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """Fisher and Yates' shuffle, on a copy."""
        deck = list(items)
        for last in range(len(deck) - 1, 0, -1):
            other = self.below(last + 1)
            deck[last], deck[other] = deck[other], deck[last]
        return deck
