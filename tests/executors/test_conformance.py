"""What every executor does alike."""

from __future__ import annotations

import threading

import pytest
from executor_workers import Making, answers, drain

from datagen.errors import EnvironmentFault, RowError, RunError, UsageError
from datagen.executors.base import Fate, PoolSpec, Task
from datagen.executors.recovery import Piece
from datagen.stage import Resources

ONE = Resources(cpus=1, workers=1)
ALL = Resources(cpus=1)
POOL = PoolSpec("work", Making(), ONE)


def one(executor, payload, **options):
    """Answer of a single task."""
    executor.open(POOL)
    executor.submit("work", Task(1, payload, **options))
    return answers(executor, 1)[1]


def run_all(executor, pool, payloads):
    return {
        piece.lo: result
        for piece, result in drain(
            executor, pool, [Piece("unit", at, at + 1) for at in range(len(payloads))], lambda p: payloads[p.lo]
        ).done
    }


def test_every_task_is_answered_once_with_its_own_result(executor):
    pool = PoolSpec("work", Making(), ALL)
    executor.admit([pool])
    executor.open(pool)
    results = run_all(executor, "work", [("echo", number * number) for number in range(60)])
    assert results == {number: number * number for number in range(60)}


def test_what_is_shared_arrives_once_for_many_tasks_and_may_change_from_one_to_the_next(executor):
    executor.open(POOL)
    first, second = executor.share({"plans": [1, 2]}), executor.share({"plans": [3]})
    results = run_all(executor, "work", [("shared", it) for it in (first, first, second, first)])
    assert [results[at][0]["plans"] for at in range(4)] == [[1, 2], [1, 2], [3], [1, 2]]
    assert results[0][1] == results[1][1], "it was fetched again"


def test_two_pools_answer_under_their_own_names(executor):
    pools = [PoolSpec(name, Making(), Resources(cpus=0.5, workers=1)) for name in ("first", "second")]
    executor.admit(pools)
    for at, pool in enumerate(pools):
        executor.open(pool)
        executor.submit(pool.name, Task(at, ("echo", pool.name)))
    got = answers(executor, 2)
    assert {(answer.pool, answer.result) for answer in got.values()} == {("first", "first"), ("second", "second")}


def test_an_exception_comes_back_as_class_message_and_traceback(executor):
    answer = one(executor, ("stumble", "over a stone"))
    assert (answer.fate, answer.error_class, answer.message) == (Fate.RAISED, "ValueError", "over a stone")
    assert "in stumble" in answer.traceback
    assert one(executor, ("echo", 1)).fate is Fate.DONE, "the worker lives on"


@pytest.mark.parametrize(
    ("verb", "kind", "error_class"),
    [
        ("refuse", RowError, "DecodeError"),
        ("fault", EnvironmentFault, "EnvironmentFault"),
        ("misuse", UsageError, "UsageError"),
        ("disk_full", EnvironmentFault, "EnvironmentFault"),
        ("disk_full_inside", EnvironmentFault, "EnvironmentFault"),
        ("out_of_memory", EnvironmentFault, "EnvironmentFault"),
    ],
)
def test_errors_that_decide_something_keep_their_class(executor, verb, kind, error_class):
    answer = one(executor, (verb, "said so"))
    assert (answer.fate, type(answer.error), answer.error_class) == (Fate.RAISED, kind, error_class)
    if verb in ("refuse", "fault", "misuse"):
        assert str(answer.error) == answer.message == "said so"


def test_a_stage_that_calls_exit_does_not_end_the_run(executor):
    assert (one(executor, ("quit", None)).error_class) == "SystemExit"


@pytest.mark.parametrize("verb", ["hang", "hang_hard"])
def test_a_task_that_hangs_is_ended_at_its_deadline_and_no_other_suffers(make, verb):
    executor = make(in_flight=2)
    executor.open(POOL)
    executor.submit("work", Task(1, (verb, None), timeout_s=0.4))
    executor.submit("work", Task(2, ("echo", "behind"), timeout_s=60))
    got = answers(executor, 2)
    assert got[1].fate is Fate.HUNG
    assert "0.4 s" in got[1].message
    assert got[2].fate in (Fate.LOST, Fate.DONE), "it only queued behind"
    executor.submit("work", Task(3, ("echo", "after"), timeout_s=60))
    assert answers(executor, 1)[3].result == "after"


def test_a_worker_that_hung_is_replaced_by_a_new_one(executor, tmp_path):
    pool = PoolSpec("work", Making(closed=str(tmp_path / "closed")), ONE)
    executor.open(pool)
    executor.submit("work", Task(1, ("hang", None), timeout_s=0.3))
    assert answers(executor, 1)[1].fate is Fate.HUNG
    executor.submit("work", Task(2, ("echo", 2)))
    assert answers(executor, 1)[2].fate is Fate.DONE


def test_a_worker_makes_way_for_a_fresh_one_after_its_share_of_audio(executor, tmp_path):
    closed = tmp_path / "closed"
    share = Resources(cpus=1, workers=1, recycle_hours=10 / 3600)
    pool = PoolSpec("work", Making(closed=str(closed)), share)
    executor.open(pool)
    for number in range(5):  # 6 s of audio each: every second task uses a worker up
        executor.submit("work", Task(number, ("echo", number), audio_s=6.0))
        assert answers(executor, 1)[number].result == number
    executor.close("work")
    assert len(closed.read_text().split()) == 3


def test_tasks_that_queue_behind_a_worn_worker_are_all_answered(make):
    executor = make(in_flight=2)
    pool = PoolSpec("work", Making(), Resources(cpus=1, workers=1, recycle_hours=5 / 3600))
    executor.open(pool)
    answered = {}
    for number in range(0, 12, 2):
        for task in (number, number + 1):
            executor.submit("work", Task(task, ("echo", task), audio_s=6.0))
        answered |= answers(executor, 2)
    assert {id: answer.result for id, answer in answered.items()} == {number: number for number in range(12)}


def test_a_model_that_may_not_fit_is_given_a_try_and_said(executor, caplog):
    pool = PoolSpec("model", Making(), Resources(cpus=1), expected_gb=5000.0)
    executor.admit([pool, POOL])
    executor.open(pool)
    executor.open(POOL)
    executor.submit("model", Task(1, ("echo", 1)))
    executor.submit("work", Task(2, ("echo", 2)))
    assert {number: answer.result for number, answer in answers(executor, 2).items()} == {1: 1, 2: 2}
    assert "expected to take 5000 GB of memory" in caplog.text


def test_room_is_what_submit_takes(make):
    executor = make(in_flight=2)
    executor.open(POOL)
    assert executor.room("work") == 2
    executor.submit("work", Task(1, ("echo", 1)))
    assert executor.room("work") == 1
    executor.submit("work", Task(2, ("echo", 2)))
    assert executor.room("work") == 0
    with pytest.raises(ValueError, match="full"):
        executor.submit("work", Task(3, ("echo", 3)))
    answers(executor, 2)
    assert executor.room("work") == 2


def test_waiting_for_nothing_returns_at_once(executor):
    assert executor.wait(3600) == []
    executor.open(POOL)
    one(executor, ("echo", 1))
    assert executor.wait(3600) == []


def test_close_ends_the_workers_properly_and_gives_their_resources_back(executor, tmp_path):
    for turn in range(3):  # each asks for all CPUs there are
        closed = tmp_path / f"closed{turn}"
        pool = PoolSpec(f"turn{turn}", Making(closed=str(closed)), ALL)
        executor.admit([pool])
        executor.open(pool)
        pids = set(run_all(executor, pool.name, [("pid", None)] * 12).values())
        executor.close(pool.name)
        told = {int(line) for line in closed.read_text().splitlines()}
        assert pids <= told


def test_a_closed_pool_opens_again(executor):
    assert one(executor, ("echo", 1)).result == 1
    executor.close("work")
    executor.close("work")
    assert one(executor, ("echo", 2)).result == 2


def test_opening_twice_is_opening_once(executor):
    executor.open(POOL)
    executor.submit("work", Task(1, ("echo", 1)))
    executor.open(POOL)
    assert answers(executor, 1)[1].result == 1


def test_what_is_under_way_when_its_pool_closes_is_never_answered(make):
    executor = make(in_flight=2)
    executor.open(POOL)
    executor.submit("work", Task(1, ("echo", 1)))
    executor.submit("work", Task(2, ("echo", 2)))
    executor.close("work")
    assert executor.wait(0.2) == []
    assert one(executor, ("echo", 3)).result == 3


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ValueError("no such layer"), RunError, r"stage 'work' could not start: ValueError: no such layer"),
        (UsageError("model 'x' is missing"), UsageError, r"model 'x' is missing"),
        (EnvironmentFault("no memory"), EnvironmentFault, "no memory"),
        (OSError(28, "No space left on device"), EnvironmentFault, "No space left"),
        (RunError("broken"), RunError, r"stage 'work' could not start: broken"),
    ],
)
def test_a_factory_that_fails_says_so(executor, error, kind, says):
    with pytest.raises(kind, match=says) as caught:
        executor.open(PoolSpec("work", Making(error=error), ONE))
        executor.submit("work", Task(1, ("echo", 1)))
        answers(executor, 1)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("wants", "setting"),
    [({"cpus": 4096}, "cpus"), ({"gpus": 64}, "gpus"), ({"memory_gb": 1e6}, "memory_gb")],
)
def test_resources_that_do_not_exist_are_refused_before_anything_starts(executor, wants, setting):
    with pytest.raises(UsageError, match=rf"stage 'big' asks for .* set stages\.big\.resources\.{setting} to"):
        executor.admit([POOL, PoolSpec("big", Making(), Resources(**wants))])


def test_shutdown_is_idempotent_and_frees_everything(make, tmp_path):
    executor = make()
    closed = tmp_path / "closed"
    pool = PoolSpec("work", Making(closed=str(closed)), ALL)
    executor.open(pool)
    executor.submit("work", Task(1, ("pid", None)))
    pid = answers(executor, 1)[1].result
    executor.shutdown()
    executor.shutdown()
    assert str(pid) in closed.read_text()
    other = make()
    other.open(pool)
    other.submit("work", Task(1, ("echo", 1)))
    assert answers(other, 1)[1].result == 1


def test_the_driver_may_run_outside_the_main_thread(make):
    got = []

    def drive():
        executor = make()
        executor.open(POOL)
        executor.submit("work", Task(1, ("echo", "hello"), timeout_s=60))
        got.append(answers(executor, 1)[1].result)
        executor.shutdown()

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert got == ["hello"]
