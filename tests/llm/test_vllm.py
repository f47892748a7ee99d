"""With a real vLLM on the CPU and a tiny model: what only the real server can show."""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from datagen import serving
from datagen.files import Files
from datagen.llm import guard
from datagen.llm.answers import Answer, Outcome
from datagen.llm.asking import Asker
from datagen.llm.journal import Journal
from datagen.llm.request import Sampling
from datagen.llm.settings import LlmConfig

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["heard", "emotion", "arousal"],
    "properties": {
        "heard": {"type": "string", "minLength": 1, "maxLength": 40},
        "emotion": {"enum": ["angry", "happy", "neutral", "sad"]},
        "arousal": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}


def asker(settings: LlmConfig, url: str, **more: Any) -> Asker:
    return Asker(settings.model_copy(update={"in_flight": 16}), lambda: (url,), **more)


def test_answers_fit_the_schema_and_without_it_they_do_not(vllm_settings: LlmConfig, vllm_url: str) -> None:
    this = asker(vllm_settings, vllm_url)
    free = asker(vllm_settings.model_copy(update={"constraint": "none"}), vllm_url)
    sampling = Sampling(temperature=1.0, max_tokens=200)

    def asked(by: Asker) -> list[Any]:
        questions = [f"Clip {number}: what do you hear?" for number in range(12)]
        return [by.request("You hear voices.", question, SCHEMA, sampling) for question in questions]

    held = [outcome for _, outcome in this.ask(asked(this))]
    assert all(isinstance(outcome, Answer) for outcome in held), held
    texts = [outcome.reply.content for outcome in held if outcome.reply]
    assert all(list(json.loads(text)) == list(SCHEMA["properties"]) for text in texts), "in the schema's order"
    assert all(text.startswith('{"heard":"') and text[-1] == "}" and text[-2].isdigit() for text in texts), "compact"
    assert this.metrics()["llm_answers"] == 12
    assert not [outcome for _, outcome in free.ask(asked(free)) if isinstance(outcome, Answer)]


def test_the_benchmark_runs_and_its_answers_fit(
    vllm_settings: LlmConfig, vllm_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time is judged here: machines are busy."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    benchmark = importlib.import_module("vllm")
    settings = vllm_settings.model_copy(update={"in_flight": 8, "system": False})
    found, good = benchmark.measure(vllm_url, settings, 16, 8, 1, tmp_path)
    assert good == 16 and len(found["ours"]) == len(found["theirs"]) == 1 and min(*found["ours"], *found["theirs"]) > 0


@pytest.mark.faults
def test_killed_again_and_again_it_comes_back_and_no_finished_call_is_repeated(
    vllm_settings: LlmConfig, tmp_path: Path
) -> None:
    """First the server, then its engine, with kill -9 while requests are under way."""
    files, count = Files(str(tmp_path)), 100
    settings = vllm_settings.model_copy(update={"in_flight": 8})
    stop, errors = threading.Event(), list[BaseException]()

    def serve() -> None:
        try:
            serving.replica(files, settings, 0, "127.0.0.1", stopped=stop.is_set)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    this = serving.asker(files, "write", settings)
    requests = [
        this.request("You hear voices.", f"Clip {number}: what do you hear?", SCHEMA, Sampling(max_tokens=200))
        for number in range(count)
    ]
    pids: list[int] = []
    seen: dict[str, Outcome] = {}
    try:
        for request, outcome in this.ask(requests):
            assert not errors and request.key not in seen
            seen[request.key] = outcome
            if len(seen) in (20, 60):
                pids.append(victim(files, settings, engine=bool(pids)))
                os.kill(pids[-1], signal.SIGKILL)
        spent = this.metrics()
        assert len(seen) == count and all(isinstance(outcome, Answer) for outcome in seen.values())
        assert len(pids) == 2 and spent["llm_retries"] > 0 and spent["llm_answers"] == count
        (server,) = files.names(f"{serving.SERVERS}/{settings.group}")
        last = files.read_json(f"{serving.SERVERS}/{settings.group}/{server}")
        log = serving.log_path(files, settings, 0).read_text()
        assert log.count("Starting vLLM server") == 3 and last["pid"] not in pids
        answered = log.count('"POST /v1/chat/completions HTTP/1.1" 200 OK')
        assert count < answered <= count + 30, "beside them probes, and what was lost on the way in two deaths"
        again = list(this.ask(requests))
        assert {request.key: outcome.value for request, outcome in again if isinstance(outcome, Answer)} == {
            key: outcome.value for key, outcome in seen.items() if isinstance(outcome, Answer)
        }
        assert this.metrics() == {"llm_replayed": count}
        assert len(Journal(files, "llm/journal/write")) == count
        lines = [line for path in tmp_path.rglob("*.jsonl") for line in path.read_text().splitlines()]
        assert len(lines) == count, "no call that had finished was asked again"
    finally:
        this.close()
        stop.set()
        thread.join()
    assert not errors and not guard.members(last["pid"]) and not serving.servers(files, settings)


def victim(files: Files, settings: LlmConfig, *, engine: bool) -> int:
    """Process id of the server that answers now, or of its engine."""
    (name,) = files.names(f"{serving.SERVERS}/{settings.group}")
    pid = int(files.read_json(f"{serving.SERVERS}/{settings.group}/{name}")["pid"])
    if not engine:
        return pid
    names = {each: Path(f"/proc/{each}/comm").read_text() for each in guard.members(pid)}
    (found,) = (each for each, said in names.items() if said.startswith("VLLM::EngineCor"))
    return found
