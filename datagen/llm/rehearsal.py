"""What a stage would ask, found by letting it ask: a rehearsal with the real prompts and no server.

    load = rehearse(stage, rows)            # requests, bytes of prompts and of answers, for these rows

The stage renders its own prompts for rows that it is given and gets answers that fit its schemas and say nothing. They
seldom pass its checks: attempts beyond the first are not counted here; ``estimate.py`` allows for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datagen.llm.answers import Answer, Reply
from datagen.llm.asking import Asker
from datagen.llm.client import Follow, Pair
from datagen.llm.request import Request
from datagen.llm.settings import LlmConfig
from datagen.stage import Stage

#: How much of the length that its schema allows a text has. Schemas leave room: reasoning of at most 200 words, say,
#: may be twice as long in bytes before it is refused.
_FILLED = 1 / 3
_WORDS = b"the words of this answer stand for others that nobody has written yet "


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked. ``shared_bytes``: of the prompts, what all requests of a kind begin with (the prefix cache)."""

    requests: int = 0
    prompt_bytes: int = 0
    shared_bytes: int = 0
    answer_bytes: int = 0
    rows: int = 0  #: that were given to the stage

    def __add__(self, other: Load) -> Load:
        return Load(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class Rehearsal(Asker):
    """An asker that counts, and answers with what fits the schema."""

    def __init__(self, settings: LlmConfig) -> None:
        super().__init__(settings)
        self.load = Load()

    def ask(self, requests: Iterable[Request], follow: Follow = lambda request, outcome: None) -> Iterator[Pair]:
        for request in requests:
            outcome = self._answer(request)
            while (following := follow(request, outcome)) is not None:
                request, outcome = following, self._answer(following)
            yield request, outcome

    def _answer(self, request: Request) -> Answer:
        value = filled(request.schema) if request.schema is not None else None
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value is not None else ""
        if request.attempt == 0:
            prompt = [len(str(message["content"]).encode()) for message in request.messages]
            shared = prompt[0] if len(prompt) > 1 else 0
            self.load += Load(1, sum(prompt), shared, len(text.encode()) or request.sampling.max_tokens)
        return Answer(text, value, "", Reply(content=text, finish="stop"))


def rehearse(stage: Stage, rows: pa.Table) -> Load:
    """What ``stage``, which asks, would ask for ``rows`` (the columns that it reads). The stage itself is not touched.

    Raises:
        Exception: whatever the stage raises for such rows.
    """
    settings = stage.asks()
    if settings is None:
        raise ValueError(f"stage {stage.name} asks no model as it is set")
    acting = type(stage)(stage.config, seed=stage.seed)
    rehearsal = Rehearsal(settings)
    acting.artifacts, acting.asker = stage.artifacts, rehearsal
    acting.setup()
    try:
        acting.process(rows)
    finally:
        acting.teardown()
    return rehearsal.load + Load(rows=rows.num_rows)


def filled(schema: Mapping[str, Any]) -> Any:
    """A value that fits, of a length that is usual for such answers. Knows what our schemas for models use."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return filled(schema["anyOf"][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: filled(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        least = schema.get("minItems", 0)
        return [filled(schema["items"])] * max(least, min(2, schema.get("maxItems", 2)))
    if kind == "string":
        most = schema.get("maxLength", 600)
        length = min(most, max(schema.get("minLength", 1), round(most * _FILLED)))
        text = (_WORDS * (length // len(_WORDS) + 1))[:length].decode().rstrip()
        return f"{text[:-1]}?" if len(text) > 20 else text or "t"  # checks of questions let it pass
    if kind in {"integer", "number"}:
        return schema.get("maximum", schema.get("minimum", 0))  # a score: what is good enough is asked about further
    return None if kind == "null" else True
