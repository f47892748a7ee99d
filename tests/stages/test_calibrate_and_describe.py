"""What "high" means is fitted once, frozen, and read off row by row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import tables
from datagen.speech import calibration
from datagen.speech.calibration import key
from datagen.stages.calibrate import Calibrate
from datagen.stages.describe import Describe, DescribeConfig

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / ".." / "shared" / "corpora"
SCHEMA = pa.schema(
    [*(f for f in tables.CLIPS if f.name in calibration.GIVEN), *tables.PROSODY, *tables.AFFECT, *tables.EMOTION]
)


def corpus(
    name: str = "made", speakers: int = 6, clips: int = 24, *, seed: int = 0, levelled: bool = False, **same: Any
) -> pa.Table:
    """Measured columns of a corpus whose clips differ in effort 0..1, in ``emotion_raw`` as text; half are women."""
    rng = np.random.default_rng(seed)
    rows = []
    for speaker in range(speakers):
        female = speaker % 2 == 0
        f0 = (210 if female else 115) * 2 ** (rng.normal(0, 1.5) / 12)
        for _ in range(clips):
            effort = float(rng.uniform())
            level = -26.0 - 3 * effort if levelled else -35 + 14 * effort + 3 * (speaker % 3)
            level += rng.normal(0, 1.5 if not levelled else 0.5)
            log_f0 = np.log(f0) + 0.4 * (effort - 0.5) + rng.normal(0, 0.05)
            cues = {"log_f0": log_f0, "intensity_db": level, "hf500_db": -8 + 8 * effort + rng.normal(0, 2)}
            rows.append(
                {
                    "corpus": name, "speaker": f"{name}/{speaker}", "sex": "female" if female else "male",
                    "level_dbfs": level, "f0_median_hz": float(np.exp(log_f0)), "f0_range_st": 3 + 6 * effort,
                    "rate_syl_s": 4 + rng.normal(0, 0.8), "rate_source": "nuclei",
                    "pause_ratio": max(0.0, rng.normal(0, 0.1)), "arousal_cues": cues,
                    "emotion": "neutral" if effort < 0.3 else "angry", "label_source": "gold",
                    "emotion_raw": str(effort), **same,
                }
            )  # fmt: skip
    return tables.from_rows(rows, SCHEMA)


def fit(table: pa.Table, **settings: Any) -> dict[str, Any]:
    output = Calibrate(calibration.Settings(**settings)).process(table)
    assert output.columns is None and output.artifact is not None
    return output.artifact


def describe(table: pa.Table, artifact: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    stage = Describe(DescribeConfig(**settings))
    stage.artifacts = {"calibrate": artifact}
    stage.setup()
    columns = stage.process(table).columns
    assert columns is not None and columns.schema.equals(tables.DESCRIBE)
    return columns.to_pylist()


def effort(table: pa.Table) -> np.ndarray:
    return np.array([float(x) for x in table["emotion_raw"].to_pylist()])


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def test_arousal_follows_effort_in_every_speaker() -> None:
    table = corpus()
    arousal = np.array(column(describe(table, fit(table)), "arousal"))
    speakers = np.array(table["speaker"].to_pylist())
    for speaker in set(speakers.tolist()):
        at = speakers == speaker
        assert np.corrcoef(arousal[at], effort(table)[at])[0, 1] > 0.85
    assert 0 <= arousal.min() < 0.3 and 0.7 < arousal.max() <= 1


def test_the_artifact_survives_json_and_the_order_of_rows() -> None:
    table = corpus()
    shuffled = table.take(np.random.default_rng(5).permutation(table.num_rows))
    artifact = fit(table)
    assert json.loads(json.dumps(artifact, allow_nan=False)) == artifact == fit(shuffled)
    assert describe(table, json.loads(json.dumps(artifact))) == describe(table, artifact)


def test_batch_composition_changes_nothing() -> None:
    table = corpus(speakers=3, clips=21)
    artifact = fit(table)
    together = describe(table, artifact)
    assert [describe(table.slice(i, 1), artifact)[0] for i in range(table.num_rows)] == together
    assert describe(table.take(list(range(table.num_rows))[::-1]), artifact)[::-1] == together


def test_calibrate_is_a_frozen_barrier_that_writes_no_columns() -> None:
    stage = Calibrate()
    assert stage.frozen and stage.kind == "barrier" and len(stage.writes) == 0
    before = corpus()
    artifact = fit(before)
    kept = json.dumps(artifact, sort_keys=True)
    describe(corpus("new", seed=9), artifact)  # new audio is described with it and leaves it alone
    assert json.dumps(artifact, sort_keys=True) == kept


def test_pitch_is_compared_within_a_sex_or_a_speaker() -> None:
    table = corpus(clips=12)  # too few clips for speakers of their own
    artifact = fit(table)
    assert artifact["pitch_mode"] == {"made": "sex"}
    rows = describe(table, artifact)
    for sex in ("female", "male"):
        levels = [row["pitch_level"] for row, s in zip(rows, table["sex"].to_pylist(), strict=True) if s == sex]
        assert {"low", "normal", "high"} == set(levels)
    rich = corpus(clips=30)
    artifact = fit(rich)
    assert artifact["pitch_mode"] == {"made": "speaker"}
    pct = np.array(column(describe(rich, artifact), "f0_pct"))
    for speaker in range(6):
        own = pct[np.array(rich["speaker"].to_pylist()) == f"made/{speaker}"]
        assert abs(np.median(own) - 0.5) < 0.1


def test_a_speaker_unknown_at_calibration_is_compared_with_the_sex() -> None:
    artifact = fit(corpus(clips=30))
    new = corpus(speakers=2, clips=5, seed=3, speaker="made/new")
    rows = describe(new, artifact)
    assert None not in column(rows, "f0_pct") + column(rows, "arousal")


def test_a_level_normalised_corpus_is_noticed() -> None:
    honest, levelled = corpus("honest"), corpus("levelled", levelled=True, seed=1)
    table = pa.concat_tables([honest, levelled])
    artifact = fit(table)
    assert artifact["fusion"][key("honest")]["weights"][1] > 0.6
    assert artifact["fusion"][key("levelled")]["weights"][1] == 0.0
    assert not artifact["loudness"][key("honest")]["normalised"]
    assert artifact["loudness"][key("levelled")]["normalised"]
    rows = describe(table, artifact)
    assert None not in column(rows[: honest.num_rows], "loudness_level")
    assert set(column(rows[honest.num_rows :], "loudness_level")) == {None}  # nobody may say "loud" there
    arousal = np.array(column(rows[honest.num_rows :], "arousal"))
    assert np.corrcoef(arousal, effort(levelled))[0, 1] > 0.85


def test_small_corpora_borrow_from_the_whole_run() -> None:
    table = pa.concat_tables([corpus("big"), corpus("tiny", speakers=2, clips=2, seed=4)])
    artifact = fit(table)
    small = artifact["tables"]["f0_range"][key("tiny")]
    assert small == {"n": 4, "edges": None}
    assert artifact["tables"]["f0_range"][key(None)]["n"] == table.num_rows
    tiny = describe(table, artifact)[-4:]
    assert None not in column(tiny, "f0_range_pct") + column(tiny, "arousal_level")


def test_a_run_too_small_for_any_distribution_gives_no_words() -> None:
    table = corpus(speakers=1, clips=4)
    for row in describe(table, fit(table)):
        assert row["arousal"] is not None
        assert {row[name] for names in calibration.FEATURES.values() for name in names} == {None}


def test_no_clips_no_error() -> None:
    artifact = fit(corpus(clips=0))
    assert describe(corpus(speakers=1, clips=2), artifact)[0]["pitch_level"] is None


def test_what_nobody_measured_stays_null() -> None:
    table = corpus().select(list(calibration.GIVEN))
    rows = describe(table, fit(table))
    assert rows[0].pop("level_pct") is not None and rows[0].pop("loudness_level") is not None
    assert set(rows[0].values()) == {None}


def test_a_corpus_without_variation_is_normal() -> None:
    table = corpus(f0_range_st=5.0, rate_syl_s=4.2, pause_ratio=0.0)
    rows = describe(table, fit(table))
    for name in ("pitch_range_level", "rate_level", "pause_level"):
        assert set(column(rows, name)) == {"normal"}, name
    jitter = corpus()
    rate = pa.array(4.2 + 0.01 * np.arange(jitter.num_rows) / jitter.num_rows)
    jitter = jitter.set_column(jitter.column_names.index("rate_syl_s"), "rate_syl_s", rate)
    assert set(column(describe(jitter, fit(jitter)), "rate_level")) == {"normal"}


def test_word_times_and_nuclei_are_two_rulers() -> None:
    slow, fast = corpus(seed=1, rate_source="nuclei"), corpus(seed=2, rate_source="words")
    rate = pa.array(np.array(fast["rate_syl_s"].to_pylist()) + 3)
    fast = fast.set_column(fast.column_names.index("rate_syl_s"), "rate_syl_s", rate)
    table = pa.concat_tables([slow, fast])
    pct = np.array(column(describe(table, fit(table)), "rate_pct"))
    assert abs(np.median(pct[: slow.num_rows]) - 0.5) < 0.05 and abs(np.median(pct[slow.num_rows :]) - 0.5) < 0.05


def test_a_model_takes_precedence_and_passes_through() -> None:
    table = corpus(arousal_raw=0.61, dominance_raw=0.4, valence_raw=1.2)
    row = describe(table, fit(table))[0]
    assert (row["arousal"], row["dominance"], row["valence"]) == (0.61, 0.4, 1.0)
    assert row["valence_pct"] == 0.5 and row["valence_level"] == "normal"


def test_neutral_clips_are_the_baseline_when_labelled() -> None:
    table = corpus(clips=30)
    with_labels, without = fit(table, neutral_baseline=True), fit(table)
    assert {s["source"] for s in with_labels["baselines"]["speakers"].values()} == {"neutral"}
    assert {s["source"] for s in without["baselines"]["speakers"].values()} == {"all"}
    neutral = effort(table) < 0.3
    centred = np.array(column(describe(table, with_labels), "arousal"))
    assert abs(np.median(centred[neutral]) - 0.5) < 0.08
    assert np.median(np.array(column(describe(table, without), "arousal"))[neutral]) < 0.4
    guessed = corpus(clips=30, label_source="pseudo")
    assert {s["source"] for s in fit(guessed, neutral_baseline=True)["baselines"]["speakers"].values()} == {"all"}


def test_labels_change_nothing_unless_asked_for() -> None:
    table = corpus()
    bare = table.set_column(table.column_names.index("emotion"), "emotion", pa.nulls(table.num_rows, pa.string()))
    assert fit(table) == fit(bare)
    assert fit(table, neutral_baseline=True) != fit(bare, neutral_baseline=True)


def test_drift_is_seen_and_only_where_it_is() -> None:
    artifact = fit(corpus(speakers=8))
    same = calibration.drift(artifact, corpus(speakers=8, seed=7))
    assert same["rate"][key("made", "nuclei")]["psi"] < 0.25
    other = corpus(speakers=8, seed=8)
    rate = pa.array(np.array(other["rate_syl_s"].to_pylist()) + 1.5)
    other = other.set_column(other.column_names.index("rate_syl_s"), "rate_syl_s", rate)
    moved = calibration.drift(artifact, other)
    assert moved["rate"][key("made", "nuclei")]["psi"] > 1 and moved["rate"][key("made", "nuclei")]["ks"] > 0.4
    assert moved["f0_range"][key("made")]["psi"] < 0.25
    assert "valence" not in moved


def test_a_few_clips_show_no_drift_from_themselves() -> None:
    few = corpus().slice(0, 12)
    assert calibration.drift(fit(few), few) == {}


def test_edges_are_checked() -> None:
    with pytest.raises(ValueError, match="must be below"):
        DescribeConfig(low=0.7, high=0.3)


@given(st.lists(st.floats(-5, 5), min_size=10, max_size=60), st.floats(-6, 6))
def test_percentiles_are_ranks(values: list[float], probe: float) -> None:
    values, probe = [round(value, 6) for value in values], round(probe, 6)  # as all stored scores are
    edges = np.round(np.quantile(np.array(values), np.linspace(0, 1, 101)), 6)
    found = calibration.percentile(np.array([*sorted(values), probe]), edges)
    assert (np.diff(found[:-1]) >= 0).all() and (found >= 0).all() and (found <= 1).all()
    strictly_below = np.mean(np.array(values) < probe)
    at_or_below = np.mean(np.array(values) <= probe)
    # A quantile table is exact to one step and to the gap between two values.
    slack = 0.02 + 1 / (len(values) - 1)
    assert strictly_below - slack <= found[-1] <= at_or_below + slack


def benchmark(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "arousal.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def levels_of(printed: str) -> dict[str, bool]:
    """Corpus -> whether the benchmark found it brought to one level."""
    lines = [line.removeprefix("level of ") for line in printed.splitlines() if line.startswith("level of ")]
    return {line.split(":")[0]: "'normalised': True" in line for line in lines}


@pytest.mark.timeout(900)
def test_arousal_goals_hold_on_generated_speech() -> None:
    assert levels_of(benchmark("--twin", "--workers", "2")) == {"twin": False, "twin-levelled": True}


@pytest.mark.timeout(900)  # half a minute of computing, but machines are shared
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no corpora beside the checkout")
def test_arousal_goals_hold_on_real_corpora(tmp_path: Path) -> None:
    lines = (SHARED / "devset" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["corpus"] in ("ravdess", "emodb", "nemo")]
    files = [{**row, "file": str(SHARED / "devset" / row["file"])} for row in rows]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in files), encoding="utf-8")
    found = levels_of(benchmark("--manifest", str(manifest)))
    assert found == {"emodb": True, "nemo": False, "ravdess": False}
