"""Whatever a server does, every request ends in one outcome and nothing wrong is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datagen.files import Files
from datagen.llm.answers import Blame, Failure
from datagen.llm.client import complete
from datagen.llm.journal import Journal
from datagen.testing.llm_server import FAULTS, Faults, Server
from tests.llm.asking import ask, endpoint, failures, request

#: Fault -> the failure it must become where it always strikes.
TRANSPORT = {
    "rate_limited": "RateLimited",
    "retry_after": "RateLimited",
    "http_500": "ServerError",
    "http_503": "ServerError",
    "hang": "Timeout",
    "drop": "Disconnected",
    "garbage": "BadResponse",
}
SAID = {
    "cut": "Truncated",
    "invalid_json": "InvalidJSON",
    "whitespace": "WhitespaceLoop",
    "wrong_shape": "WrongShape",
    "unconstrained": "InvalidJSON",
    "refusal": "Refused",
    "empty": "Empty",
}
FITS_THE_SCHEMA = ("wrong_label", "hallucinated", "echo")
HARMLESS = ("reasoning",)
COUNT = 60


@pytest.fixture(scope="module")
def truth() -> Iterator[dict[int, Any]]:
    with Server() as server:
        accepted, seen = ask(endpoint(server.url), COUNT)
    assert len(seen) == len(accepted) == COUNT and len({str(each.value) for each in accepted.values()}) == COUNT
    yield {number: answer.value for number, answer in accepted.items()}


def test_every_fault_is_tried_here() -> None:
    assert {*TRANSPORT, *SAID, *FITS_THE_SCHEMA, *HARMLESS} == set(FAULTS)


@pytest.mark.parametrize("fault", [*TRANSPORT, *SAID])
def test_a_server_that_does_nothing_else_brings_no_answer(fault: str) -> None:
    with Server(faults=Faults(**{fault: 1.0})) as server:
        # One try each: a server that fails more often in a row is taken for dead and waited for.
        at = endpoint(server.url, tries=1, timeout_s=0.2 if fault == "hang" else 20.0)
        outcomes = [outcome for _, outcome in complete(at, [request(number) for number in range(3)])]
    assert failures(outcomes) == {(TRANSPORT | SAID)[fault]} and len(outcomes) == 3
    for each in outcomes:
        assert isinstance(each, Failure)
        assert each.worth_another_attempt is (fault in SAID)
        assert each.tries == 1
        assert (each.reply is not None) is (fault in SAID), "what cost tokens says how many"


@pytest.mark.parametrize("fault", [*TRANSPORT, *SAID, *HARMLESS])
def test_one_kind_of_fault_changes_no_answer(fault: str, truth: dict[int, Any]) -> None:
    with Server(faults=Faults(**{fault: 0.25}), seed=3) as server:
        patience = 0.5 if fault == "hang" else 20.0
        at = endpoint(server.url, timeout_s=patience, in_flight=COUNT)
        accepted, seen = ask(at, COUNT)
        assert server.counts().sent[fault] > 3
    # Answers are invented from the seed of the server too, so compare with an undisturbed run of that seed.
    with Server(seed=3) as server:
        undisturbed, _ = ask(endpoint(server.url), COUNT)
    assert {n: each.value for n, each in accepted.items()} == {n: each.value for n, each in undisturbed.items()}
    assert failures(seen) == ({SAID[fault]} if fault in SAID else set())
    assert {n: each.value for n, each in accepted.items()} != truth, "another seed says other things"


def test_thoughts_are_kept_apart_wherever_they_stand() -> None:
    with Server(faults=Faults(reasoning=1.0)) as server:
        accepted, _ = ask(endpoint(server.url), COUNT)
    assert {each.reasoning for each in accepted.values()} == {"First the pitch, then the words."}
    assert any("</think>" in each.reply.content for each in accepted.values()), "some stood in the content"
    assert not any("think" in each.text or "pitch, then" in each.text for each in accepted.values())


def test_all_faults_together_change_nothing(truth: dict[int, Any], tmp_path: Path) -> None:
    """5 % each. What fits the schema and is wrong is for the caller to see: the check stands for `verify`."""
    journal = Journal(Files(str(tmp_path)), "calls")
    with Server(faults=Faults.all(0.05)) as server:
        at = endpoint(server.url, timeout_s=1.0, in_flight=COUNT)
        accepted, seen = ask(at, COUNT, journal, check=lambda number, value: bool(value == truth[number]))
        sent = dict(server.counts().sent)
    journal.close()
    assert {number: each.value for number, each in accepted.items()} == truth
    assert set(FAULTS) <= set(sent), "each has struck"
    assert failures(seen) == set(SAID.values())
    with Server(dead=True) as server:  # nothing is asked again: the journal has it all
        again, _ = ask(endpoint(server.url), COUNT, journal, check=lambda number, value: bool(value == truth[number]))
        assert server.counts().requests == 0
    assert {number: each.value for number, each in again.items()} == truth
    assert all(each.replayed for each in again.values())


@pytest.mark.parametrize("fault", FITS_THE_SCHEMA)
def test_what_fits_the_schema_and_is_wrong_reaches_the_callers_check(fault: str, truth: dict[int, Any]) -> None:
    with Server(faults=Faults(**{fault: 1.0})) as server:
        accepted, seen = ask(endpoint(server.url), COUNT)
    assert not failures(seen) and len(accepted) == COUNT
    assert all(each.value != truth[number] for number, each in accepted.items())
    part = {"wrong_label": "label", "hallucinated": "evidence", "echo": "reasoning"}[fault]
    assert all(
        {name for name in each.value if each.value[name] != truth[number][name]} == {part}
        for number, each in accepted.items()
    )


@pytest.mark.parametrize(
    ("status", "error_class", "blame"),
    [(401, "NotServed", Blame.SERVER), (404, "NotServed", Blame.SERVER), (400, "BadRequest", Blame.REQUEST)],
)
def test_what_cannot_change_is_tried_once(status: int, error_class: str, blame: Blame) -> None:
    with Server(api_key="right" if status == 401 else None) as server:
        asked = request(model="other" if status == 404 else "fake")
        if status == 400:
            vars(asked)["body"] = b'{"model": "fake"}'  # cached properties live there
        ((_, outcome),) = complete(endpoint(server.url), [asked])
        assert server.counts().requests == 1
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.blame, outcome.tries) == (error_class, blame, 1)
    assert f"HTTP {status}" in outcome.message and not outcome.worth_another_attempt
