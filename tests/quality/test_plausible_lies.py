"""Samples a language model might well write, fluent and wrong: by hand, not by mutation, and in other words."""

from __future__ import annotations

import pytest

from datagen.quality import checks
from datagen.quality.facts import Record, Span

WORDS = "Kids are talking by the door"
RECORD = Record(
    "c1",
    {"transcript": f"{WORDS}.", "emotion": "angry", "sentiment": "negative", "arousal_level": "high",
     "pitch_level": "high", "pitch_range_level": "high", "loudness_level": "normal", "rate_level": "normal",
     "pause_level": "high", "sex": "male", "duration": 3.3},
    (Span("Kids", 0.5, 0.8), Span("talking", 0.95, 1.4), Span("door", 1.66, 2.1)), (), "en", "gold",
)  # fmt: skip
EMOTIONS = ["angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"]
LEVELS = ["low", "normal", "high"]


def item(field, value=None, quote=None):
    return {"field": field, "value": value, "quote": quote}


ANGRY = item("emotion", "angry")
SAID = item("transcript", None, WORDS)


def sample(task, **columns):
    row = dict.fromkeys(checks.ITEM_FIELDS) | {"clip_id": "c1", "task": task, "mode": "implicit", "index": 0}
    row |= {"evidence": [ANGRY], "sample_id": checks.sample_id("c1", task, "implicit", 0)} | columns
    row["metadata_context"] = None
    row["used_columns"] = checks.required_columns(row, RECORD)
    return row | {"sample_hash": checks.sample_hash(row)}


def reasoning(sentence):
    return sample(
        "reasoning", question_type="content+emotion", options=EMOTIONS, answer="angry", answer_label="angry",
        question=f"Which emotion does the speaker express, and why? Choose one: {', '.join(EMOTIONS)}.",
        reasoning="I begin with how this recording sounds and only then look at the wording. Measured against "
        f"comparable recordings, the pitch is high. Together with that, the vocal energy is high. {sentence} After "
        f'that I turn to the words, which are "{WORDS}". Weighing all of this together and going through the options '
        "one after the other, the emotion that fits best here is angry.",
        evidence=[ANGRY, item("arousal_level", "high"), item("pitch_level", "high"), SAID],
    )  # fmt: skip


def qa(question_type, question, answer, *evidence, label=None, options=None):
    return sample("qa", question_type=question_type, question=question, answer=answer, answer_label=label,
                  options=options, evidence=list(evidence))  # fmt: skip


def response(text):
    return sample("response", question="Reply to the speaker so that it suits how they sound.", response=text,
                  response_style="calm and steady")  # fmt: skip


def classification(question):
    return sample("classification", question_type="emotion", question=f"{question} Choose one: {', '.join(EMOTIONS)}.",
                  options=EMOTIONS, answer="angry", answer_label="angry")  # fmt: skip


def test_the_frames_of_the_lies_are_sound():
    """So that it is the lie that is refused."""
    assert checks.check(reasoning("That much can be heard."), RECORD) == []
    assert checks.check(qa("content", "What is said?", f'It is "{WORDS}".', SAID), RECORD) == []
    assert checks.check(response("You have every reason to object. What should happen first?"), RECORD) == []
    assert checks.check(classification("Which emotion is it?"), RECORD) == []


@pytest.mark.parametrize(
    "lie",
    [
        "The voice trembles slightly and becomes hoarse.",
        "The consonants are pressed out through clenched teeth.",
        "The pitch rises on the last word, as if a question were asked.",
        "In the background one can hear traffic.",
        "There is a strong emphasis on the final word.",
        "A door is slammed after the last word.",
        "The speaker has a strong British accent.",
        "The timbre is rough, with a rasping quality in the vowels.",
        "The pitch lies almost twice as high as in most recordings.",
        "It belongs to the loudest tenth of all recordings.",
        "The voice breaks, and tears are close.",
        "A short snort can be heard before the first word.",
        "The speaker sounds tired throughout.",
        "The delivery is bored from the first word on.",
        "The remark is sarcastic, which changes its meaning.",
        "The voice is free of any accent.",
    ],
)
def test_what_nobody_measured_is_not_said(lie):
    assert "UnsupportedClaim" in {found.error_class for found in checks.check(reasoning(lie), RECORD)}


@pytest.mark.parametrize(
    "lie",
    [
        qa("emotion", "What does the speaker feel?", "The speaker sounds extremely angry.", ANGRY, label="angry"),
        qa("emotion", "What does the speaker feel?", "The speaker sounds angry and calms down later.", ANGRY,
           label="angry"),
        qa("voice", "The voice is strained, is the pitch low, normal or high?", "The pitch is high.",
           item("pitch_level", "high"), label="high", options=LEVELS),
        qa("voice", "Is the pitch low, normal or high?", "The pitch is high, which is rare for a tenor.",
           item("pitch_level", "high"), label="high", options=LEVELS),
        response("You sound tired and worn out today. Shall we pause?"),
    ],
)  # fmt: skip
def test_nor_in_answers_questions_and_replies(lie):
    assert {found.error_class for found in checks.check(lie, RECORD)} & {"UnsupportedClaim", "LabelLeak"}


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (qa("content", "What is the third word?", 'The third word is "door".', item("transcript", None, "door")),
         "WrongAnswer"),
        (qa("content", 'Which word follows "talking"?', 'The word "door" follows.', item("transcript", None, "door")),
         "WrongAnswer"),
        (qa("content", "What does the speaker say?", 'It is "the door".', item("transcript", None, "the door")),
         "WrongAnswer"),
        (qa("content", "How many words does the speaker say?", f'There are nine words in "{WORDS}".', SAID),
         "WrongAnswer"),
        (qa("content", 'From when to when is "door" said?', "It is said from 2.10 to 1.66 seconds.",
            item("words", "1.66-2.10", "door")), "WrongAnswer"),
        (qa("content", 'When is "Kids" said?', 'It is said from 1.66 to 2.10 seconds, as "door" is.',
            item("words", "1.66-2.10", "door")), "WrongAnswer"),
        (qa("content+voice", "What is said, and is the pitch low, normal or high?",
            'The pitch is high where "door" is said.', item("pitch_level", "high"), item("transcript", None, "door"),
            label="high", options=LEVELS), "WrongAnswer"),
        (qa("voice", "Is the pitch low, normal or high?", "As the metadata has it, the pitch is high.",
            item("pitch_level", "high"), label="high", options=LEVELS), "Boilerplate"),
        (classification("The speaker is seeing red. Which emotion is it?"), "LabelLeak"),
        (classification("Somebody who has lost his temper speaks. Which emotion is it?"), "LabelLeak"),
        (response("Wonderful, what a great day! Let us begin at once."), "ContradictedClaim"),
        (response("Come on, get over it. There are other things to do."), "Boilerplate"),
    ],
)  # fmt: skip
def test_wrong_answers_leaks_and_cold_replies_are_refused(lie, error):
    assert error in {found.error_class for found in checks.check(lie, RECORD)}


def test_a_rationale_must_have_more_evidence_for_it_than_against():
    calm = Record("c1", {**RECORD.facts, "arousal_level": "low", "pitch_level": "low"}, RECORD.words, (), "en", "gold")
    row = reasoning("That much can be heard.")
    row["reasoning"] = row["reasoning"].replace("is high", "is low")
    row["evidence"] = [ANGRY, item("arousal_level", "low"), item("pitch_level", "low"), SAID]
    row["sample_hash"] = checks.sample_hash(row)
    assert {found.error_class for found in checks.check(row, calm)} == {"PoorReasoning"}


def test_an_answer_in_other_words_than_its_options_is_refused():
    lie = qa("voice", "Is the pitch range low, normal or high?", "The pitch range is wide.",
             item("pitch_range_level", "high"), label="high", options=LEVELS)  # fmt: skip
    assert [found.error_class for found in checks.check(lie, RECORD)] == ["WrongAnswer"]
