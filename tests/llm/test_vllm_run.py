"""Recipes with a real vLLM on the CPU: a run starts it, asks it in constrained JSON, and outlives its death.

The model is tiny and its weights are random, so what it writes is nonsense in the right shape: the checks must refuse
all of it. What it is asked to choose or to rate it does choose and rate.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from datagen.llm.settings import LlmConfig

from .whole_run import conserved, go_on, journalled, samples

FEW = ("stages.write.tasks=[classification,response]", "stages.write.modes=[implicit]", "stages.write.candidates=1",
       "llm.in_flight=32")  # fmt: skip
READING = (*FEW, "stages.scenario=null", "stages.write.writer=template", "stages.judge.tasks=[response]",
           "stages.judge.votes=1", "stages.judge.max_tokens=1000",
           "stages.judge.criteria=[content,fluency]")  # fmt: skip


def started(settings: LlmConfig) -> tuple[str, ...]:
    """Overrides for a run that starts its own server."""
    vllm = settings.vllm
    return ("llm.server=vllm", f"llm.model={settings.model}", "llm.licence=Apache-2.0",
            f"llm.vllm.python={vllm.python}", f"llm.vllm.args={json.dumps(vllm.args)}",
            f"llm.vllm.env={json.dumps(vllm.env)}", f"llm.vllm.ready_s={vllm.ready_s}")  # fmt: skip


def test_nonsense_in_the_right_shape_is_refused(prepared, tmp_path, vllm_settings, vllm_url) -> None:
    sets = ("llm.server=endpoint", f"llm.urls=[{vllm_url}]", f"llm.model={vllm_settings.model}", *FEW,
            "llm.constraint=structured_outputs", "llm.licence=Apache-2.0", "stages.write.retries=0",
            "stages.scenario.retries=0", "max_reject_fraction=1")  # fmt: skip
    space = go_on(prepared, tmp_path / "run", *sets, until="verify")
    counts = conserved(space)
    assert counts["write"].metrics["llm_answers"] > 20, "constrained: the answers have the shape"
    why = counts["write"].rejected_why
    assert counts["write"].rejected > 0
    assert not {"WrongShape", "InvalidJSON", "WhitespaceLoop"} & set(why)
    written = [row for shard in space.plan.shards for row in _rows(space, shard, "task", "question")]
    # What all clips of a contrast group are asked is ours where there is no scenario: nothing of the model's is left.
    assert {row["task"] for row in written} == {"classification"}
    assert len({row["question"].split("?")[0] for row in written}) == 1


def test_a_killed_server_is_restarted_and_nothing_is_asked_twice(prepared, tmp_path, vllm_settings) -> None:
    run = tmp_path / "run"
    killed: list[int] = []
    over = threading.Event()

    def kill_in_the_middle() -> None:
        while not over.wait(0.05):
            if len(list(journalled(run))) > 30:
                for file in (run / "llm" / "servers").rglob("0.json"):
                    killed.append(json.loads(file.read_text("utf-8"))["pid"])
                    os.kill(killed[-1], signal.SIGKILL)
                    return

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    try:
        space = go_on(prepared, run, *started(vllm_settings), *READING)
    finally:
        over.set()
        killer.join()
    assert killed, "the server was killed while it was asked"
    counts = conserved(space)
    assert counts["blind"].rejected == counts["judge"].rejected == 0
    keys = Counter(journalled(run))
    assert max(keys.values()) == 1, "no finished call was repeated"
    read = [
        row
        for shard in space.plan.shards
        for row in _rows(space, shard, "task", "blind_text_accuracy", "judge_content")
    ]
    assert any(row["blind_text_accuracy"] is not None for row in read if row["task"] == "classification")
    assert any(row["judge_content"] is not None for row in read if row["task"] == "response"), read
    assert len(samples(space)) > 0
    template = go_on(prepared, tmp_path / "template", *started(vllm_settings), *READING, until="verify")
    for shard in space.plan.shards:
        assert _rows(space, shard, "sample_id", "sample_hash") == _rows(template, shard, "sample_id", "sample_hash")
    assert not _alive(killed[0])


def _rows(space, shard: int, *names: str) -> list[dict[str, str]]:
    return space.store.read(space.plan.table_plan("samples", shard, list(names), live=False)).to_pylist()


def _alive(pid: int) -> bool:
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            return False
        time.sleep(0.1)
    return True
