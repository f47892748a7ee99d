"""Which replica is asked next, and how many requests it may hold. No sockets in here.

Each replica has a limit that halves when it says that it is overloaded (429, 503) to more than a few, and grows by one
per round of answers; and it is out of the game while it does not answer at all. A stray refusal halves nothing: at one
in two hundred that would hold the limit near twenty, whatever the server can do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

#: So many failures in a row, with no answer between, and a replica is taken for dead.
MISSES = 4
#: Share of refusals that is no overload yet, and how many more it takes to say so early.
STRAY, EARLY = 0.05, 2


class Replica:
    """One base URL. ``most`` is the ceiling of what it may hold at once."""

    def __init__(self, url: str, most: int) -> None:
        self.url = url
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self.alive = True
        self.misses = 0
        self._cuts = 0
        self._refused = self._heard = 0.0  # lately

    def free(self) -> bool:
        return self.alive and self.in_flight < int(self.limit)

    @property
    def load(self) -> float:
        """Share of its limit that is in use."""
        return self.in_flight / self.limit

    @property
    def era(self) -> int:
        """Counts cuts: what was sent before the last one says nothing about the limit after it."""
        return self._cuts

    def overloaded(self, era: int) -> None:
        """It said so of a request sent in ``era``; a burst of refusals halves the limit once."""
        if era != self._cuts:
            return
        self._refused += 1
        self._hear()
        if self._refused > STRAY * self._heard + EARLY:
            self._cuts += 1
            self._refused = self._heard = 0.0
            self.limit = max(1.0, self.limit / 2)

    def _hear(self) -> None:
        """What was heard two rounds ago counts half."""
        self._heard += 1
        if self._heard > max(20.0, 2 * self.limit):
            self._heard, self._refused = self._heard / 2, self._refused / 2

    def answered(self) -> None:
        self.misses = 0
        self._hear()
        if self.limit < self.most:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)

    def missed(self, *, nobody_there: bool) -> bool:
        """A failure that an alive server does not have. Whether it is dead with this one."""
        self.misses += 1
        if self.alive and (nobody_there or self.misses >= MISSES):
            self.alive = False
            return True
        return False

    def back(self) -> None:
        """It answered again. It begins with little: others may have found it too."""
        self.alive, self.misses, self.limit = True, 0, float(min(self.most, 4))


class Replicas:
    """Slots of all replicas, given to the least loaded first."""

    def __init__(self, urls: Sequence[str], most: int) -> None:
        self.all = [Replica(url, most) for url in urls]
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    def update(self, urls: Sequence[str]) -> None:
        """These are all there are now. What is under way at one that has left is let finish."""
        known = {replica.url: replica for replica in self.all}
        self.all = [known.get(url) or Replica(url, self._most) for url in urls]
        self.wake()

    def take(self, avoid: Replica | None = None) -> Replica | None:
        """A slot of the least loaded free replica (not ``avoid`` where another is free), or None."""
        best = None
        for replica in self.all:
            if replica.free():
                rank = (replica is avoid, replica.load)
                if best is None or rank < best[0]:
                    best = (rank, replica)
        if best is None:
            return None
        best[1].in_flight += 1
        return best[1]

    def give(self, replica: Replica) -> None:
        replica.in_flight -= 1
        self.wake()

    def wake(self) -> None:
        """Let as many look again as there are slots free; the limit may have grown by more than one."""
        free = sum(max(0, int(each.limit) - each.in_flight) for each in self.all if each.alive)
        while self._waiting and free > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    async def wait(self, seconds: float) -> None:
        """Until a slot may be free, ``seconds`` at most."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await waiter
        except TimeoutError:
            with contextlib.suppress(ValueError):  # it may have been woken in the same moment
                self._waiting.remove(waiter)
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.wake()  # the slot that was meant for this one goes to the next
            raise

    @property
    def alive(self) -> bool:
        return any(replica.alive for replica in self.all)
