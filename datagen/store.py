"""A run's directory: committed units, their column files, and joined reads over them.

    recipe.yaml  run.json  events.jsonl  lock
    input.json  refused.parquet              what the last look at the input met, and what of it can be no source
    ledger/                                  which input is in which shard
    units/<stage>/<shard|all>/<key>/         one committed unit; it counts once record.json is there
        <table>.parquet                      row-aligned with the shard: id, columns, _status, _reason
        <table>.<column>.parquet             a heavy column on its own
        status.parquet                       expand: what became of each parent row
        rejects.parquet  artifact.json  record.json
    scratch/<stage>/<shard>/<key>/           finished pieces of a unit that is not committed yet

Barriers write all shards in one unit; their files carry the shard as a prefix. Nothing but this module knows
file names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import digest
from datagen.errors import RunError
from datagen.files import Files
from datagen.tables import (
    ANNOTATION,
    ID,
    OK,
    PARENT,
    REASON,
    REJECTS,
    SOURCES,
    STATUS,
    STATUS_FIELDS,
    is_heavy,
)  # fmt: skip

WHOLE = "all"  #: in place of a shard number, for units that span all shards


@dataclass(frozen=True)
class Unit:
    """One (stage, shard) with the key of its inputs and settings. ``shard`` None: all of them."""

    stage: str
    shard: int | None
    key: str

    @property
    def folder(self) -> str:
        return f"units/{self.stage}/{shard_name(self.shard)}/{self.key}"

    @property
    def scratch(self) -> str:
        return f"scratch/{self.stage}/{shard_name(self.shard)}/{self.key}"

    def file(self, shard: int | None, name: str) -> str:
        """Path of one of its files; ``shard`` matters only to units that hold all shards."""
        prefix = f"{shard:06d}." if self.shard is None and shard is not None else ""
        return f"{self.folder}/{prefix}{name}"


def _part(unit: Unit, rows: tuple[int, int]) -> str:
    return f"{unit.scratch}/{rows[0]:08d}-{rows[1]:08d}.part"


def shard_name(shard: int | None) -> str:
    return WHOLE if shard is None else f"{shard:06d}"


@dataclass(frozen=True)
class Source:
    """One column to read: from which table, out of which unit (None: nobody wrote it), of which type."""

    column: str
    table: str
    unit: Unit | None
    type: pa.DataType
    heavy: bool = False


@dataclass(frozen=True)
class ReadPlan:
    """Everything a worker needs to read one shard's rows for a stage.

    ``creators``: for ``table`` and each ancestor that columns come from, the unit that created its rows.
    ``guards``: units whose ``_status`` must be ok for a row to be seen; True: one that made rows of another table.
    """

    shard: int
    table: str
    columns: tuple[Source, ...]
    creators: tuple[tuple[str, Unit], ...]
    guards: tuple[tuple[Unit, bool], ...] = ()
    annotators: tuple[Unit, ...] = ()


class Store:
    """Reads and commits units under one run directory."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._records: dict[str, dict[str, Any]] = {}

    def __reduce__(self) -> tuple[type, tuple[Files]]:
        return (Store, (self.files,))

    # -- records -----------------------------------------------------------------------------------------------

    def record(self, unit: Unit) -> dict[str, Any] | None:
        """The commit record, or None while the unit is not committed."""
        if unit.folder not in self._records:
            try:
                self._records[unit.folder] = self.files.read_json(f"{unit.folder}/record.json")
            except (FileNotFoundError, json.JSONDecodeError):
                return None
        return self._records[unit.folder]

    def keys(self, stage: str, shard: int | None) -> list[str]:
        """Keys of all units, committed or half-written, of this stage and shard."""
        return self.files.names(f"units/{stage}/{shard_name(shard)}")

    def leftovers(self) -> list[str]:
        """Scratch folders of committed units: somebody died between the commit and tidying up, or worked on."""
        return [unit.scratch for unit in self.units(("scratch",)) if self.record(unit) is not None]

    def units(self, tops: Sequence[str] = ("units", "scratch")) -> list[Unit]:
        """Every unit in the run, committed or begun."""
        found = {
            Unit(stage, None if shard == WHOLE else int(shard), key): None
            for top in tops
            for stage in self.files.names(top)
            for shard in self.files.names(f"{top}/{stage}")
            for key in self.files.names(f"{top}/{stage}/{shard}")
        }
        return list(found)

    def size(self, unit: Unit) -> int:
        """Bytes of everything a unit has on disk."""
        return self.files.size(unit.folder) + self.files.size(unit.scratch)

    def forget(self, unit: Unit) -> None:
        """Remove a unit, record first, so that a half-removed one does not count."""
        self._records.pop(unit.folder, None)
        self.files.delete(f"{unit.folder}/record.json")
        self.files.delete(unit.folder)
        self.files.delete(unit.scratch)

    def commit_sources(self, shard: int, rows: pa.Table, digests: Mapping[str, str]) -> Unit:
        """The ledger's rows of a shard as a unit like any other, so that stages read them the same way."""
        unit = Unit("ledger", shard, digest.of_value(digests))
        if self.record(unit) is None:
            self.files.write_table(unit.file(shard, "sources.parquet"), rows)
            self.commit(unit, {"digests": {"sources": dict(digests)}, "rows": {"sources": len(rows)}})
        return unit

    def commit(self, unit: Unit, record: Mapping[str, Any]) -> None:
        self.files.write_json(f"{unit.folder}/record.json", record)
        self.files.delete(unit.scratch)

    # -- finished pieces ---------------------------------------------------------------------------------------

    def park(self, unit: Unit, rows: tuple[int, int], data: bytes) -> None:
        """Keep a finished piece of a unit until the unit is committed."""
        self.files.write(_part(unit, rows), data)

    def parked(self, unit: Unit, rows: tuple[int, int]) -> bytes:
        return self.files.read(_part(unit, rows))

    def parts(self, unit: Unit) -> list[tuple[int, int]]:
        """Row ranges of the pieces that are parked, in any layout: they may overlap."""
        names = [name.removesuffix(".part").split("-") for name in self.files.names(unit.scratch)]
        return [(int(lo), int(hi)) for lo, hi in names]

    def park_result(self, unit: Unit, round_: str, task: int, result: Mapping[str, Any]) -> None:
        """Keep what a task of a barrier's round returned until the unit is committed."""
        self.files.write_json(f"{unit.scratch}/results/{round_}/{task:08d}.json", result)

    def results(self, unit: Unit, round_: str) -> dict[int, dict[str, Any]]:
        """Task -> what it returned, of those that are done."""
        folder = f"{unit.scratch}/results/{round_}"
        return {
            int(name.removesuffix(".json")): self.files.read_json(f"{folder}/{name}")
            for name in self.files.names(folder)
        }

    def work_with(self, unit: Unit, settings: str) -> None:
        """Note with which settings rounds are worked on; what was left there with others is dropped."""
        name = f"{unit.scratch}/settings.json"
        try:
            same = self.files.read_json(name) == settings
        except (FileNotFoundError, json.JSONDecodeError):
            same = False
        if not same:
            self.files.delete(unit.scratch)
            self.files.write_json(name, settings)

    # -- writing -----------------------------------------------------------------------------------------------

    def write_rows(self, unit: Unit, shard: int, table: str, rows: pa.Table) -> dict[str, str]:
        """Write a table's columns, heavy ones into files of their own. Returns the hash of each column."""
        heavy = [field.name for field in rows.schema if is_heavy(field)]
        light = rows.drop_columns(heavy) if heavy else rows
        self.files.write_table(unit.file(shard, f"{table}.parquet"), light)
        for name in heavy:  # audio and embeddings do not compress further
            column = rows.select([name])
            self.files.write_table(
                unit.file(shard, f"{table}.{name}.parquet"),
                column,
                compression="none",
                compression_level=None,
                use_dictionary=False,
                write_statistics=False,
                row_group_size=256,
            )
        return digest.of_table(rows)

    def write_status(self, unit: Unit, shard: int, status: pa.Table) -> None:
        self.files.write_table(unit.file(shard, "status.parquet"), status)

    def write_rejects(self, unit: Unit, rejects: pa.Table) -> None:
        if len(rejects):
            self.files.write_table(f"{unit.folder}/rejects.parquet", rejects)

    def rejects(self, unit: Unit) -> pa.Table:
        record = self.record(unit)
        if not record or not record.get("counts", {}).get("rejected"):
            return REJECTS.empty_table()
        return self.files.read_table(f"{unit.folder}/rejects.parquet")

    def artifact(self, unit: Unit) -> dict[str, Any]:
        """What a barrier fitted or found; empty if it left no artifact."""
        if "artifact_digest" not in (self.record(unit) or {}):
            return {}
        value: dict[str, Any] = self.files.read_json(f"{unit.folder}/artifact.json")
        return value

    # -- reading -----------------------------------------------------------------------------------------------

    def statuses(self, unit: Unit, shard: int, table: str, expand: bool = False) -> pa.Table:
        """``_status`` and ``_reason`` of a unit's rows, aligned with ``table``'s rows in the shard."""
        name = "status.parquet" if expand else f"{table}.parquet"
        return self.files.read_table(unit.file(shard, name), [STATUS, REASON])

    def read(self, plan: ReadPlan) -> pa.Table:
        """The plan's columns, joined, for the rows every guard lets through; the table's id comes first."""
        reading = _Reading(self.files, plan)
        rows = reading.assemble()
        mask = self.seen(plan, len(rows))
        return rows if mask.all() else rows.filter(pa.array(mask))

    def seen(self, plan: ReadPlan, length: int) -> np.ndarray:
        """Boolean mask over the shard's rows: what the guards let through."""
        mask = np.ones(length, dtype=bool)
        for unit, expand in plan.guards:
            status = self.statuses(unit, plan.shard, plan.table, expand)[STATUS]
            if len(status) != length:
                raise RunError(f"{unit.folder}: damaged, {len(status)} rows where there were {length}")
            mask &= pc.equal(status, OK).to_numpy(zero_copy_only=False)
        return mask

    def file_problems(self, unit: Unit, shard: int, table: str, schema: pa.Schema) -> list[str]:
        """How the rows of a table that this unit made or added to differ from what its record says."""
        record = self.record(unit) or {}
        digests = record.get("shard_digests", {}).get(str(shard), {}) if unit.shard is None else record["digests"]
        found = []
        ids = self.files.read_table(unit.file(shard, f"{table}.parquet"), [ID[table]])[0]
        if digest.of_column(ids) != digests.get(table, {}).get(ID[table]):
            found.append(f"shard {shard}: the rows of {table} are not those that were committed")
        for field in schema:
            if is_heavy(field):
                rows = self.files.row_count(unit.file(shard, f"{table}.{field.name}.parquet"))
                if rows != len(ids):
                    found.append(f"shard {shard}: {len(ids)} rows of {table}, but {rows} of {field.name}")
        return found

    def row_count(self, plan: ReadPlan) -> int:
        record = self.record(dict(plan.creators)[plan.table]) or {}
        rows = record.get("rows", {}).get(plan.table, 0)
        return int(rows if isinstance(rows, int) else rows[str(plan.shard)])


class _Reading:
    """One joined read: caches what several columns need."""

    def __init__(self, files: Files, plan: ReadPlan) -> None:
        self.files, self.plan = files, plan
        self.creators = dict(plan.creators)
        self._keys: dict[tuple[str, str], pa.ChunkedArray] = {}
        self._index: dict[str, pa.Array] = {}

    def assemble(self) -> pa.Table:
        plan = self.plan
        ids = self.keys_of(plan.table)
        arrays: dict[str, Any] = {ID[plan.table]: ids}
        for (table, unit, heavy), columns in self._grouped().items():
            values = self._columns(table, unit, heavy, columns)
            if table != plan.table and table != "annotations":
                values = values.take(self.index_into(table))
            arrays.update({c.column: values[c.column] for c in columns})
        for column in plan.columns:
            if column.unit is None:
                arrays[column.column] = pa.nulls(len(ids), column.type)
        order = [ID[plan.table], *(c.column for c in plan.columns if c.column != ID[plan.table])]
        return pa.table({name: arrays[name] for name in order})

    def _grouped(self) -> dict[tuple[str, Unit, str | None], list[Source]]:
        groups: dict[tuple[str, Unit, str | None], list[Source]] = {}
        for column in self.plan.columns:
            if column.unit is not None:
                heavy = column.column if column.heavy else None
                groups.setdefault((column.table, column.unit, heavy), []).append(column)
        return groups

    def _columns(self, table: str, unit: Unit, heavy: str | None, columns: Sequence[Source]) -> pa.Table:
        if table == "annotations":
            return pa.table({"annotations": self._annotations()})
        name = f"{table}.{heavy}.parquet" if heavy else f"{table}.parquet"
        return self.files.read_table(unit.file(self.plan.shard, name), list(dict.fromkeys(c.column for c in columns)))

    def keys_of(self, table: str, column: str | None = None) -> pa.ChunkedArray:
        """A key column of a table's rows in this shard: its own id unless ``column`` names the parent's."""
        column = column or ID[table]
        if (table, column) not in self._keys:
            name = self.creators[table].file(self.plan.shard, f"{table}.parquet")
            self._keys[table, column] = self.files.read_table(name, [column])[column]
        return self._keys[table, column]

    def index_into(self, ancestor: str) -> pa.Array:
        """For each of our rows, the row of the ancestor table it descends from."""
        if ancestor not in self._index:
            chain, here = [], self.plan.table
            while here != ancestor:
                chain.append(here)
                here = PARENT[here]
            index: Any = None
            for child in chain:
                parent = PARENT[child]
                step = pc.index_in(self.keys_of(child, ID[parent]), self.keys_of(parent).combine_chunks())
                index = step if index is None else step.take(index)
            self._index[ancestor] = index.combine_chunks() if isinstance(index, pa.ChunkedArray) else index
        return self._index[ancestor]

    def _annotations(self) -> pa.Array:
        """All annotations of each recording, as one list column."""
        files = [self.files.read_table(u.file(self.plan.shard, "annotations.parquet")) for u in self.plan.annotators]
        rows = pa.concat_tables(files)
        ids = self.keys_of("recordings").combine_chunks()
        owner = pc.index_in(rows["recording_id"], ids).to_numpy(zero_copy_only=False)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner.astype(np.int64), minlength=len(ids)) if len(owner) else np.zeros(len(ids), np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        names = [field.name for field in ANNOTATION]
        sorted_rows = rows.take(pa.array(order)).combine_chunks()
        fields = [
            sorted_rows[name].combine_chunks()
            if sorted_rows[name].num_chunks
            else pa.array([], ANNOTATION.field(name).type)
            for name in names
        ]
        structs = pa.StructArray.from_arrays(fields, fields=[ANNOTATION.field(name) for name in names])
        return pa.ListArray.from_arrays(pa.array(offsets), structs)


def spread(rows: pa.Table, seen: np.ndarray, schema: pa.Schema) -> pa.Table:
    """Rows of those that were seen -> rows of all: nulls where nothing was processed."""
    if seen.all():
        return rows
    position = np.cumsum(seen) - 1
    index = pa.array(np.where(seen, position, 0), mask=~seen, type=pa.int64())
    return pa.Table.from_arrays([rows[name].take(index) for name in schema.names], schema=schema)


def status_table(status: Sequence[str] | pa.Array, reason: Sequence[str | None] | pa.Array) -> pa.Table:
    arrays = [x if isinstance(x, pa.Array) else pa.array(x, pa.string()) for x in (status, reason)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(list(STATUS_FIELDS)))


__all__ = ["SOURCES", "ReadPlan", "Source", "Store", "Unit", "shard_name", "spread", "status_table"]
