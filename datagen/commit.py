"""Putting a unit's finished pieces together: its files, then its record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.digest import of_column
from datagen.errors import RunError
from datagen.job import Job
from datagen.part import Part, rejects_table
from datagen.stage import Stage
from datagen.store import ReadPlan, Store, Unit, spread, status_table
from datagen.tables import DROPPED, ID, OK, REJECTED, REJECTS, SKIPPED, STATUS, STATUS_FIELDS, nulls

_STATUS = pa.schema(list(STATUS_FIELDS))


def commit_pieces(
    store: Store, stage: Stage, job: Job, rows: pa.Table, done: Mapping[tuple[int, int], Part]
) -> dict[str, Any]:
    """Put the pieces of a unit together in row order, write its files, then its record, which is returned."""
    plan, unit = job.plans[0], job.unit
    parts: list[Part] = []
    refused = {r.row: r for r in job.refused}
    at = 0
    for lo, hi in sorted([*done, *((row, row + 1) for row in refused)]):
        if lo != at:
            raise RunError(f"stage {unit.stage}: rows {at} to {lo} of shard {plan.shard} were never worked on")
        at = hi
        if (lo, hi) in done:
            parts.append(done[lo, hi])
            continue
        row = refused[lo]
        told = (rows[ID[stage.table]][lo].as_py(), stage.table, unit.stage, row.error_class, row.message, row.attempt)
        columns = nulls(stage.writes, 1) if len(stage.writes) else None
        parts.append(Part(status_table([REJECTED], [row.error_class]), rejects_table([told]), columns, {}, 0.0))
    if at != len(rows):
        raise RunError(f"stage {unit.stage}: rows {at} to {len(rows)} of shard {plan.shard} were never worked on")

    status = pa.concat_tables([_STATUS.empty_table(), *(part.status for part in parts)])
    written = None
    if len(stage.writes):
        columns = [part.columns for part in parts if part.columns is not None]
        written = pa.concat_tables([stage.writes.empty_table(), *columns])
    digests, skipped = write_shard(store, stage, unit, plan, written, status)
    counts: dict[str, int] = {}
    for name, schema in stage.creates.items():
        new = pa.concat_tables([schema.empty_table(), *(p.created[name] for p in parts if name in p.created)])
        digests[name] = store.write_rows(unit, plan.shard, name, new)
        counts[name] = len(new)
    store.write_rejects(unit, pa.concat_tables([REJECTS.empty_table(), *(part.rejects for part in parts)]))
    found = tally(status) | {"skipped": skipped}
    record = record_of(job, found, digests, counts, sum(part.seconds for part in done.values()))
    metrics: dict[str, float] = {}
    for part in done.values():
        for name, value in part.metrics.items():
            metrics[name] = round(metrics.get(name, 0.0) + value, 6)
    if metrics:
        record["metrics"] = metrics
    store.commit(unit, record)
    return record


def write_shard(
    store: Store, stage: Stage, unit: Unit, plan: ReadPlan, columns: pa.Table | None, status: pa.Table
) -> tuple[dict[str, dict[str, str]], int]:
    """Write what a stage made of one shard's visible rows, aligned with all of the shard's rows.

    Returns the hash of every column by table, and how many rows the stage did not get to see.
    """
    seen = store.seen(plan, store.row_count(plan))
    full = spread(status, seen, _STATUS)
    full = full.set_column(0, _STATUS.field(0), pc.fill_null(full[0], SKIPPED))
    digests: dict[str, dict[str, str]] = {"_status": {STATUS: of_column(full[0])}}
    if columns is not None and len(stage.writes):
        ids = store.read(ids_only(plan)).select([ID[plan.table]])
        body = spread(columns, seen, stage.writes)
        named = {ID[plan.table]: ids[0]} | {name: body[name] for name in body.column_names}
        table = pa.table(named, schema=pa.schema([ids.schema.field(0), *stage.writes]))
        for field in _STATUS:
            table = table.append_column(field, full[field.name])
        digests[plan.table] = store.write_rows(unit, plan.shard, plan.table, table)
    if stage.creates:
        store.write_status(unit, plan.shard, full)
    return digests, int(len(seen) - np.count_nonzero(seen))


def ids_only(plan: ReadPlan) -> ReadPlan:
    return ReadPlan(plan.shard, plan.table, (), plan.creators)


def tally(status: pa.Table) -> dict[str, Any]:
    """Rows in, by status, and by reason: ``{"in": .., "ok": .., ..., "why": {"dropped": {reason: rows}, ...}}``."""
    words = status[0].combine_chunks() if isinstance(status[0], pa.ChunkedArray) else status[0]
    found = {name: pc.sum(pc.equal(words, name)).as_py() or 0 for name in (OK, REJECTED, DROPPED)}
    why: dict[str, dict[str, int]] = {}
    for name in (DROPPED, REJECTED):
        reasons = pc.value_counts(pc.fill_null(status[1].filter(pc.equal(words, name)), "?")).to_pylist()
        why[name] = {entry["values"]: entry["counts"] for entry in sorted(reasons, key=lambda e: e["values"])}
    return {"in": len(words), **found, "why": why}


def record_of(
    job: Job, found: Mapping[str, Any], digests: Mapping[str, Any], rows: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """The commit record. ``found``: as ``tally`` returns it, with ``skipped``."""
    return {
        **job.record,
        "counts": {name: found[name] for name in ("in", "skipped", OK, REJECTED, DROPPED)},
        "why": found["why"],
        "digests": dict(digests),
        "rows": dict(rows),
        "seconds": round(seconds, 6),
        "finished": round(time.time(), 3),
    }
