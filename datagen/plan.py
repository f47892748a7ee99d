"""Keys: what has been done, what is stale, what is left to do. Reads records only; starts nothing.

The key of a unit hashes its stage's name, version, semantic config and models, and the content of the columns it
reads. Content, not origin: if an upstream stage is run again and comes to the same columns, nothing below it is
stale; an added annotator touches only who reads it; resources and executors touch nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from datagen import digest
from datagen.ledger import Ledger
from datagen.pipeline import LEDGER, Pipeline
from datagen.stage import Kind
from datagen.store import ReadPlan, Source, Store, Unit
from datagen.tables import ID, PARENT, is_heavy


class State(enum.StrEnum):
    DONE = "done"
    STALE = "stale"  #: committed before, but its inputs or settings have changed since
    TODO = "to do"


@dataclass(frozen=True)
class Wanted:
    """A unit whose inputs are all known. ``seq``, ``config_hash``, ``data_hash`` are for barriers."""

    unit: Unit
    done: bool
    config_hash: str
    data_hash: str = ""
    seq: int = 0
    previous: Unit | None = None
    anew: bool = False  #: ``previous`` is there to be compared with, not to be kept to


@dataclass
class Progress:
    """Per stage: units by state, and the size of what is left."""

    units: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    rows: int = 0  #: rows of the units left, where they are known
    unknown: int = 0  #: units left whose rows are not made yet
    seconds_per_row: float | None = None  #: as measured on what is committed, whatever the settings were

    @property
    def left(self) -> int:
        return sum(count for state, count in self.units.items() if state is not State.DONE)


class Plan:
    """The keys of a recipe over a ledger, given what is committed now. Cheap to ask again after a commit."""

    def __init__(
        self, pipeline: Pipeline, store: Store, ledger: Ledger, *, refit: bool = False, pilot: bool = False
    ) -> None:
        self.pipeline, self.store, self.ledger, self.refit = pipeline, store, ledger, refit
        #: The ledger holds only part of the input (``--limit``): what barriers decide now binds nobody later.
        self.pilot = pilot
        self.shards = ledger.shards
        self._done: dict[tuple[str, int | None], Unit] = {}
        self._hashes = {name: self._config_hash(name) for name in pipeline.stages}

    def _config_hash(self, name: str) -> str:
        stage = self.pipeline.stages[name]
        unheeded = {*getattr(type(stage.config), "non_semantic", ()), *stage.config.idle()}
        config = stage.config.model_dump(mode="json", exclude=unheeded)
        seed = stage.seed if stage.seeded else None
        made = {table: _layout(schema) for table, schema in {"": stage.writes, **stage.creates}.items()}
        return digest.of_value([name, stage.version, config, stage.semantics(), seed, made])

    def config_hash(self, name: str) -> str:
        return self._hashes[name]

    # -- units -------------------------------------------------------------------------------------------------

    def sources(self, shard: int) -> Unit:
        return Unit(LEDGER, shard, digest.of_value(self.ledger.digests(shard)))

    def done(self, name: str, shard: int | None) -> Unit | None:
        """The committed unit that the present inputs and settings lead to, or None."""
        if name == LEDGER:
            return self.sources(shard or 0)
        spot = (name, None if self.pipeline.whole(name) else shard)
        if spot not in self._done:
            wanted = self.wanted(*spot)
            if wanted is None or not wanted.done:
                return None
            self._done[spot] = wanted.unit
        return self._done[spot]

    def wanted(self, name: str, shard: int | None) -> Wanted | None:
        """The unit to have for this stage and shard; None while an input of it is not committed."""
        if self.pipeline.whole(name):
            return self._wanted_whole(name)
        inputs = self._inputs(name, shard if shard is not None else 0)
        if inputs is None:
            return None
        unit = Unit(name, shard, digest.of_value([self._hashes[name], inputs]))
        return Wanted(unit, self.store.record(unit) is not None, self._hashes[name])

    def _inputs(self, name: str, shard: int) -> list[Any] | None:
        """Hashes of everything a stage sees of one shard; None while something is missing."""
        pipeline, stage = self.pipeline, self.pipeline.stages[name]
        found: list[Any] = []
        for needed in pipeline.needs[name]:
            if self.done(needed, shard) is None:
                return None
        for column in pipeline.inputs[name]:
            if column.writer is None:
                found.append([column.name, None])
            elif column.table == "annotations":
                hashes = [self._digests(writer, shard)["annotations"] for writer in pipeline.annotators_for(name)]
                found.append([column.name, hashes])
            else:
                found.append([column.name, self._digests(column.writer, shard)[column.table][column.name]])
        for table, creator in self._creators(name):
            keys = self._digests(creator, shard)[table]
            found.append([table, keys[ID[table]], keys.get(ID[PARENT[table]]) if table in PARENT else None])
        found += [[guard, self._digests(guard, shard)["_status"]] for guard in pipeline.guards[name]]
        found += [[name, self._record(name, None).get("artifact_digest")] for name in stage.reads_artifacts]
        return found

    def _wanted_whole(self, name: str) -> Wanted | None:
        stage = self.pipeline.stages[name]
        config_hash = self._hashes[name]
        for barrier in stage.reads_artifacts:
            if self.done(barrier, None) is None:
                return None
            config_hash = digest.of_value([config_hash, self._record(barrier, None).get("artifact_digest")])
        if stage.kind is Kind.SINK:  # it says who made what under which licence, which is in no column
            makers = provenance(self.pipeline, dict.fromkeys(self._hashes, ""))
            config_hash = digest.of_value([config_hash, makers])
        history = self._history(name, config_hash)
        binding = [item for item in history if not (self.store.record(item[1]) or {}).get("pilot")]
        if stage.frozen and binding and not self.refit:
            return Wanted(binding[-1][1], True, config_hash)
        data: list[Any] = []
        for shard in self.shards:
            inputs = self._everything(shard) if stage.kind is Kind.SINK else self._inputs(name, shard)
            if inputs is None:
                return None
            data.append([shard, inputs])
        data_hash = digest.of_value(data)
        if stage.forgets and self.refit:
            return self._wanted_anew(name, config_hash, data_hash, history)
        # A refit must come last in the history, or the next run would go back to what was last there.
        for seq, unit in reversed(history[-1:] if stage.frozen and self.refit else history):
            if self.store.record(unit)["data_hash"] == data_hash:  # type: ignore[index]
                return Wanted(unit, True, config_hash, data_hash, seq)
        last = history[-1] if history else None
        chained = last if stage.frozen else (binding[-1] if binding and len(stage.writes) else None)
        unit = Unit(name, None, digest.of_value([config_hash, data_hash, chained[1].key if chained else None]))
        before = chained[1] if chained and len(stage.writes) else None
        return Wanted(unit, False, config_hash, data_hash, (last[0] + 1) if last else 0, before)

    def _wanted_anew(self, name: str, config_hash: str, data_hash: str, history: list[tuple[int, Unit]]) -> Wanted:
        """The unit that does not know of earlier decisions; being the last, it is what later runs go on from."""
        keys = [None, *(unit.key for _, unit in history)]

        def anew(after: str | None) -> Unit:
            mark = [config_hash, data_hash, None] if after is None else [config_hash, data_hash, "anew", after]
            return Unit(name, None, digest.of_value(mark))

        last = history[-1] if history else None
        if last and last[1] in {anew(None), anew(keys[-2])}:
            return Wanted(last[1], True, config_hash, data_hash, last[0])
        if last is None:
            return Wanted(anew(None), False, config_hash, data_hash, 0)
        return Wanted(anew(keys[-1]), False, config_hash, data_hash, last[0] + 1, last[1], anew=True)

    def _everything(self, shard: int) -> list[Any] | None:
        """What a sink sees: every column of every stage."""
        found: list[Any] = []
        for name in self.pipeline.order:
            if self.pipeline.stages[name].kind is Kind.SINK:
                continue
            if self.done(name, shard) is None:
                return None
            if self.pipeline.whole(name):
                found.append([name, self._record(name, None).get("shard_digests", {}).get(str(shard))])
            else:
                found.append([name, self._record(name, shard)["digests"]])
        return found

    def _history(self, name: str, config_hash: str) -> list[tuple[int, Unit]]:
        """Committed units of a barrier with these settings, oldest first."""
        found = []
        for key in self.store.keys(name, None):
            unit = Unit(name, None, key)
            record = self.store.record(unit)
            if record and record.get("config_hash") == config_hash:
                found.append((record["seq"], unit))
        return sorted(found, key=lambda item: item[0])

    def _record(self, name: str, shard: int | None) -> dict[str, Any]:
        unit = self.done(name, shard)
        record = self.store.record(unit) if unit else None
        if record is None:
            raise LookupError(f"{name}/{shard} is not committed")
        return record

    def _digests(self, name: str, shard: int) -> dict[str, dict[str, str]]:
        if name == LEDGER:
            return {"sources": self.ledger.digests(shard)}
        if self.pipeline.whole(name):
            found: dict[str, dict[str, str]] = self._record(name, None)["shard_digests"].get(str(shard), {})
            return found
        own: dict[str, dict[str, str]] = self._record(name, shard)["digests"]
        return own

    def _creators(self, name: str) -> list[tuple[str, str]]:
        """(table, creating stage) for the stage's table and the ancestors its columns come from."""
        table = self.pipeline.stages[name].table
        tables = {column.table for column in self.pipeline.inputs[name] if column.writer} & set(ID)
        found, here = [], table
        wanted = {table} | tables
        while wanted:
            found.append((here, self.pipeline.creator[here]))
            wanted.discard(here)
            if not wanted or here not in PARENT:
                break
            here = PARENT[here]
        return found

    # -- reading -----------------------------------------------------------------------------------------------

    def read_plan(self, name: str, shard: int) -> ReadPlan:
        """How to read what a stage sees of a shard. Call only when its inputs are committed."""
        pipeline = self.pipeline
        return ReadPlan(
            shard=shard,
            table=pipeline.stages[name].table,
            columns=tuple(self.source(column, shard) for column in pipeline.inputs[name]),
            creators=tuple((table, self._unit(creator, shard)) for table, creator in self._creators(name)),
            guards=tuple((self._unit(n, shard), bool(pipeline.stages[n].creates)) for n in pipeline.guards[name]),
            annotators=tuple(self._unit(writer, shard) for writer in pipeline.annotators_for(name))
            if any(column.table == "annotations" for column in pipeline.inputs[name])
            else (),
        )

    def source(self, column: Any, shard: int) -> Source:
        if column.writer is None:
            return Source(column.name, column.table, None, column.type)
        unit = self._unit(column.writer, shard)
        schema = None
        if column.writer != LEDGER:
            stage = self.pipeline.stages[column.writer]
            schema = stage.creates.get(column.table, stage.writes)
        heavy = schema is not None and column.name in schema.names and is_heavy(schema.field(column.name))
        return Source(column.name, column.table, unit, column.type, heavy)

    def table_plan(self, table: str, shard: int, columns: list[str], *, live: bool = True) -> ReadPlan:
        """How to read any columns of a table; with ``live``, only rows that every stage of it passed."""
        from datagen.pipeline import Column, _declared_type

        pipeline = self.pipeline
        found = [pipeline.find(table, name) or Column(name, table, None, _declared_type(name)) for name in columns]
        tables = {column.table for column in found if column.writer} | {table}
        creators, here = [], table
        while True:
            creators.append((here, self._unit(pipeline.creator[here], shard)))
            tables.discard(here)
            if not tables or here not in PARENT:
                break
            here = PARENT[here]
        creator = pipeline.creator[table]
        guards = [n for n in pipeline.on_table(table) if n != creator] if live else []
        return ReadPlan(
            shard=shard,
            table=table,
            columns=tuple(self.source(column, shard) for column in found),
            creators=tuple(creators),
            guards=tuple((self._unit(n, shard), False) for n in guards),
        )

    def own_plan(self, name: str, unit: Unit, shard: int) -> ReadPlan:
        """How to read back a barrier's own columns out of one of its earlier units."""
        stage = self.pipeline.stages[name]
        columns = tuple(Source(f.name, stage.table, unit, f.type) for f in stage.writes)
        return ReadPlan(shard, stage.table, columns, ((stage.table, unit),))

    def _unit(self, name: str, shard: int) -> Unit:
        unit = self.done(name, shard)
        if unit is None:
            raise LookupError(f"{name}/{shard} is not committed")
        return unit

    # -- summing up --------------------------------------------------------------------------------------------

    def state(self, name: str, shard: int | None) -> State:
        wanted = self.wanted(name, shard)
        if wanted and wanted.done:
            return State.DONE
        committed = any(self.store.record(Unit(name, shard, key)) for key in self.store.keys(name, shard))
        return State.STALE if committed else State.TODO

    def overview(self) -> dict[str, Progress]:
        """Per stage in order: how many units are in which state, and how much is left."""
        found: dict[str, Progress] = {}
        for name in self.pipeline.order:
            progress = Progress()
            for shard in [None] if self.pipeline.whole(name) else self.shards:
                state = self.state(name, shard)
                progress.units[state] += 1
                if state is not State.DONE:
                    for part in self.shards if shard is None else [shard]:
                        rows = self._rows(name, part)
                        progress.rows += rows or 0
                        progress.unknown += rows is None
            progress.seconds_per_row = self._speed(name)
            found[name] = progress
        return found

    def _rows(self, name: str, shard: int) -> int | None:
        """Rows of a shard that a stage will be shown; None while something before it is not done."""
        if self._inputs(name, shard) is None:
            return None
        if self.pipeline.stages[name].table == "sources":
            return len(self.ledger.shard(shard))
        read = self.read_plan(name, shard)
        return int(self.store.seen(read, self.store.row_count(read)).sum())

    def _speed(self, name: str) -> float | None:
        seconds = rows = 0.0
        for shard in [None] if self.pipeline.whole(name) else self.shards:
            for key in self.store.keys(name, shard):
                record = self.store.record(Unit(name, shard, key)) or {}
                seconds += record.get("seconds", 0.0)
                rows += record.get("counts", {}).get("in", 0)
        return seconds / rows if rows else None


def _layout(schema: pa.Schema) -> list[list[str]]:
    """A schema as it counts in a key: a column more or another type, and the files of before no longer serve."""
    return [[field.name, str(field.type), "heavy" if is_heavy(field) else ""] for field in schema]


def provenance(pipeline: Pipeline, hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Who made which columns with which settings (law 6), for records and the data card."""
    return [
        {
            "stage": name,
            "model": maker.model,
            "revision": maker.revision,
            "licence": maker.licence,
            "columns": list(maker.columns),
            "note": maker.note,
            "where": list(maker.where) if maker.where else None,
            "config_hash": hashes[name],
        }
        for name in pipeline.order
        for maker in pipeline.stages[name].provenance()
    ]
