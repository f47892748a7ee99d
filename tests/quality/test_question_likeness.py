"""Near-same questions within a clip and over a set, and where the right option stands."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from datagen.quality import question_likeness
from datagen.quality.question_likeness import chi_square_p, positions, repeats, same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Which emotion do you hear in this voice?", "What emotion do you hear in the voice?"),
        ("Is it high, normal or low?", "Is it LOW, high or normal?"),
        ("How fast does the speaker talk?", "How fast is the speaker talking?"),
        ("Which emotion is it? Choose one: sad, happy, angry.", "Which emotion is it? Options: angry, sad, happy."),
        ("How is the mood of this speaker best named here?", "How is the speaker's mood best named here?"),
        ('When is "door" said in this clip?', 'In this clip, when is "door" said?'),
    ],
)  # fmt: skip
def test_questions_that_ask_the_same(one, other):
    assert same(one, other) and same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is the pitch of the voice low, normal or high?", "Is the pace of the voice low, normal or high?"),
        ('When is "door" said?', 'When is "kids" said?'),
        ("What is the first word that the speaker says?", "What is the last word that the speaker says?"),
        ("When does the speaker say it in the clip?", "Why does the speaker say it in the clip?"),
        ("Which emotion does the voice express best?", "Which sentiment does the voice express best?"),
        ('Which word comes right after "door"?', 'Which word comes right before "door"?'),
        ("Is the speaker a woman or a man?", "How old is the speaker?"),
    ],
)
def test_questions_that_do_not(one, other):
    assert not same(one, other) and not same(other, one)


def test_repeats_counts_other_clips_and_none_twice():
    asked = ["Which emotion is it?", "Which emotion is it?", "What emotion is it?", "Which emotions are these?", None,
             'What follows "a"?', 'What follows "b"?', "Is the pace low, normal or high?",
             "Is the pace high, normal or low?", "Is the pitch low, normal or high?"]  # fmt: skip
    clips = ["a", "a", "b", "c", "d", "a", "b", "a", "b", "c"]
    assert repeats(pa.array(asked), pa.array(clips)).tolist() == [2, 2, 2, 2, 0, 1, 1, 1, 1, 0]
    assert repeats(pa.chunked_array([], pa.string()), pa.chunked_array([], pa.string())).tolist() == []


def test_repeats_do_not_depend_on_order_or_chunks():
    dice = random.Random(5)
    words = ["voice", "pitch", "tempo", "speaker", "emotion", "word", "mood", "sound"]
    asked = [f"What {' '.join(dice.sample(words, 2))} is it?" for _ in range(300)]
    clips = [f"c{dice.randrange(60)}" for _ in asked]
    found = repeats(pa.array(asked), pa.array(clips))
    order = dice.sample(range(300), 300)
    chunked = pa.chunked_array([[asked[i] for i in order[:70]], [asked[i] for i in order[70:]]])
    shuffled = repeats(chunked, pa.array([clips[i] for i in order]))
    assert shuffled.tolist() == found[order].tolist() and found.max() > 0
    for row in range(0, 300, 37):  # against the definition
        key = frozenset(asked[row].split())
        others = {clips[i] for i in range(300) if frozenset(asked[i].split()) == key} - {clips[row]}
        assert found[row] == len(others)


def test_positions_are_counted_and_tested():
    dice = random.Random(1)
    even = [dice.sample(["a", "b", "c"], 3) for _ in range(900)]
    counts, p = positions(pa.array([*even, None]), pa.array([*["b"] * 900, "b"]))
    assert counts[3].sum() == 900 and p > 0.01
    skewed = [["b", "a", "c"] if dice.random() < 0.5 else each for each in even]
    assert positions(pa.array(skewed), pa.array(["b"] * 900))[1] < 1e-6
    assert positions(pa.array([["a", "b"]]), pa.array(["a"]))[1] is None
    assert positions(pa.array([None], pa.list_(pa.string())), pa.array(["a"])) == ({}, None)
    two = positions(pa.array([["a", "b"], ["x", "y", "z"], ["a", "b"]]), pa.array(["b", "x", None]))[0]
    assert {size: found.tolist() for size, found in two.items()} == {2: [0, 1], 3: [1, 0, 0]}


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 15])
def test_chi_square_against_simulation(freedom):
    """The share of sums of squared normal numbers beyond a value, to within four standard errors."""
    sums = (np.random.default_rng(freedom).standard_normal((100_000, freedom)) ** 2).sum(axis=1)
    for value in (0.5 * freedom, freedom, 2 * freedom):
        p = chi_square_p(value, freedom)
        assert abs(p - (sums > value).mean()) < 4 * np.sqrt(p * (1 - p) / 1e5) + 1e-9


def test_a_language_without_a_lexicon_compares_all_words():
    assert question_likeness.same("Jaki to głos?", "Jaki to głos?", "xx")
    assert not question_likeness.same("Jaki to głos?", "Jakie to słowo?", "xx")
