"""The deadline timer of the local executor, and what it cannot do."""

from __future__ import annotations

import signal
import threading

import pytest
from executor_workers import Making, answers

from datagen.errors import UsageError
from datagen.executors.base import Fate, PoolSpec, Task
from datagen.executors.local import LocalExecutor
from datagen.stage import Resources

POOL = PoolSpec("work", Making())


@pytest.fixture
def alarm():
    """An alarm of somebody else's (a test runner's timeout), 200 s away."""
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 200)
    yield rung
    signal.setitimer(signal.ITIMER_REAL, *timer)
    signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("verb", ["echo", "hang", "stumble"])
def test_somebody_elses_alarm_survives_a_deadline(alarm, verb):
    handler = signal.getsignal(signal.SIGALRM)
    executor = LocalExecutor()
    executor.open(POOL)
    executor.submit("work", Task(1, (verb, "x"), timeout_s=0.2))
    answers(executor, 1)
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert 0 < left < 200
    assert not alarm


def test_a_hung_worker_is_closed_and_made_anew(tmp_path):
    closed = tmp_path / "closed"
    executor = LocalExecutor(in_flight=2)
    executor.open(PoolSpec("work", Making(closed=str(closed))))
    executor.submit("work", Task(1, ("hang", None), timeout_s=0.2))
    executor.submit("work", Task(2, ("echo", 2), timeout_s=60))
    got = answers(executor, 2)
    assert (got[1].fate, got[2].fate) == (Fate.HUNG, Fate.DONE)
    assert len(closed.read_text().splitlines()) == 1
    executor.shutdown()
    assert len(closed.read_text().splitlines()) == 2


def test_without_a_main_thread_there_are_no_deadlines_and_it_says_so(caplog, monkeypatch):
    monkeypatch.setattr("datagen.executors.local._warned", [])

    def drive():
        executor = LocalExecutor()
        executor.open(POOL)
        for number in range(2):
            executor.submit("work", Task(number, ("echo", 1), timeout_s=60))
            assert answers(executor, 1)[number].fate is Fate.DONE

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert [record.message for record in caplog.records if "deadlines are not enforced" in record.message] != []
    assert len(caplog.records) == 1


def test_another_interpreter_is_refused():
    pool = PoolSpec("llm", Making(), Resources(python="/opt/llm/bin/python"))
    with pytest.raises(UsageError, match=r"llm.*use the ray executor"):
        LocalExecutor().admit([pool])


def test_the_users_interrupt_is_not_a_tasks_failure(monkeypatch):
    executor = LocalExecutor()
    executor.open(POOL)
    monkeypatch.setattr("executor_workers.Doer.echo", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    executor.submit("work", Task(1, ("echo", 1), timeout_s=60))
    with pytest.raises(KeyboardInterrupt):
        executor.wait(1)
