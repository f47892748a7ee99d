"""Before a run servers are asked for a token: what is wrong with them is said before hours of other work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from datagen.errors import DatagenError, EnvironmentFault, UsageError
from datagen.llm import preflight
from datagen.llm.settings import LlmConfig
from datagen.run import Options, execute
from datagen.testing.llm_server import Server
from tests.engine import asking, toy

NOBODY = "http://127.0.0.1:9/v1"


def asked(*urls: str, **more: Any) -> LlmConfig:
    return LlmConfig.model_validate({"server": "endpoint", "model": "fake", "urls": urls, **more})


def test_a_server_that_says_no_is_said_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_KEY", "sk-not-that-one")
    with Server(api_key="sk-that-one") as server:
        with pytest.raises(UsageError, match=r"401.*llm.api_key_env") as caught:
            preflight.look([asked(server.url, api_key_env="LLM_KEY")], from_here=True)
        assert "sk-not" not in str(caught.value)
    with Server() as server:
        with pytest.raises(UsageError, match=r"404.*'other' does not exist"):
            preflight.look([asked(server.url, model="other")], from_here=True)
        assert preflight.look([asked(server.url), asked(server.url)], from_here=True) == []
        assert server.counts().requests == 2, "stages that ask the same server look once"


def test_one_replica_that_is_away_is_said_and_all_of_them_end_it() -> None:
    with Server() as server:
        (note,) = preflight.look([asked(server.url, NOBODY)], from_here=True)
    assert NOBODY in note
    with pytest.raises(EnvironmentFault, match="--until"):
        preflight.look([asked(NOBODY)], from_here=True)
    assert NOBODY in preflight.look([asked(NOBODY)], from_here=False)[0], "workers elsewhere may reach it"


def test_a_server_that_is_busy_or_slow_to_load_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "WAIT_S", 0.1)
    for behaviour in ({"latency_s": 5.0, "latency_sigma": 0.0}, {"most_at_once": 0}, {"dead": True}):
        with Server(**behaviour) as server:
            assert preflight.look([asked(server.url)], from_here=True) == []


def test_nothing_is_done_for_a_server_that_is_not_there(tmp_path: Path) -> None:
    recipe = asking.recipe(toy.write_input(tmp_path / "in", 20), asked(NOBODY).model_dump(mode="json"))
    start = time.monotonic()
    with pytest.raises(DatagenError, match="no server of fake is there"):
        execute(recipe, str(tmp_path / "run"), Options(progress="none"), print)
    assert time.monotonic() - start < 10 and not (tmp_path / "run/units").exists()
    space, _ = execute(recipe, str(tmp_path / "run"), Options(progress="none", until="apply"), print)
    assert space.plan.done("apply", space.plan.shards[0]), "what asks nobody needs no server"
