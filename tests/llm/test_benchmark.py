"""The benchmark of the client runs, and both sides and the faulty run bring the same answers. No time is judged."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def test_it_runs_and_the_answers_agree(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    bench = importlib.import_module("llm")
    monkeypatch.setattr(bench, "PEERS", Path("nowhere"))
    assert bench.main(["--quick"]) == 0
    said = capsys.readouterr().out
    assert "all of them, with and without faults: met" in said and "AsyncOpenAI was not measured" in said


def test_a_missed_goal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    bench = importlib.import_module("llm")
    good = {"seconds": 10.0, "most_s": 9.8, "cpu_s": 1.0, "answers": 1000, "peak_mb": 50.0, "digest": "a"}
    found = {"bare": [good], "ours": [good], "faults": [good]}
    assert bench.report(found, 1000, 64) == ["64 in flight: 1.00 processor s per 1,000, less than 0.9"]
    found["ours"] = [{**good, "seconds": 10.5, "cpu_s": 0.5, "answers": 999, "digest": "b"}]
    found["faults"] = [{**good, "most_s": 20.0}]
    assert len(bench.report(found, 1000, 64)) == 3
