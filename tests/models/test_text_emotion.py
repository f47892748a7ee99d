"""Text classifiers on tiny random checkpoints against transformers' own pipeline; VADER by its authors' examples."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest

from datagen.errors import EnvironmentFault
from datagen.models.text_emotion import Classifier, Judgement, Meaning, Vader, table
from datagen.tables import EMOTIONS, SENTIMENTS
from datagen.testing.checkpoints import text_emotion as checkpoint

TEXTS = ["kids are talking by the door", "dogs", "i am so happy to see you", "i hate this so much", "oh", "今天很高兴"]
SEVEN = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]


@pytest.fixture(scope="module", params=[True, False], ids=["sigmoid", "softmax"])
def folder(request, tmp_path_factory):
    labels = () if request.param else SEVEN
    return checkpoint.build(tmp_path_factory.mktemp("text_emotion") / "model", labels, independent=request.param)


@pytest.fixture(scope="module")
def model(folder):
    return Classifier(folder)


def test_scores_are_those_of_the_stock_pipeline(model, folder):
    from transformers import pipeline

    ask = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    theirs = [{answer["label"]: answer["score"] for answer in ask([text])[0]} for text in TEXTS]
    mine = model.scores(TEXTS)
    assert np.abs(mine - [[row[label] for label in model.labels] for row in theirs]).max() < 2e-6
    assert np.median(mine.max(axis=0) - mine.min(axis=0)) > 1e-3, "a model that always says the same proves nothing"


def test_company_and_order_change_not_a_bit(model):
    texts = TEXTS * 3
    random.Random(1).shuffle(texts)
    alone = np.concatenate([model._run([text]) for text in texts])
    assert np.array_equal(model._run(texts), alone)


def judged(model, scores):
    """What the model would make of these scores by label, the others being 0."""
    given = np.zeros((1, len(model.labels)))
    for label, score in scores.items():
        given[0, model.labels.index(label)] = score
    model.scores = lambda _: given
    try:
        return model(["a text"])[0]
    finally:
        del model.scores


def test_labels_become_emotions_and_sentiments(tmp_path):
    model = Classifier(checkpoint.build(tmp_path / "model"))
    assert judged(model, {"annoyance": 0.7, "joy": 0.2}) == Judgement("angry", "negative", 0.7)
    assert judged(model, {"anger": 0.4, "annoyance": 0.45}) == Judgement(None, None, None)  # independent: no sum
    assert judged(model, {"gratitude": 0.9, "neutral": 0.1}) == Judgement("other", "positive", 0.9)
    assert judged(model, {"surprise": 0.8, "joy": 0.3}) == Judgement("surprised", None, 0.8)
    assert judged(model, {"neutral": 0.6}) == Judgement("neutral", "neutral", 0.6)
    assert judged(model, {"neutral": 0.49}) == Judgement(None, None, None)
    assert np.isnan(judged(model, {"neutral": float("nan")}).score)


def test_labels_that_exclude_each_other_are_added_up(tmp_path):
    names = ["rage", "anger", "joy", "love", "neutral"]
    own = {"rage": Meaning(emotion="angry", sentiment="negative")}
    model = Classifier(checkpoint.build(tmp_path / "model", names, independent=False), own=own)
    assert judged(model, {"rage": 0.3, "anger": 0.3, "neutral": 0.4}) == Judgement("angry", "negative", 0.6)
    # No emotion leads by enough, but it is something good.
    assert judged(model, {"joy": 0.4, "love": 0.4, "neutral": 0.2}) == Judgement(None, "positive", 0.8)


def test_a_label_nobody_knows_is_an_error_that_says_how_to_tell(tmp_path):
    folder = checkpoint.build(tmp_path / "model", ["joy", "LABEL_1"], independent=False)
    with pytest.raises(EnvironmentFault, match=r"LABEL_1 mean.*stages.text_emotion.labels"):
        Classifier(folder)
    known = Classifier(folder, own={"LABEL_1": Meaning(emotion="sad", sentiment="negative")})
    assert judged(known, {"LABEL_1": 0.9, "joy": 0.1}).emotion == "sad"


def test_a_missing_head_is_an_error(tmp_path, folder):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["classifier.out_proj.weight"]
    weights["roberta.pooler.dense.weight"] = weights["classifier.dense.weight"].clone()  # published ones carry it
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=r"1 missing: classifier\.out_proj\.weight\)"):
        Classifier(tmp_path / "model")


def test_the_table_knows_all_labels_of_goemotions_and_only_our_names():
    labels = table().labels
    assert len(labels) == 28 + 2 and {"admiration", "neutral", "surprise"} <= set(labels)
    assert {meaning.emotion for meaning in labels.values()} == {*EMOTIONS, None}
    assert {meaning.sentiment for meaning in labels.values()} == {*SENTIMENTS, None}


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("i am so happy to see you", "positive"),
        ("i am not happy to see you", "negative"),
        ("vader is smart handsome and funny", "positive"),  # of the authors' examples
        ("today sux", "negative"),
        ("kids are talking by the door", "neutral"),
    ],
)
def test_vader_tells_sentiments_and_no_emotions(text, sentiment):
    (judgement,) = Vader()([text])
    assert judgement.emotion is None and judgement.sentiment == sentiment
    assert 0.05 <= judgement.score <= 1


def test_vader_s_limits_are_its_authors(monkeypatch):
    vader = Vader()
    for compound, sentiment, score in (
        (0.05, "positive", 0.05), (0.0499, "neutral", 0.9501), (-0.05, "negative", 0.05), (0.0, "neutral", 1.0)
    ):  # fmt: skip
        monkeypatch.setattr(vader._analyser, "polarity_scores", lambda _, value=compound: {"compound": value})
        assert vader(["x"]) == [Judgement(None, sentiment, score)]
