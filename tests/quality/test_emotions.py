import json
from pathlib import Path

import pyarrow as pa
import pytest

from datagen import tables
from datagen.quality.emotions import emotion_table, gold_emotions, sentiments

DEVSET = Path(__file__).parents[2].parent / "shared" / "corpora" / "devset"


@pytest.mark.parametrize(
    ("corpus", "label", "emotion"),
    [
        ("emodb", "F", "happy"),  # Freude; wrong tables in the wild make it fear or disgust
        ("EMO-DB", "A", "fearful"),
        ("emodb", "L", "other"),
        ("MSP-Podcast", "F", "fearful"),
        ("msp_podcast", "X", None),
        ("ravdess", "02", "neutral"),
        ("ravdess", "08", "surprised"),
        ("CREMA-D", "DIS", "disgusted"),
        ("iemocap", "xxx", None),
        ("iemocap", "exc", "happy"),
        ("iemocap", "fru", "other"),
        ("meld", "joy", "happy"),
        ("ESD", "Surprise", "surprised"),
        ("esd", "悲伤", "sad"),
        ("expresso", "happy", None),  # a style, not a feeling
        ("thorsten", "whisper", None),
        ("thorsten", "drunk", None),
        ("thorsten", "amused", "happy"),
        ("jl", "encouraging", "other"),
        ("jl", "excited", "happy"),
        ("nemo", "sadness", "sad"),
        (None, "Wut", "angry"),
        (None, "fear (anxiety)", "fearful"),
        (None, "生气/angry", "angry"),
        (None, "<unk>", None),
        (None, "PLEASANT_SURPRISE", "surprised"),
    ],
)
def test_published_labels_are_known(corpus, label, emotion):
    assert emotion_table().lookup(label, corpus) == (True, emotion)


@pytest.mark.parametrize("label", ["F", "03", "ang", "blorp", ""])
def test_codes_mean_nothing_without_their_corpus(label):
    assert emotion_table().lookup(label) == (False, None)


def test_every_own_name_maps_to_itself():
    assert [emotion_table().lookup(name) for name in tables.EMOTIONS] == [(True, name) for name in tables.EMOTIONS]


def _labels(*rows):
    return pa.array([[dict(zip(("field", "value", "source", "reason"), label, strict=True)) for label in row]
                     if row is not None else None for row in rows], pa.list_(tables.LABEL))  # fmt: skip


def test_raw_label_is_kept_and_contradictions_cancel():
    labels = _labels(
        [("emotion", "W", "labels", None), ("style", "acted", "labels", None)],
        [("emotion", "blorp", "labels", None)],
        [("emotion", "anger", "a", None), ("emotion", "sadness", "b", None)],
        [("emotion", "anger", "a", None), ("emotion", "furious", "b", None)],
        [("emotion", "sad", "requested", None)],
        [("emotion", None, "labels", "two labels")],
        [],
        None,
    )
    rows = gold_emotions(labels, pa.array(["emodb"] * 8)).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("angry", "W", "gold"),
        (None, "blorp", None),
        (None, "anger | sadness", None),
        ("angry", "anger | furious", "gold"),
        ("sad", "sad", "requested"),
        (None, None, None),
        (None, None, None),
        (None, None, None),
    ]


def test_sentiment_is_null_where_it_would_be_a_guess():
    emotions = pa.array([*tables.EMOTIONS, None])
    found = dict(zip(emotions.to_pylist(), sentiments(emotions).to_pylist(), strict=True))
    assert found == {
        "angry": "negative", "disgusted": "negative", "fearful": "negative", "sad": "negative", "happy": "positive",
        "neutral": "neutral", "surprised": None, "other": None, None: None,
    }  # fmt: skip


@pytest.mark.shared
def test_devset_codes_and_names_agree():
    if not DEVSET.is_dir():
        pytest.skip("no shared corpora")
    seen = set()
    for line in (DEVSET / "manifest.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        if row["emotion"]:
            known, emotion = emotion_table().lookup(row["emotion"], row["corpus"])
            assert known, row["emotion"]
            if row["emotion_code"]:
                assert emotion_table().lookup(row["emotion_code"], row["corpus"]) == (True, emotion)
            seen.add(emotion)
    assert seen == {*tables.EMOTIONS, None}
