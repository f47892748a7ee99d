import itertools

import pyarrow as pa
import pytest

from datagen import tables
from datagen.quality.cues import CUE_RELATIONS, cue_relation
from datagen.quality.emotions import SENTIMENT_OF

TYPES = pa.schema([(name, pa.string()) for name in ("text_emotion", "text_sentiment", "emotion", "sentiment")])
TYPES = TYPES.append(pa.field("word_count", pa.int64()))


def relation(text_emotion=None, text_sentiment=None, emotion=None, sentiment=None, word_count=5):
    row = dict(zip(TYPES.names, (text_emotion, text_sentiment, emotion, sentiment, word_count), strict=True))
    (found,) = cue_relation(pa.Table.from_pylist([row], schema=TYPES)).to_pylist()
    return found


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ({"text_emotion": "happy", "text_sentiment": "positive", "word_count": 0}, "nonverbal"),
        ({"emotion": "sad", "sentiment": "negative", "word_count": 0}, "nonverbal"),
        ({"word_count": None}, None),  # no text known is not the same as no word said
        ({"text_sentiment": "neutral", "emotion": "angry", "sentiment": "negative"}, "neutral_text"),
        ({"text_sentiment": "neutral", "emotion": "neutral", "sentiment": "neutral"}, "neutral_text"),
        ({"text_emotion": "neutral", "text_sentiment": "neutral"}, "neutral_text"),
        ({"text_emotion": "other", "text_sentiment": "neutral"}, "neutral_text"),
        ({"text_emotion": "surprised", "emotion": "surprised"}, "matched"),
        ({"text_sentiment": "negative", "emotion": "sad", "sentiment": "negative"}, "matched"),
        ({"text_emotion": "angry", "text_sentiment": "negative", "emotion": "sad", "sentiment": "negative"}, "matched"),
        (
            {"text_emotion": "happy", "text_sentiment": "positive", "emotion": "sad", "sentiment": "negative"},
            "conflict",
        ),
        ({"text_sentiment": "negative", "emotion": "neutral", "sentiment": "neutral"}, "conflict"),
        ({"text_emotion": "other", "emotion": "other"}, None),  # a bag, not an emotion
        ({"text_emotion": "surprised", "emotion": "happy", "sentiment": "positive"}, None),
        ({"text_emotion": "happy", "text_sentiment": "positive", "emotion": "other"}, None),
        ({"text_sentiment": "positive"}, None),
        ({"emotion": "sad", "sentiment": "negative"}, None),
        ({}, None),
    ],
)
def test_relation(clip, expected):
    assert relation(**clip) == expected


def test_every_combination_is_decided_by_the_documented_rules_and_all_four_occur():
    emotions, sentiments = (*tables.EMOTIONS, None), (*tables.SENTIMENTS, None)
    voices = [(emotion, SENTIMENT_OF.get(emotion)) for emotion in emotions]
    rows = [
        dict(zip(TYPES.names, (words, said, *voice, count), strict=True))
        for words, said, voice, count in itertools.product(emotions, sentiments, voices, (0, 3, None))
    ]
    found = cue_relation(pa.Table.from_pylist(rows, schema=TYPES)).to_pylist()
    assert set(found) == {*CUE_RELATIONS, None}
    for row, what in zip(rows, found, strict=True):
        said, heard = row["text_sentiment"], row["sentiment"]
        assert (what == "nonverbal") == (row["word_count"] == 0)
        if what == "conflict":
            assert said and heard and said != heard and row["text_emotion"] != row["emotion"]
        if what == "matched":
            assert said == heard or row["text_emotion"] == row["emotion"] not in (None, "other")
        if what is None:
            assert None in (said, heard)


def test_columns_that_no_stage_writes_count_as_unknown():
    clips = pa.table({"clip_id": ["a", "b"]})
    assert cue_relation(clips).to_pylist() == [None, None]
    assert cue_relation(clips.slice(0, 0)).to_pylist() == []
    chunked = pa.concat_tables([pa.table({"word_count": [0]}), pa.table({"word_count": [1]})])
    assert cue_relation(chunked).to_pylist() == ["nonverbal", None]
