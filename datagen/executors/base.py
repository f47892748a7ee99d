"""The executor interface: pools of workers that answer tasks.

An executor moves tasks and reports fates; it knows nothing of stages, shards or rows. What a failure means
(retry, bisect, reject) is decided in ``recovery.py``; what a task does is the business of the worker that the
pool's factory makes. One conformance suite (``tests/executors``) holds every implementation to this.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from datagen.stage import Resources


class Worker(Protocol):
    """Lives in one process and answers tasks one after another."""

    def run(self, payload: Any) -> Any: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class PoolSpec:
    """A pool of like workers. ``factory`` must pickle; it is called once in each worker's process."""

    name: str
    factory: Callable[[], Worker]
    resources: Resources = field(default_factory=Resources)
    #: Memory that a worker is likely to take although none is reserved (its model). Bounds how many there are, but
    #: never refuses the first.
    expected_gb: float = 0.0

    @property
    def most_audio_s(self) -> float:
        """Seconds of audio after which a worker makes way for a fresh one."""
        hours = self.resources.recycle_hours
        return math.inf if hours is None else hours * 3600.0


@dataclass(frozen=True)
class Task:
    """``payload`` must pickle and be small: paths and row ranges, never audio."""

    id: int
    payload: Any
    timeout_s: float | None = None  #: seconds from when its worker begins it, not from ``submit``
    #: Give it a worker with nothing queued before or behind it. A worker that dies may take the answer of the task
    #: before along with it; a task under suspicion runs exclusively so that blame is exact (``Piece.suspect``).
    exclusive: bool = False
    audio_s: float = 0.0  #: seconds of audio in it; counted against ``Resources.recycle_hours``


class Shared(Protocol):
    """What many payloads have in common (``Executor.share``): pickles small, whatever it stands for."""

    def get(self) -> Any: ...


@dataclass(frozen=True)
class Here:
    """Shared within one process."""

    value: Any

    def get(self) -> Any:
        return self.value


class Fate(enum.StrEnum):
    DONE = "done"
    RAISED = "raised"  #: ``Worker.run`` raised
    DIED = "died"  #: the worker's process ended while this task was the one it was working on
    HUNG = "hung"  #: the deadline passed; the worker was killed
    LOST = "lost"  #: not the task's fault (its node died, or it only queued behind another): run it again


@dataclass(frozen=True)
class Completion:
    pool: str
    task: Task
    fate: Fate
    result: Any = None
    error_class: str = ""  #: class name of the exception, or RowError.error_class
    message: str = ""
    traceback: str = ""
    error: BaseException | None = None  #: the exception itself when it could be carried over
    seconds: float = 0.0


def loopback() -> str:
    """An address under which only this machine knows itself."""
    return "127.0.0.1"


class Executor(ABC):
    """Life: ``admit`` a phase's pools, ``open`` each when it has work, submit/wait, ``close``, ``shutdown``."""

    #: Whether tasks run while the driver does something else.
    side_by_side: ClassVar[bool] = True

    def address(self) -> Callable[[], str]:
        """To be called in a worker: the address under which the other workers reach its machine. Pickles."""
        return loopback

    @abstractmethod
    def admit(self, pools: Sequence[PoolSpec]) -> None:
        """Refuse at once what can never run here.

        Raises:
            UsageError: resources that do not exist on this machine or cluster, naming the pool, what it asks
                for, what there is, and the setting that mends it.
        """

    @abstractmethod
    def gpus(self) -> float:
        """GPUs of this machine or cluster in all: what ``gpus: auto`` is decided by."""

    @abstractmethod
    def open(self, pool: PoolSpec) -> None:
        """Have workers for this pool (idempotent). May return before they are ready.

        Raises (here, or from ``wait`` once the failure is known):
            RunError: the factory failed, with its message; or no worker came up in time, with what it asked for.
                A ``UsageError`` or ``EnvironmentFault`` of the factory keeps its class.
        """

    @abstractmethod
    def workers(self, pool: str) -> int:
        """How many workers an open pool has at most: what was asked for, or fewer where no more fit."""

    @abstractmethod
    def room(self, pool: str) -> int:
        """How many more tasks ``submit`` takes now: workers x in-flight cap, minus what is under way."""

    @abstractmethod
    def submit(self, pool: str, task: Task) -> None:
        """Queue one task; never blocks. Call only while ``room`` is positive."""

    def share(self, value: Any) -> Shared:
        """Stands for ``value`` in any number of payloads; it is sent to a worker once, not with every task."""
        return Here(value)

    @abstractmethod
    def wait(self, timeout_s: float) -> list[Completion]:
        """Finished tasks; returns as soon as there is one, or empty after ``timeout_s``. Enforces deadlines.

        Returns empty at once when nothing is under way. Each task submitted comes back exactly once, unless its
        pool is closed first.
        """

    @abstractmethod
    def close(self, pool: str) -> None:
        """Tear the pool down and give its resources back. What is still under way is dropped without an answer."""

    @abstractmethod
    def shutdown(self) -> None:
        """Close every pool, and what was started for them. Idempotent."""
