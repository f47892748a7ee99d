"""What is made of an object once, however often the very same object comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

From = TypeVar("From")
Made = TypeVar("Made")


class PerObject(Generic[From, Made]):
    """By identity, for objects that have no hash, such as schemas: a run has a handful, and each request holds one.

    They must not be changed afterwards. ``most`` bounds what a caller costs who makes a new one for each request.
    """

    def __init__(self, make: Callable[[From], Made], most: int = 256) -> None:
        self._make, self._most = make, most
        self._known: dict[int, tuple[From, Made]] = {}

    def __getitem__(self, thing: From) -> Made:
        found = self._known.get(id(thing))
        if found is None or found[0] is not thing:
            if len(self._known) >= self._most:
                self._known.clear()
            found = self._known[id(thing)] = (thing, self._make(thing))  # holding it keeps its id its own
        return found[1]
