"""Barriers whose work is shared out: rounds of parallel tasks over the run's scratch files.

A barrier that cannot hold all rows at once, or that should use every worker, is a ``Rounds``: the driver runs its
rounds one after the other, the tasks of a round in parallel on the stage's pool. A task reads what it declares
through the ``Bench``, leaves tables there for later rounds, and returns a small JSON-able result, which is parked: a
killed run goes on with the tasks that are missing. At the end ``finish`` makes the columns, shard by shard.

    class Near(Rounds):
        rounds = ("spread", "search")

        def tasks(self, name, shards, results):       # in the driver: looks at results only
            return shards if name == "spread" else results["spread"][0]["groups"]

        def work(self, name, task, bench):            # in a worker
            ...
            return {"pairs": 12}

        def finish(self, shard, bench):
            return Output(columns)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from datagen.stage import Kind, Output, Stage

Results = Mapping[str, Sequence[dict[str, Any]]]  #: round -> what each of its tasks returned, in the order of tasks


class Bench(Protocol):
    """What a task may touch. Shards are numbered 0 to ``shards - 1`` here, in the order of the ledger."""

    @property
    def shards(self) -> int: ...

    @property
    def results(self) -> Results:
        """What the tasks of the rounds before returned."""

    def read(self, shard: int, columns: Sequence[str] = ()) -> pa.Table:
        """The table's id and these of the stage's columns, for the shard's rows that the stage gets to see."""

    def put(self, name: str, table: pa.Table) -> None:
        """Leave a table for later rounds. Names are the stage's own; a second ``put`` replaces the first."""

    def get(self, name: str) -> pa.Table:
        """A table left by an earlier round; mapped into memory, not read. Where the run's files are elsewhere it is
        copied to the temporary folder for as long as somebody holds the table.

        Raises:
            FileNotFoundError: nobody left one under that name.
        """


class Rounds(Stage):
    """A barrier worked on in rounds. Every task must come to the same result wherever and whenever it runs."""

    kind: ClassVar[Kind] = Kind.BARRIER
    rounds: tuple[str, ...] = ()  #: may be set per instance; empty = ``finish`` alone

    @abstractmethod
    def tasks(self, name: str, shards: int, results: Results) -> int:
        """How many tasks round ``name`` has, 0 or more. Runs in the driver: cheap, from results alone."""

    @abstractmethod
    def work(self, name: str, task: int, bench: Bench) -> dict[str, Any]:
        """Do one task; returns what ``tasks`` of later rounds, ``conclude`` and other tasks need to know."""

    @abstractmethod
    def finish(self, shard: int, bench: Bench) -> Output:
        """Columns (and rejects, drops) of one shard, aligned with ``bench.read(shard)``."""

    def conclude(self, results: Results) -> dict[str, Any] | None:
        """The barrier's artifact."""
        return None

    def process(self, batch: pa.Table) -> Output:
        raise TypeError(f"{self.name} is worked on in rounds")
