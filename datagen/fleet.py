"""The servers of language models that a run starts: brought up when a stage first asks one, ended when none will.

With an executor whose tasks run side by side a replica is one long task in a pool of its own, so that it is placed,
given its GPUs and started again elsewhere like any other work; otherwise it is a thread of the driver.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from datagen import serving
from datagen.errors import DatagenError, RunError, UsageError
from datagen.executors.base import Completion, Executor, Fate, PoolSpec, Task
from datagen.files import Files
from datagen.llm.purse import Purse
from datagen.llm.settings import LlmConfig
from datagen.stage import Resources, Stage

#: Once one answers, the others are waited for so long; then work begins, and they join when they are ready.
JOIN_S = 60.0
#: Longest wait for servers to end in good order, before their workers are ended.
END_S = 45.0
#: A replica may lose its worker so often in a row without having answered.
MOST_LOST = 5


@dataclass(frozen=True)
class Replica:
    """What a replica's worker is given. ``address`` is asked where it runs."""

    settings: LlmConfig
    number: int
    gpus: float
    address: Callable[[], str]


def make_worker(url: str) -> ReplicaWorker:
    return ReplicaWorker(url)


class ReplicaWorker:
    """Runs one replica per task, until its group is to end."""

    def __init__(self, url: str) -> None:
        self._files = Files(url)
        self._closed = threading.Event()

    def run(self, task: Replica) -> None:
        host = task.address()
        serving.replica(self._files, task.settings, task.number, host, gpus=task.gpus, stopped=self._closed.is_set)

    def close(self) -> None:
        self._closed.set()


@dataclass(eq=False)
class _Group:
    """Replicas of one model."""

    settings: LlmConfig
    gpus: float  #: per replica
    replicas: int
    pool: PoolSpec
    started: float | None = None
    open: bool = False  #: work has begun
    since: float | None = None  #: the first answered
    up: int = -1  #: as was last said
    losses: dict[int, int] = field(default_factory=dict)  #: in a row
    tasks: dict[int, Replica] = field(default_factory=dict)  #: under way, where they are tasks
    threads: list[threading.Thread] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def all_gpus(self) -> float:
        return self.gpus * self.replicas


class Fleet:
    """``executor`` is asked for only when there is something to start."""

    def __init__(
        self, stages: Mapping[str, Stage], files: Files, executor: Callable[[], Executor], say: Callable[[str], None]
    ) -> None:
        asked = {name: settings for name, stage in stages.items() if (settings := stage.asks()) is not None}
        self.asks = asked  #: stage -> what it asks
        self._files, self._make, self._say = files, executor, say
        self._groups: dict[str, _Group] = {}
        self._next_task = 0
        self._clean = False
        self._purse: Purse | None = None
        self._under_way: set[tuple[str, ...]] = set()  #: endpoints that are being asked
        self._clock = time.monotonic()
        self._looked = 0.0

    # -- before a phase ------------------------------------------------------------------------------------------

    def admit(self, names: Sequence[str], pools: Sequence[PoolSpec]) -> None:
        """Refuse a phase of stages ``names`` that can never run, with these ``pools`` and what serves them.

        Raises:
            UsageError: too few GPUs, with the mend.
        """
        wanted = {self.asks[name].group: self.asks[name] for name in names if self._served(name)}
        if any(pool.resources.fixed_gpus for pool in pools) or set(wanted) - set(self._groups):
            self._end([group for key, group in self._groups.items() if key not in wanted])
        new = [settings for key, settings in wanted.items() if key not in self._groups]
        if new:
            for group in self._sized(new, pools):
                self._groups[group.settings.group] = group
        ours = [group.pool for key, group in self._groups.items() if key in wanted]
        try:
            self._make().admit([*pools, *ours])
        except UsageError as error:
            text = str(error)
            for pool in ours:  # what a person can set
                text = text.replace(f"stages.{pool.name}.resources.", "llm.vllm.").replace(
                    f"stage '{pool.name}'", f"a server of {self._groups[pool.name.removeprefix('llm-')].settings.model}"
                )
            raise UsageError(text) from error

    def _served(self, name: str) -> bool:
        return name in self.asks and self.asks[name].server == "vllm"

    def _sized(self, models: Sequence[LlmConfig], pools: Sequence[PoolSpec]) -> list[_Group]:
        """How many replicas each model gets: what is asked for, else one each and then in turn for as long as there are
        GPUs left.
        """
        there = self._make().gpus()
        taken = sum(pool.resources.fixed_gpus * (pool.resources.workers or 1) for pool in pools)
        left = there - taken - sum(group.all_gpus for group in self._groups.values())
        per = [_gpus(settings, there) for settings in models]
        count = [settings.vllm.replicas or 1 for settings in models]
        left -= sum(gpus * number for gpus, number in zip(per, count, strict=True))
        if left < 0:
            asked = ", ".join(
                f"{settings.model} {gpus * number:g}" for settings, gpus, number in zip(models, per, count, strict=True)
            )
            raise UsageError(
                f"language models of stages that run side by side need more GPUs than are left: {asked}; there are "
                f"{there:g} in all. Lower llm.vllm.replicas, "
                "llm.vllm.tensor_parallel or llm.vllm.gpus, ask one model in all stages, or serve one elsewhere "
                "(llm.server: endpoint)"
            )
        growing = [at for at, settings in enumerate(models) if settings.vllm.replicas is None and per[at] > 0]
        while growing := [at for at in growing if per[at] <= left]:
            for at in growing:
                if per[at] <= left:
                    count[at] += 1
                    left -= per[at]
        return [
            _Group(settings, gpus, number, self._pool(settings, gpus, number))
            for settings, gpus, number in zip(models, per, count, strict=True)
        ]

    def _pool(self, settings: LlmConfig, gpus: float, replicas: int) -> PoolSpec:
        wants = Resources(cpus=0.0, gpus=gpus, workers=replicas)  # nobody may have to wait for a CPU that it holds
        return PoolSpec(f"llm-{settings.group}", functools.partial(make_worker, self._files.url), wants)

    # -- while it goes on ----------------------------------------------------------------------------------------

    def ready(self, name: str) -> bool:
        """Whether a stage may be given work: the servers that it asks answer. Starts them.

        Raises:
            RunError, UsageError: a server cannot be kept up.
        """
        if not self._served(name):
            return True
        group = self._groups[self.asks[name].group]
        if group.started is None:
            self._start(group)
        self._raise(group)
        if group.open:
            return True
        if group.threads:  # nobody else waits here, and nothing else goes on
            time.sleep(0.1)
        now = time.monotonic()
        if now - self._looked < (0.5 if self._files.local else 2.0):
            return False
        self._looked = now
        up = len(serving.servers(self._files, group.settings))
        if up != group.up:
            group.up = up
            self._say(f"waiting for {group.settings.model}: {up} of {_replicas(group.replicas)} answer")
        group.since = (group.since or now) if up else None
        group.open = up >= group.replicas or (group.since is not None and now - group.since > JOIN_S)
        return group.open

    def took(self, completion: Completion) -> bool:
        """Whether the completion was of a replica. One whose worker was lost is started again.

        Raises:
            RunError, UsageError: it cannot be kept up.
        """
        group = next((each for each in self._groups.values() if completion.task.id in each.tasks), None)
        if group is None:
            return False
        task = group.tasks.pop(completion.task.id)
        if completion.fate is Fate.DONE or group.stop.is_set():
            return True
        if completion.fate is Fate.RAISED:
            group.errors.append(completion.error or RunError(f"{completion.message}\n{completion.traceback}"))
            self._raise(group)
        name = f"{serving.SERVERS}/{group.settings.group}/{task.number}.json"
        answered = self._files.exists(name)
        self._files.delete(name)
        group.losses[task.number] = 1 if answered else group.losses.get(task.number, 0) + 1
        if group.losses[task.number] >= MOST_LOST:
            raise RunError(
                f"the worker of a server of {group.settings.model} was lost {MOST_LOST} times in a row; look at the "
                f"machines (memory, preemption), then run the same command again. Last: {completion.message}"
            )
        self._submit(group, task)
        return True

    def tick(self, running: Iterable[str]) -> None:
        """Count the time in which stages ``running`` ask endpoints: nobody else sees all of it, and only once."""
        now = time.monotonic()
        if replicas := sum(map(len, self._under_way)):
            self._purse = self._purse or Purse(self._files, serving.SPENT)
            self._purse.add(gpu_seconds=(now - self._clock) * replicas)
        self._clock = now
        asked = (self.asks[name] for name in running if name in self.asks)
        self._under_way = {settings.urls for settings in asked if settings.server == "endpoint"}

    def _start(self, group: _Group) -> None:
        if not self._clean:  # what an earlier driver could not take away
            self._files.delete(serving.SERVERS)
            self._clean = True
        group.started = time.monotonic()
        log = serving.log_path(self._files, group.settings, 0)
        where = log.parent if self._files.local else f"{log.parent} of their machines"
        self._say(
            f"starting {_replicas(group.replicas)} of {group.settings.model}; what they say: "
            f"{where}/{group.settings.group}-*.log"
        )
        executor = self._make()
        tasks = [Replica(group.settings, number, group.gpus, executor.address()) for number in range(group.replicas)]
        if executor.side_by_side:
            executor.open(group.pool)
            group.replicas = min(group.replicas, executor.workers(group.pool.name))
            for task in tasks[: group.replicas]:
                self._submit(group, task)
            return
        first = sum(each.all_gpus for each in self._groups.values() if each.threads)
        for task in tasks:
            env = _devices(first + task.number * group.gpus, group.gpus)
            act = functools.partial(_in_thread, self._files, task, env, group)
            thread = threading.Thread(target=act, name=f"{group.pool.name}-{task.number}", daemon=True)
            group.threads.append(thread)
            thread.start()

    def _submit(self, group: _Group, task: Replica) -> None:
        self._next_task -= 1  # the driver's own count upwards
        group.tasks[self._next_task] = task
        self._make().submit(group.pool.name, Task(self._next_task, task, exclusive=True))

    def _raise(self, group: _Group) -> None:
        if group.errors and not group.stop.is_set():
            error = group.errors[0]
            if isinstance(error, DatagenError):
                raise error
            raise RunError(f"a server of {group.settings.model}: {type(error).__name__}: {error}") from error

    # -- the end -------------------------------------------------------------------------------------------------

    def keep(self, names: Iterable[str]) -> None:
        """End the servers that none of these stages asks."""
        wanted = {self.asks[name].group for name in names if self._served(name)}
        self._end([group for key, group in self._groups.items() if key not in wanted])

    def close(self) -> None:
        """End all; what goes wrong meanwhile is not worth more than the run's own error."""
        with contextlib.suppress(Exception):
            self._end(list(self._groups.values()))
        if self._purse is not None:
            with contextlib.suppress(Exception):
                self._purse.close()

    def _end(self, groups: Iterable[_Group]) -> None:
        over_with = list(groups)
        ending = [group for group in over_with if group.started is not None]
        for group in ending:
            group.stop.set()
            if group.tasks:
                self._files.write(f"{serving.SERVERS}/{group.settings.group}/{serving.END}", b"")
        over = time.monotonic() + END_S
        while any(group.tasks for group in ending) and time.monotonic() < over:
            for completion in self._make().wait(0.2):
                self.took(completion)
        for group in ending:
            for thread in group.threads:
                thread.join(max(0.0, over - time.monotonic()))
            if not group.threads:
                self._make().close(group.pool.name)
            self._files.delete(f"{serving.SERVERS}/{group.settings.group}")
        for group in over_with:
            del self._groups[group.settings.group]


def _gpus(settings: LlmConfig, there: float) -> float:
    """Of one replica, where there are so many in all."""
    if settings.vllm.gpus is not None:
        return settings.vllm.gpus
    return float(settings.vllm.tensor_parallel) if there else 0.0


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _devices(first: float, gpus: float) -> dict[str, str]:
    """Which GPUs a replica in this machine may use, where nobody else decides that; nothing where there are none."""
    if not gpus:
        return {}
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    at = range(int(first), int(first) + max(1, int(gpus)))
    names = given.split(",") if given else [str(number) for number in range(at.stop)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[number] for number in at if number < len(names))}


def _in_thread(files: Files, task: Replica, env: Mapping[str, str], group: _Group) -> None:
    try:
        serving.replica(
            files, task.settings, task.number, task.address(), gpus=task.gpus, env=env, stopped=group.stop.is_set
        )
    except BaseException as error:
        group.errors.append(error)


__all__ = ["Fleet", "Replica", "ReplicaWorker", "make_worker"]
