"""What holds for every test: skips are bounded, models have one thread, and nobody sees what the user has pulled.

A test may be skipped for the reasons below, so often and no more; else the session fails.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from datagen import registry
from datagen.llm.settings import LlmConfig
from datagen.testing import vllm

# Libraries that share a sum among threads wait for each other on busy cores; torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Part of the reason -> most tests that may be skipped for it.
ALLOWED = {
    "corpora": 40,  # labelled corpora beside the checkout; each such test has a twin on generated speech
    "torchcodec": 2,  # datasets' own audio decoder, which needs FFmpeg libraries on the system
    "make setup-llm-cpu": 20,  # tests with a real server of a language model, which is an environment of its own
    "mounts nothing": 2,  # a small file system to fill needs privileges
}

_reasons: list[str] = []


#: As they are before any fixture, of whatever scope, has put others in their place.
REAL_STAGES = dict(registry.BUILTIN)


@pytest.fixture(autouse=True)
def _real_stages_afterwards() -> Iterator[None]:
    """Toy stages take the place of the real ones only within a test."""
    yield
    registry.BUILTIN.clear()
    registry.BUILTIN.update(REAL_STAGES)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Stock calls set torch's threads for the whole process and leave them so."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_models_but_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees what the user has pulled, or leaves anything there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAGEN_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(scope="session")
def vllm_settings(tmp_path_factory: pytest.TempPathFactory) -> LlmConfig:
    """For a recipe's ``llm`` section: a real vLLM, started by the run itself, serves a tiny model on the CPU."""
    if not vllm.PYTHON.exists():
        pytest.skip("no vLLM here: make setup-llm-cpu")
    return vllm.settings(tmp_path_factory.mktemp("language-model"))


@pytest.fixture(scope="session")
def vllm_url(vllm_settings: LlmConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of such a server: one for all tests that do not kill it. It takes half a minute to start."""
    with vllm.serving(vllm_settings, tmp_path_factory.mktemp("vllm") / "server.log") as url:
        yield url


def over_the_bound(reasons: list[str]) -> list[str]:
    """What is wrong with these skips, as sentences."""
    found: Counter[str] = Counter()
    wrong = []
    for reason in reasons:
        known = next((part for part in ALLOWED if part in reason), None)
        if known is None:
            wrong.append(f"no test may be skipped for this: {reason}")
        else:
            found[known] += 1
    return wrong + [
        f"{count} tests skipped for '{part}', at most {ALLOWED[part]} may be"
        for part, count in found.items()
        if count > ALLOWED[part]
    ]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _reasons.append(report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _reasons.append(str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if over_the_bound(_reasons) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for sentence in over_the_bound(_reasons):
        terminalreporter.write_line(f"too many skips: {sentence}", red=True)
