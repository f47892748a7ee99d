"""The template writer says only what the record holds, and verify agrees with it, whatever is missing."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.llm import prompts
from datagen.quality import checks, facts
from datagen.quality.claims import split_quotes
from datagen.stages.write import DEFAULT_COUNTS
from datagen.tables import LEVELS, MODES, QUESTION_TYPES, SAMPLES, TASKS
from datagen.testing.records import NULLABLE, clip_rows, without
from datagen.writing import template

PROMPTS = prompts.load(prompts.folder("template"))
ROWS = clip_rows(60, seed=4)
TEXTS = ("question", "reasoning", "answer", "response", "response_style")


def write(row, counts=DEFAULT_COUNTS, **changes):
    record = facts.from_row({**row, **changes})
    rows, refused = template.write(record, PROMPTS, counts, MODES, seed=0)
    return record, rows, refused


@pytest.fixture(scope="module")
def full():
    """Samples of the rows in which everything is known."""
    return [sample for row in ROWS for sample in write(row)[1]]


def unquoted(row):
    return " ".join(split_quotes(row[name])[0] for name in TEXTS if row[name])


def test_a_full_record_gives_every_task_mode_and_type(full):
    found = Counter((sample["task"], sample["mode"]) for sample in full)
    found.update(sample["question_type"] for sample in full)
    assert all(found[task, mode] for task in TASKS for mode in MODES)
    assert all(found[name] for name in QUESTION_TYPES)


def test_rows_have_the_columns_of_samples_and_slot_ids_are_unique(full):
    assert len({sample["sample_id"] for sample in full}) == len(full)
    assert all(list(sample) == SAMPLES.names for sample in full)


def test_writing_is_deterministic_and_knows_no_neighbours():
    once = [write(row)[1] for row in ROWS[:10]]
    again = [write(row)[1] for row in reversed(ROWS[:10])][::-1]
    assert once == again


def test_seed_and_clip_change_the_wording(full):
    record = facts.from_row(ROWS[0])
    one, _ = template.write(record, PROMPTS, DEFAULT_COUNTS, MODES, seed=0)
    two, _ = template.write(record, PROMPTS, DEFAULT_COUNTS, MODES, seed=1)
    assert one != two
    questions = Counter(sample["question"] for sample in full if sample["task"] == "caption")
    assert len(questions) >= 4


def test_counts_limit_and_tasks_left_out_stay_out():
    record = facts.from_row(ROWS[0])
    rows, _ = template.write(record, PROMPTS, {"qa": 3}, ("implicit",), seed=0)
    assert [(row["task"], row["mode"], row["index"]) for row in rows] == [
        ("qa", "implicit", index) for index in range(3)
    ]
    assert len({row["question_type"] for row in rows}) == 3


def test_option_positions_are_balanced():
    places = Counter(s["options"].index(s["answer_label"]) for row in clip_rows(150, seed=9)
                     for s in write(row, counts={"classification": 2})[1] if len(s["options"]) == 3)  # fmt: skip
    total = sum(places.values())
    assert total > 200 and all(abs(places[place] / total - 1 / 3) < 0.1 for place in range(3))


#: Words that speak of a group of facts, chosen without looking at the prompts or the lexicon.
SPEAKS_OF = {
    "sex": r"\b((fe)?male|wom[ae]n|m[ae]n|girl|boy|she|he|her|his|him)\b",
    "age_years": r"\b(years?|aged?|old|young)\b",
    "events": r"laugh|cry|sigh|cough|breath|sob",
    "f0_median_hz": r"\bpitch\b(?! (range|span))|\bHz\b|fundamental",
    "f0_range_st": r"pitch (range|span)|semitone|intonation",
    "level_dbfs": r"\bloud|volume|sound level|dBFS|quiet",
    "rate_syl_s": r"\bpace\b|tempo|speaking rate|syllable|\bfast\b|\bslow",
    "pause_ratio": r"silence|pause",
    "arousal": r"energy|arousal|activation",
    "dominance": r"dominan",
    "valence": r"valence|pleasant",
    "emotion": r"\b(angry|disgusted|fearful|happy|neutral|sad|surprised|positive|negative)\b",
}


@pytest.mark.parametrize("fact", sorted(SPEAKS_OF))
def test_what_is_null_is_never_mentioned(fact):
    group = next(group for group, names in enumerate(NULLABLE) if names[0] == fact)
    for row in ROWS[:12]:
        for sample in write(without(row, (group,)))[1]:
            assert not re.search(SPEAKS_OF[fact], unquoted(sample)), sample
            assert not set(NULLABLE[group]) & {item["field"] for item in sample["evidence"]}
            assert not set(NULLABLE[group]) & set(sample["used_columns"])
            assert "null" not in (sample["metadata_context"] or "")


def test_without_an_emotion_voice_and_content_are_still_asked():
    group = next(group for group, names in enumerate(NULLABLE) if "emotion_raw" in names)
    tasks = Counter(
        s["question_type"] for row in ROWS[:12] for s in write(without(row, (group,)))[1] if s["task"] == "qa"
    )
    assert set(tasks) == {"content", "voice", "content+voice"}


def rationales(row, about="emotion", **changes):
    found = write(row, counts={"reasoning": 1}, **changes)[1]
    return [sample for sample in found if sample["evidence"][0]["field"] == about]


EVEN = dict.fromkeys(facts.LEVEL_FIELDS, "normal")


def test_a_rationale_is_not_written_against_the_evidence():
    """Angry by its label, but low, slow and quiet: there is nothing to reason from."""
    row = next(row for row in ROWS if row["emotion"] == "angry")
    flat = dict.fromkeys(facts.LEVEL_FIELDS, "low") | {"pause_level": "high"}
    assert not rationales(row, **flat)
    loud = dict.fromkeys(facts.LEVEL_FIELDS, "high") | {"pause_level": "low"}
    assert rationales(row, **loud)


def test_no_rationale_where_the_cues_fit_another_emotion_better():
    """A low pitch and a slow pace may be disgust; with a narrow range and a low volume they are rather sadness."""
    row = next(row for row in ROWS if row["emotion"] == "disgusted")
    slow = EVEN | {"pitch_level": "low", "rate_level": "low"}
    assert not rationales(row, **(slow | {"pitch_range_level": "low", "loudness_level": "low"}))


def test_a_rationale_claims_to_be_the_only_reading_only_where_it_is():
    shared = EVEN | {"pitch_level": "high", "arousal_level": "high", "loudness_level": "high",
                     "pitch_range_level": "high"}  # fmt: skip
    decided = r"fits best|agrees best|comes across as happy\.$|as well by what can be heard"
    for row in [row for row in ROWS if row["emotion"] == "happy"]:
        for sample in rationales(row, **shared):  # anger sounds like that too
            assert re.search("more than one|More than one|without deciding", sample["reasoning"])
    for row in [row for row in ROWS if row["emotion"] == "neutral"]:
        for sample in rationales(row, **EVEN):
            assert re.search(decided.replace("happy", "neutral"), sample["reasoning"])


def test_all_that_speaks_against_the_label_is_named():
    row = next(row for row in ROWS if row["emotion"] == "sad")
    low = dict.fromkeys(facts.LEVEL_FIELDS, "low") | {"rate_level": "high"}
    found = rationales(row, duration=6.0, **low)  # few pauses and a fast pace do not go with sadness
    assert found
    for sample in found:
        assert {"rate_level", "pause_level"} <= {item["field"] for item in sample["evidence"]}
        assert re.search("fast", sample["reasoning"]) and re.search("silence", sample["reasoning"])


def test_energy_is_reasoned_about_where_no_emotion_is_known():
    row = next(row for row in ROWS if row["arousal_level"] and row["f0_median_hz"])
    loud = EVEN | dict.fromkeys(("arousal_level", "pitch_level", "loudness_level", "rate_level"), "high")
    found = rationales(row, "arousal_level", emotion=None, **loud)
    assert {sample["mode"] for sample in found} == set(MODES)
    for sample in found:
        assert sample["answer"] == "high" and sample["question_type"] == "voice"
        assert '"arousal"' not in (sample["metadata_context"] or "")  # it would give the answer away
    assert not rationales(row, "arousal_level", emotion=None, **(loud | {"loudness_level": "low", "rate_level": "low"}))
    assert not rationales(row, "arousal_level", emotion="happy", **loud)  # the emotion comes first


def test_an_answer_says_its_option(full):
    """Asked "low, normal or high?", one does not answer "wide"."""
    chosen = [sample for sample in full if sample["options"] and sample["task"] == "qa"]
    assert len(chosen) > 100
    assert all(re.search(rf"\b{sample['answer_label']}\b", unquoted(sample)) for sample in chosen)
    assert all(sample["answer_label"] in split_quotes(sample["answer"])[0].lower() for sample in chosen)


@pytest.mark.parametrize(
    ("changes", "spoken_of"),
    [
        ({"duration": 1.5, "pause_ratio": 0.2, "pause_level": "high"}, False),
        ({"duration": 6.0, "pause_ratio": 0.001, "pause_level": "normal"}, False),  # hardly any clip has a pause
        ({"duration": 6.0, "pause_ratio": 0.0, "pause_level": "low"}, True),
        ({"duration": 6.0, "pause_ratio": 0.2, "pause_level": "high"}, True),
    ],
)
def test_pauses_are_spoken_of_only_where_they_mean_something(changes, spoken_of):
    texts = [unquoted(sample) for row in ROWS[:30] for sample in write(row, **changes)[1]]
    assert any(re.search("silence|pause", text) for text in texts) is spoken_of


def test_not_every_reply_repeats_what_was_said(full):
    short = {row["clip_id"] for row in ROWS if len(row["transcript"].split()) <= 12}
    replies = [sample for sample in full if sample["task"] == "response" and sample["clip_id"] in short]
    assert 0.3 < sum('"' in sample["response"] for sample in replies) / len(replies) < 0.7


@pytest.mark.parametrize(
    ("relation", "phrase"),
    [
        ("conflict", "disagree|different feeling"),
        ("matched", "same way|in line"),
        ("neutral_text", "no particular feeling|any mood"),
    ],
)
def test_reasoning_says_how_words_and_voice_relate_only_where_it_is_known(relation, phrase):
    anything = r"disagree|different feeling|point the same way|in line with|no particular feeling|any mood"
    said = 0
    for row in ROWS:
        for sample in write(row, counts={"reasoning": 1}, cue_relation=relation)[1]:
            said += bool(re.search(phrase, sample["reasoning"]))
        for sample in write(row, counts={"reasoning": 1}, cue_relation=None)[1]:
            assert not re.search(anything, sample["reasoning"])
    assert said > 10


def test_numbers_are_named_only_where_they_are_shown(full):
    for sample in full:
        if sample["mode"] == "implicit" and sample["task"] in ("reasoning", "caption"):
            assert not re.search(r"\d", re.sub(r"from \d+\.\d+ to \d+\.\d+ seconds", "", unquoted(sample)))


def test_polish_words_that_name_a_feeling_stay_out_of_emotion_questions():
    row = next(row for row in clip_rows(80, seed=1, language="pl") if "cieszę" in row["transcript"])
    for sample in write(row, emotion="happy", sentiment="positive")[1]:
        if sample["question_type"] == "content+emotion" and sample["task"] == "qa":
            assert "cieszę" not in sample["question"]


def test_no_quotation_in_emotion_questions_of_a_language_without_a_lexicon():
    for row in ROWS[:20]:
        for sample in write(row, text_lang="xx", speech_lang="xx")[1]:
            if sample["evidence"][0]["field"] == "emotion":
                assert '"' not in sample["question"]


# --- The strongest one: whatever is null, everything written is accepted and nothing had to be refused -----------

_SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@_SETTINGS
@given(st.sampled_from(ROWS), st.sets(st.sampled_from(range(len(NULLABLE)))), st.integers(0, 5))
def test_any_nulls_give_only_samples_that_verify_accepts(row, missing, seed):
    record = facts.from_row(without(row, tuple(missing)))
    rows, refused = template.write(record, PROMPTS, DEFAULT_COUNTS, MODES, seed)
    assert refused == []
    for sample in rows:
        assert checks.check(sample, record) == []


@_SETTINGS
@given(
    st.sampled_from(ROWS),
    st.fixed_dictionaries({name: st.sampled_from((None, *LEVELS)) for name in facts.LEVEL_FIELDS}),
    st.sampled_from((None, *facts.ANSWERABLE, "other")),
    st.sampled_from((None, "female", "male")),
)
def test_any_facts_give_only_samples_that_verify_accepts(row, levels, emotion, sex):
    record = facts.from_row({**row, **levels, "emotion": emotion, "sex": sex})
    rows, refused = template.write(record, PROMPTS, DEFAULT_COUNTS, MODES, 0)
    assert refused == []
    for sample in rows:
        assert checks.check(sample, record) == []


@_SETTINGS
@given(st.sampled_from(ROWS), st.text(max_size=120))
def test_any_transcript_gives_only_samples_that_verify_accepts(row, transcript):
    record = facts.from_row({**row, "transcript": transcript, "words": None})
    rows, refused = template.write(record, PROMPTS, DEFAULT_COUNTS, MODES, 0)
    assert refused == []
    assert rows
    for sample in rows:
        assert checks.check(sample, record) == []
