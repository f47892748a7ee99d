"""What happens inside one worker process: read a piece of a shard, run the stage on it, write what came out.

A unit is worked on in pieces (row ranges planned from the shard alone). Each finished piece is parked in the
run's scratch folder, so that neither a dead worker nor a dead driver costs more than the piece in flight; the last
step puts the pieces together and commits the unit.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pyarrow as pa

from datagen import barrier, serving
from datagen.commit import commit_pieces
from datagen.errors import DatagenError, EnvironmentFault, RunError, UsageError
from datagen.files import FULL, Files
from datagen.job import Job
from datagen.models.batching import out_of_memory
from datagen.part import Part, compute
from datagen.rounds import Rounds
from datagen.stage import Kind, Stage
from datagen.store import Store

T = TypeVar("T")
#: Pauses between tries when the run's own files cannot be read or written.
STORE_WAITS_S = (0.5, 2.0)


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
        if isinstance(stage, Rounds):
            if job.round is not None:
                return barrier.task(self.store, stage, job)
            return barrier.conclude(self.store, stage, job)
        if stage.kind is Kind.BARRIER:
            return barrier.at_once(self.store, stage, job)
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
            return commit_pieces(self.store, stage, job, rows, parked | done)

        return _blameless(job, "written", finish)

    def close(self) -> None:
        for stage in self._stages.values():
            stage.teardown()
            if stage.asker is not None:
                stage.asker.close()

    def _stage(self, job: Job) -> Stage:
        token = (job.stage, job.config.model_dump_json(), job.seed, job.artifacts)
        if token in self._stages:
            return self._stages[token]
        stage = self.classes[job.stage](job.config, seed=job.seed)
        if job.commit and not job.pieces and stage.kind is not Kind.BARRIER:
            return stage  # to put finished pieces together needs no model
        stage.artifacts = {name: self.store.artifact(unit) for name, unit in job.artifacts}
        if (settings := stage.asks()) is not None:
            stage.asker = serving.asker(self.store.files, job.stage, settings)
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
