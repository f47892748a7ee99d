"""Servers of language models in a run: brought up when they are asked, gone afterwards, and never spent too much on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datagen import fleet, serving
from datagen.errors import RunError, UsageError
from datagen.executors.base import PoolSpec
from datagen.files import Files
from datagen.fleet import Fleet
from datagen.llm import guard
from datagen.llm.purse import Purse, Spent, total
from datagen.llm.settings import LlmConfig
from datagen.run import Options, execute, retry
from datagen.stage import Resources
from datagen.status import stage_counts
from datagen.testing.llm_server import Server
from tests.engine import asking, toy
from tests.engine.asking import Ask, AskConfig
from tests.llm.stand_in import stand_in


def vllm(python: Path, **more: Any) -> dict[str, Any]:
    return {"server": "vllm", "model": "fake", "vllm": {"python": str(python), **more}}


def started(folder: Path) -> list[int]:
    """Process ids of the servers that were started."""
    path = folder / "started"
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pids: list[int]) -> list[int]:
    there = {process.pid for process in guard.processes()}
    return [pid for pid in pids if pid in there]


def until(true: Callable[[], object], most_s: float = 30.0) -> None:
    over = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < over, "in vain"
        time.sleep(0.02)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return toy.write_input(tmp_path / "in", 20)


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_servers_are_there_while_they_are_asked_and_no_longer(
    tmp_path: Path, source: Path, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    python = stand_in(tmp_path)
    recipe = asking.recipe(source, vllm(python, replicas=2), executor)
    space, outcome = execute(recipe, str(tmp_path / "run"), Options(progress="lines"), print)
    assert outcome.committed["ask"] == 2 and len(started(tmp_path)) == 2 and not alive(started(tmp_path))
    assert "starting 2 replicas of fake" in (said := capsys.readouterr().out) and "2 of 2 replicas answer" in said
    assert not Files(str(tmp_path / "run")).names("llm/servers")
    counts = {count.stage: count for count in stage_counts(space.plan, space.store, verify=True)}
    assert counts["ask"].ok == counts["ask"].metrics["llm_answers"] == 46 and not counts["ask"].problems
    _, outcome = execute(recipe, str(tmp_path / "run"), Options(progress="none"), print)
    assert not outcome.committed["ask"] and len(started(tmp_path)) == 2, "what is done needs no server"


@pytest.mark.faults
def test_a_replica_whose_worker_is_killed_is_started_elsewhere(tmp_path: Path, source: Path) -> None:
    """The run waits for the second replica, so there is one to be killed while nothing depends on time."""
    python = stand_in(tmp_path)
    command = [sys.executable, "-m", "tests.engine.asking", str(tmp_path / "run"), str(source), "ray"]
    gate, first = tmp_path / "gate", tmp_path / "first"  # only one may answer before the gate is open
    wait = (
        f"try:\n    os.close(os.open({str(first)!r}, os.O_CREAT | os.O_EXCL))\n"
        f"except FileExistsError:\n    while not os.path.exists({str(gate)!r}):\n        time.sleep(0.01)\n"
    )
    mark = "parser = argparse"
    python.write_text(python.read_text().replace(mark, wait + mark, 1))
    with subprocess.Popen([*command, json.dumps(vllm(python, replicas=2))], cwd=Path(__file__).parents[2]) as run:
        try:
            folder = tmp_path / "run/llm/servers"
            until(lambda: list(folder.glob("*/*.json")))
            (first,) = folder.glob("*/*.json")
            told = json.loads(first.read_text())
            os.kill(told["owner"], signal.SIGKILL)
            until(lambda: not alive([told["pid"]]))
            gate.touch()
            assert run.wait(120) == 0
        finally:
            run.kill()
    assert len(started(tmp_path)) == 3 and not alive(started(tmp_path))


@pytest.mark.faults
@pytest.mark.parametrize("executor", ["local", "ray"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_the_driver(tmp_path: Path, source: Path, executor: str, number: int) -> None:
    python = stand_in(tmp_path, answers=3)  # then it hangs
    command = [sys.executable, "-m", "tests.engine.asking", str(tmp_path / "run"), str(source), executor]
    settings = vllm(python) | {"timeout_s": 1.0, "tries": 1}
    with subprocess.Popen([*command, json.dumps(settings)], cwd=Path(__file__).parents[2]) as run:
        try:
            until(lambda: started(tmp_path) and list((tmp_path / "run/llm/servers").glob("*/*.json")))
            assert alive(started(tmp_path))
            run.send_signal(number)
            run.wait(60)
        finally:
            run.kill()
    until(lambda: not alive(started(tmp_path)))


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_server_that_cannot_be_kept_up_ends_the_run(tmp_path: Path, source: Path, executor: str) -> None:
    python = stand_in(tmp_path)
    recipe = asking.recipe(source, vllm(python, args=["--no-such-option"]), executor)
    with pytest.raises(RunError, match=r"does not take its arguments(.|\n)*--no-such-option"):
        execute(recipe, str(tmp_path / "run"), Options(progress="none"), print)
    assert not started(tmp_path)


def test_no_vllm_is_said_before_anything_starts(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UsageError, match=r"stage ask: llm\.vllm\.python: /no/python is not an executable"):
        execute(asking.recipe(source, vllm(Path("/no/python"))), str(tmp_path / "run"), Options(progress="none"), print)
    assert not (tmp_path / "run").exists()


# -- the journal -----------------------------------------------------------------------------------------------------


def test_a_retried_reject_gets_other_answers_than_those_that_were_refused(tmp_path: Path, source: Path) -> None:
    """The first three answers of some clips are no good, whatever is asked; what was accepted is not asked again."""
    heard: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> str:
        heard[name := body["messages"][-1]["content"]] += 1
        return "no" if int(name[-1], 16) % 4 == 0 and heard[name] <= 3 else '{"label":"sad"}'

    run = str(tmp_path / "run")
    with Server(answering=answer) as server:
        recipe = asking.recipe(source, {"server": "endpoint", "model": "fake", "urls": [server.url]})
        space, _ = execute(recipe, run, Options(progress="none"), print)
        first = {count.stage: count for count in stage_counts(space.plan, space.store, verify=True)}["ask"]
        asked = server.counts().requests
        execute(recipe, run, Options(progress="none", start="ask"), print)
        assert server.counts().requests == asked + 1, "doing it again asks nothing anew"
        assert retry(run, "ask") == 2
        space, _ = execute(recipe, run, Options(progress="none"), print)
    last = {count.stage: count for count in stage_counts(space.plan, space.store, verify=True)}["ask"]
    assert 0 < first.rejected < first.ok and not last.rejected and last.ok == first.ok + first.rejected
    assert {heard[name] for name in heard if "Clip" in name} == {1, 4}


# -- caps ------------------------------------------------------------------------------------------------------------


def test_the_same_command_with_a_higher_cap_goes_on(tmp_path: Path, source: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        return '{"label":"sad"}'

    with Server(answering=answer) as server:
        llm = {"server": "endpoint", "model": "fake", "urls": [server.url], "in_flight": 1, "most_tokens": 500}
        with pytest.raises(RunError, match=r"500 were allowed \(llm.most_tokens\).*Raise the cap"):
            execute(asking.recipe(source, llm), str(tmp_path / "run"), Options(progress="none"), print)
        paid = server.counts().requests
        spent = total(Files(str(tmp_path / "run")), serving.SPENT)
        assert 500 <= spent.tokens < 700 and 0 < paid < 46 and spent.gpu_seconds > 0
        with pytest.raises(RunError, match="500 were allowed"):  # it holds for the run, not for each command
            execute(asking.recipe(source, llm), str(tmp_path / "run"), Options(progress="none"), print)
        assert server.counts().requests == paid + 1, "one token tells whether it is there"
        execute(
            asking.recipe(source, llm | {"most_tokens": 10**6}), str(tmp_path / "run"), Options(progress="none"), print
        )
        assert server.counts().requests == 46 + 3, "no finished call is repeated"


def test_a_cap_holds_over_processes(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    one, two = Purse(files, "spent", every_s=0.01), Purse(files, "spent", every_s=0.01)
    assert two.others == Spent()
    one.add(tokens=70, gpu_seconds=2.5)
    until(lambda: two.others == Spent(70, 2.5))
    one.add(tokens=30)
    one.close()
    two.refresh()
    assert two.others == Spent(100, 2.5) and two.own == Spent() and total(files, "spent") == Spent(100, 2.5)
    two.close()
    (tmp_path / "spent/spoilt.json").write_text("{")
    assert total(files, "spent") == Spent(100, 2.5)


# -- who gets which GPUs ---------------------------------------------------------------------------------------------


class Machine:
    """So many GPUs; what was admitted."""

    side_by_side = True

    def __init__(self, gpus: float) -> None:
        self._gpus = gpus
        self.admitted: list[PoolSpec] = []

    def gpus(self) -> float:
        return self._gpus

    def admit(self, pools: list[PoolSpec]) -> None:
        self.admitted = list(pools)


def sized(tmp_path: Path, gpus: float, *models: LlmConfig, taken: float = 0.0) -> dict[str, tuple[int, float]]:
    """Model -> replicas and GPUs of each."""
    stages = {f"ask{at}": Ask(AskConfig(llm=settings)) for at, settings in enumerate(models)}
    machine = Machine(gpus)
    pools = [PoolSpec("other", Ask, Resources(gpus=taken, workers=1))]
    Fleet(stages, Files(str(tmp_path)), lambda: machine, print).admit(list(stages), pools)  # type: ignore[arg-type, return-value]
    names = {f"llm-{settings.group}": settings.model for settings in models}
    return {
        names[pool.name]: (pool.resources.workers or 0, pool.resources.fixed_gpus)
        for pool in machine.admitted
        if pool.name in names
    }


def model(name: str, **settings: Any) -> LlmConfig:
    return LlmConfig.model_validate({"server": "vllm", "model": name, "vllm": settings})


def test_replicas_share_out_the_gpus(tmp_path: Path) -> None:
    assert sized(tmp_path, 0, model("a")) == {"a": (1, 0.0)}, "a CPU has one"
    assert sized(tmp_path, 8, model("a")) == {"a": (8, 1.0)}
    assert sized(tmp_path, 8, model("a", tensor_parallel=4)) == {"a": (2, 4.0)}
    assert sized(tmp_path, 8, model("a"), taken=2.0) == {"a": (6, 1.0)}
    assert sized(tmp_path, 8, model("a"), model("b", tensor_parallel=2)) == {"a": (4, 1.0), "b": (2, 2.0)}
    assert sized(tmp_path, 8, model("a", replicas=1), model("b")) == {"a": (1, 1.0), "b": (7, 1.0)}
    assert sized(tmp_path, 1, model("a", gpus=0.5), model("b", gpus=0.5)) == {"a": (1, 0.5), "b": (1, 0.5)}
    assert sized(tmp_path, 4, model("a"), model("a")) == {"a": (4, 1.0)}, "one model of two stages is served once"


def test_too_few_gpus_are_said_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a 4, b 1; there are 4 in all.*llm.vllm.tensor_parallel"):
        sized(tmp_path, 4, model("a", tensor_parallel=4), model("b"))


def test_threads_are_told_which_gpus_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert fleet._devices(0, 0) == {}
    assert fleet._devices(4, 2) == {"CUDA_VISIBLE_DEVICES": "4,5"}
    assert fleet._devices(0.5, 0.5) == {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-x,7")
    assert fleet._devices(1, 2) == {"CUDA_VISIBLE_DEVICES": "GPU-x,7"}
