import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.quality.components import components
from datagen.quality.texts import near_texts, normalised, text_clusters, text_key


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


def _unit(*rows):
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_negations_and_numbers_never_count_as_near():
    keys = ["en|i am happy", "en|i am not happy", "en|i am so happy", "en|page 12", "en|page 13"]
    vectors = _unit([1, 0, 0], [1, 0.01, 0], [1, 0.02, 0], [0, 0, 1], [0, 0.01, 1])
    assert near_texts(keys, vectors, 0.95).tolist() == [[0, 2]]


def test_clusters_are_named_by_their_words_and_need_embeddings_to_be_near():
    keys = pa.chunked_array([["en|b", "en|a"], ["de|a", None, "en|c", "en|b"]])
    vectors = pa.chunked_array(
        [[[1.0, 0.0], [0.999, 0.01]], [None, None, [0.0, 1.0], [1.0, 0.0]]], pa.list_(pa.float32())
    )
    names, near = text_clusters(keys, vectors, 0.95)
    assert names == ["en|a", "en|a", "de|a", None, "en|c", "en|a"]
    assert near == {("en|a", "en|b")}


@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_clusters_do_not_depend_on_row_order(random, size):
    rng = np.random.default_rng(size)
    rows = [(f"en|{i % 7}x", rng.normal(size=3).tolist()) for i in range(size)]
    rows = [(key, dict(rows)[key]) for key, _ in rows]
    shuffled = random.sample(rows, len(rows))

    def run(table):
        keys, vectors = zip(*table, strict=True)
        names, near = text_clusters(pa.array(keys), pa.array(vectors, pa.list_(pa.float32())), 0.5)
        return dict(zip(keys, names, strict=True)), near

    assert run(rows) == run(shuffled)


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_those_of_a_walk(nodes, pairs):
    edges = [(a % nodes, b % nodes) for a, b in pairs]
    expected = list(range(nodes))
    for _ in range(nodes):
        for a, b in edges:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert components(nodes, np.array(edges, np.int64).reshape(-1, 2)).tolist() == expected


@pytest.mark.parametrize("keys", [[], [None, None]])
def test_no_texts_no_clusters(keys):
    column = pa.array(keys, pa.string())
    assert text_clusters(column, pa.nulls(len(keys), pa.list_(pa.float32())), 0.9) == (keys, set())
