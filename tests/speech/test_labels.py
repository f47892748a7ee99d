import json

import pytest

from datagen.speech import labels


def note(field, value, start=None, end=None, channel=None, source="corpus"):
    return {"channel": channel, "start": start, "end": end, "field": field, "value": value, "source": source}


def reach(notes, start, end, whole=False, place=0.5):
    return {label["field"]: label for label in labels.for_clip(notes, start, end, whole=whole, place=place)}


def test_a_label_reaches_the_clip_it_covers():
    found = reach([note("emotion", "angry", 1.0, 5.0), note("emotion", "sad", 5.0, 9.0)], 1.0, 5.5)
    assert found["emotion"] == {"field": "emotion", "value": "angry", "source": "corpus", "reason": None}


def test_a_label_that_covers_two_utterances_is_null_with_a_reason():
    found = reach([note("emotion", "angry", 0.0, 5.0), note("emotion", "sad", 5.0, 9.0)], 2.0, 8.0)
    assert found["emotion"]["value"] is None
    assert found["emotion"]["reason"] == "ambiguous: angry 50%, sad 50% of the clip"


def test_a_label_of_a_third_of_the_clip_is_null_with_a_reason_and_a_touch_is_nothing():
    assert reach([note("emotion", "sad", 0.0, 3.0)], 0.0, 9.0)["emotion"]["reason"] == "ambiguous: sad 33% of the clip"
    assert reach([note("emotion", "sad", 0.0, 1.0)], 0.0, 9.0) == {}


def test_two_annotators_who_agree_count_once():
    notes = [note("emotion", "sad", 0.0, 4.0, source="a"), note("emotion", "sad", 0.0, 4.0, source="b")]
    assert reach(notes, 0.0, 10.0)["emotion"]["value"] is None  # 40 %, not 80 %
    assert reach(notes, 0.0, 4.0)["emotion"]["value"] == "sad"


def test_what_is_said_of_the_whole_recording_holds_unless_a_timed_label_disagrees():
    notes = [note("emotion", "neutral"), note("emotion", "angry", 10.0, 20.0)]
    assert reach(notes, 0.0, 5.0)["emotion"]["value"] == "neutral"
    assert reach(notes, 11.0, 19.0)["emotion"]["value"] == "angry"
    assert reach([note("emotion", "sad"), note("emotion", "angry")], 0, 5)["emotion"]["reason"].startswith("ambiguous")


def test_an_annotation_of_one_channel_does_not_reach_the_other():
    notes = [note("speaker", "ann", channel=0), note("speaker", "bob", channel=1), note("style", "phone call")]
    first = {n["field"]: n["value"] for n in labels.of_channel(notes, 0, 2)}
    assert first == {"speaker": "ann", "style": "phone call"}
    assert len(labels.of_channel(notes, 0, 1)) == 3  # a mix holds both


def test_ratings_are_averaged_over_the_time_they_cover():
    notes = [note("arousal", "0.2", 0.0, 1.0), note("arousal", "0.8", 1.0, 4.0)]
    assert float(reach(notes, 0.0, 4.0)["arousal"]["value"]) == pytest.approx(0.65)
    assert reach([note("valence", "high-ish", 0.0, 4.0)], 0, 4)["valence"]["reason"] == "not a number: 'high-ish'"
    assert reach([note("valence", "nan", 0.0, 4.0)], 0, 4)["valence"]["reason"] == "not a number: 'nan'"


def test_words_and_events_come_in_clip_time():
    listed = json.dumps([{"word": "one", "start": 0.5, "end": 0.9}, {"word": "two", "start": 2.1, "end": 2.5}])
    found = reach([note("words", listed), note("event", "laughter", 1.5, 2.25)], 2.0, 4.0)
    assert json.loads(found["words"]["value"]) == [{"word": "two", "start": 0.1, "end": 0.5}]
    assert json.loads(found["event"]["value"]) == [{"event": "laughter", "start": 0.0, "end": 0.25}]


@pytest.mark.parametrize(
    "value",
    ["", "{}", "[1, null]", '[{"word": "a"}]', "[" * 100_000, '[{"word":1,"start":0,"end":1}]',
     '[{"word":"a","start":0,"end":1' + "0" * 400 + "}]", '[{"word":"a","start":NaN,"end":1}]'],
)  # fmt: skip
def test_a_broken_word_list_says_nothing(value):
    assert reach([note("words", value)], 0.0, 2.0) == {}


def test_the_text_of_a_whole_recording_reaches_no_piece_as_such():
    notes = [note("transcript", "All of it.")]
    assert reach(notes, 0.0, 9.0, whole=True)["transcript"]["value"] == "All of it."
    assert set(reach(notes, 2.0, 5.0)) == {labels.CONTEXT}


def test_texts_of_utterances_join_when_the_clip_holds_them_all():
    notes = [
        note("transcript", "One.", 0.0, 2.0),
        note("transcript", "Two.", 2.0, 4.0),
        note("transcript", "No.", 4.0, 9.0),
    ]
    assert reach(notes, 0.0, 4.05)["transcript"]["value"] == "One. Two."
    assert reach(notes, 0.0, 6.0)[labels.CONTEXT]["value"] == "One. Two. No."  # one of them is cut


def test_two_different_texts_for_one_recording_are_null_with_a_reason():
    found = reach([note("transcript", "This."), note("transcript", "That.")], 0.0, 2.0, whole=True)
    assert found["transcript"]["value"] is None and "2 texts" in found["transcript"]["reason"]


def test_a_book_is_not_copied_to_each_of_its_clips():
    book = " ".join(f"w{i}" for i in range(100_000))
    found = reach([note("transcript", book)], 500.0, 520.0, place=0.25)[labels.CONTEXT]["value"].split()
    assert len(found) == 10_000 and found[0] == "w20000"
