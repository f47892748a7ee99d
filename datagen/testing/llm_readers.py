"""Readers for the fault server: somebody who solves without ears, and somebody who judges, as the test wants them.

    with Server(answering=solver(lambda shown: "angry" if "door" in shown.lines["Question"] else None)) as server:
        ...
    with Server(answering=judge(lambda shown: 5 if shown.prompt == "fluency" else 2)) as server:
        ...
    Server(answering=either(solver(...), judge(...), author))     # for a whole run

They read the prompts of ``prompts/llm/blind`` and ``prompts/llm/judge`` as a model would: from the messages alone. What
they say depends on what they are shown, never on seeds or attempts. They invent: for tests, never for data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from datagen.llm import instructions
from datagen.quality.dice import Dice

Answering = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Shown:
    """A message as it is read. ``lines``: what stands before a colon -> the JSON value after it."""

    stage: str  #: "blind" or "judge"
    prompt: str  #: name of the prompt file: "words", "reply_voice", ...
    lines: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()  #: in the order in which they are lettered
    notes: tuple[Mapping[str, Any], ...] = ()  #: of the prompt "evidence"


#: The option that a solver takes; None = it does not know, and guesses.
Pick = Callable[[Shown], str | None]


def shown(body: Mapping[str, Any]) -> Shown | None:
    """What a request shows; None if it is neither blind's nor judge's."""
    text = "\n\n".join(str(message.get("content", "")) for message in body["messages"])
    for (stage, name), instruction in _instructions().items():
        if instruction in text:
            return _parsed(stage, name, text.partition(instruction)[2])
    return None


@cache
def _instructions() -> dict[tuple[str, str], str]:
    return {
        (stage, name): prompt.instruction
        for stage in ("blind", "judge")
        for name, prompt in instructions.load(instructions.folder(stage)).items()
    }


def _parsed(stage: str, name: str, text: str) -> Shown:
    lines: dict[str, Any] = {}
    options, notes = [], []
    for line in text.splitlines():
        label, _, value = line.partition(": ")
        if line.startswith("- "):
            notes.append(json.loads(line[2:]))
        elif stage == "blind" and len(label) == 1:
            options.append(json.loads(value))
        elif value:
            lines[label] = json.loads(value)
    return Shown(stage, name, lines, tuple(options), tuple(notes))


def solver(pick: Pick = lambda shown: None) -> Answering:
    """Answers what ``blind`` asks by what ``pick`` knows; where that is nothing it takes some letter."""

    def answer(body: Mapping[str, Any]) -> Any:
        asked = shown(body)
        if asked is None or asked.stage != "blind":
            return None
        known = pick(asked)
        at = asked.options.index(known) if known in asked.options else _dice(asked).below(len(asked.options))
        return {"answer": chr(ord("A") + at)}

    return answer


def judge(
    rate: Callable[[Shown], int] = lambda shown: 1 + _dice(shown).below(5),
    prefer: Callable[[Shown], str] = lambda shown: "tie",
) -> Answering:
    """Rates by ``rate`` (1..5) and compares by ``prefer`` (A, B, tie). Unless told, it rates equal material equally,
    whichever part of it comes first."""

    def answer(body: Mapping[str, Any]) -> Any:
        asked = shown(body)
        if asked is None or asked.stage != "judge":
            return None
        if asked.prompt == "preference":
            return {"reason": "It suits the voice.", "better": prefer(asked)}
        return {"reason": "By the scale.", "score": rate(asked)}

    return answer


def either(*answerings: Answering) -> Answering:
    """The first that has an answer."""

    def answer(body: Mapping[str, Any]) -> Any:
        return next((said for each in answerings if (said := each(body)) is not None), None)

    return answer


def _dice(asked: Shown) -> Dice:
    lines = json.dumps([asked.lines, asked.notes], sort_keys=True, ensure_ascii=False)
    return Dice(asked.stage, asked.prompt, lines, *asked.options)
