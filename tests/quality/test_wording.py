import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import tables
from datagen.quality.texts import text_key
from datagen.quality.wording import plain, without_tags, word_count, word_coverage


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, None),
        ("", 0),
        ("[laughter] <noise>", 0),
        ("... !", 0),
        ("Well, [laughs] I don't know.", 4),
        ("नमस्ते दुनिया", 2),  # vowel signs are no gaps
        ("மிகவும் நன்றி", 2),
        ("감사합니다 여러분", 2),
        ("我今天很高兴", 4),  # 我 今天 很 高兴
        ("iPhone很好", 2),
        ("はい", 1),
        ("今日はとても嬉しいです", 6),
        ("ผมรักคุณมาก", 3),
    ],
)
def test_words_are_counted_in_every_script(text, words):
    assert word_count(text) == words


@given(st.text(max_size=40))
def test_there_are_words_just_where_there_is_a_key(text):
    assert (word_count(text) == 0) == (text_key(without_tags(text), "en") is None)


@given(st.lists(st.sampled_from(["Oh", "don’t", "STOP", "it's", "naïve", "很好"]), min_size=1, max_size=6))
def test_case_and_punctuation_tell_a_text_model_nothing(words):
    calm, loud = " ".join(words).lower() + ".", "!! ".join(words).upper() + "!!!"
    assert plain(calm) == plain(loud)
    assert plain(plain(loud)) == plain(loud)


def test_coverage_is_the_share_of_words_with_both_times():
    def word(start, end):
        return {"word": "a", "start": start, "end": end, "score": None, "flag": None}

    rows = [[word(0.0, 0.1), word(None, 0.2), word(0.3, None), word(0.4, 0.5)], None, [], [word(0.0, 1.0)] * 3]
    words = pa.array(rows, pa.list_(tables.WORD))
    assert word_coverage(words).to_pylist() == [0.5, None, None, 1.0]
    # Slices and chunks as batches have them.
    chunked = pa.chunked_array([words.slice(0, 2), words.slice(2)])
    assert word_coverage(chunked).to_pylist() == [0.5, None, None, 1.0]
    assert word_coverage(words.slice(1)).to_pylist() == [None, None, 1.0]
    assert word_coverage(pa.array([], pa.list_(tables.WORD))).to_pylist() == []
