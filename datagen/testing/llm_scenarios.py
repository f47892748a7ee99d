"""A stand-in for a language model that is asked by the stage ``scenario``: for ``Server(answering=scene_author())``.

It looks only at what the request shows (instruction, question, schema), answers the same to the same question whatever
attempt or seed, and writes texts that pass the checks. ``verdicts`` and ``leaking`` make it fail on purpose.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_PLACES = ("in the kitchen before work", "at the counter of a shop", "on the way to a meeting", "in a waiting room",
           "on a platform", "after a rehearsal")  # fmt: skip
_WHO = (("a colleague", "another colleague"), ("a guest", "the host"), ("a neighbour", "the neighbour next door"),
        ("a customer", "the person at the desk"))  # fmt: skip
_CRITERIA = {"plausible": "would somebody say", "relevant": "does the voice change", "neutral": "do the words alone"}


def asked_for(body: Mapping[str, Any]) -> str | None:
    """Which of the stage's prompts a request comes from: "scenario", "query", a criterion, or None = another's."""
    shape = (body.get("response_format") or {}).get("json_schema")
    schema = shape["schema"] if shape else (body.get("structured_outputs") or {}).get("json") or {}
    properties = set(schema.get("properties", ()))
    if properties == {"differs", "scenario", "question"}:
        return "scenario"
    if properties == {"scenario", "query"}:
        return "query"
    told = str(body["messages"][0]["content"])
    if properties == {"reason", "score"}:
        return next((name for name, sign in _CRITERIA.items() if f"only: {sign}" in told), None)
    return None


def scene_author(
    verdicts: Mapping[str, int | Callable[[str], int]] | None = None,
    leaking: Callable[[str], bool] = lambda words: False,
) -> Callable[[Mapping[str, Any]], dict[str, Any] | None]:
    """The author; it has no answer (None) to what another stage asks.

    Args:
        verdicts: criterion -> score, or a function of the words asked about; 4 where nothing is said.
        leaking: words for which the scenario names an emotion.
    """
    given = verdicts or {}

    def answer(body: Mapping[str, Any]) -> dict[str, Any] | None:
        name = asked_for(body)
        if name is None:
            return None
        question = next(str(each["content"]) for each in body["messages"] if each["role"] == "user")
        words = _words(question)
        if name in _CRITERIA:
            score = given.get(name, 4)
            return {"reason": "So it seems to me.", "score": score(words) if callable(score) else score}
        # The question decides, not the seed: another attempt must not change what an undisturbed run would have.
        number = int.from_bytes(hashlib.blake2b(question.encode(), digest_size=4).digest(), "big")
        place, (who, whom) = _PLACES[number % len(_PLACES)], _WHO[number // 7 % len(_WHO)]
        scenario = f"The speaker is {who} who talks to {whom} {place}."
        if name == "query":
            return {"scenario": scenario, "query": f"The parcel number {number % 1000} is on the table."}
        if leaking(words):
            scenario = f"The speaker is {who}, furious with {whom} {place}."
        return {
            "differs": "One voice wants help, the other wants to share something.",
            "scenario": scenario,
            "question": "How does the speaker feel about it?",
        }

    return answer


def _words(question: str) -> str:
    found = re.findall(r'words[^:"]*(?:"[^"]*")?: ("(?:[^"\\]|\\.)*")', question)
    return str(json.loads(found[-1])) if found else ""
