"""One piece of work: run a stage on a batch, and hold its answer to the contract."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.errors import RunError
from datagen.stage import Output, Stage
from datagen.store import status_table
from datagen.tables import DROPPED, ID, OK, PARENT, REJECTED, REJECTS, cast


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
    return checked(stage, output, batch[ID[stage.table]], name, time.perf_counter() - started)


def checked(stage: Stage, output: Output, ids: pa.ChunkedArray, name: str, seconds: float) -> Part:
    """What a stage answered for the rows ``ids``, held to the contract.

    Raises:
        RunError: as ``compute``.
    """
    rows = len(ids)
    status, reason = _fates(output, rows)
    columns = None
    if len(stage.writes):
        if output.columns is None or len(output.columns) != rows:
            got = "no columns" if output.columns is None else f"{len(output.columns)} rows"
            raise RunError(f"stage {name}: process returned {got} for {rows} rows")
        columns = _blank(cast(output.columns, stage.writes), status)
    created: dict[str, pa.Table] = {}
    if stage.creates:
        words, names = status.to_pylist(), ids.to_pylist()
        created = {
            table: _carry(output, table, schema, stage, words, names, name) for table, schema in stage.creates.items()
        }
    rejected = rejects_table(
        [
            (ids[reject.row].as_py(), stage.table, name, reject.error_class, reject.message, 1)
            for reject in output.rejects
        ]
    )
    return Part(status_table(status, reason), rejected, columns, created, seconds, dict(output.metrics))


def _fates(output: Output, rows: int) -> tuple[pa.Array, pa.Array]:
    """Status and reason of every row."""
    status = np.full(rows, OK, object)
    reason = np.full(rows, None, object)
    if output.dropped is not None:
        reason[:] = output.dropped.to_numpy(zero_copy_only=False)
        status[output.dropped.is_valid().to_numpy(zero_copy_only=False)] = DROPPED
    for drop in output.drops:
        status[drop.row], reason[drop.row] = DROPPED, drop.reason
    for reject in output.rejects:
        status[reject.row], reason[reject.row] = REJECTED, reject.error_class
    return pa.array(status, pa.string()), pa.array(reason, pa.string())


def rejects_table(rows: Sequence[tuple[str, str, str, str, str, int]]) -> pa.Table:
    """Rows of (id, table, stage, error class, message, attempt) as ``tables.REJECTS``."""
    if not rows:
        return REJECTS.empty_table()
    columns = zip(zip(*rows, strict=True), REJECTS, strict=True)
    return pa.Table.from_arrays([pa.array(values, field_.type) for values, field_ in columns], schema=REJECTS)


def _blank(columns: pa.Table, status: pa.Array) -> pa.Table:
    """Rejected rows hold nulls, whatever the stage left there."""
    rejected = pc.equal(status, REJECTED).to_numpy(zero_copy_only=False)
    return columns.take(pa.array(np.arange(len(status)), mask=rejected)) if rejected.any() else columns


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
