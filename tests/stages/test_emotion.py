"""emotion: the corpus's labels, the model's scores, and what becomes of both."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.errors import EnvironmentFault
from datagen.models.emotion2vec import Prediction
from datagen.models.emotion2vec.loading import label
from datagen.part import compute
from datagen.quality.emotions import emotion_table
from datagen.speech.audio import encode_flac
from datagen.stage import Output
from datagen.stages.emotion import Emotion, EmotionConfig, describe, window_starts
from datagen.testing.batches import batch_for
from datagen.testing.checkpoints import emotion2vec as checkpoints
from datagen.testing.speech import synth

ANGRY = {"field": "emotion", "value": "W", "source": "labels", "reason": None}


# --- reference -----------------------------------------------------------------------------------------------------


def test_gold_labels_have_no_scores_and_no_margin():
    stage = Emotion()
    out = stage.process(batch_for(stage, [{"clip_id": "a", "corpus": "emodb", "labels": [ANGRY]}, {"clip_id": "b"}]))
    assert out.columns.schema == tables.EMOTION
    nothing = dict.fromkeys(tables.EMOTION.names)
    gold = {"emotion": "angry", "emotion_raw": "W", "label_source": "gold", "sentiment": "negative"}
    assert out.columns.to_pylist() == [nothing | gold, nothing]


def test_empty_batch_and_columns_of_nulls():
    stage = Emotion()
    assert stage.process(batch_for(stage, [])).columns.num_rows == 0
    nulls = pa.table({"clip_id": ["a"], "corpus": pa.nulls(1), "labels": pa.nulls(1)})
    assert stage.process(nulls).columns["emotion"].null_count == 1


def test_the_tables_version_is_part_of_the_key():
    assert Emotion().semantics() == {"emotion_labels": emotion_table().version}


def test_without_a_model_nothing_but_labels_is_read_and_no_gpu_is_asked_for():
    assert Emotion().reads == ("corpus", "labels")
    assert Emotion().models() == () and Emotion().check() is None
    assert Emotion.wants(EmotionConfig()) == Emotion.resources


# --- emotion2vec ---------------------------------------------------------------------------------------------------

VOICES = [
    synth(syllables, f0_hz=80 * 1.2**at, rate=3 + at / 3, breathiness=at / 8, seed=at)[0]
    for at, syllables in enumerate((2, 3, 4, 5, 14, 24))
]
VOICES[0] = VOICES[0][:12_000]  # shorter than a window


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build(tmp_path_factory.mktemp("emotion2vec"))


def stage_of(folder: Path, **settings: Any) -> Emotion:
    config = {"min_margin": 0.0, "window_s": 1.0, "hop_s": 0.5} | settings
    stage = Emotion(EmotionConfig(backend="emotion2vec", model=str(folder), device="cpu", **config))
    assert stage.check() is None
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def stage(folder: Path) -> Emotion:
    return stage_of(folder)


def clip(at: int, sound: Any, *labels: dict[str, Any], corpus: str = "emodb") -> dict[str, Any]:
    audio = sound if isinstance(sound, bytes) else encode_flac(sound)
    duration = 1.0 if isinstance(sound, bytes) else len(sound) / 16_000
    return {"clip_id": f"c{at}", "corpus": corpus, "labels": list(labels), "audio": audio, "duration": duration}


def run(stage: Emotion, rows: list[dict[str, Any]]) -> Output:
    batch = batch_for(stage, rows)
    part = compute(stage, batch, "emotion")  # the engine holds the answer to the contract
    assert part.columns is not None and part.columns.schema == tables.EMOTION
    return stage.process(batch)


def test_scores_are_the_stock_calls_by_name(stage: Emotion, folder: Path):
    from funasr import AutoModel

    library = AutoModel(model=str(folder), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)
    stored = [np.round(voice * 32768).clip(-32768, 32767).astype(np.float32) / 32768 for voice in VOICES]
    answers = library.generate(stored, granularity="utterance", extract_embedding=False)
    rows = run(stage, [clip(at, voice) for at, voice in enumerate(VOICES)]).columns.to_pylist()
    assert np.ptp([answer["scores"] for answer in answers], axis=0).max() > 0.01
    for row, answer in zip(rows, answers, strict=True):
        named = {token.rpartition("/")[2]: s for token, s in zip(answer["labels"], answer["scores"], strict=True)}
        named["unknown"] = named.pop("<unk>")
        assert {item["label"]: item["score"] for item in row["emotion_scores"]} == pytest.approx(named, abs=1e-4)
        ordered = sorted(answer["scores"], reverse=True)
        assert row["emotion_margin"] == pytest.approx(ordered[0] - ordered[1], abs=1e-4)
        entropy = -sum(s * math.log(s) for s in answer["scores"])
        assert row["emotion_entropy"] == pytest.approx(entropy, abs=1e-3)
        assert row["emotion_predicted"] == max(named, key=named.get)
        assert row["emotion_embedding"] is None


def test_the_first_choice_is_the_emotion_where_there_is_no_label(stage: Emotion):
    rows = run(stage, [clip(at, voice) for at, voice in enumerate(VOICES)]).columns.to_pylist()
    assert len({row["emotion_predicted"] for row in rows}) > 1
    for row in rows:
        predicted = row["emotion_predicted"]
        assert row["emotion"] == (None if predicted == "unknown" else predicted)
        assert row["emotion_raw"] == ("<unk>" if predicted == "unknown" else row["emotion_raw"])
        assert label(row["emotion_raw"]).name == predicted
        assert row["label_source"] == (None if row["emotion"] is None else "pseudo")


def test_a_label_of_the_corpus_goes_first_and_the_scores_stay_the_models(stage: Emotion, folder: Path):
    unlabelled, labelled = [clip(0, VOICES[0])], [clip(0, VOICES[0], ANGRY)]
    (heard,) = run(stage, unlabelled).columns.to_pylist()
    (gold,) = run(stage, labelled).columns.to_pylist()
    asserted = {"emotion": "angry", "emotion_raw": "W", "label_source": "gold", "sentiment": "negative"}
    assert gold == heard | asserted
    assert heard["emotion_predicted"] != "angry"  # or the test shows nothing
    (other,) = run(stage_of(folder, prefer_gold=False), labelled).columns.to_pylist()
    assert other == heard


def test_labels_that_name_no_one_emotion_leave_the_word_to_the_model(stage: Emotion):
    sad = ANGRY | {"value": "T"}
    rows = run(stage, [clip(0, VOICES[0]), clip(1, VOICES[0], ANGRY, sad)]).columns.to_pylist()
    assert rows[0] == rows[1] and rows[0]["label_source"] in ("pseudo", None)


def test_a_choice_by_a_hair_is_no_answer(stage: Emotion, folder: Path):
    rows = run(stage, [clip(at, voice) for at, voice in enumerate(VOICES)]).columns.to_pylist()
    margins = sorted(row["emotion_margin"] for row in rows)
    least = margins[len(margins) // 2]
    strict = run(stage_of(folder, min_margin=least), [clip(at, voice) for at, voice in enumerate(VOICES)])
    for before, after in zip(rows, strict.columns.to_pylist(), strict=True):
        if before["emotion_margin"] >= least:
            assert after == before
        else:
            assert after == before | {"emotion": None, "label_source": None, "sentiment": None}
    gold = run(stage_of(folder, min_margin=1.0), [clip(0, VOICES[0], ANGRY)]).columns.to_pylist()
    assert gold[0]["emotion"] == "angry"  # the margin is the model's affair


def test_the_timeline_is_what_the_windows_get_alone(stage: Emotion):
    rows = run(stage, [clip(at, voice) for at, voice in enumerate(VOICES)]).columns.to_pylist()
    lengths = [len(voice) for voice in VOICES]
    assert min(lengths) < 16_000 < max(lengths)
    scores = []
    for voice, row in zip(VOICES, rows, strict=True):
        if len(voice) <= 16_000:
            assert row["emotion_timeline"] is None
            continue
        starts = window_starts(len(voice), 16_000, 8_000)
        stored = np.round(voice * 32768).clip(-32768, 32767).astype(np.float32) / 32768
        for start, span in zip(starts, row["emotion_timeline"], strict=True):
            alone = np.round(stage.model([stored[start : start + 16_000]])[0].scores, 6)
            assert span["label"] == stage.model.labels[int(np.argmax(alone))].name
            assert span["score"] == pytest.approx(alone.max(), abs=1e-5)
            assert (span["start"], span["end"]) == (round(start / 16_000, 3), round(start / 16_000 + 1, 3))
            scores.append(span["score"])
    assert np.ptp(scores) > 0.01


@pytest.mark.parametrize("length", [1, 7_999, 8_000, 8_001, 11_999, 12_000, 12_001, 80_000, 81_234])
def test_windows_cover_the_clip_and_nothing_beyond_it(length: int):
    starts = window_starts(length, 8_000, 4_000)
    if length <= 8_000:
        assert starts == []
        return
    assert starts[0] == 0 and starts[-1] + 8_000 == length
    assert all(0 < later - sooner <= 4_001 for sooner, later in pairwise(starts))
    assert len(starts) == math.ceil((length - 8_000) / 4_000) + 1


def test_the_company_of_other_clips_changes_nothing(folder: Path):
    stage = stage_of(folder, embedding=True)
    together = run(stage, [clip(at, voice) for at, voice in enumerate(VOICES)]).columns
    alone = pa.concat_tables([run(stage, [clip(at, voice)]).columns for at, voice in enumerate(VOICES)])
    for one, other in zip(together.to_pylist(), alone.to_pylist(), strict=True):
        for name in ("emotion", "emotion_raw", "emotion_predicted", "label_source", "sentiment"):
            assert one[name] == other[name]
        assert [s["score"] for s in one["emotion_scores"]] == pytest.approx(
            [s["score"] for s in other["emotion_scores"]], abs=1e-5
        )
        assert one["emotion_embedding"] == pytest.approx(other["emotion_embedding"], abs=1e-5)
        assert len(one["emotion_embedding"]) == 48


def test_a_broken_clip_and_a_short_one_are_rejected_and_their_neighbours_are_not(stage: Emotion):
    rows = [clip(0, VOICES[0]), clip(1, b"no flac"), clip(2, VOICES[1][:300]), clip(3, VOICES[1])]
    out = run(stage, rows)
    assert [(reject.row, reject.error_class) for reject in out.rejects] == [(1, "Undecodable"), (2, "TooShort")]
    assert out.columns["emotion_margin"].is_valid().to_pylist() == [True, False, False, True]
    assert out.metrics["audio_s"] > 0


def test_derived_columns_agree_with_the_stored_scores():
    labels = [label("a"), label("b"), label("c")]
    row = describe(Prediction(np.array([0.50000049, 0.4999995, 0.00000001]), np.zeros(2, np.float32)), labels)
    scores = [item["score"] for item in row["emotion_scores"]]
    assert scores == [0.5, 0.5, 0.0]
    assert (row["emotion_margin"], row["emotion_predicted"]) == (0.0, "a")
    assert row["emotion_entropy"] == round(math.log(2), 6)


# --- What the engine is told ---------------------------------------------------------------------------------------


def test_the_models_revision_is_part_of_the_key(stage: Emotion, folder: Path, tmp_path: Path):
    (name, revision), *_ = stage.semantics()["models"]
    other = Emotion(
        EmotionConfig(backend="emotion2vec", model=str(checkpoints.build(tmp_path / "other", seed=1)))
    ).semantics()["models"]
    assert name == "emotion2vec_plus_large" and other[0][1] != revision
    published = Emotion(EmotionConfig(backend="emotion2vec", model="emotion2vec_plus_base"))
    assert published.semantics()["models"][0][0] == "emotion2vec_plus_base"


def test_the_models_licence_is_on_its_columns_and_on_its_labels_only(stage: Emotion):
    made = {(maker.model, maker.where): maker for maker in stage.provenance()}
    large = stage.models()[0].folder.name
    assert set(made) == {("emotion_labels", None), (large, None), (large, ("label_source", "pseudo"))}
    published = Emotion(EmotionConfig(backend="emotion2vec")).provenance()[1]
    assert published.model == "emotion2vec_plus_large" and published.licence == "FunASR-Model-License"
    assert "emotion" not in made[large, None].columns and "emotion_scores" in made[large, None].columns
    assert "emotion" in made[large, ("label_source", "pseudo")].columns
    covered = {column for maker in made.values() for column in maker.columns}
    assert covered == set(tables.EMOTION.names) - {"label_source"}


def test_a_model_that_is_not_here_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATAGEN_MODELS", str(tmp_path))
    stage = Emotion(EmotionConfig(backend="emotion2vec"))
    assert stage.reads == ("corpus", "labels", "duration", "audio")
    assert "datagen models pull emotion2vec_plus_large" in (stage.check() or "")
    with pytest.raises(EnvironmentFault, match="datagen models pull emotion2vec_plus_large"):
        stage.setup()
    typo = Emotion(EmotionConfig(backend="emotion2vec", model="emotion2vec_plus_bse"))
    assert "did you mean 'emotion2vec_plus_base'?" in (typo.check() or "")
