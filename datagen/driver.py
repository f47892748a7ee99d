"""The run loop: hands ready units to an executor, phase by phase, until the plan is done.

The driver holds no data. It knows keys and row ranges; workers read, compute and write. Whatever kills it, the same
command goes on from what is committed and from the pieces that are parked in scratch.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from datagen import pieces, pools, sink
from datagen.agenda import Agenda
from datagen.errors import EnvironmentFault, RunError, UsageError
from datagen.executors.base import Completion, Executor, Fate, PoolSpec, Shared, Task
from datagen.executors.recovery import MOST_LOST, Action, Piece, after_failure
from datagen.fleet import Fleet
from datagen.job import Brief, Job, Refused
from datagen.pipeline import Pipeline
from datagen.plan import Plan, Wanted
from datagen.progress import EventLog, Tally, View
from datagen.rounds import Rounds
from datagen.stage import Kind, Resources, Stage
from datagen.store import Store, Unit

#: Deadline of a piece without its own: time to load models, and this many seconds per second of audio. A clip counts
#: as three seconds at least: Whisper hears 30 s however short it is, and a large one on a CPU takes most of a minute.
BASE_TIMEOUT_S, TIMEOUT_PER_AUDIO_S, LEAST_AUDIO_S = 600.0, 20.0, 3.0
#: A barrier (unless the recipe says otherwise) or a commit that takes longer hangs.
WHOLE_TIMEOUT_S = 6 * 3600.0
#: How often a barrier or a commit is tried, and how often its worker may be lost; no row can be blamed for these.
WHOLE_ATTEMPTS, WHOLE_LOSSES = 3, MOST_LOST
STOPPED = "stopped on request; everything finished is kept - the same command continues"


@dataclass
class Work:
    """A unit under way."""

    wanted: Wanted
    job: Job
    rows: int
    pieces: deque[Piece] = field(default_factory=deque)
    running: int = 0
    parts: list[tuple[int, int]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    committing: bool = False
    attempts: int = 0
    losses: int = 0
    seconds: Sequence[float] | None = None  #: audio seconds per row
    agenda: Agenda | None = None  #: of a barrier worked on in rounds
    brief: Shared | None = None  #: for the tasks of ...
    briefed: str | None = None  #: ... this round

    @property
    def sendable(self) -> bool:
        """Whether there is a task that can be sent now."""
        if self.committing:
            return False
        if self.agenda is not None:
            return bool(self.agenda.todo) or (self.agenda.round is None and not self.running)
        return bool(self.pieces) or not self.running


@dataclass
class Outcome:
    """What a run did: units committed per stage, and per-stage tallies of rows worked on now."""

    committed: dict[str, int]
    tallies: dict[str, Tally]
    seconds: float


class Driver:
    """Runs a plan. ``sink_job`` makes what a sink's worker is given; ``still_ours`` says whether the lease holds."""

    def __init__(
        self, plan: Plan, store: Store, executor: Callable[[], Executor], resources: Mapping[str, Resources],
        *, events: EventLog, view: View, sink_job: Callable[[str], Any], max_reject_fraction: float = 1.0,
        until: Iterable[str] | None = None, still_ours: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self.plan, self.store, self.events, self.view = plan, store, events, view
        self._sink_job = sink_job
        self.pipeline: Pipeline = plan.pipeline
        self.resources = resources
        self.max_reject_fraction = max_reject_fraction
        self.wanted_stages = [name for name in self.pipeline.order if until is None or name in set(until)]
        self.tallies = {name: Tally() for name in self.wanted_stages}
        self.committed = dict.fromkeys(self.wanted_stages, 0)
        self.stopping = threading.Event()
        self._still_ours = still_ours
        self._make_executor = executor
        self._executor: Executor | None = None
        self._tasks: dict[int, tuple[Work, Piece | None]] = {}
        self._next_task = 0
        self._specs: dict[str, PoolSpec] = {}
        self._opened: set[str] = set()
        stages = {name: self.pipeline.stages[name] for name in self.wanted_stages}
        self.fleet = Fleet(stages, store.files, lambda: self.executor, lambda text: view.say(text))

    # -- the whole run -----------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Do everything that is left.

        Raises:
            RunError: something no row can be blamed for; what was committed stays.
            UsageError: the plan asks for resources that do not exist, or a stage refuses its settings.
        """
        started = time.monotonic()
        with _stop_on_signal(self.stopping):
            try:
                for phase in sorted({self.pipeline.phase[name] for name in self.wanted_stages}):
                    self._run_phase([n for n in self.wanted_stages if self.pipeline.phase[n] == phase])
                    self.fleet.keep(n for n in self.wanted_stages if self.pipeline.phase[n] > phase)
            finally:
                self.fleet.close()
                try:
                    if self._executor is not None:
                        self._executor.shutdown()
                finally:
                    self.view.update(self.tallies)
                    self.view.close()
        return Outcome(self.committed, self.tallies, time.monotonic() - started)

    def _run_phase(self, names: list[str]) -> None:
        active: list[Work] = []
        waiting: dict[tuple[str, int | None], None] = {}
        for name in names:
            if self.pipeline.stages[name].kind is Kind.SINK:
                self._run_sink(name)
                continue
            for shard in [None] if self.pipeline.whole(name) else self.plan.shards:
                waiting[name, shard] = None
        self._activate(list(waiting), waiting, active)
        if not active and not waiting:
            for name in names:  # what ended a run ends its repetition too
                self._check_rejects(name)
            return
        if not active:
            raise RunError(f"nothing can start in {', '.join(names)}: their inputs are not there")
        self._admit(names)
        while active or waiting:
            self._check_lease()
            if self.stopping.is_set():
                active = [work for work in active if work.running]  # finish what is in flight, start nothing
                if not active:
                    raise RunError(STOPPED)
            else:
                self._submit(active)
            self.fleet.tick({work.job.stage for work in active if work.running})
            finished = self._wait(active)
            for work in finished:
                active.remove(work)
                shard = work.wanted.unit.shard  # a barrier has no followers in its own phase
                self._activate([(name, spot) for name in names for spot in (shard, None)], waiting, active)
            self.view.update(self.tallies)
            if not active and waiting and not self.stopping.is_set():
                raise RunError(f"these units never became ready: {list(waiting)[:5]}")
        for name in names:
            self._end_stage(name)
        self._close_pools(names)

    def _check_lease(self) -> None:
        if not self._still_ours():
            raise RunError("another driver has taken this run over; this one was silent for too long and stops")

    def _run_sink(self, name: str) -> None:
        """A sink reads the whole run and writes files outside it; it has a worker, and the phase, to itself."""
        wanted = self.plan.wanted(name, None)
        if wanted is None:
            raise RunError(f"{name} cannot start: not everything before it is done")
        if wanted.done and sink.present(self.store.files):
            return
        if self.stopping.is_set():
            raise RunError(STOPPED)
        for key in self.store.keys(name, None):  # there is one output: what it held before holds no longer
            self.store.forget(Unit(name, None, key))
        tally = self.tallies[name]
        tally.started, tally.total = time.monotonic(), 1
        completion = self._in_own_worker(name, self._sink_job(name))
        self.store.commit(
            wanted.unit,
            {
                "stage": name, "version": self.pipeline.stages[name].version, "config_hash": wanted.config_hash,
                "data_hash": wanted.data_hash, "seq": wanted.seq, "counts": {}, "summary": completion.result,
                "seconds": round(completion.seconds, 3), "finished": round(time.time(), 3),
            },
        )  # fmt: skip
        tally.done, tally.finished = 1, time.monotonic()
        self.committed[name] += 1
        self.events.add("committed", stage=name, shard=None, key=wanted.unit.key, seconds=round(completion.seconds, 3))

    def _in_own_worker(self, name: str, payload: Any) -> Completion:
        """One task in a pool of its own, tried again when its worker dies; nothing here has rows to blame."""
        spec = PoolSpec(name, sink.make_worker, self.resources[name])
        self._close(set(self._opened))  # it is the last phase: nobody needs them, and they hold the cores
        self.executor.admit([spec])
        self.executor.open(spec)
        attempts = losses = 0
        while True:
            self._next_task += 1
            self.executor.submit(spec.name, Task(self._next_task, payload, WHOLE_TIMEOUT_S))
            while not (finished := self.executor.wait(0.5)):
                self.view.update(self.tallies)
                self._check_lease()
            (completion,) = finished
            if completion.fate is Fate.DONE:
                self.executor.close(spec.name)
                return completion
            self.events.add("failed", stage=name, shard=None, fate=completion.fate, message=completion.message)
            attempts += completion.fate is not Fate.LOST
            losses += completion.fate is Fate.LOST
            _give_up(f"stage {name}", completion, attempts, losses)

    def _end_stage(self, name: str) -> None:
        tally = self.tallies[name]
        if tally.started is not None:
            tally.finished = time.monotonic()
        self._check_rejects(name)

    def _check_rejects(self, name: str) -> None:
        if self.pipeline.stages[name].kind is Kind.SINK:
            return
        rejected = seen = 0
        why: dict[str, int] = {}
        for shard in [None] if self.pipeline.whole(name) else self.plan.shards:
            unit = self.plan.done(name, shard)
            record = (self.store.record(unit) if unit else None) or {}
            seen += record.get("counts", {}).get("in", 0)
            rejected += record.get("counts", {}).get("rejected", 0)
            for reason, count in record.get("why", {}).get("rejected", {}).items():
                why[reason] = why.get(reason, 0) + count
        if seen and rejected / seen > self.max_reject_fraction:
            worst = max(why, key=lambda reason: why[reason])
            raise RunError(
                f"stage {name} rejected {rejected} of {seen} rows, mostly {worst} ({why[worst]}); see `datagen rejects "
                f"list`. If that is expected, raise --max-reject-fraction (now {self.max_reject_fraction:g})"
            )

    # -- units -------------------------------------------------------------------------------------------------

    def _activate(
        self, spots: Iterable[tuple[str, int | None]], waiting: dict[tuple[str, int | None], None], active: list[Work]
    ) -> None:
        """Move what is ready from ``waiting`` to ``active``; what is already committed is simply done."""
        again = True
        spots = list(spots)
        while again:  # a unit that turns out to be done may make the next stage ready
            again = False
            for name, shard in spots:
                if (name, shard) not in waiting:
                    continue
                wanted = self.plan.wanted(name, shard)
                if wanted is None:
                    continue
                del waiting[name, shard]
                if wanted.done:
                    again = True
                else:
                    active.append(self._prepare(name, wanted))

    def _prepare(self, name: str, wanted: Wanted) -> Work:
        stage, plan = self.pipeline.stages[name], self.plan
        whole = self.pipeline.whole(name)
        shards = plan.shards if whole else [wanted.unit.shard or 0]
        for shard in shards:
            if stage.table == "sources":
                self.store.commit_sources(shard, plan.ledger.shard(shard), plan.ledger.digests(shard))
        reads = tuple(plan.read_plan(name, shard) for shard in shards)
        previous: tuple[Any, ...] = ()
        if wanted.previous is not None:
            known = set((self.store.record(wanted.previous) or {}).get("shard_digests", {}))
            previous = tuple(plan.own_plan(name, wanted.previous, s) for s in plan.shards if str(s) in known)
        artifacts = []
        for barrier in stage.reads_artifacts:
            unit = plan.done(barrier, None)
            if unit is None:
                raise LookupError(f"{barrier} is not committed")
            artifacts.append((barrier, unit))
        record = {
            "stage": name,
            "version": stage.version,
            "config_hash": wanted.config_hash,
            "data_hash": wanted.data_hash,
            "seq": wanted.seq,
        } | ({"pilot": True} if whole and plan.pilot else {})
        job = Job(
            name, stage.config, stage.seed, wanted.unit, reads, tuple(artifacts), previous, wanted.anew, record=record
        )
        work = Work(wanted, job, 0)
        if whole:
            work.rows = sum(int(self.store.seen(read, self.store.row_count(read)).sum()) for read in reads)
            if isinstance(stage, Rounds):
                work.agenda = Agenda(stage, self.store, wanted.unit, len(reads))
        else:
            work.rows, work.seconds = self._measure(stage, job)
            work.pieces.extend(self._pieces(stage, work))
        tally = self.tallies[name]
        tally.total += work.rows
        tally.started = tally.started or time.monotonic()
        return work

    def _measure(self, stage: Stage, job: Job) -> tuple[int, Sequence[float] | None]:
        """How many rows the stage will see, and their audio seconds where the table has them."""
        column = self.pipeline.find(stage.table, "seconds_hint" if stage.table == "sources" else "duration")
        sources = (self.plan.source(column, job.plans[0].shard),) if column else ()
        rows = self.store.read(replace(job.plans[0], columns=sources, annotators=()))
        return len(rows), ([value or 0.0 for value in rows[column.name].to_pylist()] if column else None)

    def _pieces(self, stage: Stage, work: Work) -> list[Piece]:
        """Row ranges within the stage's batch limits, less what an earlier attempt has parked."""
        unit = work.wanted.unit
        wanted = pieces.planned(work.rows, work.seconds, stage.batch_rows, stage.batch_seconds)
        if len(wanted) > 1:  # a single piece is done again sooner than looked for
            work.parts = pieces.apart(self.store.parts(unit), work.rows)
            self.tallies[work.job.stage].done += sum(hi - lo for lo, hi in work.parts)
        return [Piece(unit, lo, hi) for lo, hi in pieces.missing(wanted, work.parts)]

    # -- tasks -------------------------------------------------------------------------------------------------

    def _submit(self, active: list[Work]) -> None:
        """Fill the pools: later stages first, so that shards get finished and little lies about half-done."""
        rank = {name: index for index, name in enumerate(self.pipeline.order)}
        full: set[str] = set()
        for work in sorted(active, key=lambda w: -rank[w.job.stage]):
            spec = self._spec(work.job.stage)
            if spec.name in full or not work.sendable or not self.fleet.ready(work.job.stage):
                continue
            self.executor.open(spec)
            self._opened.add(spec.name)
            while work.sendable:
                if not self.executor.room(spec.name):
                    full.add(spec.name)
                    break
                self._send(spec.name, work)

    def _send(self, pool: str, work: Work) -> None:
        if work.agenda is not None:
            self._send_round(pool, work, work.agenda)
            return
        whole = self.pipeline.whole(work.job.stage)
        last = not work.running and len(work.pieces) <= 1
        piece = work.pieces.popleft() if work.pieces else None
        alone = whole or (last and not work.parts and not work.refused and (piece is None or piece.attempt == 0))
        if piece is not None and not alone:
            job = replace(work.job, pieces=((piece.lo, piece.hi),))
            timeout = self._timeout(work, piece)
        else:
            left = ((piece.lo, piece.hi),) if piece else ()
            job = replace(
                work.job, pieces=left, parts=tuple(sorted(work.parts)), refused=tuple(work.refused), commit=True
            )
            asked = self.resources[work.job.stage].batch_timeout_s if whole else None
            timeout = self._timeout(work, piece) if piece else asked or WHOLE_TIMEOUT_S
            work.committing = True
        self._next_task += 1
        self._tasks[self._next_task] = (work, piece)
        work.running += 1
        suspect = piece is not None and piece.suspect
        heard = sum(work.seconds[piece.lo : piece.hi]) if piece and work.seconds else 0.0
        self.executor.submit(pool, Task(self._next_task, job, timeout, exclusive=suspect, audio_s=heard))

    def _send_round(self, pool: str, work: Work, agenda: Agenda) -> None:
        """A task of the present round, or the commit when there are no rounds left."""
        if work.brief is None or work.briefed != agenda.round:
            work.brief = self.executor.share(Brief(work.job.plans, dict(agenda.results)))
            work.briefed = agenda.round
        job = replace(work.job, plans=(), brief=work.brief)
        if agenda.round is not None:
            job = replace(job, round=(agenda.round, agenda.todo.popleft()))
        else:
            job = replace(job, seconds=agenda.seconds, commit=True)
            work.committing = True
        self._next_task += 1
        self._tasks[self._next_task] = (work, None)
        work.running += 1
        timeout = self.resources[work.job.stage].batch_timeout_s or WHOLE_TIMEOUT_S
        self.executor.submit(pool, Task(self._next_task, job, timeout))

    def _timeout(self, work: Work, piece: Piece) -> float:
        asked = self.resources[work.job.stage].batch_timeout_s
        if asked is not None or work.job.stage in self.fleet.asks:  # its requests have deadlines of their own
            return asked or WHOLE_TIMEOUT_S
        heard = work.seconds[piece.lo : piece.hi] if work.seconds else ()
        return BASE_TIMEOUT_S + TIMEOUT_PER_AUDIO_S * sum(max(seconds, LEAST_AUDIO_S) for seconds in heard)

    def _wait(self, active: list[Work]) -> list[Work]:
        """Take in what finished; returns the units that are committed now."""
        finished = []
        for completion in self.executor.wait(0.5):
            if self.fleet.took(completion):
                continue
            work, piece = self._tasks.pop(completion.task.id)
            work.running -= 1
            if completion.fate is Fate.DONE:
                if self._succeeded(work, piece, completion):
                    finished.append(work)
            else:
                self._failed(work, piece, completion)
        return finished

    def _succeeded(self, work: Work, piece: Piece | None, completion: Completion) -> bool:
        tally = self.tallies[work.job.stage]
        if work.agenda is not None and not work.committing:
            work.agenda.took(completion.task.payload.round[1], completion.result)
            work.losses = 0
            tally.done = int(work.rows * work.agenda.share)
            return False
        if not work.committing:
            if piece is not None:
                work.parts.append((piece.lo, piece.hi))
                tally.done += piece.hi - piece.lo
            return False
        record = completion.result
        counts = record["counts"]
        if self.pipeline.whole(work.job.stage):
            tally.done = counts["in"]
        elif piece and not work.parts:
            tally.done += counts["in"]
        tally.rejected += counts["rejected"]
        tally.dropped += counts["dropped"]
        self.committed[work.job.stage] += 1
        unit = work.wanted.unit
        self.events.add(
            "committed", stage=unit.stage, shard=unit.shard, key=unit.key, **counts, seconds=record["seconds"]
        )
        return True

    def _failed(self, work: Work, piece: Piece | None, completion: Completion) -> None:
        """Retry, bisect or refuse a row, as ``recovery`` says; what is nobody's row's fault ends the run."""
        unit = work.wanted.unit
        self.events.add(
            "failed", stage=unit.stage, shard=unit.shard, rows=[piece.lo, piece.hi] if piece else None,
            fate=completion.fate, error_class=completion.error_class, message=completion.message,
        )  # fmt: skip
        work.committing = False
        if piece is None:
            work.losses += completion.fate is Fate.LOST
            at_fault = completion.fate is not Fate.LOST
            if work.agenda is not None and (task := completion.task.payload.round) is not None:
                work.agenda.todo.appendleft(task[1])
                work.agenda.failures[task] += at_fault
                _give_up(
                    f"stage {unit.stage}, task {task[1]} of {task[0]}",
                    completion,
                    work.agenda.failures[task],
                    work.losses,
                )
                return
            work.attempts += at_fault
            _give_up(f"stage {unit.stage}, shard {unit.shard}", completion, work.attempts, work.losses)
            return
        decision = after_failure(
            piece, completion.fate, completion.error_class, error=completion.error, message=completion.message
        )
        if decision.action is not Action.REJECT:
            work.pieces.extendleft(reversed(decision.pieces))
            return
        (refused,) = decision.pieces
        message = completion.message or f"the worker {completion.fate} on this row alone"
        work.refused.append(Refused(refused.lo, decision.error_class, message, refused.attempt))
        self.tallies[unit.stage].done += 1
        self.events.add("refused", stage=unit.stage, shard=unit.shard, row=refused.lo, error_class=decision.error_class)

    # -- pools -------------------------------------------------------------------------------------------------

    @property
    def executor(self) -> Executor:
        if self._executor is None:
            self._executor = self._make_executor()
        return self._executor

    def _spec(self, name: str) -> PoolSpec:
        if not self._specs:
            self._specs = pools.specs(
                self.pipeline, self.resources, self.wanted_stages, self.executor.gpus, self.store.files.url
            )
        return self._specs[name]

    def _admit(self, names: list[str]) -> None:
        """Refuse what can never run before the phase starts, and make room for what is new in it."""
        wanted = {spec.name: spec for spec in map(self._spec, names)}
        self.fleet.admit(names, list(wanted.values()))
        if not self._opened.issuperset(wanted):  # what is open would sit on cores that the new ones wait for
            self._close(set(self._opened))

    def _close_pools(self, names: list[str]) -> None:
        """Give back what later phases do not use, so that GPU models can take turns."""
        phase = self.pipeline.phase[names[0]]
        later = {self._spec(n).name for n in self.wanted_stages if self.pipeline.phase[n] > phase}
        self._close({self._spec(name).name for name in names} - later)

    def _close(self, unneeded: set[str]) -> None:
        for pool in sorted(unneeded & self._opened):
            self.executor.close(pool)
            self._opened.discard(pool)


def _give_up(where: str, completion: Completion, attempts: int, losses: int) -> None:
    """Raise when work that has no rows to blame has failed for good; return when it is worth another try."""
    blameless = {kind.__name__: kind for kind in (EnvironmentFault, UsageError, RunError)}
    if completion.error_class in blameless:
        raise blameless[completion.error_class](completion.message)
    if attempts >= WHOLE_ATTEMPTS or losses >= WHOLE_LOSSES:
        what = " ".join(filter(None, (completion.fate, completion.error_class, completion.message)))
        raise RunError(f"{where}: {what}\n{completion.traceback}".rstrip())


@contextmanager
def _stop_on_signal(stopping: threading.Event) -> Any:
    """SIGTERM and the first Ctrl-C ask for an orderly end; the second Ctrl-C is not asked again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: Any) -> None:
        if stopping.is_set() and number == signal.SIGINT:
            print("stopping at once", file=sys.stderr, flush=True)
            raise KeyboardInterrupt
        if not stopping.is_set():
            print(
                "stopping: what is in flight is finished and kept (Ctrl-C again: at once)", file=sys.stderr, flush=True
            )
        stopping.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


__all__ = ["Driver", "Outcome", "Unit"]
