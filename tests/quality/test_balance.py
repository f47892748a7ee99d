"""Strata, luck and weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.quality.balance import dense, place_within, preference, stratify, weights
from datagen.quality.luck import draws, name_hashes, uniform


def test_a_stratum_is_named_by_its_values_whatever_the_order_of_rows():
    clips = pa.table({"emotion": ["sad", None, "sad", "angry"], "sex": ["male", "male", "male", None]})
    found = stratify(clips, ["emotion", "sex", "corpus"])
    assert found.names == ["angry/unknown/unknown", "sad/male/unknown", "unknown/male/unknown"]
    assert found.code.tolist() == [1, 2, 1, 0]
    assert stratify(clips.take([3, 2, 1, 0]), ["emotion", "sex", "corpus"]).code.tolist() == [0, 1, 2, 1]
    assert stratify(clips.slice(0, 0), ["emotion"]).names == []


def test_strata_of_one_name_are_one_stratum():
    clips = pa.table({"speaker": ["a/b", "a"], "corpus": ["c", "b/c"]})
    assert stratify(clips, ["speaker", "corpus"]).code.tolist() == [0, 0]


NAMES = st.lists(st.text(max_size=40), max_size=30)


@given(NAMES, st.randoms(use_true_random=False), st.integers(0, 30))
def test_a_hash_depends_on_the_name_alone(names, random, cut):
    alone = [int(name_hashes(pa.array([name]))[0]) for name in names]
    assert name_hashes(pa.array(names, pa.string())).tolist() == alone
    chunked = pa.chunked_array([names[:cut], names[cut:]], pa.string())
    assert name_hashes(chunked).tolist() == alone
    assert name_hashes(pa.array(["x", *names, "y"]).slice(1, len(names))).tolist() == alone  # a view into a longer one
    assert len(set(alone)) == len(set(names))


def test_hashes_of_like_names_are_all_different_and_spread_evenly():
    names = [f"{'0' * 24}{n:08x}-0-{n}-{n + 3000}" for n in range(200_000)]
    hashes = name_hashes(pa.array(names))
    assert len(np.unique(hashes)) == len(names)
    assert len({"", "\0", "\0\0"}) == len(set(name_hashes(pa.array(["", "\0", "\0\0"])).tolist()))
    share = uniform(draws(hashes, 17))
    assert share.min() > 0 and share.max() < 1
    observed = np.histogram(share, 100, (0, 1))[0]
    assert ((observed - 2000) ** 2 / 2000).sum() < 180  # chi-squared with 99 degrees of freedom: one in 10^6 is beyond
    other = uniform(draws(hashes, 18))
    assert abs(np.corrcoef(share, other)[0, 1]) < 0.01


def test_a_weighted_draw_takes_in_proportion_to_the_weight():
    """The first of n is i with probability w_i over the sum of the weights (Efraimidis & Spirakis 2006)."""
    richness = np.array([0.2, 0.4, 0.6, np.nan])  # the last counts as the median, 0.4
    hashes = name_hashes(pa.array(["a", "b", "c", "d"]))
    first = Counter(int(np.argmin(preference(richness, draws(hashes, seed), 2.0))) for seed in range(4000))
    expected = np.array([0.04, 0.16, 0.36, 0.16]) / 0.72
    assert [first[n] / 4000 for n in range(4)] == pytest.approx(expected, abs=0.03)


def test_no_richness_known_is_luck_alone():
    draw = draws(name_hashes(pa.array(["a", "b", "c"])), 1)
    key = preference(np.full(3, np.nan), draw, 2.0)
    assert np.argsort(key).tolist() == np.argsort(uniform(draw))[::-1].tolist()


def test_places_and_dense_numbers():
    assert place_within(np.array([5, 3, 5, 5, 3])).tolist() == [0, 0, 1, 2, 1]
    for keys in (np.array([7, 0, 7]), np.array([-4, 10**15, -4])):
        met, code = dense(keys)
        assert met[code].tolist() == keys.tolist() and len(met) == 2


def test_weights_lift_the_rare_by_the_power():
    stratum = np.array([0] * 16 + [1] * 4)
    for power in (0.0, 0.5, 1.0):
        weight = weights(stratum, power)
        assert weight.mean() == pytest.approx(1, abs=1e-6)
        assert weight[16] / weight[0] == pytest.approx(4**power, abs=1e-4)
    assert weights(np.zeros(0, np.int64), 0.5).tolist() == []
