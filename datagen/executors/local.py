"""In process, one task at a time: for debugging and fast tests.

Limits, all for lack of a process of its own per worker: a task that ends the process ends the run; a task stuck
inside C code outlasts its deadline until that code returns; outside the main thread there are no deadlines at
all (they need SIGALRM). The ``ray`` executor has none of these limits.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from datagen.errors import DatagenError, EnvironmentFault, RunError, UsageError
from datagen.executors import admission
from datagen.executors.base import Completion, Executor, Fate, PoolSpec, Task, Worker
from datagen.executors.boundary import describe

_log = logging.getLogger(__name__)


class LocalExecutor(Executor):
    """One worker per pool, in this process; ``wait`` runs the oldest task of all pools."""

    side_by_side: ClassVar[bool] = False

    def __init__(self, in_flight: int = 1) -> None:
        self._in_flight = in_flight
        self._pools: dict[str, PoolSpec] = {}
        self._workers: dict[str, Worker] = {}
        self._queue: deque[tuple[str, Task]] = deque()
        self._queued: dict[str, int] = {}
        self._heard_s: dict[str, float] = {}  #: audio that each pool's present worker has been through

    def admit(self, pools: Sequence[PoolSpec]) -> None:
        machine = [this_machine()]
        for pool in pools:
            if pool.resources.python is not None:
                raise UsageError(
                    f"stage '{pool.name}' asks for the interpreter {pool.resources.python}, which the local executor "
                    f"cannot give it; use the ray executor, or leave stages.{pool.name}.resources.python away"
                )
            admission.check([pool], machine)  # one runs at a time: sums do not matter
        alone = [replace(pool, resources=pool.resources.model_copy(update={"workers": 1})) for pool in pools]
        for doubt in admission.doubts(alone, machine):  # but every pool keeps its model in memory
            _log.warning("%s", doubt)

    def gpus(self) -> float:
        return this_machine().gpus

    def open(self, pool: PoolSpec) -> None:
        if pool.name not in self._pools:
            self._workers[pool.name] = _make(pool)
            self._pools[pool.name] = pool
            self._queued[pool.name] = 0

    def workers(self, pool: str) -> int:
        return 1

    def room(self, pool: str) -> int:
        return self._in_flight - self._queued[pool]

    def submit(self, pool: str, task: Task) -> None:
        if self.room(pool) <= 0:
            raise ValueError(f"pool '{pool}' is full: submit only while room() is positive")
        self._queued[pool] += 1
        self._queue.append((pool, task))

    def wait(self, timeout_s: float) -> list[Completion]:
        if not self._queue:
            return []
        pool, task = self._queue.popleft()
        self._queued[pool] -= 1
        return [self._run(pool, task)]

    def close(self, pool: str) -> None:
        if self._pools.pop(pool, None) is None:
            return
        self._queue = deque(item for item in self._queue if item[0] != pool)
        del self._queued[pool]
        self._heard_s.pop(pool, None)
        _close(pool, self._workers.pop(pool, None))

    def shutdown(self) -> None:
        for pool in list(self._pools):
            self.close(pool)

    def _run(self, pool: str, task: Task) -> Completion:
        if self._heard_s.get(pool, 0.0) >= self._pools[pool].most_audio_s:
            _close(pool, self._workers.pop(pool, None))
        worker = self._workers.get(pool)
        if worker is None:  # it was worn out, or the last task hung and took it along
            worker = self._workers[pool] = _make(self._pools[pool])
            self._heard_s[pool] = 0.0
        self._heard_s[pool] = self._heard_s.get(pool, 0.0) + task.audio_s
        start = time.perf_counter()
        try:
            with _deadline(task.timeout_s):
                result = worker.run(task.payload)
        except _DeadlinePassed:
            _close(pool, self._workers.pop(pool))
            message = f"no answer within {task.timeout_s:g} s"
            return Completion(pool, task, Fate.HUNG, message=message, seconds=time.perf_counter() - start)
        except KeyboardInterrupt:
            raise  # the user's, not the task's
        except BaseException as error:
            failure = describe(error)
            seconds = time.perf_counter() - start
            return Completion(
                pool,
                task,
                Fate.RAISED,
                error_class=failure.error_class,
                message=failure.message,
                traceback=failure.traceback,
                error=failure.restore() or error,
                seconds=seconds,
            )
        return Completion(pool, task, Fate.DONE, result=result, seconds=time.perf_counter() - start)


def this_machine() -> admission.Machine:
    """CPUs this process may use, NVIDIA devices, memory in GB. Looks at device files: needs no driver library."""
    gpus = sum(device.name.removeprefix("nvidia").isdigit() for device in Path("/dev").glob("nvidia*"))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return admission.Machine(cpus=float(cpus), gpus=float(gpus), memory_gb=memory)


def _make(pool: PoolSpec) -> Worker:
    try:
        return pool.factory()
    except (UsageError, EnvironmentFault):
        raise
    except Exception as error:
        failure = describe(error)
        restored = failure.restore()
        if isinstance(restored, EnvironmentFault):
            raise restored from error
        name = "" if isinstance(error, DatagenError) else f"{failure.error_class}: "
        raise RunError(f"stage '{pool.name}' could not start: {name}{failure.message}") from error


def _close(pool: str, worker: Worker | None) -> None:
    if worker is None:
        return
    try:
        worker.close()
    except Exception:
        _log.warning("stage '%s': closing its worker failed", pool, exc_info=True)


class _DeadlinePassed(BaseException):
    """Not an ``Exception``: a stage's own ``except Exception`` must not swallow it."""


@contextmanager
def _deadline(seconds: float | None) -> Iterator[None]:
    """Raise ``_DeadlinePassed`` in the block once ``seconds`` are over; whoever used the timer before gets it back."""
    if seconds is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        _warn_no_deadlines()
        yield
        return
    armed = True

    def ring(signum: int, frame: FrameType | None) -> None:
        if armed:
            raise _DeadlinePassed

    before = signal.signal(signal.SIGALRM, ring)
    start = time.monotonic()
    # Rings again every second: an exception raised inside a callback of C code or a __del__ is lost.
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left > 0:
            with suppress(ValueError):
                signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 0.001), interval)


_warned: list[Any] = []


def _warn_no_deadlines() -> None:
    if not _warned:
        _warned.append(True)
        _log.warning("the local executor runs outside the main thread: deadlines are not enforced")
