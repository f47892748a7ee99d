"""A real vLLM on the CPU that serves a tiny model with random weights: what tests of generation ask.

with serving(settings(folder), folder / "server.log") as url:
    ...
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datagen.llm.server import BESIDE
from datagen.llm.settings import LlmConfig, VllmConfig
from datagen.llm.supervisor import Supervisor
from datagen.testing.checkpoints import language_model

#: What ``make setup-llm-cpu`` makes.
PYTHON = BESIDE
#: Small and quick to start: nothing is compiled, a gigabyte of cache. Prompts are read in one go: on a CPU this vLLM
#: dies of a seeded request whose prompt it takes in parts ("CPU Generator does not use offset").
ARGS = ("--max-model-len", "16384", "--max-num-batched-tokens", "16384", "--no-enable-chunked-prefill",
        "--enforce-eager", "--max-num-seqs", "64")  # fmt: skip
ENV = {"VLLM_CPU_KVCACHE_SPACE": "1"}
READY_S = 280.0


def settings(folder: Path) -> LlmConfig:
    """Of a model that is built into ``folder``."""
    model = language_model.build(folder / "tiny-qwen2")
    served = VllmConfig(python=str(PYTHON), args=ARGS, env=ENV, ready_s=READY_S)
    return LlmConfig(server="vllm", model=str(model), licence="Apache-2.0", vllm=served)


@contextmanager
def serving(asked: LlmConfig, log: Path) -> Iterator[str]:
    """Base URL of a server that is supervised in a thread of this process."""
    told: list[tuple[str, int]] = []
    news, stop, errors = threading.Event(), threading.Event(), list[BaseException]()

    def publish(server: tuple[str, int] | None) -> None:
        if server is not None:
            told.append(server)
            news.set()

    def supervise() -> None:
        try:
            Supervisor(asked, host="127.0.0.1", log=log, publish=publish, stopped=stop.is_set).run()
        except BaseException as error:
            errors.append(error)
            news.set()

    thread = threading.Thread(target=supervise, name="vllm")
    thread.start()
    try:
        news.wait(READY_S)
        if not told:
            raise errors[0] if errors else TimeoutError(f"no vLLM within {READY_S:g} s: {log}")
        yield told[0][0]
    finally:
        stop.set()
        thread.join()
