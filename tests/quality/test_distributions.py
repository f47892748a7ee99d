"""Statistics against numbers worked out by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.quality import distributions as d

CLIPS = pa.table(
    {
        "emotion": ["sad", "happy", "sad", None, "sad"],
        "sex": ["female", "male", "female", "male", "male"],
        "duration": pa.array([1800.0, 3600.0, 1800.0, 900.0, None]),
    }
)


def test_counts_are_sorted_with_nulls_last():
    assert d.counts(CLIPS, ("emotion",)).to_pydict() == {"emotion": ["happy", "sad", None], "rows": [1, 3, 1]}


def test_hours_per_class_and_in_all():
    assert d.hours(CLIPS, ("emotion",)).to_pydict() == {
        "emotion": ["happy", "sad", None],
        "rows": [1, 3, 1],
        "hours": [1.0, 1.0, 0.25],
    }
    assert d.hours(CLIPS).to_pylist() == [{"rows": 5, "hours": 2.25}]


@pytest.mark.parametrize(
    ("weights", "bits", "normalised", "ratio"),
    [
        ([1, 1], 1.0, 1.0, 1.0),
        ([1, 1, 2], 1.5, 0.946395, 2.0),
        ([5], 0.0, 0.0, 1.0),
        ([3, 0], 0.0, 0.0, None),
        ([], 0.0, 0.0, None),
    ],
)
def test_entropy_and_ratio(weights, bits, normalised, ratio):
    assert d.entropy(weights) == bits
    assert d.normalised_entropy(weights) == normalised
    assert d.max_min_ratio(weights) == ratio


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20))
def test_normalised_entropy_lies_between_nothing_and_one(weights):
    assert 0.0 <= d.normalised_entropy(weights) <= 1.0 + 1e-6
    assert d.normalised_entropy(weights) == pytest.approx(d.normalised_entropy(weights[::-1]), abs=2e-6)


def test_shares_add_up_and_nothing_shares_nothing():
    assert list(d.shares([1, 3])) == [0.25, 0.75]
    assert list(d.shares([0, 0])) == [0, 0]


def test_cramers_v_of_a_known_table():
    # 2x2 with counts 30, 10 / 10, 30: chi2 = 80 * (900 - 100)^2 / 40^4 = 20, V = sqrt(20 / 80) = 0.5
    pairs = [("a", "x")] * 30 + [("a", "y")] * 10 + [("b", "x")] * 10 + [("b", "y")] * 30 + [(None, "x")] * 7
    table = pa.table({"p": [p for p, _ in pairs], "q": [q for _, q in pairs]})
    assert d.cramers_v(table, "p", "q") == 0.5


def test_cramers_v_knows_its_ends_and_its_limits():
    table = pa.table({"p": ["a", "b"] * 10, "q": ["x", "y"] * 10, "r": ["u", "u", "v", "v"] * 5, "one": ["k"] * 20})
    assert d.cramers_v(table, "p", "q") == 1.0
    assert d.cramers_v(table, "p", "r") == 0.0
    assert d.cramers_v(table, "p", "one") is None


def test_balance_of_a_column():
    assert d.balance(CLIPS, "emotion") == {
        "classes": 2,
        "normalised_entropy": 0.811278,
        "max_min_ratio": 3.0,
        "null_share": 0.2,
    }


@given(st.permutations(range(CLIPS.num_rows)))
def test_the_order_of_rows_does_not_matter(order):
    mixed = CLIPS.take(order)
    assert d.hours(mixed, ("emotion", "sex")).equals(d.hours(CLIPS, ("emotion", "sex")))
    assert d.cramers_v(mixed, "emotion", "sex") == d.cramers_v(CLIPS, "emotion", "sex")
