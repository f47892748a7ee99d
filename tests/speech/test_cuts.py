import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.speech import cuts
from datagen.speech.cuts import Limits

LIMITS = Limits(longest=30.0, split_pause=0.8, shortest=2.0, pad=0.2)


@st.composite
def regions(draw):
    steps = draw(st.lists(st.tuples(st.floats(0, 5), st.floats(0.05, 50)), min_size=1, max_size=40))
    found, at = [], 0.0
    for pause, length in steps:
        found.append((at + pause, at + pause + length))
        at = found[-1][1]
    return found, at + draw(st.floats(0, 5))


@settings(max_examples=200, deadline=None)
@given(regions(), st.floats(2, 60), st.floats(0, 0.5))
def test_pieces_are_short_enough_disjoint_and_hold_all_speech(case, longest, pad):
    spans, end = case
    found = cuts.pieces(spans, Limits(longest, 0.8, 2.0, pad), (0.0, end))
    assert all(0 <= a < b <= end and b - a <= longest + 1e-9 for a, b in found)
    assert all(left[1] <= right[0] + 1e-9 for left, right in itertools.pairwise(found))
    for begin, finish in spans:  # every moment of speech lies in some piece
        held = sum(max(min(b, finish) - max(a, begin), 0) for a, b in found)
        assert held >= finish - begin - 1e-6


def test_the_longest_pause_is_cut_first():
    spans = [(0.0, 14.0), (14.3, 24.0), (25.0, 34.0)]
    assert cuts.pieces(spans, Limits(30, 2.0, 2.0, 0.0), (0.0, 34.0)) == [(0.0, 24.0), (25.0, 34.0)]


def test_words_are_never_cut_even_without_a_pause():
    words = [(i * 0.5, (i + 1) * 0.5) for i in range(150)]  # 75 s without a breath
    found = cuts.pieces(words, LIMITS, (0.0, 75.0))
    edges = {edge for word in words for edge in word}
    assert len(found) == 3 or len(found) == 4
    assert all(a in edges and b in edges for a, b in found)


def test_speech_without_any_pause_is_cut_where_it_is_least_like_speech():
    probability = np.full(1250, 0.9, np.float32)  # 40 s of 32 ms frames
    probability[700] = 0.6
    (first, second) = cuts.pieces([(0.0, 40.0)], Limits(30, 0.8, 2, 0.0), (0.0, 40.0), probability, 0.032)
    assert first[1] == second[0] and abs(first[1] - 700.5 * 0.032) < 1e-6


def test_a_short_remark_stays_with_its_sentence_unless_the_pause_is_long():
    assert cuts.pieces([(0.0, 1.0), (1.9, 9.0)], LIMITS, (0.0, 9.0)) == [(0.0, 9.0)]
    assert len(cuts.pieces([(0.0, 1.0), (4.0, 9.0)], LIMITS, (0.0, 9.0))) == 2


def test_padding_takes_at_most_half_of_the_pause():
    found = cuts.pieces([(1.0, 5.0), (5.2, 9.0)], Limits(6, 0.1, 0, 0.5), (0.0, 9.1))
    assert np.allclose(found, [(0.5, 5.1), (5.1, 9.1)])


def test_holes_of_stop_consonants_do_not_end_speech():
    probability = np.array([0.9] * 10 + [0.1] * 2 + [0.9] * 10 + [0.1] * 20 + [0.4] * 5, np.float32)
    assert np.allclose(cuts.speech_regions(probability, 0.032, 0.5), [(0.0, 22 * 0.032)])
