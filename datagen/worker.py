"""What happens inside one worker process: read a piece of a shard, run the stage on it, write what came out.

A unit is worked on in pieces (row ranges planned from the shard alone). Each finished piece is parked in the
run's scratch folder, so that neither a dead worker nor a dead driver costs more than the piece in flight; the last
step puts the pieces together and commits the unit.
"""

from __future__ import annotations

import functools
import io
import json
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.digest import of_column, of_value
from datagen.errors import DatagenError, EnvironmentFault, RowError, RunError, UsageError
from datagen.files import FULL, Files
from datagen.models.batching import out_of_memory
from datagen.stage import Kind, Output, Stage
from datagen.store import ReadPlan, Store, Unit, spread, status_table
from datagen.tables import DROPPED, ID, OK, PARENT, REJECTED, REJECTS, SKIPPED, STATUS_FIELDS, cast, nulls

T = TypeVar("T")
#: Pauses between tries when the run's own files cannot be read or written.
STORE_WAITS_S = (0.5, 2.0)

_STATUS = pa.schema(list(STATUS_FIELDS))


@dataclass(frozen=True)
class Refused:
    """A row the driver gave up on: it failed alone, again and again. ``row`` counts among the rows seen."""

    row: int
    error_class: str
    message: str
    attempt: int


@dataclass(frozen=True)
class Job:
    """One task. ``pieces`` are computed; with ``commit`` the unit is then finished from ``parts`` and those."""

    stage: str
    config: Any
    seed: int
    unit: Unit
    plans: tuple[ReadPlan, ...]  #: one, or all shards' for a barrier
    artifacts: tuple[tuple[str, Unit], ...] = ()
    previous: tuple[ReadPlan, ...] = ()  #: barriers: how to read their own last decisions
    pieces: tuple[tuple[int, int], ...] = ()
    parts: tuple[tuple[int, int], ...] = ()
    refused: tuple[Refused, ...] = ()
    commit: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)


def make_worker(url: str, classes: Mapping[str, type[Stage]]) -> StageWorker:
    return StageWorker(url, classes)


def factory(url: str, classes: Mapping[str, type[Stage]]) -> functools.partial[StageWorker]:
    """What an executor's pool calls in each worker process."""
    return functools.partial(make_worker, url, dict(classes))


class StageWorker:
    """Keeps the stages it has set up and the rows it read last."""

    def __init__(self, url: str, classes: Mapping[str, type[Stage]]) -> None:
        self.store = Store(Files(url))
        self.classes = classes
        self._stages: dict[tuple, Stage] = {}
        self._rows: OrderedDict[tuple, pa.Table] = OrderedDict()

    def run(self, job: Job) -> dict[str, Any]:
        """Returns the unit's record after a commit, else the seconds the pieces took."""
        stage = self._stage(job)
        if stage.kind is Kind.BARRIER:
            return _barrier(self.store, stage, job)
        rows = _blameless(job, "read", lambda: self._read(job))
        done: dict[tuple[int, int], Part] = {}
        for lo, hi in job.pieces:
            done[lo, hi] = part = compute(stage, rows.slice(lo, hi - lo), job.unit.stage)
            if not job.commit:
                _blameless(job, "written", functools.partial(self.store.park, job.unit, (lo, hi), part.pack()))
        if not job.commit:
            return {"seconds": sum(part.seconds for part in done.values())}

        def finish() -> dict[str, Any]:
            parked = {rows: Part.unpack(self.store.parked(job.unit, rows)) for rows in job.parts}
            return _commit(self.store, stage, job, rows, parked | done)

        return _blameless(job, "written", finish)

    def close(self) -> None:
        for stage in self._stages.values():
            stage.teardown()

    def _stage(self, job: Job) -> Stage:
        token = (job.stage, job.config.model_dump_json(), job.seed, job.artifacts)
        if token in self._stages:
            return self._stages[token]
        stage = self.classes[job.stage](job.config, seed=job.seed)
        if job.commit and not job.pieces and stage.kind is not Kind.BARRIER:
            return stage  # to put finished pieces together needs no model
        stage.artifacts = {name: self.store.artifact(unit) for name, unit in job.artifacts}
        _set_up(stage, job.stage)
        self._stages[token] = stage
        return stage

    def _read(self, job: Job) -> pa.Table:
        token = (job.unit, bool(job.pieces))  # putting finished pieces together needs no more than the ids
        if token not in self._rows:
            plan = job.plans[0] if job.pieces else replace(job.plans[0], columns=(), annotators=())
            self._rows[token] = self.store.read(plan)
            while len(self._rows) > 1:  # pieces of one shard come in a row; more would only hold memory
                self._rows.popitem(last=False)
        return self._rows[token]


def _set_up(stage: Stage, name: str) -> None:
    """No row can be blamed for a model that does not load: whatever is raised ends the run."""
    try:
        stage.setup()
    except (EnvironmentFault, UsageError, RunError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise EnvironmentFault(
                f"stage {name}: no memory to load its model ({error}); give it a larger share (resources.gpus), a "
                "smaller model, or device: cpu"
            ) from error
        raise RunError(f"stage {name} could not be set up: {type(error).__name__}: {error}") from error


def _blameless(job: Job, done: str, act: Callable[[], T]) -> T:
    """Read or write the run's own files. What fails there is no row's fault: it is tried again, then ends the run."""
    for wait_s in (*STORE_WAITS_S, None):
        try:
            return act()
        except DatagenError:
            raise
        except Exception as error:
            if wait_s is None or not isinstance(error, OSError) or error.errno in FULL:
                raise RunError(
                    f"stage {job.unit.stage}, shard {job.unit.shard}: files of the run itself cannot be {done}: "
                    f"{type(error).__name__}: {error}. If some were lost or damaged, `datagen status` says of which "
                    "stage, and `datagen run --from` that stage makes them again"
                ) from error
            time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


# --- One piece ----------------------------------------------------------------------------------------------


@dataclass
class Part:
    """What a piece came to. ``status`` is aligned with the piece's rows, so are ``columns`` (map stages)."""

    status: pa.Table
    rejects: pa.Table
    columns: pa.Table | None
    created: dict[str, pa.Table]
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)

    def pack(self) -> bytes:
        tables = {"status": self.status, "rejects": self.rejects}
        tables |= {f"created:{name}": table for name, table in self.created.items()}
        if self.columns is not None:
            tables["columns"] = self.columns
        streams = {name: _ipc(table) for name, table in tables.items()}
        head = json.dumps(
            {
                "seconds": self.seconds,
                "metrics": self.metrics,
                "sizes": {name: len(data) for name, data in streams.items()},
            }
        ).encode()
        return struct.pack("<Q", len(head)) + head + b"".join(streams.values())

    @classmethod
    def unpack(cls, data: bytes) -> Part:
        (length,) = struct.unpack_from("<Q", data)
        head = json.loads(data[8 : 8 + length])
        at, tables = 8 + length, {}
        for name, size in head["sizes"].items():
            tables[name] = pa.ipc.open_stream(pa.py_buffer(data)[at : at + size]).read_all()
            at += size
        created = {
            name.removeprefix("created:"): table for name, table in tables.items() if name.startswith("created:")
        }
        return cls(
            tables["status"], tables["rejects"], tables.get("columns"), created, head["seconds"], head["metrics"]
        )


def _ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def compute(stage: Stage, batch: pa.Table, name: str) -> Part:
    """Run ``process`` on a batch and hold its answer to the contract.

    Raises:
        RowError: the one row of the batch is at fault.
        RunError: the stage broke its contract (wrong number of rows, a parent that vanished).
    """
    started = time.perf_counter()
    output = stage.process(batch)
    seconds = time.perf_counter() - started
    ids = batch[ID[stage.table]].to_pylist()
    status = [OK] * len(ids)
    reason: list[str | None] = [None] * len(ids)
    for drop in output.drops:
        status[drop.row], reason[drop.row] = DROPPED, drop.reason
    rejects = []
    for reject in output.rejects:
        status[reject.row], reason[reject.row] = REJECTED, reject.error_class
        rejects.append([ids[reject.row], stage.table, name, reject.error_class, reject.message, 1])
    columns = None
    if len(stage.writes):
        if output.columns is None or len(output.columns) != len(ids):
            got = "no columns" if output.columns is None else f"{len(output.columns)} rows"
            raise RunError(f"stage {name}: process returned {got} for {len(ids)} rows")
        columns = _blank(cast(output.columns, stage.writes), status)
    created = {
        table: _carry(output, table, schema, stage, status, ids, name) for table, schema in stage.creates.items()
    }
    rejected = (
        pa.Table.from_arrays(
            [pa.array(column, f.type) for column, f in zip(zip(*rejects, strict=True), REJECTS, strict=True)],
            schema=REJECTS,
        )
        if rejects
        else REJECTS.empty_table()
    )
    return Part(status_table(status, reason), rejected, columns, created, seconds, dict(output.metrics))


def _blank(columns: pa.Table, status: Sequence[str]) -> pa.Table:
    """Rejected rows hold nulls, whatever the stage left there."""
    if REJECTED not in status:
        return columns
    index = pa.array([None if s == REJECTED else i for i, s in enumerate(status)], pa.int64())
    return columns.take(index)


def _carry(
    output: Output, table: str, schema: pa.Schema, stage: Stage, status: list[str], ids: list[str], name: str
) -> pa.Table:
    """New rows of ``table``, without those of rejected parents; every other parent must be accounted for."""
    rows = cast(output.created[table], schema) if table in output.created else schema.empty_table()
    parent = ID[stage.table] if table != "annotations" else "recording_id"
    owner = pc.index_in(rows[parent], pa.array(ids, pa.string()))
    if owner.null_count:
        raise RunError(f"stage {name}: made rows of {table} for a {parent} that was not in the batch")
    owners = owner.to_numpy()
    if len(owners) and (np.diff(owners) < 0).any():
        raise RunError(f"stage {name}: rows of {table} are not in the order of their parents")
    bad = {i for i, s in enumerate(status) if s == REJECTED}
    if bad:
        rows = rows.filter(pa.array([o not in bad for o in owners], pa.bool_()))
    if table != "annotations" and PARENT.get(table) == stage.table:
        childless = set(range(len(ids))) - set(owners.tolist()) - {i for i, s in enumerate(status) if s != OK}
        if childless:
            raise RunError(
                f"stage {name}: {len(childless)} rows made no {table} and were neither rejected nor dropped, "
                f"first {ids[min(childless)]}"
            )
        dropped = [i for i in set(owners.tolist()) if status[i] == DROPPED]
        if dropped:
            raise RunError(f"stage {name}: {ids[dropped[0]]} was dropped but has rows in {table}")
    return rows


# --- Commits ------------------------------------------------------------------------------------------------


def _commit(
    store: Store, stage: Stage, job: Job, rows: pa.Table, done: Mapping[tuple[int, int], Part]
) -> dict[str, Any]:
    """Put the pieces of a unit together in row order, write its files, then its record."""
    plan, unit = job.plans[0], job.unit
    seen = store.seen(plan, store.row_count(plan))
    status, reason, rejects, columns = [], [], [], []
    created: dict[str, list[pa.Table]] = {name: [schema.empty_table()] for name, schema in stage.creates.items()}
    refused = {r.row: r for r in job.refused}
    ids = rows[ID[stage.table]]
    at = 0
    for lo, hi in sorted([*done, *((row, row + 1) for row in refused)]):
        if lo != at:
            raise RunError(f"stage {unit.stage}: rows {at} to {lo} of shard {plan.shard} were never worked on")
        at = hi
        if (lo, hi) in done:
            part = done[lo, hi]
            status += part.status[0].to_pylist()
            reason += part.status[1].to_pylist()
            rejects.append(part.rejects)
            columns.append(part.columns)
            for name, table in part.created.items():
                created[name].append(table)
        else:
            row = refused[lo]
            status.append(REJECTED)
            reason.append(row.error_class)
            values = [[ids[lo].as_py()], [stage.table], [unit.stage], [row.error_class], [row.message], [row.attempt]]
            rejects.append(
                pa.Table.from_arrays(
                    [pa.array(v, f.type) for v, f in zip(values, REJECTS, strict=True)], schema=REJECTS
                )
            )
            columns.append(nulls(stage.writes, 1) if len(stage.writes) else None)
    if at != len(rows):
        raise RunError(f"stage {unit.stage}: rows {at} to {len(rows)} of shard {plan.shard} were never worked on")

    full = spread(status_table(status, reason), seen, _STATUS)
    full = full.set_column(0, _STATUS.field(0), pc.fill_null(full[0], SKIPPED))
    digests: dict[str, dict[str, str]] = {}
    counts_rows: dict[str, int] = {}
    if len(stage.writes):
        body = spread(
            pa.concat_tables([stage.writes.empty_table(), *(c for c in columns if c is not None)]), seen, stage.writes
        )
        all_ids = store.read(_ids_only(plan)).select([ID[plan.table]])
        table = pa.table({**{n: all_ids[n] for n in all_ids.column_names}, **{n: body[n] for n in body.column_names}},
                         schema=pa.schema([all_ids.schema.field(0), *stage.writes]))  # fmt: skip
        for field_ in _STATUS:
            table = table.append_column(field_, full[field_.name])
        digests[plan.table] = store.write_rows(unit, plan.shard, plan.table, table)
    if stage.creates:
        store.write_status(unit, plan.shard, full)
    for name, tables in created.items():
        new = pa.concat_tables(tables)
        digests[name] = store.write_rows(unit, plan.shard, name, new)
        counts_rows[name] = len(new)
    store.write_rejects(unit, pa.concat_tables([REJECTS.empty_table(), *rejects]))
    record = _record(
        job, status, reason, len(seen) - int(seen.sum()), digests, counts_rows, sum(p.seconds for p in done.values())
    )
    record["digests"]["_status"] = {STATUS_FIELDS[0].name: of_column(full[0])}
    metrics: dict[str, float] = {}
    for part in done.values():
        for name, value in part.metrics.items():
            metrics[name] = round(metrics.get(name, 0.0) + value, 6)
    if metrics:
        record["metrics"] = metrics
    store.commit(unit, record)
    return record


def _ids_only(plan: ReadPlan) -> ReadPlan:
    return ReadPlan(plan.shard, plan.table, (), plan.creators)


def _record(
    job: Job, status: Sequence[str], reason: Sequence[str | None], skipped: int,
    digests: dict[str, Any], rows: dict[str, Any], seconds: float,
) -> dict[str, Any]:  # fmt: skip
    why: dict[str, dict[str, int]] = {DROPPED: {}, REJECTED: {}}
    for s, r in zip(status, reason, strict=True):
        if s in why:
            why[s][r or "?"] = why[s].get(r or "?", 0) + 1
    counts = {"in": len(status), "skipped": skipped} | {s: status.count(s) for s in (OK, REJECTED, DROPPED)}
    return {
        **job.record,
        "counts": counts,
        "why": {name: dict(sorted(found.items())) for name, found in why.items()},
        "digests": digests,
        "rows": rows,
        "seconds": round(seconds, 6),
        "finished": round(time.time(), 3),
    }


def _barrier(store: Store, stage: Stage, job: Job) -> dict[str, Any]:
    """All shards at once: one table in, per-shard column files and perhaps an artifact out."""
    shards = [store.read(plan) for plan in job.plans]
    rows = pa.concat_tables(shards)
    decided = [_decided(store, plan) for plan in job.previous]
    stage.previous = pa.concat_tables(decided) if decided else None
    started = time.perf_counter()
    try:
        output = stage.process(rows)
    except RowError as error:
        raise RunError(f"stage {job.unit.stage}: {error.message}") from error
    seconds = time.perf_counter() - started
    replay = _Replay(stage, output)
    part = compute(replay, rows, job.unit.stage)
    status, reason = part.status[0].to_pylist(), part.status[1].to_pylist()

    digests: dict[str, dict[str, dict[str, str]]] = {}
    at = skipped = 0
    for plan, own in zip(job.plans, shards, strict=True):
        seen = store.seen(plan, store.row_count(plan))
        skipped += len(seen) - int(seen.sum())
        if len(stage.writes) and part.columns is not None:
            full = spread(part.status.slice(at, len(own)), seen, _STATUS)
            full = full.set_column(0, _STATUS.field(0), pc.fill_null(full[0], SKIPPED))
            body = spread(part.columns.slice(at, len(own)), seen, stage.writes)
            ids = store.read(_ids_only(plan)).select([ID[plan.table]])
            table = pa.table({ID[plan.table]: ids[0], **{n: body[n] for n in body.column_names}},
                             schema=pa.schema([ids.schema.field(0), *stage.writes]))  # fmt: skip
            for field_ in _STATUS:
                table = table.append_column(field_, full[field_.name])
            found = store.write_rows(job.unit, plan.shard, plan.table, table)
            digests[str(plan.shard)] = {plan.table: found, "_status": {STATUS_FIELDS[0].name: of_column(full[0])}}
        at += len(own)
    if output.artifact is not None:
        store.files.write_json(f"{job.unit.folder}/artifact.json", output.artifact)
    store.write_rejects(job.unit, part.rejects)
    record = _record(job, status, reason, skipped, {}, {}, seconds)
    record["shard_digests"] = digests
    if output.artifact is not None:
        record["artifact_digest"] = of_value(output.artifact)
    store.commit(job.unit, record)
    return record


def _decided(store: Store, plan: ReadPlan) -> pa.Table:
    """A barrier's earlier decisions on one shard, without the rows it never saw."""
    status = store.statuses(plan.creators[0][1], plan.shard, plan.table)[0]
    return store.read(plan).filter(pc.is_in(status, pa.array([OK, DROPPED])))


class _Replay(Stage):
    """Lets ``compute`` check a barrier's answer without asking for it twice."""

    name, version, table = "replay", "1", "clips"

    def __init__(self, stage: Stage, output: Output) -> None:
        super().__init__(stage.config)
        self.output, self.writes, self.creates = output, stage.writes, {}
        self.table = stage.table  # type: ignore[misc]

    def process(self, batch: pa.Table) -> Output:
        return self.output
