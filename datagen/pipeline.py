"""A recipe's stages as a graph: who writes each column, who must come first, which phase each runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from datagen.errors import UsageError
from datagen.registry import BUILTIN, did_you_mean
from datagen.stage import Kind, Stage
from datagen.tables import ID, PARENT, REASON, SOURCES, STATUS

LEDGER = "ledger"  #: the pseudo-stage that owns ``sources``


@dataclass(frozen=True)
class Column:
    """Where a column a stage reads comes from. ``writer`` None: nobody writes it, it is all nulls."""

    name: str
    table: str
    writer: str | None
    type: pa.DataType


class Pipeline:
    """The graph of one recipe.

    ``order``: stage names such that every stage follows what it depends on.
    ``inputs[stage]``: the columns it reads. ``needs[stage]``: stages it depends on directly.
    ``guards[stage]``: stages of its own table whose rejects and drops it does not get to see.
    ``phase[stage]``: number of barriers before it; executors hold pools for one phase at a time.
    """

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self.stages = dict(stages)
        self.creator = {"sources": LEDGER}
        self._writers: dict[tuple[str, str], tuple[str, pa.DataType]] = {
            ("sources", field.name): (LEDGER, field.type) for field in SOURCES
        }
        self._collect()
        self.inputs: dict[str, tuple[Column, ...]] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        self.guards: dict[str, tuple[str, ...]] = {}
        for name, stage in self.stages.items():
            self._connect(name, stage)
        self.order = self._sort()
        self.phase = self._phases()

    # -- building ----------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        self.annotators: list[str] = []
        for name, stage in self.stages.items():
            if stage.table not in ID:
                raise UsageError(f"stage {name}: unknown table '{stage.table}'{did_you_mean(stage.table, ID)}")
            for table, schema in stage.creates.items():
                if table == "annotations":
                    self.annotators.append(name)
                    continue
                if table in self.creator:
                    raise UsageError(f"stages {self.creator[table]} and {name} both create the table {table}")
                self.creator[table] = name
                for field in schema:
                    self._writers[table, field.name] = (name, field.type)
        for name, stage in self.stages.items():
            for field in stage.writes:
                taken = self._writers.get((stage.table, field.name))
                if taken:
                    raise UsageError(f"stages {taken[0]} and {name} both write {stage.table}.{field.name}")
                self._writers[stage.table, field.name] = (name, field.type)

    def find(self, table: str, column: str) -> Column | None:
        """The column as a stage on ``table`` sees it: its own table's first, then its ancestors'."""
        here: str | None = table
        while here is not None:
            if (here, column) in self._writers:
                writer, kind = self._writers[here, column]
                return Column(column, here, writer, kind)
            here = PARENT.get(here)
        return None

    def _connect(self, name: str, stage: Stage) -> None:
        if stage.table not in self.creator:
            raise UsageError(f"stage {name} works on {stage.table}, which no stage of this recipe creates")
        columns: list[Column] = []
        for wanted in stage.reads:
            column = self._annotations(name, wanted) or self.find(stage.table, wanted)
            if column is None:
                known = [key for _, key in self._writers]
                raise UsageError(f"stage {name} reads '{wanted}', which no stage writes{did_you_mean(wanted, known)}")
            columns.append(column)
        for wanted in stage.optional_reads:
            column = self._annotations(name, wanted) or self.find(stage.table, wanted)
            columns.append(column or Column(wanted, stage.table, None, _declared_type(wanted)))
        for wanted in stage.reads_artifacts:
            if wanted not in self.stages:
                raise UsageError(f"stage {name} needs the result of '{wanted}', which this recipe leaves out")
        if stage.kind is Kind.SINK:  # takes all there is
            writers = [other for other in self.stages if other != name]
            self.needs[name] = tuple(writers)
            self.guards[name] = ()
            self.inputs[name] = ()
            return
        self.inputs[name] = tuple(columns)
        writers = [c.writer for c in columns if c.writer and c.writer != LEDGER]
        if any(
            c.table == "annotations" for c in columns
        ):  # not the column of that name in ``sources``, which ingest reads
            writers += self.annotators_for(name)
        creator = self.creator[stage.table]
        if creator != LEDGER:
            writers.append(creator)
        needs = [*writers, *stage.reads_artifacts]
        self.needs[name] = tuple(n for n in self.stages if n in needs and n != name)
        self.guards[name] = tuple(
            n for n in self.needs[name] if n in writers and self.stages[n].table == stage.table and n != creator
        )

    def _annotations(self, name: str, wanted: str) -> Column | None:
        writers = self.annotators_for(name)
        if wanted == "annotations" and self.stages[name].table == "recordings" and writers:
            from datagen.tables import ANNOTATION

            return Column("annotations", "annotations", writers[0], pa.list_(ANNOTATION))
        return None

    def annotators_for(self, name: str) -> list[str]:
        """Stages whose annotations a stage gets to see: an annotator that reads them sees the others', not its own."""
        return [writer for writer in self.annotators if writer != name]

    def _sort(self) -> list[str]:
        rank = {name: (list(BUILTIN).index(name) if name in BUILTIN else len(BUILTIN)) for name in self.stages}
        waiting, order = list(self.stages), []
        while waiting:
            ready = [name for name in waiting if all(n in order for n in self.needs[name])]
            if not ready:
                raise UsageError(f"these stages wait for each other: {', '.join(waiting)}")
            first = min(ready, key=lambda name: (rank[name], waiting.index(name)))
            order.append(first)
            waiting.remove(first)
        return order

    def _phases(self) -> dict[str, int]:
        phase: dict[str, int] = {}
        for name in self.order:
            before = [
                phase[n] + (self.stages[n].kind in {Kind.BARRIER, Kind.SINK} or self.whole(name))
                for n in self.needs[name]
            ]
            phase[name] = max(before, default=0)
        return phase

    # -- asking ------------------------------------------------------------------------------------------------

    def whole(self, name: str) -> bool:
        """Whether the stage takes all shards at once."""
        return self.stages[name].kind in {Kind.BARRIER, Kind.SINK}

    def followers(self, name: str) -> list[str]:
        """The stage and everything that depends on it, in order."""
        reached = {name}
        for other in self.order:
            if reached & set(self.needs[other]):
                reached.add(other)
        return [other for other in self.order if other in reached]

    def nearest(self, name: str) -> list[str]:
        """The stages it waits for, without those that one of them waits for anyway."""
        needs = self.needs[name]
        return [n for n in needs if not any(o in self.followers(n) for o in needs if o != n)]

    def on_table(self, table: str) -> list[str]:
        """Stages that add columns to ``table``, its creator first."""
        creator = self.creator.get(table)
        own = [n for n in self.order if self.stages[n].table == table and len(self.stages[n].writes) and n != creator]
        return ([creator] if creator and creator != LEDGER else []) + own

    def columns(self, table: str) -> dict[str, Column]:
        """All columns of a table in this recipe."""
        return {
            key: Column(key, table, writer, kind)
            for (where, key), (writer, kind) in self._writers.items()
            if where == table
        }


def _declared_type(column: str) -> pa.DataType:
    """Type of a column nobody in this recipe writes: looked up among all schemas the package knows."""
    from datagen import tables

    for value in vars(tables).values():
        if isinstance(value, pa.Schema) and column in value.names:
            return value.field(column).type
    if column in {STATUS, REASON}:
        return pa.string()
    raise UsageError(f"optional column '{column}' is in no schema of datagen.tables")
