"""Signs of invented texts: each is found where it should be and nowhere in what people really say."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datagen.resources import folder
from datagen.speech import hallucination
from datagen.speech.hallucination import FLAGS, Limits, compression, flags, repeats, syllables, units

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips" / "metadata.jsonl"


def signs(text, lang="en", speech_s=5.0, avg_logprob=-0.2, no_speech=0.01, **limits):
    return flags(text, lang, speech_s, avg_logprob, no_speech, Limits(**limits))


def test_what_people_say_in_the_repository_s_clips_is_not_flagged():
    rows = [json.loads(line) for line in CLIPS.read_text("utf-8").splitlines()]
    texts = [(row["transcript"], row.get("language")) for row in rows if row.get("transcript")]
    assert len(texts) > 15
    for text, lang in texts:
        seconds = len(text) / 15  # a usual pace
        assert signs(text, lang, seconds) == [], text


@pytest.mark.parametrize(
    "text",
    [
        "no no no no no no no no",
        "I said it and I said it and I said it and I said it.",
        "So we went there. " * 3,
        "Oh, oh, oh, oh, oh, oh, oh, oh!",
        "はい。はい。はい。はい。はい。",
        "谢谢大家谢谢大家谢谢大家",
    ],
)
def test_words_in_a_loop_are_repetition(text):
    assert "repetition" in signs(text)


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no!",
        "very very good",
        "bye bye",
        "Row, row, row your boat",
        "ha ha ha ha",
        "that that is is",
        "いいえ、いいえ",
    ],
)
def test_what_is_said_twice_or_thrice_is_no_loop(text):
    assert "repetition" not in signs(text)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=12), st.lists(st.sampled_from("ab"), min_size=1, max_size=6))
def test_a_block_repeated_often_enough_is_found_wherever_it_stands(around, block):
    times = max(3, -(-8 // len(block)))
    assert repeats([*around, *block * times, *around])


@given(st.lists(st.integers(0, 10**9), unique=True, max_size=60))
def test_words_that_are_all_different_never_repeat(numbers):
    assert not repeats([str(number) for number in numbers])


def test_a_text_that_compresses_well_is_flagged_from_the_limit_on():
    loop = "and so on and so forth, " * 12
    assert compression(loop) > 2.4 > 1.5 > compression("The letters are lying on the kitchen table. Nobody told me.")
    assert "compression" in signs(loop, speech_s=60)
    assert "compression" not in signs(loop, speech_s=60, compression=compression(loop))
    assert compression("") == 0.0


def test_the_recogniser_s_own_doubts_are_flagged():
    assert signs("Nobody told me.", avg_logprob=-1.01) == ["logprob"]
    assert signs("Nobody told me.", avg_logprob=-1.0) == []
    assert signs("Nobody told me.", no_speech=0.61) == ["no_speech"]
    assert signs("Nobody told me.", no_speech=0.6) == []


def test_more_words_than_the_speech_has_room_for_are_flagged():
    text = "Nobody told me that the train was late and that we had to wait for another one."
    assert syllables(text, "en") == 21
    assert signs(text, speech_s=3.0) == []
    assert signs(text, speech_s=1.0) == ["too_fast"]


@pytest.mark.parametrize(
    ("text", "lang", "count"), [("今日はいい天気です", "ja", 9), ("안녕하세요", "ko", 5), ("abcdef", "fr", 2.0)]
)
def test_syllables_are_estimated_where_there_is_no_rule(text, lang, count):
    assert syllables(text, lang) == count


def test_scripts_without_blanks_are_counted_by_sign():
    assert units("谢谢。 good day") == ["谢", "谢", "good", "day"]


def test_every_known_phrase_is_found_in_any_case_and_dress():
    data = yaml.safe_load((folder("schemas") / "hallucinations.yaml").read_text("utf-8"))
    phrases = [
        (kind, phrase) for kind in ("credits", "farewells") for listed in data[kind].values() for phrase in listed
    ]
    assert len(phrases) > 60
    for kind, phrase in phrases:
        assert "boilerplate" in signs(f" {phrase.upper()}!" if phrase.upper().lower() == phrase else f" {phrase}!"), (
            phrase
        )
        within = f"So that was it. {phrase}. Good night."
        assert "boilerplate" in signs(within), phrase
        assert ("boilerplate" in signs(f"we say {phrase} to all of them")) == (kind == "credits"), phrase


def test_a_farewell_within_a_sentence_is_speech():
    assert signs("He said thanks for watching the dog while I was away.") == []
    assert signs("Thank you.", no_speech=0.1) == []


def test_flags_are_sorted_and_known():
    text = "Thanks for watching! " * 12 + "\ufffd спасибо"
    found = signs(text, speech_s=1.0, avg_logprob=-2, no_speech=0.9)
    assert tuple(found) == FLAGS == tuple(sorted(FLAGS))
    assert hallucination.version()


def test_an_empty_text_has_no_sign_of_its_own():
    assert signs("") == []


# --- Letters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Спасибо.", "en"),
        ("I see. 谢谢", "de"),
        ("Thank you so much.", "ja"),
        ("Привет", "el"),
        ("こんにちは", "zh"),
        ("नमस्ते", "ur"),
    ],
)
def test_letters_that_the_language_is_not_written_in_are_a_sign(text, lang):
    assert "script" in signs(text, lang)


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Łódź, naïve, Ærø: 5 µm!", "pl"),
        ("iPhone を買ったよ。コーヒーも、人々も。", "ja"),
        ("ﾊﾝｶｸ", "ja"),
        ("Dobro jutro, добро јутро", "sr"),
        ("मैंने email भेजा", "hi"),
        ("漢字와 한글", "ko"),
        ("...", "ru"),
        ("Привет", None),
    ],
)
def test_names_borrowed_words_and_second_scripts_are_none(text, lang):
    assert "script" not in signs(text, lang)


def test_bytes_that_are_no_letters_are_a_sign():
    assert signs("Caf\ufffd, please.") == ["undecodable"]
    assert signs("Café, please.") == []
