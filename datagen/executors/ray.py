"""Actor pools on Ray Core: one process per worker, on this machine or on a cluster.

Why plain actors: about half a millisecond per task, and nothing is retried or restarted behind our back
(``max_restarts=0``, ``max_task_retries=0``). What a death means is decided in ``recovery.py``.

How tasks reach workers: a task waits in its pool on the driver's side until a worker is ready to take it, and at
most ``in_flight`` are with one worker, which runs them in order. So only the head of a worker's queue can be
running: it alone is watched, its deadline counts from when it became the head, and when the worker dies it alone
is blamed. Workers are started as tasks need them, up to the number planned at admission.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from datagen.errors import DatagenError, EnvironmentFault, RunError, UsageError
from datagen.executors import admission
from datagen.executors.admission import Share
from datagen.executors.base import Completion, Executor, Fate, PoolSpec, Shared, Task, Worker, loopback
from datagen.executors.boundary import Failure, describe
from datagen.executors.session import RaySession

_log = logging.getLogger(__name__)

#: Starts of one pool's workers that may fail in a row, once a worker of it has been seen to work.
MOST_FAILED_STARTS = 3


class RayExecutor(Executor):
    """Actor pools.

    Args:
        address: None starts a Ray of its own on this machine, gone with this process; ``"auto"`` or ``"host:port"``
            attaches to a running cluster. Where Ray is already initialised in this process it is used as it is and
            left running.
        num_cpus: CPUs of the embedded Ray; None = all of this machine's.
        in_flight: tasks per worker, the one it runs included.
        start_timeout_s: how long a worker may take until it is ready (scheduled, and its factory returned).
        close_timeout_s: how long the workers of a pool may take over ``Worker.close`` before they are killed.
        share_cpus: admit phases whose pools together ask for more CPUs than there are, by shrinking their claims.
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: int | None = None,
        in_flight: int = 2,
        start_timeout_s: float = 120.0,
        *,
        close_timeout_s: float = 10.0,
        share_cpus: bool = False,
    ) -> None:
        if address is not None and num_cpus is not None:
            raise UsageError("the number of CPUs is the cluster's business: leave it away with a Ray address")
        if address is not None and "://" in address:
            raise UsageError(f"--ray-address {address}: Ray Client is not supported; give host:port or 'auto'")
        self._address = address
        self._num_cpus = num_cpus
        self._in_flight = in_flight
        self._start_timeout_s = start_timeout_s
        self._close_timeout_s = close_timeout_s
        self._share_cpus = share_cpus
        self._session: RaySession | None = None
        self._pools: dict[str, _Pool] = {}
        self._shares: dict[str, Share] = {}
        self._watched: dict[Any, _Member] = {}  #: start or head-of-queue reference -> its worker
        self._answered: list[Completion] = []
        self._next_check = math.inf  #: when the earliest deadline passes; never later than that

    # --- The interface ---------------------------------------------------------------------------------------

    def admit(self, pools: Sequence[PoolSpec]) -> None:
        session = self._connected()
        machines = session.machines()
        for pool in pools:
            session.check_interpreter(pool)
        admission.check(pools, machines, share_cpus=self._share_cpus)
        self._shares.update(admission.plan(pools, machines))
        for doubt in admission.doubts(pools, machines):
            _log.warning("%s", doubt)
        for pool in pools:
            wanted, planned = pool.resources.workers, self._shares[pool.name].workers
            if wanted is not None and planned < wanted:
                _log.warning("stage '%s': %d of %d workers fit beside the others", pool.name, planned, wanted)

    def gpus(self) -> float:
        return sum(machine.gpus for machine in self._connected().machines())

    def address(self) -> Callable[[], str]:
        return loopback if self._connected().embedded else node_address

    def open(self, pool: PoolSpec) -> None:
        if pool.name in self._pools:
            return
        if pool.name not in self._shares:
            self.admit([pool])
        self._connected()
        import ray
        from ray import cloudpickle

        try:
            factory = cloudpickle.dumps(pool.factory)
        except Exception as error:
            raise RunError(f"stage '{pool.name}': its worker cannot be sent to another process: {error}") from error
        options = _actor_options(pool, self._shares[pool.name])
        opened = _Pool(pool, ray.remote(_Host).options(**options), factory, self._shares[pool.name].workers)
        self._pools[pool.name] = opened
        self._launch(opened)

    def workers(self, pool: str) -> int:
        return self._pools[pool].planned

    def room(self, pool: str) -> int:
        of = self._pools[pool]
        return max(0, of.planned * self._in_flight - of.under_way)

    def submit(self, pool: str, task: Task) -> None:
        if self.room(pool) <= 0:
            raise ValueError(f"pool '{pool}' is full: submit only while room() is positive")
        to = self._pools[pool]
        to.under_way += 1
        (to.exclusive if task.exclusive else to.backlog).append(task)
        self._dispatch(to)

    def wait(self, timeout_s: float) -> list[Completion]:
        import ray

        end = time.monotonic() + timeout_s
        while not self._answered and self._watched:
            # All that is ready at once, without blocking; only when there is nothing, block for the first.
            watched = list(self._watched)
            ready, _ = ray.wait(watched, num_returns=len(watched), timeout=0, fetch_local=False)
            if not ready:
                pause = max(0.0, min(end, self._next_check) - time.monotonic())
                ready, _ = ray.wait(watched, num_returns=1, timeout=pause, fetch_local=False)
            self._collect(ready)
            now = time.monotonic()
            if now >= self._next_check:
                self._enforce(now)
            if now >= end:
                break
        answered, self._answered = self._answered, []
        return answered

    def close(self, pool: str) -> None:
        of = self._pools.pop(pool, None)
        if of is None:
            return
        import ray

        self._answered = [completion for completion in self._answered if completion.pool != pool]
        goodbyes = []
        for member in of.members:
            self._unwatch(member)
            if member.ready and not member.queue:
                with contextlib.suppress(ray.exceptions.RayError):
                    goodbyes.append(member.actor.close.remote())
        if goodbyes:
            done, _ = ray.wait(goodbyes, num_returns=len(goodbyes), timeout=self._close_timeout_s)
            for goodbye in done:
                _log_goodbye(pool, goodbye)
        for member in of.members:
            _kill(member)

    def shutdown(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        try:
            if session.alive():
                for pool in list(self._pools):
                    self.close(pool)
        finally:
            self._pools.clear()
            self._shares.clear()
            self._watched.clear()
            session.end()

    # --- Workers ---------------------------------------------------------------------------------------------

    def _connected(self) -> RaySession:
        if self._session is None:
            self._session = RaySession(self._address, self._num_cpus)
        return self._session

    def _launch(self, pool: _Pool) -> None:
        actor = pool.actor_class.remote()
        started = actor.start.remote(pool.factory)
        member = _Member(pool, actor, started, deadline=time.monotonic() + self._start_timeout_s)
        pool.members.append(member)
        self._watched[started] = member
        self._next_check = min(self._next_check, member.deadline)

    def _dispatch(self, pool: _Pool) -> None:
        """Give waiting tasks to ready workers, and start workers for those that none can take."""
        ready = [member for member in pool.members if member.ready and not member.worn]
        while pool.exclusive and (idle := next((member for member in ready if not member.queue), None)):
            self._send(idle, pool.exclusive.popleft())
        held = None
        if pool.exclusive and ready:  # the rest goes on working, but one runs dry for it
            held = min((member for member in ready if not member.exclusive), key=_load, default=None)
        while pool.backlog:
            open_to_more = [
                member
                for member in ready
                if len(member.queue) < self._in_flight and not member.exclusive and member is not held
            ]
            if not open_to_more:
                break
            self._send(min(open_to_more, key=_load), pool.backlog.popleft())
        starting = sum(not member.ready for member in pool.members)
        waiting = len(pool.backlog) + len(pool.exclusive)
        for _ in range(min(waiting - starting, pool.planned - len(pool.members))):
            self._launch(pool)

    def share(self, value: Any) -> Shared:
        self._connected()
        import ray

        return _Stored(ray.put(value))

    def _send(self, member: _Member, task: Task) -> None:
        member.queue.append((task, member.actor.run.remote(task.payload)))
        if len(member.queue) == 1:
            self._watch_head(member)

    def _watch_head(self, member: _Member) -> None:
        task, answer = member.queue[0]
        self._watched[answer] = member
        member.deadline = math.inf if task.timeout_s is None else time.monotonic() + task.timeout_s
        self._next_check = min(self._next_check, member.deadline)

    def _unwatch(self, member: _Member) -> None:
        self._watched.pop(member.queue[0][1] if member.queue else member.started, None)

    def _collect(self, ready: list[Any]) -> None:
        import ray

        try:
            values = ray.get(ready)
        except Exception:  # one of them; find out which
            values = [_value_or_error(ref) for ref in ready]
        for ref, value in zip(ready, values, strict=True):
            member = self._watched.pop(ref, None)
            if member is None:  # its pool or worker went away over another of these
                continue
            if not member.ready:
                self._on_started(member, value)
            else:
                self._on_answer(member, value)

    def _on_answer(self, member: _Member, value: Any) -> None:
        import ray

        pool = member.pool
        if isinstance(value, BaseException) and not isinstance(value, ray.exceptions.RayTaskError):
            self._on_death(member, value)
            return
        task, _ = member.queue.popleft()
        member.deadline = math.inf
        if member.queue:
            self._watch_head(member)
        result: Any
        failure: Failure | None
        if isinstance(value, BaseException):  # the answer could not be sent, or the payload not be read
            result, failure, seconds = None, describe(_cause(value)), 0.0
        else:
            result, failure, seconds = value
        if failure is not None:
            self._answer(
                pool,
                task,
                Fate.RAISED,
                error_class=failure.error_class,
                message=failure.message,
                traceback=failure.traceback,
                error=failure.restore(),
                seconds=seconds,
            )
        else:
            self._answer(pool, task, Fate.DONE, result=result, seconds=seconds)
        member.heard_s += task.audio_s
        if member.worn and not member.queue:
            self._retire(member)
        if pool.backlog or pool.exclusive:
            self._dispatch(pool)

    def _retire(self, member: _Member) -> None:
        """End a worker that has done its share; the next task that needs one starts a fresh one."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):  # gone already
            goodbye = member.actor.close.remote()
            done, _ = ray.wait([goodbye], timeout=self._close_timeout_s)
            if done:
                _log_goodbye(member.pool.spec.name, goodbye)
        _kill(member)
        member.pool.members.remove(member)

    def _answer(self, pool: _Pool, task: Task, fate: Fate, **said: Any) -> None:
        pool.under_way -= 1
        self._answered.append(Completion(pool.spec.name, task, fate, **said))

    def _on_death(self, member: _Member, error: BaseException) -> None:
        import ray

        message = str(error).strip()
        kinds = ray.exceptions
        blameless = isinstance(
            error,
            kinds.ActorUnavailableError  # its machine does not answer (any more)
            | kinds.NodeDiedError
            | kinds.ObjectLostError  # it answered, but the answer is gone
            | kinds.OutOfDiskError
            | kinds.ObjectStoreFullError,
        )
        if isinstance(error, ray.exceptions.RayActorError) and error.preempted:
            blameless = True
        if not blameless and not self._connected().node_alive(member.node):
            blameless = True
        self._bury(member, Fate.LOST if blameless else Fate.DIED, message)

    def _bury(self, member: _Member, fate: Fate, message: str) -> None:
        """End a worker: its running task meets ``fate``, those behind it are lost."""
        pool = member.pool
        self._unwatch(member)
        _kill(member)
        pool.members.remove(member)
        for behind, (task, _) in enumerate(member.queue):
            said = f"queued behind task {member.queue[0][0].id}, whose worker ended" if behind else message
            self._answer(pool, task, Fate.LOST if behind else fate, error_class="", message=said)
        member.queue.clear()
        self._dispatch(pool)

    def _enforce(self, now: float) -> None:
        """End what is past its deadline; find when the next one passes."""
        late = [member for pool in self._pools.values() for member in pool.members if member.deadline <= now]
        for member in late:
            if member.ready:
                task = member.queue[0][0]
                self._bury(member, Fate.HUNG, f"no answer within {task.timeout_s:g} s; its worker was killed")
            else:
                self._on_late_start(member)
        deadlines = (member.deadline for pool in self._pools.values() for member in pool.members)
        self._next_check = min(deadlines, default=math.inf)

    # --- Starting --------------------------------------------------------------------------------------------

    def _on_started(self, member: _Member, value: Any) -> None:
        pool = member.pool
        if not isinstance(value, BaseException):
            failure, member.pid, member.node = value
            if failure is None:
                member.ready, member.deadline = True, math.inf
                pool.proven, pool.failed_starts = True, 0
                self._dispatch(pool)
                return
        else:
            failure = None
        pool.members.remove(member)
        _kill(member)
        pool.failed_starts += 1
        raised = failure is not None and not pool.proven  # with nothing but failures, the first says it all
        if raised or pool.failed_starts >= MOST_FAILED_STARTS:
            raise _start_error(pool.spec.name, failure, value)
        _log.warning("stage '%s': a worker did not come up, trying another", pool.spec.name)
        self._launch(pool)

    def _on_late_start(self, member: _Member) -> None:
        pool = member.pool
        self._unwatch(member)
        pool.members.remove(member)
        _kill(member)
        want = admission.wishes(pool.spec.resources)
        total, free = self._connected().in_words()
        late = f"stage '{pool.spec.name}': a worker was not ready within {self._start_timeout_s:g} s"
        if any(other.ready for other in pool.members):
            pool.planned = max(1, pool.planned - 1)
            _log.warning("%s (wants %s; free: %s); going on with fewer", late, want, free)
            return
        raise RunError(
            f"{late}. It wants {want}; there are {total}, of which are free: {free}. Free some, lower "
            f"stages.{pool.spec.name}.resources, or, if its model only loads slowly, raise the start timeout"
        )


def node_address() -> str:
    """Of the node that this worker runs on."""
    import ray

    return str(ray.util.get_node_ip_address())


@dataclass(eq=False)
class _Pool:
    spec: PoolSpec
    actor_class: Any
    factory: bytes
    planned: int  #: most workers
    members: list[_Member] = field(default_factory=list)
    backlog: deque[Task] = field(default_factory=deque)
    exclusive: deque[Task] = field(default_factory=deque)
    under_way: int = 0
    failed_starts: int = 0  #: in a row
    proven: bool = False  #: a worker of it has come up


@dataclass(eq=False)
class _Member:
    """One actor. ``deadline`` is of its start until it is ready, then of the task at the head of its queue, if any."""

    pool: _Pool
    actor: Any
    started: Any
    deadline: float
    ready: bool = False
    pid: int = 0
    node: str = ""
    queue: deque[tuple[Task, Any]] = field(default_factory=deque)
    heard_s: float = 0.0  #: audio it has been through

    @property
    def worn(self) -> bool:
        return self.heard_s >= self.pool.spec.most_audio_s

    @property
    def exclusive(self) -> bool:
        return bool(self.queue) and self.queue[0][0].exclusive


def _load(member: _Member) -> int:
    return len(member.queue)


class _Stored:
    """In Ray's object store. A process keeps what it looked at last: the tasks of a round come in a row."""

    _last: ClassVar[tuple[Any, Any]] = (None, None)

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def get(self) -> Any:
        import ray

        if _Stored._last[0] != self._reference:
            _Stored._last = None, None  # before the next is fetched: never two at a time
            _Stored._last = self._reference, ray.get(self._reference)
        return _Stored._last[1]


class _Host:
    """The actor: makes the worker and runs tasks. Nothing it does may raise, so that every error is a value."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def start(self, factory: bytes) -> tuple[Failure | None, int, str]:
        import ray
        from ray import cloudpickle

        where = os.getpid(), ray.get_runtime_context().get_node_id()
        try:
            self._worker = cloudpickle.loads(factory)()
        except BaseException as error:
            return describe(error), *where
        return None, *where

    def run(self, payload: Any) -> tuple[Any, Failure | None, float]:
        start = time.perf_counter()
        assert self._worker is not None
        try:
            result = self._worker.run(payload)
        except BaseException as error:
            return None, describe(error), time.perf_counter() - start
        return result, None, time.perf_counter() - start

    def close(self) -> Failure | None:
        worker, self._worker = self._worker, None
        try:
            if worker is not None:
                worker.close()
        except BaseException as error:
            return describe(error)
        return None


def _actor_options(pool: PoolSpec, share: Share) -> dict[str, Any]:
    want = pool.resources
    options: dict[str, Any] = {
        "num_cpus": share.cpus,
        "num_gpus": want.fixed_gpus,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    if share.memory_gb > 0:
        options["memory"] = int(share.memory_gb * 2**30)
    if want.python is not None:
        options["runtime_env"] = {"py_executable": want.python}
    return options


def _kill(member: _Member) -> None:
    import ray

    with contextlib.suppress(Exception):  # dead already
        ray.kill(member.actor, no_restart=True)


def _value_or_error(ref: Any) -> Any:
    import ray

    try:
        return ray.get(ref)
    except Exception as error:
        return error


def _cause(error: BaseException) -> BaseException:
    """What a ``RayTaskError`` wraps."""
    return getattr(error, "cause", None) or error


def _start_error(pool: str, failure: Failure | None, value: Any) -> DatagenError:
    if failure is None:
        return RunError(f"stage '{pool}': its workers die while starting: {str(value).strip()}")
    restored = failure.restore()
    if isinstance(restored, UsageError | EnvironmentFault):
        return restored
    name = "" if restored is not None else f"{failure.error_class}: "
    error = RunError(f"stage '{pool}' could not start: {name}{failure.message}")
    error.add_note(failure.traceback)
    return error


def _log_goodbye(pool: str, goodbye: Any) -> None:
    failure = _value_or_error(goodbye)
    if failure is not None:
        text = failure.traceback if isinstance(failure, Failure) else str(failure)
        _log.warning("stage '%s': closing a worker failed: %s", pool, text)
