"""How the client shares work among replicas, waits, stops and spends."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from datagen.errors import EnvironmentFault, RunError, UsageError
from datagen.files import Files
from datagen.llm import client as client_module
from datagen.llm.answers import Answer, Failure, Outcome, Reply
from datagen.llm.client import Client, ServersGone, complete
from datagen.llm.endpoint import Endpoint
from datagen.llm.journal import Journal
from datagen.llm.limits import Budget, BudgetSpent, Meter
from datagen.llm.replicas import MISSES, Replicas
from datagen.llm.request import Request
from datagen.testing.llm_server import Faults, Server
from tests.llm.asking import endpoint, request


async def gathered(client: Client, requests: Iterable[Request]) -> list[Outcome]:
    async with client, asyncio.timeout(30):
        return [outcome async for _, outcome in client.run(requests)]


def answered(outcomes: list[Outcome]) -> int:
    return sum(isinstance(each, Answer) for each in outcomes)


def test_two_replicas_share_the_work() -> None:
    with Server(latency_s=0.01) as one, Server(latency_s=0.01) as two:
        outcomes = asyncio.run(
            gathered(Client(endpoint(one.url, two.url, in_flight=8)), [request(n) for n in range(200)])
        )
        assert answered(outcomes) == 200
        assert min(one.counts().requests, two.counts().requests) > 60
        assert max(one.counts().most_at_once, two.counts().most_at_once) <= 8


@pytest.mark.parametrize("how", ["gone", "lies"])
def test_when_one_of_two_dies_the_other_does_the_rest(how: str) -> None:
    """Its health route may go on saying that all is well."""
    with Server(latency_s=0.005) as one, Server(latency_s=0.005) as two:

        def asked() -> Iterator[Request]:
            for number in range(200):
                if number == 60:
                    one.stop() if how == "gone" else one.change(dead=True, healthy=True)
                yield request(number)

        client = Client(endpoint(one.url, two.url, in_flight=8))
        outcomes = asyncio.run(gathered(client, asked()))
        assert answered(outcomes) == 200 and client.meter.metrics()["llm_retries"] > 0
        assert not client.replicas.all[0].alive and client.replicas.all[1].alive
        assert two.counts().requests > 130


def test_replicas_join_and_leave_while_they_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "REFRESH_S", 0.01)
    with Server(latency_s=0.002) as one, Server(latency_s=0.002) as two:
        there = [one.url]

        def asked() -> Iterator[Request]:
            for number in range(100_000):
                yield request(number)
                if number == 50:
                    there.append(two.url)
                if two.counts().requests > 50:
                    there[:] = [two.url]
                if len(client.replicas.all) == 1 and two.counts().requests > 200:
                    return

        client = Client(endpoint(one.url, in_flight=4), urls=lambda: tuple(there))
        outcomes = asyncio.run(gathered(client, asked()))
        assert answered(outcomes) == len(outcomes) == one.counts().requests + two.counts().requests
        assert [replica.url for replica in client.replicas.all] == [two.url]
        assert 50 <= one.counts().requests < len(outcomes) - 150


def test_a_replica_that_moves_is_found_at_its_new_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """All were gone in between: nothing is lost, and nobody waits for the old address."""
    monkeypatch.setattr(client_module, "REFRESH_S", 0.01)
    with Server(latency_s=0.002) as one, Server(latency_s=0.002) as two:
        there = [one.url]

        def asked() -> Iterator[Request]:
            for number in range(100):
                if number == 40:
                    one.stop()
                    there.clear()
                    threading.Timer(0.1, lambda: there.append(two.url)).start()
                yield request(number)

        outcomes = asyncio.run(gathered(Client(endpoint(one.url, in_flight=4), urls=lambda: tuple(there)), asked()))
        assert answered(outcomes) == 100 and two.counts().requests >= 56


def test_when_there_will_never_be_one_again_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "REFRESH_S", 0.01)

    def urls() -> tuple[str, ...]:
        raise RunError("the server of fake does not take its arguments")

    with Server() as server:
        url = server.url
    with pytest.raises(ServersGone, match="does not take its arguments"):
        list(complete(endpoint(url, gone_s=600.0), map(request, range(50)), urls=urls))


def test_a_replica_that_comes_back_is_found_by_a_real_completion() -> None:
    with Server(dead=True) as server:

        async def run() -> list[Outcome]:
            client = Client(endpoint(server.url, in_flight=8, tries=1000, deadline_s=30.0))
            async with client, asyncio.timeout(30):
                outcomes = []
                waiting = asyncio.create_task(anext(client.run([request()])))
                while client.replicas.all[0].alive or server.counts().requests < MISSES + 3:
                    await asyncio.sleep(0.005)
                assert not waiting.done()
                server.change(dead=False)
                outcomes.append((await waiting)[1])
                assert client.replicas.all[0].alive and client.replicas.all[0].limit < 8
                return outcomes

        assert answered(asyncio.run(run())) == 1


def test_when_all_are_gone_the_run_ends_and_no_row_is_blamed() -> None:
    with Server() as server:
        url = server.url
    with pytest.raises(ServersGone, match=r"Last: NoConnection: http://127\.0\.0\.1.*Start them") as caught:
        list(complete(endpoint(url, gone_s=0.2), map(request, range(50))))
    assert isinstance(caught.value, EnvironmentFault)


def test_what_was_answered_before_they_went_is_handed_over() -> None:
    with Server() as server:

        def asked() -> Iterator[Request]:
            for number in range(100):
                if number == 50:
                    server.stop()
                yield request(number)

        got: list[Outcome] = []
        with pytest.raises(ServersGone):
            for _, outcome in complete(endpoint(server.url, in_flight=4, gone_s=0.2), asked()):
                got.append(outcome)
    assert 46 <= len(got) <= 50 and answered(got) == len(got)


def test_an_overloaded_server_is_asked_less() -> None:
    with Server(latency_s=0.01, most_at_once=4) as server:
        client = Client(endpoint(server.url, in_flight=32, backoff_s=0.01, backoff_most_s=0.2, tries=1000))
        outcomes = asyncio.run(gathered(client, [request(n) for n in range(300)]))
        assert answered(outcomes) == 300
        assert server.counts().sent["too_many"] < 300, "without adapting it is several thousand"
        assert client.replicas.all[0].limit < 16


def test_limits_halve_once_per_burst_and_grow_by_one_per_round() -> None:
    (replica,) = Replicas(["a"], 64).all
    for _ in range(10):
        replica.overloaded(0)
    assert replica.limit == 32
    for _ in range(3):
        replica.overloaded(replica.era)
    assert replica.limit == 16
    for _ in range(16):
        replica.answered()
    assert 16.9 < replica.limit <= 17.1
    for _ in range(100_000):
        replica.answered()
    assert replica.limit == 64
    for number in range(100_000):
        replica.overloaded(replica.era) if number % 100 == 0 else replica.answered()
    assert replica.limit == 64, "a stray refusal is no overload"
    for number in range(400):
        replica.overloaded(replica.era) if number % 4 == 0 else replica.answered()
    assert replica.limit < 16, "one in four is"
    for _ in range(40):
        replica.overloaded(replica.era)
    assert replica.limit == 1


def test_the_least_loaded_replica_is_next_and_the_one_that_failed_last() -> None:
    replicas = Replicas(["a", "b", "c"], 4)
    a, b, c = replicas.all
    b.limit = 1.0
    assert [each.url for each in (replicas.take() for _ in range(9)) if each] == list("abcacacac")
    assert replicas.take() is None
    replicas.give(a), replicas.give(c)
    assert replicas.take(avoid=a) is c
    assert replicas.take(avoid=a) is a, "better than none"


def test_waits_are_those_the_server_asks_for_and_jittered() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with Server(faults=Faults(retry_after=1.0), retry_after_s=7) as server:
        client = Client(endpoint(server.url, tries=4, backoff_s=0.5, backoff_most_s=1.5), sleep=sleep)
        (outcome,) = asyncio.run(gathered(client, [request()]))
    assert isinstance(outcome, Failure) and outcome.tries == 4 and len(waits) == 3
    # An HTTP date has whole seconds, so it may ask for up to one less.
    assert all(5.5 <= wait <= 7 * 1.2 for wait in waits) and len(set(waits)) == 3


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    with Server(faults=Faults(retry_after=1.0), retry_after_s=3600) as server:
        (outcome,) = asyncio.run(gathered(Client(endpoint(server.url, deadline_s=60.0)), [request()]))
        assert server.counts().requests == 1
    assert isinstance(outcome, Failure) and outcome.error_class == "RateLimited"


def test_no_more_is_read_ahead_than_is_under_way() -> None:
    read = 0

    def asked() -> Iterator[Request]:
        nonlocal read
        for read in range(1, 501):
            yield request(read)

    with Server(latency_s=0.002) as server:
        most = 0
        for taken, _ in enumerate(complete(endpoint(server.url, in_flight=4), asked())):
            most = max(most, read - taken)
    assert read == 500 and most <= 4 * 4 + 2 * 4


def test_when_told_to_stop_what_is_under_way_is_finished(tmp_path: Path) -> None:
    journal = Journal(Files(str(tmp_path)), "calls")
    got: list[tuple[str, Outcome]] = []
    with Server(latency_s=0.01) as server:
        at = endpoint(server.url, in_flight=8)
        for asked, outcome in complete(at, map(request, range(1000)), journal, stopped=lambda: len(got) >= 20):
            got.append((asked.key, outcome))
        assert 20 <= len(got) < 100 and server.counts().requests == len(got)
    assert all(journal.get(key) for key, _ in got)


def test_a_caller_that_leaves_leaves_nothing_behind() -> None:
    with Server(faults=Faults(hang=0.5)) as server:
        start = time.monotonic()
        for _ in complete(endpoint(server.url, timeout_s=600.0), map(request, range(100))):
            break
        for _ in range(1000):
            if server.counts().at_once == 0:
                break
            time.sleep(0.005)
        assert server.counts().at_once == 0, "hanging requests were dropped"
    assert time.monotonic() - start < 30


def test_an_error_in_the_callers_requests_reaches_the_caller() -> None:
    def asked() -> Iterator[Request]:
        yield request(0)
        raise LookupError("no such prompt")

    with Server() as server, pytest.raises(LookupError, match="no such prompt"):
        list(complete(endpoint(server.url), asked()))


def test_an_error_of_the_caller_is_told_once_and_nothing_is_printed_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    def follow(asked: Request, outcome: Outcome) -> Request | None:
        raise LookupError("no such prompt")

    with Server() as server, pytest.raises(LookupError, match="no such prompt"):
        list(complete(endpoint(server.url), map(request, range(80)), follow=follow))
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_the_next_attempt_takes_the_place_of_a_bad_answer(tmp_path: Path) -> None:
    def follow(asked: Request, outcome: Outcome) -> Request | None:
        good = isinstance(outcome, Answer) and outcome.value["label"] != "sad"  # a check that is the caller's own
        return None if good or asked.attempt == 3 else replace(asked, attempt=asked.attempt + 1)

    with Server(faults=Faults(cut=0.3), seeded=True) as server:
        journal, at = Journal(Files(str(tmp_path)), "calls"), endpoint(server.url)
        pairs = list(complete(at, map(request, range(80)), journal, follow=follow))
        requests = server.counts().requests
        again = list(complete(at, map(request, range(80)), journal, follow=follow))
        assert server.counts().requests == requests == 80 + sum(asked.attempt for asked, _ in pairs)
    assert sorted(asked.messages[1]["content"] for asked, _ in pairs) == sorted(
        asked.messages[1]["content"] for asked in map(request, range(80))
    )
    assert {asked.attempt for asked, _ in pairs} == {0, 1, 2, 3}
    assert all(follow(asked, outcome) is None for asked, outcome in pairs)
    assert {asked.key for asked, _ in again} == {asked.key for asked, _ in pairs}


def test_a_budget_of_tokens_stops_cleanly(tmp_path: Path) -> None:
    journal = Journal(Files(str(tmp_path)), "calls")
    budget = Budget(tokens=3000)
    got: list[Outcome] = []
    with Server() as server:
        with pytest.raises(BudgetSpent, match="3,000 were allowed") as caught:
            for _, outcome in complete(endpoint(server.url, in_flight=2), map(request, range(200)), journal, budget):
                got.append(outcome)
        assert isinstance(caught.value, RunError)
        spent = sum(each.reply.prompt_tokens + each.reply.completion_tokens for each in got if each.reply)
        assert budget.spent_tokens == spent and 3000 <= spent < 3000 + 3 * 250
        requests = server.counts().requests
        assert requests == len(got) == answered(got) == len(journal)
        # What is in the journal costs nothing, so a run that needs no more ends well even with nothing left.
        again = list(complete(endpoint(server.url), map(request, range(len(got))), journal, Budget(tokens=0)))
        assert server.counts().requests == requests and len(again) == len(got)


def test_a_budget_of_gpu_time_counts_each_gpu_and_only_time_at_work() -> None:
    now = 100.0
    budget = Budget(gpu_seconds=80, gpus=8, clock=lambda: now)
    budget.start()
    now += 4
    budget.start()  # a second client at the same time
    budget.stop()
    now += 4
    budget.stop()
    now += 1000
    assert budget.spent_seconds == 64 and budget.spent() is None
    budget.start()
    now += 2
    assert budget.spent() == "0.02 GPU hours are spent, 0.02 were allowed (llm.most_gpu_hours)"
    with Server() as server, pytest.raises(BudgetSpent):
        list(complete(endpoint(server.url), [request()], budget=budget))


def test_what_calls_cost_is_summed() -> None:
    meter = Meter()
    with Server(faults=Faults(http_500=0.3, cut=0.2)) as server:
        outcomes = [each for _, each in complete(endpoint(server.url), map(request, range(60)), meter=meter)]
        sent = server.counts().sent
    metrics = meter.metrics()
    assert metrics["llm_requests"] == 60 and metrics["llm_retries"] == sent["http_500"]
    assert metrics["llm_failed_Truncated"] == sent["cut"] == 60 - metrics["llm_answers"]
    replies = [each.reply for each in outcomes if each.reply]
    assert metrics["llm_prompt_tokens"] == sum(reply.prompt_tokens for reply in replies) > 0
    assert metrics["llm_cached_tokens"] == sum(reply.cached_tokens for reply in replies) > 0
    assert metrics["llm_latency_s"] > 0
    meter.count(Answer("a", None, "", Reply(prompt_tokens=5), replayed=True))
    assert meter.metrics()["llm_replayed"] == 1
    assert meter.metrics()["llm_prompt_tokens"] == metrics["llm_prompt_tokens"]


@pytest.mark.parametrize(
    "urls", [("host:8000",), ("ftp://host/v1",), ("http://host/v1?key=1",), ("http://h:1", "http://h:1/v1/"), ()]
)
def test_a_base_url_that_is_none_is_refused(urls: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Endpoint(urls=urls)


def test_a_key_that_is_not_there_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UsageError, match="NO_SUCH_KEY"):
        list(complete(endpoint("http://127.0.0.1:9", api_key_env="NO_SUCH_KEY"), [request()]))
