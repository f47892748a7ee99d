"""What the tests of the client share: a schema, requests, and a loop of attempts as a writer runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from datagen.llm.answers import Answer, Outcome
from datagen.llm.client import complete
from datagen.llm.endpoint import Endpoint
from datagen.llm.journal import Journal
from datagen.llm.request import Request, Sampling, conversation

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["reasoning", "label", "evidence"],
    "properties": {
        "reasoning": {"type": "string", "minLength": 80, "maxLength": 600},
        "label": {"enum": ["angry", "happy", "neutral", "sad"]},
        "evidence": {
            "type": "array",
            "minItems": 1,
            "maxItems": 3,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["field", "value", "quote"],
                "properties": {
                    "field": {"enum": ["f0_median_hz", "rate_syl_s"]},
                    "value": {"type": "number", "minimum": 0},
                    "quote": {"type": "string", "minLength": 5, "maxLength": 80},
                },
            },
        },
    },
}


def endpoint(*urls: str, **settings: Any) -> Endpoint:
    """Patient with faults, impatient with time."""
    quick = {
        "in_flight": 16,
        "backoff_s": 0.001,
        "backoff_most_s": 0.01,
        "timeout_s": 20.0,
        "tries": 40,
        "gone_s": 10.0,
    }
    return Endpoint(urls=urls, **{**quick, **settings})


def request(number: int = 0, attempt: int = 0, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "model": "fake",
        "messages": conversation("You describe voices. " * 20, f"Clip {number}: what do you hear?"),
        "schema": SCHEMA,
        "sampling": Sampling(max_tokens=400),
        "attempt": attempt,
    }
    return Request(**{**given, **changes})


def ask(
    at: Endpoint,
    count: int,
    journal: Journal | None = None,
    check: Callable[[int, Any], bool] = lambda number, value: True,
    attempts: int = 40,
) -> tuple[dict[int, Answer], list[Outcome]]:
    """(the accepted answer per clip, every outcome): attempt after attempt until all have one or none is worth it."""
    waiting, accepted, seen = list(range(count)), {}, []
    for attempt in range(attempts):
        slots = {request(number, attempt).key: number for number in waiting}
        again: list[int] = []
        for asked, outcome in complete(at, (request(number, attempt) for number in waiting), journal):
            seen.append(outcome)
            number = slots.pop(asked.key)  # a second outcome would be a KeyError
            if isinstance(outcome, Answer) and check(number, outcome.value):
                accepted[number] = outcome
            elif isinstance(outcome, Answer) or outcome.worth_another_attempt:
                again.append(number)
        assert not slots, "every request has an outcome"
        if not again:
            break
        waiting = sorted(again)
    return accepted, seen


def failures(outcomes: Iterable[Outcome]) -> set[str]:
    return {each.error_class for each in outcomes if not isinstance(each, Answer)}
