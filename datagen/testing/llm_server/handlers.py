"""The routes: what is said to a request, and what is done to it instead when a fault strikes."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datagen.quality.dice import Dice
from datagen.testing.llm_server import inventing
from datagen.testing.llm_server.faults import Faults, Luck

if TYPE_CHECKING:
    from aiohttp import web

#: What a hook says: from the request's body to a JSON value or a text.
Answering = Callable[[Mapping[str, Any]], Any]
_NORMAL = statistics.NormalDist()


@dataclass(frozen=True)
class Behaviour:
    """How the server behaves; all but ``answering`` can be sent to another process. Seconds and rates."""

    model: str = "fake"
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    latency_s: float = 0.0  #: mean of a log-normal distribution
    latency_sigma: float = 0.5  #: of the logarithm
    retry_after_s: float = 0.0  #: what Retry-After asks for
    seeded: bool = False  #: whether another seed, temperature or attempt gives another answer
    healthy: bool = True  #: what /health claims
    dead: bool = False  #: every completion gets HTTP 500, whatever /health says
    api_key: str | None = None  #: asked for with HTTP 401, and repeated in the error as hosted servers do
    most_at_once: int | None = None  #: more at a time get HTTP 429
    answering: Answering | None = None


def fingerprint(body: Mapping[str, Any]) -> str:
    """Of a request's body, independent of the order of keys: what faults and counts go by."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass
class Counts:
    """What the server did."""

    requests: int = 0
    sent: Counter[str] = field(default_factory=Counter)  #: "ok" or a fault's name -> times
    calls: Counter[str] = field(default_factory=Counter)  #: fingerprint -> times it came
    answered: Counter[str] = field(default_factory=Counter)  #: fingerprint -> times HTTP 200 went out whole
    at_once: int = 0
    most_at_once: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "sent": dict(self.sent),
            "calls": dict(self.calls),
            "answered": dict(self.answered),
            "most_at_once": self.most_at_once,
        }


class Handlers:
    """``behaviour`` may be exchanged while it runs."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.counts = Counts()
        self._prefixes: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        from aiohttp import web

        return [
            web.get("/health", self.health),
            web.get("/v1/models", self.models),
            web.post("/v1/chat/completions", self.completion),
            web.get("/counts", self.count),
        ]

    async def health(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(status=200 if self.behaviour.healthy else 503)

    async def models(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"object": "list", "data": [{"id": self.behaviour.model, "object": "model"}]})

    async def count(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response(self.counts.as_dict())

    async def completion(self, request: web.Request) -> web.StreamResponse:
        counts = self.counts
        counts.requests += 1
        counts.at_once += 1
        counts.most_at_once = max(counts.most_at_once, counts.at_once)
        try:
            return await self._completion(request)
        finally:
            counts.at_once -= 1

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        behaviour, counts = self.behaviour, self.counts
        given = request.headers.get("Authorization", "")
        if behaviour.api_key is not None and given != f"Bearer {behaviour.api_key}":
            return _error(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}")
        if behaviour.most_at_once is not None and counts.at_once > behaviour.most_at_once:
            counts.sent["too_many"] += 1
            return _error(429, "too many requests at once")
        try:
            body = json.loads(await request.read())
            messages = [dict(each) for each in body["messages"]]
        except (ValueError, KeyError, TypeError):
            return _error(400, "the body is no chat completion request")
        if behaviour.dead:
            counts.sent["dead"] += 1
            return _error(500, "the engine is dead")
        if body.get("model") != behaviour.model:
            return _error(404, f"the model {str(body.get('model'))[:80]!r} does not exist")
        name = fingerprint(body)
        counts.calls[name] += 1
        luck = Luck(behaviour.seed, name, counts.calls[name])
        fault = luck.fault(behaviour.faults)
        counts.sent[fault or "ok"] += 1
        if behaviour.latency_s > 0:
            await asyncio.sleep(_latency(behaviour, luck))
        if fault in ("rate_limited", "retry_after"):
            return _error(429, "slow down", _later(behaviour, luck) if fault == "retry_after" else None)
        if fault in ("http_500", "http_503"):
            return _error(int(fault[-3:]), "something broke")
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "garbage":
            return _page()
        reply = json.dumps(self._reply(body, messages, fault, luck), ensure_ascii=False).encode()
        if fault == "drop":
            return await _dropped(request, reply)
        counts.answered[name] += 1
        return _json(reply)

    def _reply(self, body: dict[str, Any], messages: list[dict[str, Any]], fault: str | None, luck: Luck) -> Any:
        schema = _schema(body)
        asked = [messages, schema, body["model"], body if self.behaviour.seeded else None]
        choices = []
        for index in range(int(body.get("n") or 1)):
            dice = Dice("answer", self.behaviour.seed, fingerprint({"asked": _heart(asked)}), index)
            if self.behaviour.answering is not None:
                answer = self.behaviour.answering(body)
            else:
                answer = inventing.value(schema if schema is not None else {"type": "string"}, dice)
            message, finish = _said(answer, schema, fault, luck, dice)
            choices.append({"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish})
        return {
            "id": f"chatcmpl-{fingerprint(body)}",
            "object": "chat.completion",
            "model": body["model"],
            "choices": choices,
            "usage": self._usage(messages, choices),
        }

    def _usage(self, messages: list[dict[str, Any]], choices: list[dict[str, Any]]) -> dict[str, Any]:
        """About four characters a token; the first message is cached once it has been seen."""
        sizes = [len(str(each.get("content", ""))) // 4 + 4 for each in messages]
        said = sum(len(str(each["message"].get("content") or "")) // 4 + 1 for each in choices)
        first = fingerprint(messages[0]) if messages else ""
        cached = sizes[0] // 16 * 16 if first in self._prefixes else 0
        self._prefixes.add(first)
        return {
            "prompt_tokens": sum(sizes),
            "completion_tokens": said,
            "total_tokens": sum(sizes) + said,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


def _heart(asked: list[Any]) -> list[Any]:
    """What decides the answer: up to the first thing a user says. What follows is about an earlier attempt."""
    messages = asked[0]
    first = next((at for at, each in enumerate(messages) if each.get("role") == "user"), len(messages))
    return [messages[: first + 1], *asked[1:]]


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    shape = (body.get("response_format") or {}).get("json_schema")
    found = shape["schema"] if shape else (body.get("structured_outputs") or {}).get("json")
    return json.loads(found) if isinstance(found, str) else found


def _said(answer: Any, schema: Any, fault: str | None, luck: Luck, dice: Dice) -> tuple[dict[str, Any], str]:
    """(message, finish_reason)"""
    if fault == "wrong_label" and schema:
        answer = inventing.wrong_label(answer, schema, dice)
    elif fault == "hallucinated":
        answer = inventing.hallucinated(answer, dice)
    elif fault == "echo":
        answer = inventing.echoing(answer)
    elif fault == "wrong_shape" and isinstance(answer, dict):
        answer = {**dict(list(answer.items())[1:]), "unasked": True}
    text = inventing.text(answer)
    half = luck.share("which") < 0.5
    if fault == "cut":
        return {"content": text[: max(1, int(len(text) * luck.share("where")))]}, "length"
    if fault == "invalid_json":
        return {"content": f"Sure! Here is the JSON:\n```json\n{text}\n```" if half else text + ","}, "stop"
    if fault == "whitespace":  # stopped by max_tokens; some servers say that they stopped of themselves
        return {"content": text[:-1] + "\n" * 900 + ("" if half else text[-1])}, "length" if half else "stop"
    if fault == "unconstrained":
        return {"content": "The speaker sounds rather calm, I would say."}, "stop"
    if fault == "refusal":
        return {"content": None, "refusal": "I'm sorry, but I can't help with that."}, "stop"
    if fault == "empty":
        return {"content": "" if half else " \n"}, "stop"
    if fault == "reasoning":
        where = int(3 * luck.share("which"))
        thoughts = "First the pitch, then the words."
        if where == 2:
            return {"content": ("<think>" if luck.share("tag") < 0.5 else "") + f"{thoughts}</think>\n{text}"}, "stop"
        return {"content": text, ("reasoning", "reasoning_content")[where]: thoughts}, "stop"
    return {"content": text}, "stop"


def _latency(behaviour: Behaviour, luck: Luck) -> float:
    """Log-normal with the mean asked for."""
    share = min(max(luck.share("latency"), 1e-6), 1 - 1e-6)
    sigma = behaviour.latency_sigma
    return behaviour.latency_s * math.exp(sigma * _NORMAL.inv_cdf(share) - sigma**2 / 2)


def _later(behaviour: Behaviour, luck: Luck) -> str:
    if luck.share("date") < 0.5:
        return f"{behaviour.retry_after_s:g}"
    return email.utils.formatdate(time.time() + behaviour.retry_after_s, usegmt=True)


def _json(data: bytes) -> web.Response:
    from aiohttp import web

    return web.Response(body=data, content_type="application/json")


def _page() -> web.Response:
    from aiohttp import web

    return web.Response(text="<html>proxy</html>", content_type="text/html")


def _error(status: int, message: str, retry_after: str | None = None) -> web.Response:
    from aiohttp import web

    headers = {"Retry-After": retry_after} if retry_after is not None else None
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=headers)


async def _dropped(request: web.Request, reply: bytes) -> web.StreamResponse:
    from aiohttp import web

    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(reply))})
    await response.prepare(request)
    await response.write(reply[: len(reply) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
