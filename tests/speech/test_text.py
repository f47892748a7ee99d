import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.speech import text


def test_words_keep_apostrophes_and_numbers_and_lose_punctuation():
    said = text.words("Feed’st thy light's flame: it—well-known in 1961, that ‘fair child’!")
    assert said == ["feed'st", "thy", "light's", "flame", "it", "well", "known", "in", "1961", "that", "fair", "child"]


def test_words_of_other_scripts_and_decomposed_letters_survive():
    assert text.words("Święte ibisy, ĝis!") == ["święte", "ibisy", "ĝis"]
    assert text.words(unicodedata.normalize("NFD", "Größe")) == ["größe"]
    assert text.words("Привет, мир") == ["привет", "мир"]


@given(st.text(max_size=60))
def test_splitting_words_again_changes_nothing(line):
    once = text.normalise(line)
    assert text.normalise(once) == once


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("7", "seven"), ("42", "forty two"), ("100", "one hundred"), ("1,234", "one thousand two hundred thirty four"),
        ("1961", "nineteen sixty one"), ("1905", "nineteen oh five"), ("2005", "two thousand five"),
        ("1900", "nineteen hundred"), ("1st", "first"), ("20th", "twentieth"), ("1960s", "nineteen sixties"),
        ("0.5", "zero point five"), ("don't", "don't"),
    ],
)  # fmt: skip
def test_english_numbers_are_spelt_as_they_are_read(word, said):
    assert text.spoken(word, "en") == said.split()


def test_a_number_nobody_taught_us_to_say_is_none():
    assert text.spoken("12", "de") is None
    assert text.spoken("3:45", "en") is None
    assert text.syllables(["um", "12", "uhr"], "de") is None


@pytest.mark.parametrize(
    ("line", "lang", "count"),
    [
        ("Ask not what your country can do for you", "en", 10),
        ("Dogs are sitting by the door", "en", 7),
        ("zvorian", "en", 3),  # in no dictionary
        ("Der Lappen liegt auf dem Eisschrank.", "de", 8),
        ("Das will sie am Mittwoch abgeben.", "de", 9),
        ("Egipcjanie uważali ibisy za święte.", "pl", 14),
        ("Sabes cuánto te quiere tu hermano menor", "es", 13),
    ],
)
def test_syllables_are_counted_as_spoken(line, lang, count):
    assert text.syllables(text.words(line), lang) == count


def test_a_language_without_a_rule_has_no_syllable_count():
    assert text.syllables(["hyvää", "päivää"], "fi") is None
    assert text.syllables(["word"], None) is None


def test_language_names_and_tags_become_two_letters():
    tags = ["en-US", "EN", "english", "en-CA/US", "German", "deu", "ger", "pt_BR", "Deutsch", "xx-klingon", "", None]
    assert [text.language(tag) for tag in tags] == ["en"] * 4 + ["de"] * 3 + ["pt", "de", None, None, None]
