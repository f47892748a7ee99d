"""What a server replied, and whether that is an answer: pure functions, the same for a live and a journalled reply.

A ``Reply`` is what came over the wire, an ``Answer`` is a reply that passed, a ``Failure`` says why there is none and
who is to blame. Nothing is scraped out of prose: an answer fits the schema as it is or is asked for again.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from datagen.llm.request import Request
from datagen.llm.schema import Shapes, parse


class Blame(enum.StrEnum):
    """Whose fault a failure is: what may be done about it follows from that."""

    ANSWER = "answer"  #: the model's words; another attempt (another seed) may do better
    REQUEST = "request"  #: what was asked cannot be answered by this server, now or later (too long, refused by a rule)
    SERVER = "server"  #: nobody answered in time, or the server says no to everybody; no row is to blame


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished call as the server reported it. Tokens are 0 where it reported none."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    finish: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  #: of the prompt's, those the server had in its prefix cache
    latency_s: float = 0.0  #: of the try that succeeded
    tries: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Without what is empty."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Reply:
        """Of ``as_dict``.

        Raises:
            ValueError: something else was stored.
        """
        if not isinstance(stored, Mapping):
            raise ValueError("a reply is a mapping")
        known = {each.name: stored[each.name] for each in fields(cls) if each.name in stored}
        for each in fields(cls):
            wanted: tuple[type, ...] = {"str": (str,), "int": (int,), "float": (int, float)}[str(each.type)]
            if not isinstance(known.get(each.name, each.default), wanted):
                raise ValueError(f"{each.name} is not {each.type}")
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Answer:
    """An accepted reply. ``value``: what the text is as JSON, None where no schema was asked for."""

    text: str  #: without the model's thoughts
    value: Any
    reasoning: str  #: the model's own thoughts, "" if there are none
    reply: Reply
    replayed: bool = False  #: from the journal; nothing was sent


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. ``error_class`` is short and stable, what rejects are grouped by; ``message`` is for a person."""

    error_class: str
    message: str
    blame: Blame
    reply: Reply | None = None  #: there is one where the model spoke, and it cost tokens
    tries: int = 1
    replayed: bool = False

    @property
    def worth_another_attempt(self) -> bool:
        return self.blame is Blame.ANSWER


Outcome = Answer | Failure


class BadResponse(ValueError):
    """HTTP 200 with a body that is no chat completion."""


def received(body: bytes, latency_s: float = 0.0, tries: int = 1) -> Reply:
    """The first choice of a chat completion. Null and missing fields are empty.

    Raises:
        BadResponse: it is none; the call is worth repeating.
    """
    try:
        data = parse(body.decode())
        choice = data["choices"][0]
        message = choice["message"]
        usage = data.get("usage") or {}
        reply = Reply(
            content=_text(message.get("content")),
            # The field's name changed; servers send the one or the other.
            reasoning=_text(message.get("reasoning")) or _text(message.get("reasoning_content")),
            refusal=_text(message.get("refusal")),
            finish=_text(choice.get("finish_reason")),
            model=_text(data.get("model")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            cached_tokens=_count((usage.get("prompt_tokens_details") or {}).get("cached_tokens")),
            latency_s=round(latency_s, 4),
            tries=tries,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadResponse(f"no chat completion: {type(error).__name__}") from None
    return reply


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):  # content in parts, as some servers send it
        return "".join(part["text"] for part in value if part.get("type") == "text")
    raise TypeError("text was expected")


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**40 else 0


def read(request: Request, reply: Reply, shapes: Shapes, *, replayed: bool = False) -> Outcome:
    """Accept or refuse a reply."""

    def refuse(error_class: str, message: str, blame: Blame = Blame.ANSWER) -> Failure:
        return Failure(error_class, message, blame, reply, reply.tries, replayed)

    if reply.refusal:
        return refuse("Refused", f"the model refused: {_short(reply.refusal)}")
    if reply.finish == "content_filter":
        return refuse("Filtered", "the server's content filter cut the answer", Blame.REQUEST)
    thoughts, text = without_thoughts(reply.content)
    if reply.finish == "length":
        if _loops(reply.content):
            return refuse("WhitespaceLoop", "the model wrote whitespace until it was stopped")
        return refuse("Truncated", f"cut after {reply.completion_tokens or request.sampling.max_tokens} tokens")
    if reply.finish not in ("stop", ""):
        return refuse("UnknownFinish", f"finish_reason is {_short(reply.finish)!r}, an answer ends with 'stop'")
    if not text.strip():
        return refuse("Empty", "the answer is empty")
    if _loops(text):
        return refuse("WhitespaceLoop", "most of the answer is whitespace")
    value = None
    if request.schema is not None:
        try:
            value = parse(text)
        except ValueError as error:
            return refuse("InvalidJSON", f"{_short(str(error))}; it begins {_short(text, 60)!r}")
        if wrong := shapes[request.schema].fault(value):
            return refuse("WrongShape", wrong)
    return Answer(text, value, reply.reasoning or thoughts, reply, replayed)


#: Longest run of whitespace in an answer; a paragraph break or an indentation is far shorter.
MOST_WHITESPACE = 200
_RUN = re.compile(rf"\s{{{MOST_WHITESPACE}}}")


def _loops(text: str) -> bool:
    return _RUN.search(text) is not None


def without_thoughts(content: str) -> tuple[str, str]:
    """(thoughts, the rest). Many chat templates open ``<think>`` in the prompt, so that only the closing tag appears.

    Only at the beginning: a tag inside an answer is the answer's.

    >>> without_thoughts("<think>hm</think> yes"), without_thoughts("hm</think>yes")
    (('hm', 'yes'), ('hm', 'yes'))
    >>> without_thoughts('{"a": "</think>"}')
    ('', '{"a": "</think>"}')
    """
    start = content.lstrip()
    if start.startswith("<think>"):
        thoughts, closed, rest = start.removeprefix("<think>").partition("</think>")
        return (thoughts.strip(), rest.strip()) if closed else (thoughts.strip(), "")
    if start[:1] in ("{", "["):
        return "", content
    thoughts, closed, rest = start.partition("</think>")
    return (thoughts.strip(), rest.strip()) if closed else ("", content)


def _short(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
