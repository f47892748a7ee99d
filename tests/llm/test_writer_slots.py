"""What a language model is asked, before it is asked: slots, the facts it is shown, evidence in the record's form."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.quality import contrast_replies, facts
from datagen.quality.facts import GROUP, NUMBER_FIELDS
from datagen.quality.grounding import evidence as ungrounded
from datagen.stages.write import DEFAULT_COUNTS
from datagen.tables import MODES
from datagen.testing.records import NULLABLE, clip_rows, without
from datagen.writing import contrast
from datagen.writing.evidence import canonical
from datagen.writing.shown import facts_of, slot_of
from datagen.writing.slots import Slot, plan_clip

ROWS = clip_rows(60, seed=4)
ENGLISH = clip_rows(200, seed=4, language="en")
_SETTINGS = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])


def plan(record, counts=DEFAULT_COUNTS, modes=MODES, seed=0, withheld=0.25):
    return plan_clip(record, counts, modes, seed, withheld)


def record(**changes):
    row = next(row for row in ENGLISH if row["events"] and row["emotion"] == "sad")
    return facts.from_row({**row, **changes})


# --- Slots --------------------------------------------------------------------------------------------------


def test_slots_name_the_fact_that_decides_and_its_label():
    for row in ROWS:
        known = facts.from_row(row)
        for slot in plan(known):
            if slot.label and slot.field in GROUP and slot.field != "events":
                assert slot.label == known.get(slot.field)
            if slot.options:
                assert slot.label in slot.options
            for item in slot.decides:
                assert not list(ungrounded([item], known))


def test_indices_count_up_within_task_and_mode():
    for row in ROWS[:20]:
        seen: dict[tuple[str, str], list[int]] = {}
        for slot in plan(facts.from_row(row)):
            seen.setdefault((slot.task, slot.mode), []).append(slot.index)
        assert all(indices == list(range(len(indices))) for indices in seen.values())
        assert all(len(indices) <= DEFAULT_COUNTS[task] for (task, _), indices in seen.items())


def test_labels_are_withheld_from_the_share_that_is_asked_for():
    found = [slot.withheld for row in clip_rows(400, seed=2) for slot in plan(facts.from_row(row), {"reasoning": 1})]
    assert 0.19 < sum(found) / len(found) < 0.31
    for share, all_of_them in ((0.0, False), (1.0, True)):
        slots = [slot for row in ROWS for slot in plan(facts.from_row(row), {"reasoning": 1}, withheld=share)]
        assert {slot.withheld for slot in slots} == {all_of_them}


@_SETTINGS
@given(st.sampled_from(ROWS), st.sets(st.sampled_from(range(len(NULLABLE)))), st.integers(0, 3))
def test_what_is_null_is_never_shown(row, missing, seed):
    known = facts.from_row(without(row, tuple(missing)))
    absent = {name for group in missing for name in NULLABLE[group]}
    for slot in plan(known, seed=seed):
        assert not absent & set(facts_of(known, slot))
        assert not absent & {item["field"] for item in slot.decides}


# --- What is shown ------------------------------------------------------------------------------------------


def test_numbers_are_shown_where_the_trainee_reads_them():
    for slot in plan(record()):
        shown = set(facts_of(record(), slot)) & set(NUMBER_FIELDS)
        if slot.task != "classification":
            assert ("f0_median_hz" in shown) == (slot.mode == "explicit") == slot_of(slot)["numbers"]
            assert "arousal" in shown


def test_nothing_that_names_a_withheld_label_is_shown():
    scores = [{"label": "sad", "score": 0.9}]
    windows = [{"start": 0.0, "end": 1.0, "label": "sad", "score": 0.9}]
    known = record(label_source="pseudo", emotion_scores=scores, emotion_timeline=windows, cue_relation="conflict",
                   style="sad", **dict.fromkeys(facts.LEVEL_FIELDS, "low"))  # fmt: skip
    slots = plan(known, {"reasoning": 1}, withheld=1.0)
    assert slots
    for slot in slots:
        assert "sad" not in str(facts_of(known, slot)) and "negative" not in str(facts_of(known, slot))
        assert {"label", "decides"}.isdisjoint(slot_of(slot))
    told = plan(known, {"reasoning": 1}, withheld=0.0)[0]
    shown = facts_of(known, told)
    assert shown["emotion_scores"] == {"sad": 0.9} and shown["emotion_timeline"] == [["sad", 0.0, 1.0]]


def test_a_given_label_needs_no_model_s_opinion_and_an_unsure_window_is_none():
    windows = [{"start": 0.0, "end": 1.0, "label": "happy", "score": 0.9},
               {"start": 1.0, "end": 2.0, "label": "other", "score": 0.9},
               {"start": 2.0, "end": 3.0, "label": "sad", "score": 0.4}]  # fmt: skip
    assert not record(label_source="gold", emotion_timeline=windows).timeline
    assert [span.text for span in record(label_source="pseudo", emotion_timeline=windows).timeline] == ["happy"]


def test_the_question_of_a_classification_knows_no_voice():
    for slot in plan(record(), {"classification": 2}):
        assert set(facts_of(record(), slot)) <= {"transcript", "words"}
        assert "label" not in slot_of(slot)


# --- Evidence -----------------------------------------------------------------------------------------------

KNOWN = {"f0_median_hz": 212.44, "pitch_level": "high", "pause_ratio": 0.215, "age_years": 41.0}


@pytest.mark.parametrize(
    ("name", "value", "quote", "becomes"),
    [
        ("f0_median_hz", "212.4", None, ("f0_median_hz", "212.4", None)),
        ("f0_median_hz", "212 Hz", "", ("f0_median_hz", "212.4", None)),
        ("f0_median_hz", "about 213", None, ("f0_median_hz", "212.4", None)),  # within one part in a hundred
        ("f0_median_hz", "180 Hz", None, ("f0_median_hz", "180 Hz", None)),
        ("f0_median_hz", "high", None, ("f0_median_hz", "high", None)),
        ("pitch_level", "High", "High", ("pitch_level", "high", None)),
        ("pitch_level", "low", None, ("pitch_level", "low", None)),
        ("pause_ratio", "0.21", None, ("pause_ratio", "0.21", None)),
        ("emotion", "SAD", None, ("emotion", "sad", None)),
        ("transcript", None, "dogs are sitting", ("transcript", None, "Dogs are sitting")),
        ("transcript", "Dogs are", None, ("transcript", None, "Dogs are")),
        ("transcript", None, '"by the door"', ("transcript", None, "by the door")),
        ("transcript", None, "cats are", ("transcript", None, "cats are")),
        ("words", "0.21-0.39", "dogs", ("words", "0.20-0.40", "Dogs")),
        ("transcript", "0.2 - 0.4", "Dogs", ("words", "0.20-0.40", "Dogs")),
        ("words", "1.00-1.40", "Dogs", ("words", "1.00-1.40", "Dogs")),
        ("words", None, "Dogs are", ("transcript", None, "Dogs are")),
        ("events", "Laughter", None, ("events", "laughter", None)),
        ("events", "laughter 0.5-1.0", None, ("events", "laughter 0.50-1.00", None)),
        ("events", "laughter 3.0-4.0", None, ("events", "laughter 3.0-4.0", None)),
        ("events", "cough", None, ("events", "cough", None)),
    ],
)
def test_evidence_takes_the_record_s_form_and_nothing_becomes_true(name, value, quote, becomes):
    words = [{"word": "Dogs", "start": 0.2, "end": 0.4}, {"word": "are", "start": 0.4, "end": 0.5}]
    laugh = [{"event": "laughter", "start": 0.5, "end": 1.0, "score": None}]
    known = record(transcript="Dogs are sitting by the door.", words=words, events=laugh, **KNOWN)
    (found,) = canonical([{"field": name, "value": value, "quote": quote}], known)
    assert (found["field"], found["value"], found["quote"]) == becomes
    false = any(mark in f"{value} {quote}" for mark in ("180", "low", "cats", "1.00", "3.0", "cough"))
    assert any(ungrounded([found], known)) == (false or (name, value) == ("f0_median_hz", "high"))


def test_the_same_item_twice_is_one():
    item = {"field": "pitch_level", "value": "high", "quote": None}
    assert len(canonical([item, {**item, "value": "HIGH"}], record(**KNOWN))) == 1


# --- Contrast -----------------------------------------------------------------------------------------------


def group(count=300):
    """Records that share their words, by group."""
    found: dict[str, list[facts.Record]] = {}
    for row in clip_rows(count, seed=6, language="en"):
        known = facts.from_row({**row, "contrast_question": "What does this voice tell of the mood?"})
        if known.contrast is not None:
            found.setdefault(known.contrast.group, []).append(known)
    return found


def test_all_clips_of_a_group_have_one_joint_slot_per_mode_with_the_same_options():
    for counts in (DEFAULT_COUNTS, {"qa": 5}):
        for members in group().values():
            joint = [[slot for slot in plan(each, counts) if slot.joint] for each in members]
            assert all(Counter(slot.mode for slot in slots) == dict.fromkeys(MODES, 1) for slots in joint)
            assert len({slot.options for slots in joint for slot in slots}) == 1
            assert len({slot.label for slots in joint for slot in slots}) > 1


def test_the_other_voice_is_another_of_the_group():
    others = Counter()
    for members in group().values():
        for known in members:
            other = contrast.other_voices(known, 0)[0]
            assert other in known.contrast.emotions and other != known.get("emotion")
            others[other] += 1
            voiced = contrast.in_voice(known, other)
            assert set(voiced.facts) <= {"transcript", "emotion"} and not voiced.words and voiced.contrast is None
    assert len(others) == len(facts.ANSWERABLE)


def test_a_clip_whose_own_emotion_is_unknown_is_in_no_group():
    assert record(emotion=None).contrast is None
    assert record(contrast_emotions=["sad"]).contrast is None
    assert (
        record(contrast_group_id=None).contrast is None
        and record(contrast_group_id=None, scenario="x").scenario is None
    )
    assert contrast.other_voices(record(contrast_group_id=None), 0) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("I am sorry, take your time.", "Take your time, I am sorry!", True),
        ('You said "stop". I am sorry, take your time.', "I am sorry, take your time.", True),
        ("I am sorry to hear that, take your time.", "That is great, what was the best part?", False),
        ("", "That is great.", True),
    ],
)
def test_replies_that_say_the_same_are_told(one, other, same):
    assert contrast_replies.same_reply(one, other) is same is contrast_replies.same_reply(other, one)


def test_a_pair_needs_other_words_and_another_style():
    row = {"response": "I am sorry, take your time.", "response_style": "calm and soft",
           "rejected_response": "Great, what was the best part?", "rejected_style": "cheerful"}  # fmt: skip
    assert not list(contrast_replies.contrast(row))
    assert list(contrast_replies.contrast({**row, "rejected_style": "soft, calm"}))
    assert list(contrast_replies.contrast({**row, "rejected_response": row["response"]}))
    assert not list(contrast_replies.contrast({**row, "rejected_response": None, "rejected_style": None}))


def test_a_slot_without_a_prompt_of_its_own_uses_its_task_s():
    assert Slot("qa", "implicit", 0, "sex").prompt == "qa"
    assert Slot("reasoning", "implicit", 0, "emotion", withheld=True).prompt == "reasoning_withheld"
