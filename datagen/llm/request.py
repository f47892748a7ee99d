"""One question to a language model, as plain values, and the key under which its answer is kept.

The key hashes what is sent, with the model's revision, candidate and attempt. So a killed run finds its finished calls
again, k candidates are k calls, and a bad answer is not replayed for ever: the next attempt has another key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from datagen.llm.endpoint import Constraint
from datagen.llm.per_object import PerObject

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. ``max_tokens`` is always sent: without it a loop ends at the context's length."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int = 0  #: of the recipe; what is sent differs per candidate and attempt

    def payload(self, candidate: int, attempt: int) -> dict[str, Any]:
        """Numbers as the wire has them; 1 and 1.0 are one setting."""
        text = f"{int(self.seed)}\x1f{candidate}\x1f{attempt}".encode()
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        return {
            "temperature": float(self.temperature),
            "top_p": float(self.top_p),
            "max_tokens": int(self.max_tokens),
            "seed": number % 2**31,  # servers in C hold it in 32 bits
        }


@dataclass(frozen=True)
class Request:
    """What is asked. ``schema`` None: free text; it is not to be changed afterwards. ``extra`` goes into the payload as
    it is (chat_template_kwargs, ...).

    ``candidate`` tells samples of one prompt apart, ``attempt`` counts answers that were refused.
    """

    model: str
    messages: Sequence[Message]
    schema: Mapping[str, Any] | None = None
    sampling: Sampling = Sampling()
    candidate: int = 0
    attempt: int = 0
    revision: str = ""
    constraint: Constraint = "response_format"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bad := sorted(name for name in self.extra if name in _OURS or name.startswith("guided_")):
            raise ValueError(f"not for `extra`, they are set elsewhere or ignored by servers: {', '.join(bad)}")

    def payload(self) -> dict[str, Any]:
        """The body of the HTTP request."""
        constraint = _CONSTRAINTS[self.constraint](self.schema) if self.schema is not None else {}
        return {**self._asked(), **constraint}

    def _asked(self) -> dict[str, Any]:
        """All of it but the constraint."""
        return {
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            **self.sampling.payload(self.candidate, self.attempt),
            **self.extra,
        }

    @cached_property
    def body(self) -> bytes:
        """``payload`` as it is sent: keys in the order in which they were given, for a grammar follows that order."""
        text = _WIRE.encode(self._asked())
        if self.schema is not None and self.constraint != "none":
            text = f"{text[:-1]},{_TEXTS[self.constraint][self.schema][1:]}"
        return text.encode()

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits. The order of a mapping's keys does not matter but in the schema's ``properties``:
        there it is the order in which the server makes the model write.
        """
        whole = {
            "payload": self._asked(),
            "schema": None if self.schema is None else _ORDERED[self.schema],
            "constraint": self.constraint if self.schema is not None else None,
            "revision": self.revision,
            "candidate": self.candidate,
            "attempt": self.attempt,
        }
        return hashlib.blake2b(_CANONICAL.encode(whole).encode(), digest_size=16).hexdigest()


_OURS = frozenset(
    {"model", "messages", "temperature", "top_p", "max_tokens", "seed", "response_format", "structured_outputs", "n"}
    | {"stream", "max_completion_tokens"}
)


#: A text that may be so long is prose, and prose quotes. In a string with a length the grammars of xgrammar (vLLM,
#: SGLang) know no escapes: a model that wants a quotation mark can only end the string there. So lengths of prose are
#: left to our own check of the answer, and to ``max_tokens``.
PROSE = 200


def for_grammar(schema: Any) -> Any:
    """``schema`` as it is sent.

    >>> for_grammar({"type": "string", "minLength": 2, "maxLength": 800})
    {'type': 'string'}
    >>> for_grammar({"type": "string", "maxLength": 40})
    {'type': 'string', 'maxLength': 40}
    """
    if isinstance(schema, Mapping):
        bound = schema.get("maxLength")
        prose = isinstance(bound, int) and bound >= PROSE
        lengths = ("minLength", "maxLength") if prose else ()
        return {name: for_grammar(part) for name, part in schema.items() if name not in lengths}
    return [for_grammar(part) for part in schema] if isinstance(schema, (list, tuple)) else schema


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    shape = {"name": "answer", "schema": for_grammar(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": shape}}


def _structured_outputs(schema: Mapping[str, Any]) -> dict[str, Any]:
    # Compact, because grammars that allow whitespace let models print it up to max_tokens.
    return {"structured_outputs": {"json": for_grammar(schema), "disable_any_whitespace": True}}


_CONSTRAINTS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "response_format": _response_format,
    "structured_outputs": _structured_outputs,
    "none": lambda schema: {},
}
_WIRE = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_CANONICAL = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True)


def _in_order(value: Any) -> Any:
    """A JSON Schema in which ``properties`` keep their order when keys are sorted."""
    if isinstance(value, Mapping):
        return {
            name: [[key, _in_order(shape)] for key, shape in part.items()]
            if name == "properties" and isinstance(part, Mapping)
            else _in_order(part)
            for name, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_in_order(part) for part in value]
    return value


#: A schema is far larger than a question, and the same in all of a task's requests: its text is made once.
_ORDERED: PerObject[Mapping[str, Any], str] = PerObject(
    lambda schema: hashlib.blake2b(_CANONICAL.encode(_in_order(schema)).encode(), digest_size=16).hexdigest()
)
_TEXTS: dict[str, PerObject[Mapping[str, Any], str]] = {
    name: PerObject(lambda schema, make=make: _WIRE.encode(make(schema)))  # type: ignore[misc]
    for name, make in _CONSTRAINTS.items()
}


def conversation(instruction: str, question: str, *, system: bool = True) -> list[dict[str, str]]:
    """Messages with what all requests share in front, so that the server's prefix cache has it.

    ``system`` False: for models whose template knows no system role.
    """
    if system:
        return [{"role": "system", "content": instruction}, {"role": "user", "content": question}]
    return [{"role": "user", "content": f"{instruction}\n\n{question}"}]
