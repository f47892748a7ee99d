"""age_gender: what a voice sounds like stands in where the corpus says nothing, and carries its licence along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.models import manifest
from datagen.quality import checks, facts
from datagen.quality.licences import of_rows, published
from datagen.speech.audio import encode_flac
from datagen.speech.calibration import Settings
from datagen.stages.age_gender import AgeGender, AgeGenderConfig, _row
from datagen.stages.calibrate import Calibrate
from datagen.stages.describe import Describe
from datagen.testing.batches import batch_for
from datagen.testing.checkpoints import audeering as checkpoints
from datagen.testing.records import clip_rows
from datagen.testing.speech import synth

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> AgeGender:
    folder = checkpoints.build_age_gender(tmp_path_factory.mktemp("age_gender"))
    made = AgeGender(AgeGenderConfig(model=str(folder), device="cpu", min_confidence=0.4))
    made.setup()
    return made


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [synth(n, f0_hz=90 + 25 * n, seed=n, noise_db=-60 + 3 * n)[0] for n in (2, 3, 3, 4, 5, 6, 8)]


def rows(stage: AgeGender, clips: list[np.ndarray]) -> list[dict[str, Any]]:
    given = [
        {"clip_id": f"c{at}", "audio": encode_flac(clip), "duration": len(clip) / 16_000}
        for at, clip in enumerate(clips)
    ]
    output = stage.process(batch_for(stage, given))
    assert output.columns is not None and output.columns.schema.equals(tables.AGE_GENDER) and not output.rejects
    return output.columns.to_pylist()


def numbers(row: dict[str, Any]) -> list[float]:
    return [row["age_predicted"] / 100, *(score["score"] for score in row["sex_scores"])]


def test_batch_composition_changes_nothing(stage: AgeGender, clips: list[np.ndarray]) -> None:
    together = np.array([numbers(row) for row in rows(stage, clips)])
    alone = np.array([numbers(rows(stage, [clip])[0]) for clip in clips])
    np.testing.assert_allclose(together, alone, rtol=0, atol=TOLERANCE)
    assert np.ptp(alone, axis=0).min() > 100 * TOLERANCE
    np.testing.assert_allclose(alone[:, 1:].sum(axis=1), 1, atol=1e-5)


def test_scores_stand_by_name_and_decide(stage: AgeGender, clips: list[np.ndarray]) -> None:
    for row in rows(stage, clips):
        assert [score["label"] for score in row["sex_scores"]] == ["female", "male", "child"]
        best = max(row["sex_scores"], key=lambda score: score["score"])
        sure = best["label"] != "child" and best["score"] >= 0.4
        assert row["sex_predicted"] == (best["label"] if sure else None)


@pytest.mark.parametrize(("scores", "expected"), [
    ((0.9, 0.08, 0.02), "female"), ((0.1, 0.8, 0.1), "male"), ((0.1, 0.79, 0.11), None), ((0.05, 0.05, 0.9), None),
])  # fmt: skip
def test_children_and_unsure_voices_have_no_sex(scores: tuple[float, ...], expected: str | None) -> None:
    answer = {"age": 31.5, **dict(zip(("female", "male", "child"), scores, strict=True))}
    assert _row(answer, 0.8)["sex_predicted"] == expected
    assert _row(answer, 0.8)["age_predicted"] == 31.5


def test_too_short_or_rejected_is_unknown(stage: AgeGender, clips: list[np.ndarray]) -> None:
    assert set(rows(stage, [clips[0], clips[0][:100]])[1].values()) == {None}
    assert _row(None, 0.8) == {}


def test_a_missing_model_is_found_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    for name in ("audeering-age-gender-6", "audeering-age-gender-24"):
        told = AgeGender(AgeGenderConfig(model=name)).check()
        assert told is not None and f"datagen models pull {name}" in told


def test_the_two_models_are_two_keys() -> None:
    six, other = AgeGender(), AgeGender(AgeGenderConfig(model="audeering-age-gender-24"))
    assert six.semantics() != other.semantics()
    assert AgeGenderConfig.non_semantic >= {"model", "device", "batch_seconds"}


# --- Who uses it: calibration ---------------------------------------------------------------------------------


def voices(speakers: int = 6, clips: int = 20, *, sex: bool, seed: int = 0) -> list[dict[str, Any]]:
    """Half women, half men, pitch about 210 and 115 Hz; the model is wrong about one clip in ten."""
    dice = np.random.default_rng(seed)
    made = []
    for speaker in range(speakers):
        own, other = ("female", "male") if speaker % 2 == 0 else ("male", "female")
        for at in range(clips):
            f0 = (210 if own == "female" else 115) * 2 ** (dice.normal(0, 2) / 12)
            made.append(
                {
                    "clip_id": f"{speaker}-{at}", "corpus": "made", "speaker": f"made/{speaker}",
                    "sex": own if sex else None, "sex_predicted": other if at % 10 == 0 else own, "f0_median_hz": f0,
                    "arousal_cues": {"log_f0": float(np.log(f0)), "intensity_db": -30.0 + dice.normal(),
                                     "hf500_db": -8.0 + dice.normal()},
                }
            )  # fmt: skip
    return made


def described(given: list[dict[str, Any]], *, fitted: list[dict[str, Any]] | None = None, **settings: Any) -> pa.Table:
    fit = Calibrate(Settings(min_speaker_clips=1000, **settings))
    artifact = fit.process(batch_for(fit, fitted or given)).artifact
    assert artifact is not None
    stage = Describe()
    stage.artifacts = {"calibrate": artifact}
    columns = stage.process(batch_for(stage, given)).columns
    assert columns is not None
    return columns


def ranks(columns: pa.Table) -> pa.Table:
    """All that is said of the voice, but not how its sex is known."""
    return columns.drop_columns(["sex_heard"])


def test_pitch_is_compared_within_the_sex_that_was_heard() -> None:
    known = described(voices(sex=True))
    heard = described(voices(sex=False))
    assert ranks(heard).equals(ranks(known))  # a speaker is what most clips sound like: the wrong ones change nothing
    ignored = described(voices(sex=False), predicted_sex=False)
    assert not ranks(ignored).equals(ranks(known))
    women = [row["speaker"] in ("made/0", "made/2", "made/4") for row in voices(sex=False)]
    level = np.array(ignored["pitch_level"].to_pylist())
    assert "low" not in level[women]  # every woman "high": that is what comparing across sexes does
    assert {"low", "normal", "high"} == set(np.array(heard["pitch_level"].to_pylist())[women])


def test_the_corpus_is_believed_before_the_model() -> None:
    given = voices(sex=True)
    wrong = [{**row, "sex_predicted": "male"} for row in given]
    assert described(wrong).equals(described(given))


def test_the_order_of_rows_fits_the_same() -> None:
    given = voices(sex=False)
    shuffled = [given[at] for at in np.random.default_rng(3).permutation(len(given))]
    assert described(given, fitted=shuffled).equals(described(given))


def test_an_unknown_speaker_is_what_the_clip_sounds_like() -> None:
    fitted = voices(sex=True)
    given = [{**row, "speaker": None} for row in voices(sex=True, seed=4)]
    heard = [{**row, "sex": None, "sex_predicted": row["sex"]} for row in given]
    assert ranks(described(heard, fitted=fitted)).equals(ranks(described(given, fitted=fitted)))


def test_a_speaker_heard_as_both_alike_is_unknown() -> None:
    torn = [{**row, "sex_predicted": ("female", "male")[at % 2]} for at, row in enumerate(voices(sex=False))]
    unheard = [{**row, "sex_predicted": None} for row in voices(sex=False)]
    assert described(torn).equals(described(unheard))


def test_a_speaker_is_not_a_woman_in_one_clip_and_a_man_in_the_next() -> None:
    given = voices(sex=False)
    truth = [row["sex"] for row in voices(sex=True)]
    assert [row["sex_predicted"] for row in given] != truth, "else this would prove nothing"
    assert described(given)["sex_heard"].to_pylist() == truth
    assert set(described(voices(sex=True))["sex_heard"].to_pylist()) == {None}
    assert set(described(given, predicted_sex=False)["sex_heard"].to_pylist()) == {None}
    alone = [{**row, "speaker": None} for row in given]
    assert described(alone)["sex_heard"].to_pylist() == [row["sex_predicted"] for row in given]


def test_a_speaker_of_whom_corpus_and_model_say_different_things_is_unknown() -> None:
    told = [{**row, "sex": "male" if at % 20 == 0 else None} for at, row in enumerate(voices(sex=False))]
    heard = dict(zip((row["clip_id"] for row in told), described(told)["sex_heard"].to_pylist(), strict=True))
    assert (heard["0-1"], heard["1-1"]) == (None, "male")  # speaker 0 sounds like a woman, speaker 1 like a man


# --- Who uses it: records, checks, permissions ----------------------------------------------------------------


@pytest.mark.parametrize(("given", "heard", "sex", "column"), [
    ("female", "male", "female", "sex"), (None, "male", "male", "sex_heard"), (None, None, None, "sex"),
    (None, "child", None, "sex"), ("male", None, "male", "sex"),
])  # fmt: skip
def test_a_record_says_whose_word_the_sex_is(given: str, heard: str, sex: str, column: str) -> None:
    row = clip_rows(1, seed=5)[0] | {"sex": given, "sex_heard": heard, "age_years": None, "age_predicted": 40.0}
    record = facts.from_row(row)
    assert (record.get("sex"), record.sex_column) == (sex, column)
    assert not record.has("age_years")  # a predicted age is too coarse to be a fact


def test_samples_name_the_column_they_rest_on() -> None:
    """The template writer's own samples: with the sex predicted, nothing rests on `sex`, and every check passes."""
    from datagen.llm import prompts
    from datagen.stages.write import DEFAULT_COUNTS
    from datagen.writing import template

    loaded = prompts.load(prompts.folder("template", None))
    named = set()
    for row in clip_rows(12, seed=6, language="en"):
        record = facts.from_row(row | {"sex": None, "sex_heard": row["sex"]})
        samples, refused = template.write(record, loaded, DEFAULT_COUNTS, ("explicit", "implicit"), 0)
        assert samples and not refused
        for sample in samples:
            assert not checks.check(sample, record)
            assert "sex" not in sample["used_columns"]
            named.update(sample["used_columns"])
    assert "sex_heard" in named


def test_what_rests_on_it_is_never_commercial() -> None:
    from datagen.export.published import lineage

    (maker,) = AgeGender().provenance()
    assert maker.licence == "CC-BY-NC-SA-4.0" and set(maker.columns) == set(tables.AGE_GENDER.names)
    used = [["sex_heard"], ["pitch_level"], ["f0_median_hz"], ["sex"]]
    rows_ = pa.table({"licence": ["CC0-1.0"] * 4, "used_columns": used})
    found = of_rows(rows_, [{"licence": maker.licence, "columns": list(maker.columns)}], lineage(), published())
    assert found["commercial_ok"].to_pylist() == [False, False, True, True]
