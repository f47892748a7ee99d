"""Barriers: all rows of the run at once, in one ``process`` or in rounds of parallel tasks (``rounds.py``)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen.commit import record_of, tally, write_shard
from datagen.digest import of_value
from datagen.errors import RowError, RunError
from datagen.job import Brief, Job
from datagen.part import checked
from datagen.rounds import Results, Rounds
from datagen.stage import Stage
from datagen.store import ReadPlan, Store, Unit
from datagen.tables import DROPPED, ID, OK, REJECTS

#: The round that every ``Rounds`` has after its own: one task per shard, which writes the shard's columns.
FINISH = "finish"


def at_once(store: Store, stage: Stage, job: Job) -> dict[str, Any]:
    """One table in, per-shard column files and perhaps an artifact out."""
    shards = [store.read(plan) for plan in job.plans]
    rows = pa.concat_tables(shards)
    decided = [_decided(store, plan) for plan in job.previous]
    stage.previous = pa.concat_tables(decided) if decided else None
    stage.anew = job.anew
    started = time.perf_counter()
    try:
        output = stage.process(rows)
    except RowError as error:
        raise RunError(f"stage {job.unit.stage}: {error.message}") from error
    part = checked(stage, output, rows[ID[stage.table]], job.unit.stage, time.perf_counter() - started)
    digests: dict[str, Any] = {}
    at = skipped = 0
    for plan, own in zip(job.plans, shards, strict=True):
        columns = part.columns.slice(at, len(own)) if part.columns is not None else None
        digests[str(plan.shard)], unseen = write_shard(
            store, stage, job.unit, plan, columns, part.status.slice(at, len(own))
        )
        skipped += unseen
        at += len(own)
    store.write_rejects(job.unit, part.rejects)
    return _commit(store, job, tally(part.status) | {"skipped": skipped}, digests, output.artifact, part.seconds)


def _decided(store: Store, plan: ReadPlan) -> pa.Table:
    """A barrier's earlier decisions on one shard, without the rows it never saw."""
    status = store.statuses(plan.creators[0][1], plan.shard, plan.table)[0]
    return store.read(plan).filter(pc.is_in(status, pa.array([OK, DROPPED])))


def _commit(
    store: Store, job: Job, found: Mapping[str, Any], digests: Mapping[str, Any],
    artifact: dict[str, Any] | None, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    if artifact is not None:
        store.files.write_json(f"{job.unit.folder}/artifact.json", artifact)
    record = record_of(job, found, {}, {}, seconds)
    record["shard_digests"] = dict(digests)
    if artifact is not None:
        record["artifact_digest"] = of_value(artifact)
    store.commit(job.unit, record)
    return record


# --- In rounds ----------------------------------------------------------------------------------------------


@dataclass
class RunBench:
    """A task's view of the run: ``rounds.Bench`` over the unit's read plans and its scratch folder."""

    store: Store
    unit: Unit
    plans: tuple[ReadPlan, ...]
    results: Results = field(default_factory=dict)

    @property
    def shards(self) -> int:
        return len(self.plans)

    def read(self, shard: int, columns: Sequence[str] = ()) -> pa.Table:
        plan = self.plans[shard]
        known = {source.column: source for source in plan.columns}
        if strange := [name for name in columns if name not in known]:
            raise LookupError(f"stage {self.unit.stage} does not declare that it reads {', '.join(strange)}")
        return self.store.read(replace(plan, columns=tuple(known[name] for name in columns), annotators=()))

    def put(self, name: str, table: pa.Table) -> None:
        self.store.files.write_arrow(f"{self.unit.scratch}/tables/{name}.arrow", table)

    def get(self, name: str) -> pa.Table:
        return self.store.files.map_arrow(f"{self.unit.scratch}/tables/{name}.arrow")


def _bench(store: Store, job: Job) -> RunBench:
    assert job.brief is not None
    brief: Brief = job.brief.get()
    return RunBench(store, job.unit, brief.plans, brief.results)


def task(store: Store, stage: Rounds, job: Job) -> dict[str, Any]:
    """Do one task of a round and park its result, which is returned."""
    assert job.round is not None
    name, number = job.round
    bench = _bench(store, job)
    started = time.perf_counter()
    found = _finish(store, stage, bench, number) if name == FINISH else stage.work(name, number, bench)
    result = {"found": found, "seconds": round(time.perf_counter() - started, 6)}
    store.park_result(job.unit, name, number, result)
    return result


def _finish(store: Store, stage: Rounds, bench: RunBench, shard: int) -> dict[str, Any]:
    ids = bench.read(shard)[ID[stage.table]]
    part = checked(stage, stage.finish(shard, bench), ids, bench.unit.stage, 0.0)
    digests, skipped = write_shard(store, stage, bench.unit, bench.plans[shard], part.columns, part.status)
    if len(part.rejects):
        bench.put(f"rejects-{shard}", part.rejects)
    return {"digests": digests, "tally": tally(part.status) | {"skipped": skipped}, "rejects": len(part.rejects)}


def conclude(store: Store, stage: Rounds, job: Job) -> dict[str, Any]:
    """Commit a barrier whose rounds are all done. The brief holds what the tasks returned."""
    bench = _bench(store, job)
    done = bench.results[FINISH]
    rejects = [bench.get(f"rejects-{shard}") for shard, found in enumerate(done) if found["rejects"]]
    store.write_rejects(job.unit, pa.concat_tables([REJECTS.empty_table(), *rejects]))
    digests = {str(plan.shard): found["digests"] for plan, found in zip(bench.plans, done, strict=True)}
    own = {name: results for name, results in bench.results.items() if name != FINISH}
    return _commit(store, job, _summed(found["tally"] for found in done), digests, stage.conclude(own), job.seconds)


def _summed(tallies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    counts: Counter[str] = Counter({"in": 0, "skipped": 0, OK: 0, "rejected": 0, DROPPED: 0})
    why: dict[str, Counter[str]] = {DROPPED: Counter(), "rejected": Counter()}
    for found in tallies:
        counts.update({name: value for name, value in found.items() if name != "why"})
        for fate, reasons in found["why"].items():
            why[fate].update(reasons)
    return {**counts, "why": {fate: dict(sorted(reasons.items())) for fate, reasons in why.items()}}
