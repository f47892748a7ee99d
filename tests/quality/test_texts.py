import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.quality.components import components
from datagen.quality.texts import normalised, text_id, text_key
from datagen.quality.turning import languages, turning, words


def test_same_words_have_one_key():
    spellings = ["It’s a TEST, really!", "its a test really", "It's a  test - REALLY..."]
    assert {text_key(text, "en-US") for text in spellings} == {"en|its a test really"}
    assert text_key("It's a test", "de") != text_key("It's a test", "en")
    assert text_key("ﬁne café", None, "fr") == "fr|fine café"
    assert text_key("hm", None, None) == "und|hm"
    assert text_key("...") is None
    assert text_key(None, "en") is None


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalised(normalised(text)) == normalised(text)


def test_a_text_has_a_short_name_that_says_nothing_of_it():
    assert text_id("en|its a test") == text_id("en|its a test") != text_id("de|its a test")
    assert len(text_id("en|x")) == 16 and int(text_id("en|x"), 16) > 0
    assert text_id(None) is None


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("en|i am happy", "en|i am so happy", True),
        ("en|i am happy", "en|i am not happy", False),
        ("en|page 12", "en|page 13", False),
        ("en|she left on monday", "en|he left on monday", False),
        ("de|das ist gut", "de|das ist sehr gut", True),
        ("de|das ist gut", "de|das ist nicht gut", False),
        ("fr|il vient demain", "fr|il vient hier", False),
        ("es|no quiero", "es|quiero", False),
        ("it|ne ho due", "it|ne ho tre", False),
    ],
)
def test_what_turns_a_sentence_round_must_agree(one, other, agree):
    assert (turning(one) == turning(other)) is agree
    assert turning(one) is not None


def test_a_language_without_a_list_of_such_words_is_told_apart():
    assert turning("sw|sipendi") is None and "sw" not in languages()
    assert {"en", "de", "es", "fr", "it"} <= languages()


def test_the_listed_words_are_written_as_texts_are_normalised():
    for language in languages():
        assert turning(f"{language}|{' '.join(sorted(words(language)))}") == tuple(sorted(words(language)))
        assert all(normalised(word) == word for word in words(language))


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_those_of_a_walk(nodes, pairs):
    edges = [(a % nodes, b % nodes) for a, b in pairs]
    expected = list(range(nodes))
    for _ in range(nodes):
        for a, b in edges:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert components(nodes, np.array(edges, np.int64).reshape(-1, 2)).tolist() == expected
