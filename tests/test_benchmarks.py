"""The benchmark of the speech models runs, and what it compares agrees. No time is judged here: machines are busy."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def speech() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("speech")


@pytest.fixture(scope="module")
def folder(speech: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("speech")
    speech._speech_clips.checkpoints(made, speech.MODELS, "tiny")
    speech._speech_clips.make(1.5, 4, made / "clips.parquet")
    return made


@pytest.mark.parametrize("model", ["asr", "align", "emotion", "affect", "events"])
def test_both_sides_say_the_same_of_clips_of_unlike_length(model: str, speech: Any, folder: Path) -> None:
    clips = {1.5: folder / "clips.parquet"}
    (found,) = speech.measure(
        model, folder / model, clips, "cpu", rounds={1.5: 1}, start=importlib.import_module("_speech_worker").Here
    )
    assert found.agreement.holds(speech.TOLERANCE[model]) and found.agreement.clips == 4
    if model in ("emotion", "affect", "events"):
        assert found.agreement.spread > 100 * speech.TOLERANCE[model], "what is always the same proves nothing"
    else:
        said = _said(speech, model, folder)
        assert len({one.text for one in said}) == 4 and all(one.numbers for one in said)
    assert 0 <= found.padding < 1 and found.speed("ours") > 0 and len(found.ratios()) == 1


def _said(speech: Any, model: str, folder: Path) -> list[Any]:
    run = importlib.import_module("_speech_models").load(model, "ours", folder / model, "cpu")
    return list(run(speech._speech_clips.read(1.5, folder / "clips.parquet")).said)


def test_a_side_runs_in_a_process_of_its_own_and_tells_its_memory(speech: Any, folder: Path) -> None:
    with speech.Apart("affect", "ours", folder / "affect", "cpu") as side:
        found = side.run(folder / "clips.parquet", 1.5, 2)
    assert len(found["said"]) == 2 and found["seconds"] > 0 and found["peak_mb"] > 100


def test_what_differs_is_seen(speech: Any, folder: Path) -> None:
    said = [speech.Said("a", [0.1, 0.2]), speech.Said("b", [0.3, 0.5])]
    assert speech.compare(said, said) == speech.Agreement(2, 2, 0.0, pytest.approx(0.25))
    other = [replace(said[0], numbers=[0.1, 0.3]), replace(said[1], text="c")]
    assert speech.compare(said, other).same == 1
    assert speech.compare(said, other).difference == pytest.approx(0.1)
    unknown = [replace(said[0], numbers=[0.1, float("nan")]), said[1]]
    assert not speech.compare(said, unknown).holds(1.0)
    assert not speech.Agreement(2, 3, 0.0, 1.0).holds(1.0) and not speech.Agreement(3, 3, 0.1, 1.0).holds(0.01)


def test_a_missed_goal_and_a_difference_are_told(speech: Any) -> None:
    slow = speech.Measured("affect", 3.0, 12.0, {"stock": [1.0, 1.2, 1.1], "ours": [2.0, 1.25, 1.5]})
    assert speech.missed(slow, "cpu") == ["affect, 3 s: ratio 0.80, goal 0.95"]
    assert speech.missed(slow, "cuda") == []
    slow.agreement = speech.Agreement(1, 2, 0.0, 1.0)
    assert len(speech.missed(slow, "cpu")) == 2
    heard = speech.Measured("asr", 3.0, 12.0, {"stock": [8.0], "ours": [1.0]})
    aligned = speech.Measured("align", 3.0, 12.0, {"stock": [1.0], "ours": [1.0]})
    assert speech.missed(speech.together(heard, aligned), "cuda") == ["asr + align, 3 s: ratio 4.50, goal 5"]
