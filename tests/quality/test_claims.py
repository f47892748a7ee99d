"""Reading claims off sentences nobody wrote for the lexicon, and holding them against records."""

from __future__ import annotations

import pytest

from datagen.quality import lexicon
from datagen.quality.claims import extract, judge, split_quotes, topics
from datagen.quality.facts import Record, Span

EN = lexicon.load("en")


def read(text, **options):
    return [
        (field, "".join(sorted(values)) if len(values) == 1 else tuple(sorted(values)), claim.negated)
        for claim in extract(split_quotes(text)[0], EN, **options)
        for field, values in claim.alternatives.items()
    ]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The pitch is high and loudness low.", [("pitch_level", "high", False), ("loudness_level", "low", False)]),
        ("A high pitch, low loudness and a fast pace.",
         [("pitch_level", "high", False), ("loudness_level", "low", False), ("rate_level", "high", False)]),
        ("Pitch and loudness are both in the normal range.",
         [("pitch_level", "normal", False), ("loudness_level", "normal", False)]),
        ("The pitch, at a median of 212.4 Hz, is raised, while the tempo stays slow.",
         [("pitch_level", "high", False), ("rate_level", "low", False)]),
        ("Her pitch range is narrow.", [("sex", "female", False), ("pitch_range_level", "low", False)]),
        ("There are hardly any pauses.", [("pause_level", "low", False)]),
        ("There are many long pauses.", [("pause_level", "high", False)]),
        ("He speaks loudly and rapidly.",
         [("sex", "male", False), ("loudness_level", "high", False), ("rate_level", "high", False)]),
        ("The speaker does not sound angry.", [("emotion", "angry", True)]),
        ("No laughter, few pauses.", [("events", "laughter", True), ("pause_level", "low", False)]),
        ("The voice is low in energy.", [("arousal_level", "low", False)]),
        ("Not only loud but also fast.", [("loudness_level", "high", False), ("rate_level", "high", False)]),
        ("The delivery is monotonous.", [("pitch_range_level", "low", False)]),
        ("How loud is the voice?", []),
        ("How very fast does the speaker talk?", []),
        ('The speaker says "I am furious and loud".', []),
        ("The highest building is on a low hill.", []),
        ("An unhappy speaker.", [("emotion", "sad", False)]),
        ("Unhappy news.", []),
        ("The pace is wide.", [("rate_level", (), False)]),  # nothing makes it true
    ],
)  # fmt: skip
def test_sentences_are_read(text, claims):
    assert sorted(read(text)) == sorted(claims)


def test_ambiguous_words_claim_any_of_their_meanings():
    (claim,) = extract("The speaker is upset.", EN)
    assert judge(claim, Record("x", {"emotion": "sad"})) is None
    assert judge(claim, Record("x", {"emotion": "happy"})) == "contradicted"
    (claim,) = extract("The intensity is high.", EN)
    assert judge(claim, Record("x", {"loudness_level": "high", "arousal_level": "low"})) is None
    assert judge(claim, Record("x", {"arousal_level": "low"})) == "contradicted"


@pytest.mark.parametrize(
    ("text", "facts", "verdict"),
    [
        ("The pitch is high.", {"pitch_level": "high"}, None),
        ("The pitch is high.", {"pitch_level": "normal"}, "contradicted"),
        ("The pitch is high.", {"loudness_level": "high"}, "unsupported"),
        ("The pitch is not high.", {"pitch_level": "low"}, None),
        ("The pitch is not high.", {"pitch_level": "high"}, "contradicted"),
        ("The pitch is not high.", {}, "unsupported"),
        ("A woman speaks.", {"sex": "female"}, None),
        ("A woman speaks.", {"sex": "male"}, "contradicted"),
        ("The speaker is in their thirties.", {"age_years": 34.0}, None),
        ("The speaker is in their thirties.", {"age_years": 40.0}, "contradicted"),
        ("The speaker is in their thirties.", {}, "unsupported"),
        ("It sounds neutral.", {"emotion": "surprised", "sentiment": "neutral"}, None),
    ],
)
def test_claims_are_judged(text, facts, verdict):
    (claim,) = extract(text, EN)
    assert judge(claim, Record("x", facts)) == verdict


def test_sounds_nobody_measured_are_unsupported():
    (claim,) = extract("The speaker laughs.", EN)
    assert judge(claim, Record("x", events=(Span("laughter", 0.1, 0.5),))) is None
    assert judge(claim, Record("x", events=(Span("sigh", 0.1, 0.5),))) == "unsupported"
    assert judge(claim, Record("x")) == "unsupported"


def test_pronouns_count_only_when_asked_for():
    assert read("She talks.") and not read("She talks.", pronouns=False)


def test_quotations_are_cut_out_and_unpaired_marks_noticed():
    assert split_quotes('He says "stop" and “go”.') == ("He says _ and _.", ["stop", "go"], True)
    assert split_quotes('He says "stop.')[2] is False


def test_topics_are_the_groups_a_question_is_about():
    assert topics("Is the speaking rate of this speaker high?", EN) == {"rate"}


def test_a_wide_entry_is_not_hidden_by_a_narrow_one():
    """ "rapid" stands in one list, "rapid*" in another; the shorter word must mean both."""
    assert read("It comes in rapid succession.") == [("rate_level", "high", False)]


def test_every_lexicon_names_every_label_and_no_word_gives_two_clear_labels():
    for language in lexicon.languages():
        words = lexicon.load(language)
        assert set(words.labels) == {"angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"}
        assert set(words.sentiments) == {"negative", "neutral", "positive"}


@pytest.mark.parametrize(
    ("language", "label", "text"),
    [
        ("en", "angry", "so angrily said"), ("en", "sad", "SADNESS"), ("de", "angry", "ein wütendes Kind"),
        ("de", "fearful", "ängstlich"), ("es", "happy", "alegremente"), ("es", "sad", "tristeza"),
        ("fr", "angry", "furieuse"), ("fr", "sad", "tristesse"), ("pl", "angry", "wściekły"),
        ("pl", "happy", "szczęśliwa"),
    ],
)  # fmt: skip
def test_inflections_are_found(language, label, text):
    assert lexicon.load(language).labels[label].search(text)


@pytest.mark.parametrize(
    ("language", "label", "text"),
    [("en", "angry", "a made bed, comrade, stranger"), ("de", "angry", "Mut und Blut"), ("en", "sad", "crusade")],
)
def test_parts_of_words_are_not(language, label, text):
    assert not lexicon.load(language).labels[label].search(text)


def test_a_language_without_a_lexicon_is_unknown_not_empty():
    assert lexicon.load("xx") is None and lexicon.load(None) is None
