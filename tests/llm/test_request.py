"""Keys: the same question has the same key, and any other has another."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.llm.request import Request, Sampling, conversation, for_grammar
from tests.llm.asking import SCHEMA, request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, luck: Any) -> Any:
    if isinstance(value, dict):
        names = list(value)
        luck.shuffle(names)
        return {name: shuffled(value[name], luck) for name in names}
    return [shuffled(each, luck) for each in value] if isinstance(value, list) else value


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=6), JSON, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(extra: dict[str, Any], luck: Any) -> None:
    extra = {f"x_{name}": value for name, value in extra.items()}
    message = {"role": "user", "content": [{"type": "text", "text": "hm"}], "name": "one"}
    here = request(messages=[message], extra=extra)
    there = request(messages=[shuffled(message, luck)], extra=shuffled(extra, luck))
    assert here.key == there.key


@settings(max_examples=80, deadline=None)
@given(JSON, JSON)
def test_other_values_have_other_keys(one: Any, two: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (request(extra={"x": one}).key == request(extra={"x": two}).key) is same


CHANGES: list[dict[str, Any]] = [
    {"model": "other"},
    {"revision": "2"},
    {"candidate": 1},
    {"attempt": 1},
    {"constraint": "structured_outputs"},
    {"schema": None},
    {"schema": {**SCHEMA, "title": "another"}},
    {"sampling": Sampling(temperature=0.8, max_tokens=400)},
    {"sampling": Sampling(top_p=0.9, max_tokens=400)},
    {"sampling": Sampling(max_tokens=401)},
    {"sampling": Sampling(max_tokens=400, seed=1)},
    {"messages": conversation("You describe voices. " * 20, "Clip 0: what do you hear??")},
    {"messages": conversation("You describe voices. " * 20, "Clip 0: what do you hear?", system=False)},
    {"extra": {"chat_template_kwargs": {"enable_thinking": False}}},
]


def test_each_thing_that_matters_changes_the_key() -> None:
    keys = [request().key, *(request(**change).key for change in CHANGES)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == request().key == request(schema=json.loads(json.dumps(SCHEMA))).key


def test_the_order_of_a_schemas_properties_matters() -> None:
    """A grammar follows it: with the label first, the model decides before it reasons."""
    turned = {**SCHEMA, "properties": dict(reversed(list(SCHEMA["properties"].items())))}
    assert request(schema=turned).key != request().key
    assert request(schema=dict(reversed(list(SCHEMA.items())))).key == request().key


def test_whole_numbers_are_one_setting_however_they_are_written() -> None:
    one: Any = Sampling(temperature=1, top_p=1)
    assert request(sampling=one).key == request(sampling=Sampling(temperature=1.0, top_p=1.0)).key


def test_a_key_is_stable_for_good() -> None:
    """It decides whether a journal is found again: a change of this number makes everybody pay twice."""
    asked = Request("m", conversation("be brief", "hello"), {"type": "object"}, Sampling(), 1, 2, "r1")
    assert asked.key == "eabbadf40f84a6c5c1fc9baf9645b18e"


def test_candidates_and_attempts_draw_differently() -> None:
    drawn = [request(candidate=c, attempt=a).payload()["seed"] for c in range(4) for a in range(4)]
    assert len(set(drawn)) == 16 and all(0 <= seed < 2**31 for seed in drawn)


def test_the_schema_goes_the_way_that_was_asked_for() -> None:
    plain = request().payload()
    sent = for_grammar(SCHEMA)
    assert plain["response_format"]["json_schema"]["schema"] == sent and "structured_outputs" not in plain
    own = request(constraint="structured_outputs").payload()
    assert own["structured_outputs"]["json"] == sent and "response_format" not in own
    assert own["structured_outputs"]["disable_any_whitespace"] is True
    none = request(constraint="none").payload()
    assert not {"structured_outputs", "response_format"} & none.keys()
    assert not [name for body in (plain, own, none) for name in body if name.startswith("guided")]


def test_what_is_shared_comes_first() -> None:
    one, two = (request(number).body.decode() for number in (1, 2))
    shared = len(json.dumps("You describe voices. " * 20))
    where = next(at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    assert where > shared
    assert json.loads(one)["messages"][0] == json.loads(two)["messages"][0]


@pytest.mark.parametrize("name", ["guided_json", "n", "stream", "seed", "messages"])
def test_what_is_set_elsewhere_is_no_extra(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        request(extra={name: 1})


def test_the_body_is_the_payload() -> None:
    asked = request(3, messages=[{"role": "user", "content": "lone \ud800, naïve, 你好"}])
    assert json.loads(asked.body) == json.loads(json.dumps(asked.payload()))
    assert replace(asked, attempt=1).body != asked.body
