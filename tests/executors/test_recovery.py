"""Whatever the poison, exactly the poisonous rows are rejected and every other row is done exactly once."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import EnvironmentFault, RowError, RunError, UsageError
from datagen.executors.base import Fate
from datagen.executors.recovery import (
    DEADLINE,
    MOST_LOST,
    TRIES_ALONE,
    TRIES_TOGETHER,
    WORKER_DIED,
    Action,
    Piece,
    after_failure,
)

KINDS = ("row error", "raises", "dies", "hangs")
CLASS = {"row error": "DecodeError", "raises": "ValueError", "dies": WORKER_DIED, "hangs": DEADLINE}
ROW_ERROR = RowError("DecodeError", "bad")


def play(rows: int, poison: dict[int, str], weather: list[bool], in_a_row: int = 3) -> tuple[list, list, int]:
    """Run a unit of ``rows`` rows. ``weather``: whether run i is lost to the machine, at most so many in a row."""
    todo = deque([Piece("unit", 0, rows)])
    done: list[Piece] = []
    rejected: list[tuple[int, str, int]] = []
    runs = lost = index = 0
    while todo:
        piece = todo.popleft()
        stormy = index < len(weather) and weather[index] and lost < in_a_row
        index += 1
        if stormy:
            lost += 1
            decision = after_failure(piece, Fate.LOST)
            assert decision.action is Action.RETRY
            assert decision.pieces[0].attempt == piece.attempt, "a loss is not an attempt"
            todo.extend(decision.pieces)
            continue
        lost = 0
        runs += 1
        struck = [poison[row] for row in range(piece.lo, piece.hi) if row in poison]
        if not struck:
            done.append(piece)
            continue
        kind = struck[0]
        if kind == "row error":
            decision = after_failure(piece, Fate.RAISED, "DecodeError", error=ROW_ERROR)
        elif kind == "raises":
            decision = after_failure(piece, Fate.RAISED, "ValueError", error=None)
        else:
            decision = after_failure(piece, Fate.DIED if kind == "dies" else Fate.HUNG)
        if decision.action is Action.REJECT:
            (refused,) = decision.pieces
            assert refused.rows == 1
            rejected.append((refused.lo, decision.error_class, refused.attempt))
        else:
            assert sum(after.rows for after in decision.pieces) == piece.rows
            todo.extend(decision.pieces)
    return done, rejected, runs


poisons = st.integers(1, 300).flatmap(
    lambda rows: st.tuples(
        st.just(rows), st.dictionaries(st.integers(0, rows - 1), st.sampled_from(KINDS), max_size=12)
    )
)


@given(poisons, st.lists(st.booleans(), max_size=60))
def test_exactly_the_poisonous_rows_are_rejected_with_their_reason(case, weather):
    rows, poison = case
    done, rejected, runs = play(rows, poison, weather)
    assert sorted((row, kind) for row, kind, _ in rejected) == sorted(
        (row, CLASS[kind]) for row, kind in poison.items()
    )
    covered = sorted(row for piece in done for row in range(piece.lo, piece.hi))
    assert covered == [row for row in range(rows) if row not in poison]
    for row, _, attempts in rejected:
        assert attempts == (1 if poison[row] == "row error" else TRIES_ALONE)
    # At each of the levels of halving, a poisonous row costs its own piece's tries and one run of its sibling.
    levels = math.ceil(math.log2(rows)) if rows > 1 else 0
    assert runs <= 1 + len(poison) * (levels * (TRIES_TOGETHER + 1) + TRIES_ALONE)


@given(st.integers(2, 1000), st.sampled_from([Fate.DIED, Fate.HUNG, Fate.RAISED]))
def test_one_accident_costs_one_retry_and_no_split(rows, fate):
    decision = after_failure(Piece("unit", 0, rows), fate, "OSError")
    assert decision.action is Action.RETRY
    assert decision.pieces == (Piece("unit", 0, rows, attempt=1, suspect=fate is not Fate.RAISED),)


def test_a_row_error_is_never_retried():
    split = after_failure(Piece("unit", 0, 5), Fate.RAISED, "DecodeError", error=ROW_ERROR)
    assert split.action is Action.SPLIT
    assert [(piece.lo, piece.hi) for piece in split.pieces] == [(0, 2), (2, 5)]
    alone = after_failure(Piece("unit", 4, 5), Fate.RAISED, "DecodeError", error=ROW_ERROR)
    assert (alone.action, alone.error_class) == (Action.REJECT, "DecodeError")


def test_pieces_of_a_dead_worker_stay_under_suspicion_until_done():
    piece = Piece("unit", 0, 4)
    (again,) = after_failure(piece, Fate.DIED).pieces
    assert again.suspect
    assert all(half.suspect for half in after_failure(again, Fate.DIED).pieces)
    assert after_failure(piece, Fate.LOST).pieces[0].suspect


def test_losses_end_the_run_before_they_become_endless():
    piece = Piece("clips/7", 0, 4)
    for _ in range(MOST_LOST - 1):
        (piece,) = after_failure(piece, Fate.LOST).pieces
    with pytest.raises(RunError, match=r"clips/7.*20 times in a row.*preempted"):
        after_failure(piece, Fate.LOST, message="node preempted")


def test_a_failure_between_losses_starts_their_count_anew():
    (piece,) = after_failure(Piece("unit", 0, 4, lost=MOST_LOST - 1), Fate.DIED).pieces
    assert (piece.lost, piece.attempt) == (0, 1)


@pytest.mark.parametrize("kind", [EnvironmentFault, UsageError, RunError])
@pytest.mark.parametrize("rows", [1, 8])
def test_what_is_not_the_datas_fault_blames_no_row(kind, rows):
    with pytest.raises(kind, match="disk"):
        after_failure(Piece("unit", 0, rows), Fate.RAISED, kind.__name__, error=kind("the disk"))
    with pytest.raises(kind, match="disk"):
        after_failure(Piece("unit", 0, rows), Fate.RAISED, kind.__name__, message="the disk")


def test_a_piece_is_never_empty():
    with pytest.raises(ValueError, match="at least one row"):
        Piece("unit", 3, 3)
    with pytest.raises(ValueError, match="has not failed"):
        after_failure(Piece("unit", 0, 1), Fate.DONE)
