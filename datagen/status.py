"""What became of every row, stage by stage, and the proof that none was lost (law 1).

The counts come from the units' records; the proof does not trust them: it reads the ``_status`` columns again and
compares them with the rows that exist and with what the stages before let through.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from datagen.errors import RunError
from datagen.files import Files
from datagen.ledger import Ledger
from datagen.plan import Plan
from datagen.stage import Kind
from datagen.store import Store
from datagen.tables import DROPPED, ID, OK, REJECTED, SKIPPED


@dataclass
class StageCount:
    """One line of ``datagen status``. ``problems`` is empty when conservation holds."""

    stage: str
    table: str
    shards_done: int = 0
    shards: int = 0
    rows_in: int = 0
    ok: int = 0
    rejected: int = 0
    dropped: int = 0
    skipped: int = 0
    seconds: float = 0.0
    made: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  #: ``Output.metrics``, added up
    dropped_why: dict[str, int] = field(default_factory=dict)
    rejected_why: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class InputLook:
    """The last look at the input: entries met, those left for later (``--limit``), the ledger's state after it."""

    found: int
    left_for_later: int
    segments: int


def scan_count(files: Files, ledger: Ledger) -> StageCount | None:
    """The line before all stages: entries of the input, taken, refused, left for later. None before the first look."""
    if not files.exists("input.json") or not files.exists("refused.parquet"):
        return None
    look = InputLook(**files.read_json("input.json"))
    if look.segments != ledger.segments:  # a look is under way, or died between two files
        return None
    why = Counter(files.read_table("refused.parquet", ["error_class"])[0].to_pylist())
    count = StageCount("scan", "input", rows_in=look.found, ok=len(ledger.live), rejected=sum(why.values()),
                       dropped=look.left_for_later, rejected_why=dict(why))  # fmt: skip
    if look.left_for_later:
        count.dropped_why = {"left for later (--limit)": look.left_for_later}
    if count.rows_in != count.ok + count.rejected + count.dropped:
        count.problems.append(
            f"{count.rows_in} entries found, {count.ok} taken + {count.rejected} refused + {count.dropped} for later"
        )
    ids = ledger.live["recording_id"]
    if twice := len(ids) - len(pc.unique(ids)):
        count.problems.append(f"{twice} recordings stand in the ledger twice")
    return count


def stage_counts(plan: Plan, store: Store, *, verify: bool = False) -> list[StageCount]:
    """Counts per stage in order; with ``verify``, conservation is checked on the status columns themselves."""
    found = []
    for name in plan.pipeline.order:
        stage, whole = plan.pipeline.stages[name], plan.pipeline.whole(name)
        shards = [None] if whole else plan.shards
        count = StageCount(name, "run" if stage.kind is Kind.SINK else stage.table, shards=len(shards))
        for shard in shards:
            unit = plan.done(name, shard)
            record = store.record(unit) if unit else None
            if record is None:
                continue
            count.shards_done += 1
            count.seconds += record.get("seconds", 0.0)
            counts = record.get("counts", {})
            count.rows_in += counts.get("in", 0)
            count.ok += counts.get(OK, 0)
            count.rejected += counts.get(REJECTED, 0)
            count.dropped += counts.get(DROPPED, 0)
            count.skipped += counts.get(SKIPPED, 0)
            for metric, value in record.get("metrics", {}).items():
                count.metrics[metric] = count.metrics.get(metric, 0.0) + value
            for table, rows in record.get("rows", {}).items():
                count.made[table] = count.made.get(table, 0) + rows
            for config, splits in record.get("summary", {}).get("configs", {}).items():
                kind = "clips" if config == "clips" else "samples"
                count.made[kind] = count.made.get(kind, 0) + sum(split["rows"] for split in splits.values())
            for total, key in ((count.dropped_why, DROPPED), (count.rejected_why, REJECTED)):
                for reason, number in record.get("why", {}).get(key, {}).items():
                    total[reason] = total.get(reason, 0) + number
        if verify and stage.kind is not Kind.SINK and count.shards_done:
            count.problems = _check(plan, store, name, count)
        found.append(count)
    return found


def _check(plan: Plan, store: Store, name: str, count: StageCount) -> list[str]:
    """Compare a stage's status columns with the rows there are and with what came before."""
    stage = plan.pipeline.stages[name]
    if not len(stage.writes) and not stage.creates:
        return []  # an artifact only: it takes no rows away and adds none
    files = {table: schema for table, schema in stage.creates.items() if table in ID}
    files |= {stage.table: stage.writes} if len(stage.writes) else {}
    problems: list[str] = []
    totals: Counter[str] = Counter()
    for shard in plan.shards:
        unit = plan.done(name, shard)
        if unit is None:
            continue
        if unit.shard is None and str(shard) not in (store.record(unit) or {}).get("shard_digests", {}):
            problems.append(f"shard {shard} is missing")
            continue
        read = plan.read_plan(name, shard)
        length = store.row_count(read)
        try:
            problems += [p for table, schema in files.items() for p in store.file_problems(unit, shard, table, schema)]
            status = store.statuses(unit, shard, stage.table, expand=bool(stage.creates))[0].to_pylist()
            seen = store.seen(read, length)
        except RunError as error:
            problems.append(f"shard {shard}: {error}")
            continue
        except (OSError, pa.ArrowException) as error:
            problems.append(f"shard {shard}: cannot be read: {error}")
            continue
        totals.update(status)
        if len(status) != length:
            problems.append(f"shard {shard}: {length} rows went in, {len(status)} have a status")
        elif [s != SKIPPED for s in status] != seen.tolist():
            problems.append(f"shard {shard}: the rows worked on are not the rows the stages before let through")
    if totals[OK] + totals[REJECTED] + totals[DROPPED] != count.rows_in:
        problems.append(
            f"{count.rows_in} in, {totals[OK]} ok + {totals[REJECTED]} rejected + {totals[DROPPED]} dropped"
        )
    for status, recorded in ((OK, count.ok), (REJECTED, count.rejected), (DROPPED, count.dropped)):
        if totals[status] != recorded:
            problems.append(f"the records say {recorded} {status}, the columns {totals[status]}")
    refused = sum(len(store.rejects(u)) for s in _shards(plan, name) if (u := plan.done(name, s)))
    if refused != count.rejected:
        problems.append(f"{count.rejected} rejected, {refused} rows in rejects")
    return problems


def _shards(plan: Plan, name: str) -> list[int | None]:
    return [None] if plan.pipeline.whole(name) else list(plan.shards)
