"""Where a barrier worked on in rounds stands: which tasks of the present round are left, what the others came to."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from datagen.barrier import FINISH
from datagen.digest import of_value
from datagen.rounds import Rounds
from datagen.store import Store, Unit


class Agenda:
    """The driver's notes on one ``Rounds`` unit. What an earlier driver had done counts as done, if it was done with
    the very same settings: those that are no part of the key (memory) decide how the work was cut into tasks.

    ``round``: the present one, None when only the commit is left. ``todo``: numbers of its tasks not yet sent.
    """

    def __init__(self, stage: Rounds, store: Store, unit: Unit, shards: int) -> None:
        self.stage, self.store, self.unit, self.shards = stage, store, unit, shards
        self.results: dict[str, tuple[dict[str, Any], ...]] = {}
        self.seconds = 0.0
        self.failures: Counter[tuple[str, int]] = Counter()
        self.todo: deque[int] = deque()
        self._rounds = (*stage.rounds, FINISH)
        self._at = -1
        self._done: dict[int, dict[str, Any]] = {}
        self._total = 0
        store.work_with(unit, of_value(stage.config.model_dump(mode="json")))
        self._advance()

    @property
    def round(self) -> str | None:
        return self._rounds[self._at] if self._at < len(self._rounds) else None

    @property
    def share(self) -> float:
        """How much of it is done, 0..1, a round as long as any other."""
        return (self._at + (len(self._done) / self._total if self._total else 0.0)) / len(self._rounds)

    def took(self, number: int, result: dict[str, Any]) -> None:
        """A task of the present round is done."""
        self._done[number] = result
        if len(self._done) == self._total:
            self._advance()

    def _advance(self) -> None:
        """Go on to the next round that has tasks left."""
        while True:
            if self.round is not None and self._at >= 0:
                if len(self._done) < self._total:
                    break
                ordered = [self._done[number] for number in range(self._total)]
                self.results[self._rounds[self._at]] = tuple(result["found"] for result in ordered)
                self.seconds += sum(result["seconds"] for result in ordered)
            self._at += 1
            if self.round is None:
                self._done, self._total = {}, 0
                return
            self._total = self.shards
            if self.round != FINISH:
                self._total = self.stage.tasks(self.round, self.shards, dict(self.results))
            parked = self.store.results(self.unit, self.round)
            self._done = {number: result for number, result in parked.items() if number < self._total}
            self.todo = deque(number for number in range(self._total) if number not in self._done)
