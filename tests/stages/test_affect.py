"""affect by a model: raw values that owe nothing to the batch, and what calibrate and describe make of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.config import load, parse
from datagen.models import manifest
from datagen.pipeline import Pipeline
from datagen.quality.licences import of_rows, published
from datagen.speech.audio import encode_flac
from datagen.speech.calibration import Settings
from datagen.stages.affect import Affect, AffectConfig
from datagen.stages.calibrate import Calibrate
from datagen.stages.describe import Describe
from datagen.testing.batches import batch_for
from datagen.testing.checkpoints import audeering as checkpoints
from datagen.testing.speech import synth

RAW = ("arousal_raw", "dominance_raw", "valence_raw")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build(tmp_path_factory.mktemp("audeering"))


@pytest.fixture(scope="module", params=["layer", "group"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Affect]:
    built = checkpoints.build(tmp_path_factory.mktemp("model"), norm=request.param)
    made = modelled(built)
    made.setup()
    yield made
    made.teardown()


def modelled(folder: Path | str, **settings: Any) -> Affect:
    return Affect(AffectConfig(backend="audeering", model=str(folder), device="cpu", **settings))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [synth(n, f0_hz=90 + 25 * n, seed=n, noise_db=-60 + 3 * n)[0] for n in (2, 3, 3, 4, 5, 6, 8)]


def batch(stage: Affect, clips: list[np.ndarray]) -> pa.Table:
    rows = [
        {"clip_id": f"c{at}", "audio": encode_flac(clip), "duration": len(clip) / 16_000}
        for at, clip in enumerate(clips)
    ]
    return batch_for(stage, rows)


def raw(stage: Affect, clips: list[np.ndarray]) -> np.ndarray:
    output = stage.process(batch(stage, clips))
    assert output.columns is not None and not output.rejects
    return np.array([[row[name] for name in RAW] for row in output.columns.to_pylist()], np.float64)


def test_batch_composition_changes_nothing(stage: Affect, clips: list[np.ndarray]) -> None:
    alone = np.array([raw(stage, [clip])[0] for clip in clips])
    np.testing.assert_allclose(raw(stage, clips), alone, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(raw(stage, clips[::-1])[::-1], alone, rtol=0, atol=TOLERANCE)
    assert np.ptp(alone, axis=0).min() > 100 * TOLERANCE
    assert (alone == np.round(alone, 6)).all()


def test_small_batches_are_the_same_batches(folder: Path, clips: list[np.ndarray]) -> None:
    found = []
    for seconds in (1.0, 3.0, 160.0):
        made = modelled(folder, batch_seconds=seconds)
        made.setup()
        found.append(raw(made, clips))
    np.testing.assert_allclose(found[0], found[2], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found[1], found[2], rtol=0, atol=TOLERANCE)


def test_a_broken_clip_is_one_reject(stage: Affect, clips: list[np.ndarray]) -> None:
    table = batch(stage, clips)
    audio = table["audio"].to_pylist()
    audio[2] = b"fLaC but not really"
    table = table.set_column(table.column_names.index("audio"), "audio", pa.array(audio, pa.large_binary()))
    output = stage.process(table)
    assert [reject.row for reject in output.rejects] == [2]
    assert output.columns is not None and output.columns.schema.equals(tables.AFFECT)
    values = output.columns["arousal_raw"].to_pylist()
    assert values[2] is None and None not in values[:2] + values[3:]
    assert 0 < output.metrics["audio_s"] <= output.metrics["padded_s"]


def test_a_clip_too_short_for_the_model_is_unknown_not_refused(stage: Affect, clips: list[np.ndarray]) -> None:
    output = stage.process(batch(stage, [clips[0], clips[1][:200]]))
    assert not output.rejects and output.columns is not None
    assert output.columns["valence_raw"].null_count == 1
    assert output.columns["arousal_cues"].null_count == 2


# --- What it declares -----------------------------------------------------------------------------------------


def test_only_the_acoustic_backend_needs_pitch(folder: Path) -> None:
    assert "f0_track" in Affect().reads and "f0_track" not in modelled(folder).reads
    stages = load("cpqa", profile="offline").stages()
    stages["affect"] = modelled(folder)
    inputs = {column.name for column in Pipeline(stages).inputs["affect"]}
    assert inputs == {"audio", "duration"}


def test_resources_are_those_of_the_backend() -> None:
    recipe = parse({"recipe": "x", "stages": {"affect": {"backend": "audeering"}}}, "test")
    assert recipe.resources["affect"].gpus == "auto"
    recipe = parse({"recipe": "x", "stages": {"affect": {"backend": "audeering", "device": "cpu"}}}, "test")
    assert recipe.resources["affect"].gpus == 0
    recipe = parse({"recipe": "x", "stages": {"affect": {"backend": "acoustic"}}}, "test")
    assert recipe.resources["affect"] == Affect.resources


def test_other_weights_are_another_key(folder: Path, tmp_path: Path) -> None:
    one, two = modelled(folder), modelled(checkpoints.build(tmp_path, seed=9))
    assert one.semantics() != two.semantics()
    assert one.semantics()["models"][0][1] == manifest.digest(folder)
    assert Affect().semantics() == {"cues": Affect().semantics()["cues"]}


def test_a_missing_model_is_found_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    told = Affect(AffectConfig(backend="audeering")).check()
    assert told is not None and "datagen models pull audeering-dim" in told
    assert modelled(folder).check() is None and Affect().check() is None


def test_what_rests_on_it_is_never_commercial() -> None:
    from datagen.export.published import lineage

    (maker,) = Affect(AffectConfig(backend="audeering")).provenance()
    assert maker.licence == "CC-BY-NC-SA-4.0" and maker.columns == RAW
    rows = pa.table(
        {
            "licence": ["CC0-1.0"] * 3,
            "valence_level": ["high", None, None],
            "used_columns": [[], ["dominance"], ["transcript"]],
        }
    )
    facts = [{"licence": maker.licence, "columns": list(maker.columns)}]
    found = of_rows(rows, facts, lineage(), published())
    assert found["commercial_ok"].to_pylist() == [False, False, True]
    assert found["share_alike"].to_pylist() == [True, True, False]


# --- What becomes of it ---------------------------------------------------------------------------------------


def described(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fit = Calibrate(Settings())
    artifact = fit.process(batch_for(fit, rows)).artifact
    assert artifact is not None
    stage = Describe()
    stage.artifacts = {"calibrate": artifact}
    columns = stage.process(batch_for(stage, rows)).columns
    assert columns is not None
    return columns.to_pylist()


@pytest.mark.parametrize("dimension", ["arousal", "dominance", "valence"])
def test_each_dimension_is_ranked_within_its_corpus(dimension: str) -> None:
    """Two corpora on different stretches of the scale, one beyond its end: the same words in both."""
    rows = [
        {"clip_id": f"{corpus}{at}", "corpus": corpus, f"{dimension}_raw": low + at * 0.015}
        for corpus, low in (("calm", -0.05), ("loud", 0.55))
        for at in range(40)
    ]
    found = described(rows)
    for corpus in (found[:40], found[40:]):
        pct = [row[f"{dimension}_pct"] for row in corpus]
        assert pct == pytest.approx(np.linspace(0, 1, 40), abs=0.02)
        words = [row[f"{dimension}_level"] for row in corpus]
        assert words[:12] == ["low"] * 12 and words[-12:] == ["high"] * 12 and words[20] == "normal"
    values = [row[dimension] for row in found]
    assert min(values) == 0 and max(values) == 1  # what is published is 0..1
    beyond = [row[f"{dimension}_pct"] for row in found[-8:]]
    assert all(np.diff(beyond) > 0), "ranks keep the order beyond the end of the scale"
    others = {"arousal", "dominance", "valence"} - {dimension}
    assert {row[f"{name}{end}"] for row in found for name in others for end in ("", "_pct", "_level")} == {None}


def test_the_stages_fit_together(stage: Affect) -> None:
    """Sound -> raw -> ranks and words, for all three dimensions."""
    voices = [synth(3, f0_hz=80 + 8 * n, seed=n, noise_db=-70 + 2 * n)[0] for n in range(24)]
    columns = stage.process(batch(stage, voices)).columns
    assert columns is not None
    rows = [{"clip_id": f"c{at}", "corpus": "made"} | row for at, row in enumerate(columns.to_pylist())]
    found = described(rows)
    for name in ("arousal", "dominance", "valence"):
        raw_order = np.argsort([row[f"{name}_raw"] for row in rows])
        assert (np.diff(np.array([row[f"{name}_pct"] for row in found])[raw_order]) >= 0).all()
        assert {"low", "normal", "high"} == {row[f"{name}_level"] for row in found}
