"""Workers and drivers for the executor tests. A module of its own: worker processes import it by name."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.errors import EnvironmentFault, RowError, UsageError
from datagen.executors.base import Completion, Executor, Fate, Shared, Task
from datagen.executors.recovery import Action, Decision, Piece, after_failure


class Doer:
    """``payload`` is (verb, argument)."""

    def __init__(self, closed: str | None = None) -> None:
        self.closed = closed

    def run(self, payload: tuple[str, Any]) -> Any:
        verb, argument = payload
        return getattr(self, verb)(argument)

    def close(self) -> None:
        if self.closed == "dies":
            os._exit(9)
        if self.closed:
            with Path(self.closed).open("a") as file:
                file.write(f"{os.getpid()}\n")

    def echo(self, value: Any) -> Any:
        return value

    def shared(self, value: Shared) -> tuple[Any, int]:
        """What stands behind it, and which object that is in this process."""
        return value.get(), id(value.get())

    def pid(self, _: Any) -> int:
        return os.getpid()

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def stumble(self, message: str) -> None:
        raise ValueError(message)

    def refuse(self, message: str) -> None:
        raise RowError("DecodeError", message)

    def fault(self, message: str) -> None:
        raise EnvironmentFault(message)

    def misuse(self, message: str) -> None:
        raise UsageError(message)

    def disk_full(self, _: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def disk_full_inside(self, _: Any) -> None:
        try:
            self.disk_full(None)
        except OSError as error:
            raise RowError("DecodeError", "cannot decode") from error

    def out_of_memory(self, _: Any) -> None:
        raise MemoryError

    def quit(self, _: Any) -> None:
        raise SystemExit(3)

    def hang(self, _: Any) -> None:
        while True:
            time.sleep(0.02)

    def hang_hard(self, _: Any) -> None:
        """Hang and swallow every ordinary exception, as careless retry loops do."""
        while True:
            try:
                time.sleep(0.02)
            except Exception:
                continue

    def end(self, _: Any) -> None:
        os._exit(7)

    def stop(self, _: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def hold(self, folder: str) -> int:
        """Say that this runs (a file with the pid), then wait for the file ``go``."""
        begun = Path(folder) / "begun"
        begun.with_suffix(".tmp").write_text(str(os.getpid()))
        begun.with_suffix(".tmp").rename(begun)
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        return os.getpid()

    def unpicklable(self, _: Any) -> Any:
        return threading.Lock()

    def rows(self, bounds: tuple[int, int, frozenset[int]]) -> list[int]:
        """Work on rows lo to hi; a poisonous one ends the process."""
        low, high, poison = bounds
        if any(row in poison for row in range(low, high)):
            os._exit(7)
        return list(range(low, high))


@dataclass(frozen=True)
class Making:
    """A factory that may fail."""

    closed: str | None = None
    error: Exception | None = None
    ends: bool = False
    hangs: bool = False

    def __call__(self) -> Doer:
        if self.error is not None:
            raise self.error
        if self.ends:
            os._exit(9)
        while self.hangs:
            time.sleep(0.02)
        return Doer(self.closed)


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something another process does; only a failing test takes ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("it did not happen")
        time.sleep(0.02)


def answers(executor: Executor, count: int) -> dict[int, Completion]:
    """Wait for ``count`` completions; by task id."""
    got: dict[int, Completion] = {}
    empty = 0
    while len(got) < count:
        completions = executor.wait(5.0)
        empty = 0 if completions else empty + 1
        assert empty < 20, f"only {len(got)} of {count} answered"
        for completion in completions:
            assert completion.task.id not in got, "answered twice"
            got[completion.task.id] = completion
    return got


@dataclass
class Outcome:
    done: list[tuple[Piece, Any]]
    rejected: list[tuple[Piece, Decision]]
    fates: list[Fate]


def drain(
    executor: Executor,
    pool: str,
    pieces: Iterable[Piece],
    payload: Callable[[Piece], Any],
    after_each: Callable[[Completion], None] = lambda _: None,
    timeout_s: float | None = None,
) -> Outcome:
    """A run loop in small: all pieces through one pool, failures handled as ``recovery`` says."""
    todo = list(pieces)[::-1]
    running: dict[int, Piece] = {}
    outcome = Outcome([], [], [])
    count = 0
    while todo or running:
        while todo and executor.room(pool) > 0:
            piece = todo.pop()
            count += 1
            running[count] = piece
            executor.submit(pool, Task(count, payload(piece), timeout_s, exclusive=piece.suspect))
        for completion in executor.wait(5.0):
            piece = running.pop(completion.task.id)
            outcome.fates.append(completion.fate)
            if completion.fate is Fate.DONE:
                outcome.done.append((piece, completion.result))
            else:
                decision = after_failure(piece, completion.fate, completion.error_class, error=completion.error)
                if decision.action is Action.REJECT:
                    outcome.rejected.append((piece, decision))
                else:
                    todo.extend(reversed(decision.pieces))
            after_each(completion)
    return outcome
