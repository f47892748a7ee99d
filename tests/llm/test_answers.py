"""What is an answer and what is not: one reply at a time, no server."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import UsageError
from datagen.llm.answers import Answer, BadResponse, Blame, Failure, Reply, read, received, without_thoughts
from datagen.llm.schema import Shape, Shapes, parse
from tests.llm.asking import request

GOOD = {
    "reasoning": "The pitch is high and the pace is quick, with short pauses, while the words are friendly enough.",
    "label": "happy",
    "evidence": [{"field": "f0_median_hz", "value": 212.5, "quote": "so good to see you"}],
}


def body(message: dict[str, Any] | None = None, finish: str | None = "stop", **more: Any) -> bytes:
    message = {"role": "assistant", "content": json.dumps(GOOD)} if message is None else message
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 12, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 8}}
    return json.dumps({"model": "m-1", "choices": [choice], "usage": usage, **more}).encode()


def said(content: str | None, finish: str = "stop", **message: Any) -> Answer | Failure:
    return read(request(), received(body({"content": content, **message}, finish)), Shapes())


def test_everything_of_a_reply_is_kept() -> None:
    outcome = read(request(), received(body({"content": json.dumps(GOOD), "reasoning": "hm"}), 0.5, 3), Shapes())
    assert outcome == Answer(
        json.dumps(GOOD), GOOD, "hm", Reply(json.dumps(GOOD), "hm", "", "stop", "m-1", 12, 30, 8, 0.5, 3)
    )
    assert Reply.of(json.loads(json.dumps(outcome.reply.as_dict()))) == outcome.reply  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "finish", "error_class"),
    [
        (json.dumps(GOOD), "length", "Truncated"),
        (json.dumps(GOOD)[:40], "length", "Truncated"),
        (json.dumps(GOOD), "tool_calls", "UnknownFinish"),
        ("", "stop", "Empty"),
        (None, "stop", "Empty"),
        (" \n\t", "stop", "Empty"),
        ("<think>never ends " + json.dumps(GOOD), "stop", "Empty"),
        ("{" + "\n" * 500, "length", "WhitespaceLoop"),
        (json.dumps(GOOD)[:-1] + " " * 500 + "}", "stop", "WhitespaceLoop"),
        (f"Here it is: {json.dumps(GOOD)}", "stop", "InvalidJSON"),
        (f"```json\n{json.dumps(GOOD)}\n```", "stop", "InvalidJSON"),
        (json.dumps(GOOD)[:-1], "stop", "InvalidJSON"),
        (json.dumps(GOOD).replace("212.5", "NaN"), "stop", "InvalidJSON"),
        (json.dumps(GOOD).replace("212.5", "-Infinity"), "stop", "InvalidJSON"),
        (json.dumps(GOOD).replace("so good", "\\ud800"), "stop", "InvalidJSON"),
        (json.dumps(GOOD).replace("212.5", "9" * 5000), "stop", "InvalidJSON"),
        ("[" * 100_000, "stop", "InvalidJSON"),
        (json.dumps({**GOOD, "label": "elated"}), "stop", "WrongShape"),
        (json.dumps({**GOOD, "more": 1}), "stop", "WrongShape"),
        (json.dumps([GOOD]), "stop", "WrongShape"),
        ("null", "stop", "WrongShape"),
    ],
)
def test_what_is_refused(content: str | None, finish: str, error_class: str) -> None:
    outcome = said(content, finish)
    assert isinstance(outcome, Failure) and outcome.error_class == error_class
    assert outcome.worth_another_attempt and outcome.reply is not None and "\n" not in outcome.message
    assert len(outcome.message) < 400


def test_a_refusal_is_one_even_beside_an_answer() -> None:
    outcome = said(json.dumps(GOOD), refusal="I cannot\nhelp")
    assert isinstance(outcome, Failure) and outcome.error_class == "Refused" and "I cannot help" in outcome.message
    assert said(json.dumps(GOOD), "content_filter").blame is Blame.REQUEST  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"reasoning": "a"}, "a"),
        ({"reasoning_content": "b"}, "b"),
        ({"reasoning": None, "reasoning_content": "b"}, "b"),
        ({"content": "<think>c</think>" + json.dumps(GOOD)}, "c"),
        ({"content": "\n<think>\nc\n</think>\n\n" + json.dumps(GOOD)}, "c"),
        ({"content": "d, with {braces}</think>" + json.dumps(GOOD)}, "d, with {braces}"),
        ({"content": "<think></think>" + json.dumps(GOOD)}, ""),
        ({"content": [{"type": "text", "text": json.dumps(GOOD)}]}, ""),
    ],
)
def test_thoughts_are_no_part_of_the_answer(message: dict[str, Any], reasoning: str) -> None:
    outcome = read(request(), received(body({"content": json.dumps(GOOD), **message})), Shapes())
    assert isinstance(outcome, Answer) and (outcome.reasoning, outcome.value) == (reasoning, GOOD)


@settings(deadline=None)
@given(st.text(), st.text())
def test_a_closing_tag_inside_json_is_the_answers(before: str, after: str) -> None:
    text = json.dumps({"text": f"{before}</think>{after}"})
    assert without_thoughts(text) == ("", text)


def test_free_text_needs_no_schema() -> None:
    outcome = read(request(schema=None), received(body({"content": "Yes."})), Shapes())
    assert isinstance(outcome, Answer) and (outcome.text, outcome.value) == ("Yes.", None)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": null}]}', b"\xff\xfe",
     b'{"choices": [{"message": {"content": 5}}]}', b'{"choices": [{"message": {"content": "\\ud800"}}]}',
     b'{"choices": [{"message": {"content": "a"}}], "usage": 3}', b"[" * 100_000, b"[1]"],
)  # fmt: skip
def test_what_is_no_chat_completion(garbage: bytes) -> None:
    with pytest.raises(BadResponse):
        received(garbage)


def test_counts_that_are_none_are_zero() -> None:
    reply = received(body(usage={"prompt_tokens": "many", "completion_tokens": -3}))
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (0, 0, 0)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_break_it(data: bytes) -> None:
    with contextlib.suppress(BadResponse):
        received(b'{"choices": [{"message": {"content": ' + data + b"}}]}")


@pytest.mark.parametrize(
    "schema", [{"type": "strin"}, {"$ref": "http://127.0.0.1:9/x"}, {"type": "string", "pattern": "("}]
)
def test_a_schema_that_cannot_be_used_is_the_users_error(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="JSON Schema"):
        Shape(schema)


def test_newer_keywords_are_obeyed() -> None:
    """Draft 2020-12: a validator that knows older drafts only would pass all of these."""
    assert Shape({"prefixItems": [{"type": "string"}]}).fault([1]) == '0: 1 is not of type "string"'
    assert Shape({"dependentRequired": {"a": ["b"]}}).fault({"a": 1})
    assert Shape({"properties": {"a": {}}, "unevaluatedProperties": False}).fault({"b": 1})
    assert Shape({"$defs": {"t": {"type": "string"}}, "$ref": "#/$defs/t"}).fault("fits") is None


def test_schemas_are_compiled_once() -> None:
    shapes, schema = Shapes(), {"type": "string"}
    assert shapes[schema] is shapes[schema] and shapes[dict(schema)] is not shapes[schema]


def test_json_as_the_standard_has_it() -> None:
    assert parse('{"a": ["\\ud83d\\ude00", 1e5, -0.0]}') == {"a": ["😀", 1e5, -0.0]}
