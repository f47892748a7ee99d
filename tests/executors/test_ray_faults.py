"""Worker processes that die, hang or never come up. Real processes, real signals."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading

import pytest
from executor_workers import Making, answers, drain, until

from datagen.errors import RunError
from datagen.executors.base import Fate, PoolSpec, Task
from datagen.executors.recovery import WORKER_DIED, Piece
from datagen.stage import Resources

pytestmark = pytest.mark.faults

ONE = Resources(cpus=1, workers=1)
POOL = PoolSpec("work", Making(), ONE)


def begun(executor, folder):
    """Until the task ``hold`` runs. Waiting is what hands tasks to workers as they come up."""

    def waited():
        assert executor.wait(0.02) == [], "nothing is done yet"
        return (folder / "begun").exists()

    until(waited)


def test_a_worker_killed_at_work_blames_the_running_task_only_and_is_replaced(make_ray, tmp_path):
    executor = make_ray()
    executor.open(POOL)
    executor.submit("work", Task(1, ("hold", str(tmp_path))))
    executor.submit("work", Task(2, ("echo", "behind")))
    begun(executor, tmp_path)
    pid = int((tmp_path / "begun").read_text())
    os.kill(pid, signal.SIGKILL)
    got = answers(executor, 2)
    assert got[1].fate is Fate.DIED
    assert got[2].fate is Fate.LOST
    executor.submit("work", Task(3, ("pid", None)))
    assert answers(executor, 1)[3].result != pid


def test_a_worker_that_dies_while_it_retires_costs_no_task(make_ray):
    executor = make_ray(in_flight=2)
    executor.open(PoolSpec("work", Making(closed="dies"), Resources(cpus=1, workers=1, recycle_hours=1 / 3600)))
    for number in (1, 2):
        executor.submit("work", Task(number, ("pid", None), audio_s=2.0))
    first = answers(executor, 2)
    assert [first[1].fate, first[2].fate] == [Fate.DONE, Fate.DONE]
    executor.submit("work", Task(3, ("pid", None), audio_s=2.0))
    assert answers(executor, 1)[3].result not in (first[1].result, first[2].result)


def test_a_stopped_process_is_ended_at_its_deadline(make_ray):
    executor = make_ray()
    executor.open(POOL)
    executor.submit("work", Task(1, ("stop", None), timeout_s=0.4))
    assert answers(executor, 1)[1].fate is Fate.HUNG
    executor.submit("work", Task(2, ("echo", 2)))
    assert answers(executor, 1)[2].result == 2


def test_an_idle_worker_has_no_deadline(make_ray, tmp_path):
    executor = make_ray()
    executor.open(POOL)
    executor.open(PoolSpec("other", Making(), ONE))
    executor.submit("work", Task(1, ("echo", 1), timeout_s=0.5))
    assert answers(executor, 1)[1].fate is Fate.DONE
    executor.submit("other", Task(2, ("hold", str(tmp_path))))
    begun(executor, tmp_path)
    assert executor.wait(1.0) == [], "what the first was given has long passed, and nobody minds"
    (tmp_path / "go").touch()
    assert answers(executor, 1)[2].fate is Fate.DONE


def test_a_deadline_counts_from_the_head_of_the_queue(make_ray, tmp_path):
    executor = make_ray()
    executor.open(POOL)
    executor.submit("work", Task(1, ("hold", str(tmp_path))))
    executor.submit("work", Task(2, ("echo", 2), timeout_s=2.0))
    begun(executor, tmp_path)
    assert executor.wait(2.5) == [], "the second has not begun, so its deadline has not either"
    (tmp_path / "go").touch()
    got = answers(executor, 2)
    assert [got[1].fate, got[2].fate] == [Fate.DONE, Fate.DONE]


def test_an_exclusive_task_has_its_worker_to_itself(make_ray, tmp_path):
    executor = make_ray()
    executor.open(POOL)
    executor.submit("work", Task(1, ("hold", str(tmp_path))))
    begun(executor, tmp_path)
    executor.submit("work", Task(2, ("end", None), exclusive=True))
    (tmp_path / "go").touch()
    assert answers(executor, 1)[1].fate is Fate.DONE, "nothing of the one before is lost"
    executor.submit("work", Task(3, ("echo", "behind")))
    got = answers(executor, 2)
    assert (got[2].fate, got[3].fate) == (Fate.DIED, Fate.DONE), "nothing of the one behind is lost"


def test_a_row_that_ends_its_process_is_rejected_alone(make_ray):
    executor = make_ray()
    executor.open(POOL)
    poison = frozenset({13})
    outcome = drain(
        executor,
        "work",
        [Piece("shard", at, at + 8) for at in range(0, 40, 8)],
        lambda piece: ("rows", (piece.lo, piece.hi, poison)),
    )
    assert [(piece.lo, piece.hi, decision.error_class) for piece, decision in outcome.rejected] == [
        (13, 14, WORKER_DIED)
    ]
    assert sorted(row for _, rows in outcome.done for row in rows) == [row for row in range(40) if row != 13]


def test_random_kills_lose_nothing_and_blame_nobody(make_ray):
    kills = 5  # a row of these pieces is rejected after 2 + 2 + 2 + 3 deaths at the earliest
    executor = make_ray()
    executor.open(PoolSpec("work", Making(), Resources(cpus=1)))
    assert executor.room("work") == 4
    dice = random.Random(7)
    moments = iter(sorted(dice.sample(range(100, 1900), kills)))
    state = {"next": next(moments), "done": 0, "pids": set(), "killed": 0}

    def strike(completion):
        if completion.fate is Fate.DONE:
            state["done"] += 1
            state["pids"].add(completion.result)
        if state["next"] is not None and state["done"] >= state["next"]:
            alive = sorted(pid for pid in state["pids"] if os.path.exists(f"/proc/{pid}"))  # noqa: PTH110
            os.kill(dice.choice(alive), signal.SIGKILL)
            state["killed"] += 1
            state["next"] = next(moments, None)

    pieces = [Piece(f"shard{number}", 0, 8) for number in range(2000)]
    outcome = drain(executor, "work", pieces, lambda _: ("pid", None), strike, timeout_s=120)
    assert state["killed"] == kills
    assert outcome.rejected == []
    assert sorted(piece.unit for piece, _ in outcome.done) == sorted(piece.unit for piece in pieces)
    assert outcome.fates.count(Fate.DIED) >= 1, "no kill met a task"


def test_workers_that_die_while_starting_end_the_run(make_ray):
    executor = make_ray()
    executor.open(PoolSpec("work", Making(ends=True), ONE))
    executor.submit("work", Task(1, ("echo", 1)))
    with pytest.raises(RunError, match="stage 'work': its workers die while starting"):
        answers(executor, 1)


def test_a_worker_that_never_comes_up_ends_the_run(make_ray):
    executor = make_ray(start_timeout_s=2.0)
    executor.open(PoolSpec("work", Making(hangs=True), ONE))
    with pytest.raises(RunError, match=r"not ready within 2 s\. It wants 1 CPUs; there are 2 CPUs.*start timeout"):
        answers(executor, 1)


def test_a_worker_for_which_there_is_no_room_ends_the_run(make_ray):
    """Somebody else's actors hold what there is: admission cannot know."""
    other = make_ray()
    other.open(PoolSpec("greedy", Making(), Resources(cpus=2, workers=1)))
    other.submit("greedy", Task(1, ("echo", 1)))
    answers(other, 1)
    executor = make_ray(start_timeout_s=2.0)
    executor.open(POOL)
    with pytest.raises(RunError, match=r"stage 'work'.* wants 1 CPUs.* free: 0 CPUs.*stages\.work\.resources"):
        answers(executor, 1)


def test_an_answer_that_cannot_be_sent_is_the_tasks_failure(make_ray):
    executor = make_ray()
    executor.open(POOL)
    executor.submit("work", Task(1, ("unpicklable", None)))
    answer = answers(executor, 1)[1]
    assert answer.fate is Fate.RAISED
    assert "lock" in answer.message
    executor.submit("work", Task(2, ("echo", 2)))
    assert answers(executor, 1)[2].result == 2


def test_a_factory_that_cannot_be_sent_is_refused_at_once(make_ray):
    lock = threading.Lock()
    with pytest.raises(RunError, match="stage 'work': its worker cannot be sent"):
        make_ray().open(PoolSpec("work", lambda: lock, ONE))


def test_a_pool_runs_in_the_interpreter_it_asks_for(make_ray, tmp_path):
    """A virtual environment's python differs from ours by its path alone."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nDATAGEN_TEST_ENVIRONMENT=other exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    executor = make_ray()
    executor.open(PoolSpec("work", Making(), Resources(cpus=1, workers=1, python=str(python))))
    executor.submit("work", Task(1, ("environment", "DATAGEN_TEST_ENVIRONMENT")))
    assert answers(executor, 1)[1].result == "other"


def test_a_ray_that_was_there_before_is_left_running(make_ray, shared_ray):
    import ray

    make_ray().admit([])
    make_ray().shutdown()
    assert ray.is_initialized()
