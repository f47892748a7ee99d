"""Between those who ask and the one who takes the outcomes: bounded, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Flow(Generic[In, Out]):
    """``most`` finished things wait at most; then those who bring more wait."""

    def __init__(self, things: Iterator[In], most: int) -> None:
        self._things: Iterator[In] | None = things
        self._ready: list[Out] = []
        self._most = most
        self._room = asyncio.Event()
        self.news = asyncio.Event()

    def next(self) -> In | None:
        """The next thing to do; None when there are no more."""
        if self._things is None:
            return None
        thing = next(self._things, None)
        if thing is None:
            self._things = None
        return thing

    async def put(self, done: Out) -> None:
        self._ready.append(done)
        self.news.set()
        if len(self._ready) >= self._most:
            self._room.clear()
            await self._room.wait()  # as long as the taker pleases; a taker that leaves cancels us

    def taken(self) -> list[Out]:
        """All that is ready."""
        ready, self._ready = self._ready, []
        self.news.clear()
        self._room.set()
        return ready
