"""What a failure means: retry the piece, split it, or refuse its one row. Pure; knows no executor and no stage.

A piece is a range of rows of a unit of work. It starts as all of the unit's rows and is only ever halved, so the
pieces of a unit never overlap and never lose a row: every row ends in one piece that is done, or is rejected
alone. A row is only rejected after it failed on its own, and never for what happened to the machine.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, replace

from datagen.errors import DatagenError, EnvironmentFault, RowError, RunError, UsageError
from datagen.executors.base import Fate

#: How often a piece of several rows is tried before it is split. Once more than once: most crashes of a batch are
#: not repeated, and halving costs log2(rows) further runs.
TRIES_TOGETHER = 2
#: How often a row is tried alone before it is rejected.
TRIES_ALONE = 3
#: After so many losses in a row (nodes dying, workers dying on other tasks) something is wrong with the machines.
MOST_LOST = 20

#: Error classes of rows that ended their worker, or outlasted their deadline.
WORKER_DIED = "WorkerDied"
DEADLINE = "Deadline"


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``lo`` to ``hi`` (exclusive) of ``unit``. ``attempt``: failures of exactly this range so far."""

    unit: Hashable
    lo: int
    hi: int
    attempt: int = 0
    lost: int = 0  #: losses in a row
    #: A worker ended on it, or on something near it: run it with ``Task.exclusive``. Inherited by its halves.
    suspect: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lo < self.hi:
            raise ValueError(f"a piece holds at least one row, got {self.lo} to {self.hi}")

    @property
    def rows(self) -> int:
        return self.hi - self.lo


class Action(enum.StrEnum):
    RETRY = "retry"
    SPLIT = "split"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Decision:
    """``pieces``: what to run next (one after RETRY, two after SPLIT), or the refused one-row piece (REJECT).

    A rejected piece's ``attempt`` counts all its failures, this one included: what ``rejects`` stores.
    """

    action: Action
    pieces: tuple[Piece, ...]
    error_class: str = ""


def after_failure(
    piece: Piece, fate: Fate, error_class: str = "", *, error: BaseException | None = None, message: str = ""
) -> Decision:
    """Decide about a piece whose task ended with any fate but DONE.

    Args:
        error_class, error, message: as in the ``Completion``. ``error`` tells a ``RowError`` (the stage is sure that
            it is this data) from an accident that may not be repeated.

    Raises:
        RunError: nothing a row can be blamed for, so the run ends: an ``EnvironmentFault``, ``UsageError`` or
            ``RunError`` of the worker (raised as it is), or a piece that was lost ``MOST_LOST`` times in a row.
    """
    if fate is Fate.DONE:
        raise ValueError("a task that is done has not failed")
    if fate is Fate.LOST:
        return _after_loss(piece, message)
    if fate is Fate.RAISED:
        _raise_blameless(error_class, error, message)
    suspect = piece.suspect or fate is not Fate.RAISED
    failed = replace(piece, attempt=piece.attempt + 1, lost=0, suspect=suspect)
    certain = fate is Fate.RAISED and (isinstance(error, RowError) or error_class == RowError.__name__)
    if piece.rows == 1:
        if certain or failed.attempt >= TRIES_ALONE:
            return Decision(Action.REJECT, (failed,), _blame(fate, error_class))
        return Decision(Action.RETRY, (failed,))
    if certain or failed.attempt >= TRIES_TOGETHER:
        middle = piece.lo + piece.rows // 2
        halves = (
            Piece(piece.unit, piece.lo, middle, suspect=suspect),
            Piece(piece.unit, middle, piece.hi, suspect=suspect),
        )
        return Decision(Action.SPLIT, halves)
    return Decision(Action.RETRY, (failed,))


def _after_loss(piece: Piece, message: str) -> Decision:
    again = replace(piece, lost=piece.lost + 1, suspect=True)
    if again.lost >= MOST_LOST:
        because = f" Last: {message}" if message else ""
        raise RunError(
            f"{piece.unit}: its worker was lost {again.lost} times in a row through no fault of its rows; "
            f"look at the machines (memory, preemption, network), then run the same command again.{because}"
        )
    return Decision(Action.RETRY, (again,))


def _raise_blameless(error_class: str, error: BaseException | None, message: str) -> None:
    if isinstance(error, DatagenError) and not isinstance(error, RowError):
        raise error
    for kind in (EnvironmentFault, UsageError, RunError):
        if error is None and error_class == kind.__name__:
            raise kind(message or f"a worker reported {error_class}")


def _blame(fate: Fate, error_class: str) -> str:
    if fate is Fate.DIED:
        return WORKER_DIED
    if fate is Fate.HUNG:
        return DEADLINE
    return error_class or "Error"
