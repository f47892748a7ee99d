"""One client against one server, in a process of its own: ``_llm_side.py KIND URL COUNT IN_FLIGHT``, JSON to stdout.

Kinds: ``bare`` (the least loop of aiohttp: no check, no journal, no retry), ``ours`` (all of it), ``openai``
(AsyncOpenAI and a semaphore; needs no more than the peers' environment).
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

_SENTENCE = {"type": "string", "minLength": 100, "maxLength": 190}
#: About 300 tokens of JSON: what the server invents for it has some 1,200 characters. Texts in sentences, because our
#: client does not send the lengths of long ones (``llm.request.PROSE``) and all sides are to send the same.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["reasoning", "answer", "response", "evidence"],
    "properties": {
        "reasoning": {"type": "array", "minItems": 5, "maxItems": 5, "items": _SENTENCE},
        "answer": {"enum": ["angry", "happy", "neutral", "sad"]},
        "response": {"type": "array", "minItems": 2, "maxItems": 2, "items": _SENTENCE},
        "evidence": {
            "type": "array",
            "minItems": 4,
            "maxItems": 4,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["field", "value", "quote"],
                "properties": {
                    "field": {"enum": ["f0_median_hz", "rate_syl_s", "level_dbfs", "pause_ratio"]},
                    "value": {"type": "number", "minimum": 0},
                    "quote": {"type": "string", "minLength": 20, "maxLength": 80},
                },
            },
        },
    },
}
#: As ``datagen.llm.request.Sampling`` sends it: all sides send the same, so that each request takes as long on all.
SAMPLING: dict[str, Any] = {"temperature": 0.7, "top_p": 1.0, "max_tokens": 1024, "seed": 334_371_831}
NEEDS = {
    "bare": ["aiohttp"],
    "ours": ["aiohttp", "jsonschema_rs", "datagen.llm.client", "datagen.files"],
    "openai": ["openai"],
}
INSTRUCTION = "You are given what was measured of a voice and what it said. Reason from the sound, then the words. " * 8


Got = tuple[float, str]  #: when an answer was there, and its text


def question(number: int) -> str:
    return f'{{"clip": {number}, "f0_median_hz": {180 + number % 90}, "rate_syl_s": 4.2, "transcript": "so you came"}}'


def messages(number: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": question(number)}]


async def bare(url: str, count: int, in_flight: int) -> list[Got]:
    import aiohttp

    numbers, texts = iter(range(count)), list[Got]()
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {"model": "fake", "messages": messages(number), "response_format": shape, **SAMPLING}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                text = (await response.json())["choices"][0]["message"]["content"]
                texts.append((time.perf_counter(), text))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:
        await asyncio.gather(*(work(session) for _ in range(in_flight)))
    return texts


def ours(url: str, count: int, in_flight: int) -> list[Got]:
    from dataclasses import replace

    from datagen.files import Files
    from datagen.llm.answers import Answer, Outcome
    from datagen.llm.client import complete
    from datagen.llm.endpoint import Endpoint
    from datagen.llm.journal import Journal
    from datagen.llm.request import Request

    assert Request("fake", messages(0)).payload() == {"model": "fake", "messages": messages(0), **SAMPLING}

    def asked() -> Iterator[Request]:
        for number in range(count):
            yield Request("fake", messages(number), SCHEMA)

    def follow(request: Request, outcome: Outcome) -> Request | None:
        if isinstance(outcome, Answer) or not outcome.worth_another_attempt or request.attempt == 5:
            return None
        return replace(request, attempt=request.attempt + 1)

    with tempfile.TemporaryDirectory() as folder, Journal(Files(folder), "calls") as journal:
        pairs = complete(Endpoint(urls=(url,), in_flight=in_flight), asked(), journal, follow=follow)
        return [(time.perf_counter(), outcome.text) for _, outcome in pairs if isinstance(outcome, Answer)]


async def openai(url: str, count: int, in_flight: int) -> list[Got]:
    from openai import AsyncOpenAI

    gate = asyncio.Semaphore(in_flight)
    shape: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=5) as client:

        async def one(number: int) -> Got:
            async with gate:
                said = await client.chat.completions.create(
                    model="fake", messages=messages(number), response_format=shape, **SAMPLING
                )
            return time.perf_counter(), str(said.choices[0].message.content)

        return list(await asyncio.gather(*map(one, range(count))))


def main(kind: str, url: str, count: str, in_flight: str) -> None:
    run = {"bare": bare, "ours": ours, "openai": openai}[kind]
    for name in NEEDS[kind]:  # imports are no part of the loop
        importlib.import_module(name)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    done = run(url, int(count), int(in_flight))
    got = asyncio.run(done) if asyncio.iscoroutine(done) else done
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    times, texts = sorted(when for when, _ in got), [text for _, text in got]
    whole = hashlib.blake2b("\n".join(sorted(texts)).encode(), digest_size=8).hexdigest()
    found = {
        "seconds": seconds,
        "most_s": times[len(times) * 98 // 100] - start if times else seconds,
        "cpu_s": cpu,
        "answers": len(texts),
        "peak_mb": after.ru_maxrss / 1024,
        "characters": sum(map(len, texts)) / max(1, len(texts)),
        "digest": whole,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
