"""What holds when a diarizer and the corpus both speak of who speaks."""

from datagen.speech.turns import SOURCE, given, named, settle


def note(field, value, start=None, end=None, source="corpus"):
    return {"channel": 0, "start": start, "end": end, "field": field, "value": value, "source": source}


def heard(value, start, end, field="speaker"):
    return note(field, value, start, end, SOURCE)


def test_without_a_diarizer_nothing_changes():
    notes = [note("speaker", "ann"), note("sex", "f"), note("emotion", "sad", 1, 2), note("speaker", "bob", 1, 2)]
    assert settle(notes) == (notes, [notes[3]], 0)
    assert settle([]) == ([], [], 0)


def test_the_corpus_s_own_turns_are_the_ones_that_hold():
    corpus = [note("speaker", "ann", 0, 4), note("speaker", "bob", 4, 9)]
    settled = settle([*corpus, heard("r-0-00", 0, 9)])
    assert settled == (corpus, corpus, 0)
    assert given(corpus) and not given([note("speaker", "ann"), heard("r-0-00", 0, 9)])


def test_one_voice_has_the_corpus_s_name_and_nothing_is_cut_for_it():
    corpus = [note("speaker", "ann"), note("sex", "f")]
    turns = [heard("r-0-00", 0, 3), heard("r-0-00", 5, 9)]
    assert settle([*corpus, *turns]) == (corpus, turns, 1)
    assert named(corpus) and not named([note("speaker", "ann"), note("speaker", "bob")])


def test_one_voice_without_a_name_is_one_speaker_throughout():
    settled = settle([note("emotion", "sad", 1, 2), heard("r-0-00", 0, 3), heard("r-0-00", 5, 9)])
    assert [(n["field"], n["value"], n["start"]) for n in settled.notes] == [
        ("emotion", "sad", 1),
        ("speaker", "r-0-00", None),
    ]


def test_with_several_voices_what_the_corpus_says_of_one_person_is_nobody_s():
    corpus = [note("speaker", "ann"), note("sex", "f"), note("age_years", "40"), note("language", "en"),
              note("sex", "m", 2, 3)]  # fmt: skip
    turns = [heard("r-0-00", 0, 3), heard("r-0-01", 3, 9)]
    overlap = heard("2", 2.9, 3.1, "overlap")
    settled = settle([*corpus, *turns, overlap])
    assert settled == ([*corpus[3:], overlap, *turns], turns, 2)
