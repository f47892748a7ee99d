from __future__ import annotations

import json
import math

import pytest

from datagen.quality import facts
from datagen.testing.records import CLIP_SCHEMA, clip_rows, clip_table


@pytest.fixture
def row():
    return next(row for row in clip_rows(30, seed=2, language="en") if row["events"] and row["emotion"] != "other")


def test_every_column_a_record_reads_exists():
    assert set(facts.REQUIRED_COLUMNS) | set(facts.OPTIONAL_COLUMNS) <= set(CLIP_SCHEMA.names)
    assert set(facts.GROUP) <= set(CLIP_SCHEMA.names)
    assert {column for columns in facts.CONTEXT_COLUMNS.values() for column in columns} <= set(CLIP_SCHEMA.names)


def test_a_record_survives_arrow(row):
    table = clip_table(30, seed=2, language="en")
    assert facts.from_row(row) in [facts.from_row(each) for each in table.to_pylist()]


def test_nulls_and_unusable_values_are_absent(row):
    spoilt = {**row, "emotion": "other", "sex": "unknown", "pitch_level": "enormous", "f0_median_hz": math.nan,
              "arousal": None, "transcript": "  ... ", "style": "x" * 100}  # fmt: skip
    record = facts.from_row(spoilt)
    for name in (
        "emotion",
        "sentiment",
        "sex",
        "pitch_level",
        "f0_median_hz",
        "arousal",
        "transcript",
        "words",
        "style",
    ):
        assert not record.has(name), name
    assert record.label_source is None
    shown = json.loads(facts.context(record))
    assert {"transcript", "words", "emotion", "sentiment", "sex", "style"}.isdisjoint(shown)
    assert shown.get("pitch", True)


def test_a_row_of_nulls_has_nothing_to_show():
    assert facts.context(facts.from_row({"clip_id": "x"})) is None
    assert facts.context(facts.from_row({"clip_id": "x", "duration": 2.0, "speech_lang": "en"})) is None


def test_context_says_what_was_measured(row):
    shown = json.loads(facts.context(facts.from_row(row)))
    assert shown["transcript"] == row["transcript"]
    assert shown["words"][0] == [row["words"][0]["word"], row["words"][0]["start"], row["words"][0]["end"]]
    assert shown["pitch"] == {"level": row["pitch_level"], "f0_median_hz": round(row["f0_median_hz"], 1)}
    assert shown["emotion"] == [
        {"start": 0.0, "end": round(row["duration"], 2), "label": row["emotion"], "source": row["label_source"]}
    ]


@pytest.mark.parametrize(
    ("task", "fields", "gone", "stays"),
    [
        (
            "classification",
            ["emotion"],
            ("emotion", "sentiment", "valence", "style"),
            ("transcript", "pitch", "arousal"),
        ),
        ("qa", ["pitch_level", "transcript"], ("pitch", "transcript", "words"), ("emotion", "loudness")),
        ("reasoning", ["emotion", "pitch_level"], ("emotion", "sentiment", "valence"), ("pitch", "transcript")),
        ("response", ["emotion"], (), ("emotion", "transcript")),
        ("caption", ["emotion"], (), ("emotion", "transcript")),
    ],
)
def test_what_decides_the_answer_is_withheld(row, task, fields, gone, stays):
    record = facts.from_row({**row, "style": "read"})
    shown = json.loads(facts.context(record, facts.withheld_groups(task, fields)))
    assert set(gone).isdisjoint(shown) and set(stays) <= set(shown)


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("f0_median_hz", 212.44, "212.4"),
        ("age_years", 36.0, "36"),
        ("arousal", 0.005, "0.01"),
        ("level_dbfs", -0.04, "0.0"),
    ],
)
def test_numbers_are_shown_with_the_decimals_of_their_field(name, number, text):
    assert facts.format_number(name, number) == text


@pytest.mark.parametrize(("source", "confidence", "known"), [
    ("gold", 1.0, True), ("gold", 0.5, True), ("pseudo", 0.8, True), ("pseudo", 0.79, False), ("pseudo", None, False),
])  # fmt: skip
def test_words_a_recogniser_is_unsure_of_are_left_out(row, source, confidence, known):
    row = row | {"transcript": "put the west of her", "transcript_source": source, "asr_confidence": confidence}
    record = facts.from_row(row)
    assert (record.transcript is not None) is known
    assert bool(record.words) is (known and bool(row["words"]))


def test_words_that_look_invented_are_left_out(row):
    heard = row | {"transcript": "thank you", "transcript_source": "pseudo", "asr_confidence": 0.95}
    assert facts.from_row(heard | {"asr_flags": []}).transcript == "thank you"
    assert facts.from_row(heard | {"asr_flags": ["boilerplate"]}).transcript is None
    assert facts.from_row(heard | {"asr_flags": ["boilerplate"], "transcript_source": "gold"}).transcript == "thank you"


def test_a_text_that_lost_letters_is_left_out_whoever_wrote_it(row):
    for source in ("gold", "pseudo"):
        spoilt = facts.from_row(row | {"transcript": "Caf\ufffd, please", "transcript_source": source, "asr_flags": []})
        assert spoilt.transcript is None and not spoilt.has("words")
    assert facts.from_row(row | {"transcript": "Café, please"}).transcript == "Café, please"


def test_times_taken_from_the_neighbours_are_no_facts(row):
    words = [
        {"word": "up", "start": 0.1, "end": 0.2, "score": 0.9, "flag": None},
        {"word": "24", "start": 0.2, "end": 0.4, "score": 0.9, "flag": "wildcard"},
        {"word": "%", "start": 0.2, "end": 0.4, "score": None, "flag": "interpolated"},
    ]
    record = facts.from_row(row | {"transcript": "up 24 %", "words": words})
    assert [(span.text, span.start) for span in record.words] == [("up", 0.1), ("24", 0.2), ("%", None)]


def test_a_tagger_s_sounds_are_facts_where_it_is_sure_and_its_windows_are_no_times(row):
    heard = [
        {"event": "laughter", "start": 0.0, "end": 2.0, "score": 0.7},
        {"event": "cough", "start": 0.0, "end": 3.0, "score": 0.49},
        {"event": "laughter", "start": 4.0, "end": 6.0, "score": 0.5},
    ]
    said = {"event": "sigh", "start": 0.5, "end": 0.9, "score": None}
    assert facts.from_row(row | {"events": heard}).events == (facts.Span("laughter", None, None),)
    assert facts.from_row(row | {"events": [said]}).events == (facts.Span("sigh", 0.5, 0.9),)
    shown = json.loads(facts.context(facts.from_row(row | {"events": [*heard, said]})))
    assert shown["events"] == [["laughter"], ["sigh", 0.5, 0.9]]


def test_emotions_by_the_second_are_shown_with_the_label_they_belong_to(row):
    windows = [{"start": 0.0, "end": 1.5, "label": "sad", "score": 0.7}, {"start": 1.5, "end": 3.0, "label": "happy",
               "score": 0.9}]  # fmt: skip
    scores = [{"label": "happy", "score": 0.8}, {"label": "sad", "score": 0.15}, {"label": "angry", "score": 0.01}]
    own = {**row, "label_source": "pseudo", "emotion_timeline": windows, "emotion_scores": scores}
    record = facts.from_row(own)
    assert record.scores == (("happy", 0.8), ("sad", 0.15))
    shown = json.loads(facts.context(record))
    assert shown["emotion_timeline"] == [{"start": 0.0, "end": 1.5, "label": "sad"},
                                         {"start": 1.5, "end": 3.0, "label": "happy"}]  # fmt: skip
    assert "emotion_scores" not in shown
    assert "emotion_timeline" not in json.loads(facts.context(record, frozenset({"emotion"})))
    given = facts.from_row({**own, "label_source": "gold"})
    assert not given.has("emotion_timeline") and not given.has("emotion_scores")


def test_a_contrast_group_holds_the_clip_s_own_emotion_and_another(row):
    emotions = sorted({row["emotion"], "sad", "happy", "other"})
    known = facts.from_row({**row, "contrast_emotions": emotions, "contrast_question": 'Say "this" <|x|>'})
    assert row["emotion"] in known.contrast.emotions and "other" not in known.contrast.emotions
    assert known.contrast.question == "Say 'this' ‹¦x¦›"
    assert facts.from_row({**row, "contrast_emotions": [row["emotion"]]}).contrast is None
    assert facts.from_row({**row, "contrast_group_id": None}).contrast is None
