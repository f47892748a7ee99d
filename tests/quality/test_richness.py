"""Richness: what each part measures, what it does not know, and that it does not hang on the order of rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.quality.richness import PARTS, Weights, _medians, richness


def of(columns, weights=None):
    return richness(pa.table(columns), weights)


def test_without_measurements_nothing_is_known():
    total, parts = of({"clip_id": pa.array(["a", "b"])})
    assert np.isnan(total).all() and set(parts) == set(PARTS) and all(np.isnan(p).all() for p in parts.values())


def test_intensity_is_the_distance_from_the_middle_and_from_neutral():
    intensity = of(
        {
            "arousal_pct": pa.array([0.5, 1.0, 0.0, 0.5, None, None]),
            "dominance_pct": pa.array([0.5, 1.0, 0.5, None, None, None]),
            "emotion": pa.array([None, None, None, "angry", "angry", "neutral"]),
            "emotion_margin": pa.array([None, None, None, 0.9, 0.3, 0.8]),
            "label_source": pa.array([None, None, None, "gold", "pseudo", "pseudo"]),
        }
    )[1]["intensity"]
    assert intensity == pytest.approx([0, 1, np.sqrt(0.5), 0.5, 0.3, 0], abs=1e-6)


def test_valence_counts_nothing():
    columns = {"arousal_pct": pa.array([0.6, 0.6])}
    assert of(columns | {"valence_pct": pa.array([0.0, 1.0])})[0].tolist() == of(columns)[0].tolist()


def test_deviation_is_from_the_speakers_own_baseline():
    low, high = [100.0, 101, 99, 100, 102, 98, 100, 100], [200.0, 202, 198, 200, 204, 196, 200, 200]
    f0 = pa.array([*low, 200.0, *high, 200.0, 200.0])
    speaker = pa.array(["a"] * 9 + ["b"] * 9 + ["c"])
    deviation = of({"speaker": speaker, "f0_median_hz": f0})[1]["deviation"]
    assert deviation[8] == 1.0  # an octave above his own
    assert deviation[17] == 0.0  # the very same pitch, usual for her
    assert np.isnan(deviation[18])  # who was heard once has no baseline


def test_deviation_in_robust_standard_deviations():
    level = np.array([-20.0, -23, -26, -29, -32, -35, -38, -41, -44])  # median -32, median deviation 6
    deviation = of({"speaker": pa.array(["a"] * 9), "level_dbfs": pa.array(level)})[1]["deviation"]
    assert deviation == pytest.approx(np.minimum(np.abs(level + 32) / (1.4826 * 6) / 3, 1), abs=1e-6)


def test_errors_of_measurement_are_no_deviation():
    level = [-30.0] * 8 + [-29.0]  # the spread of his own is nil; a decibel is nothing
    deviation = of({"speaker": pa.array(["a"] * 9), "level_dbfs": pa.array(level)})[1]["deviation"]
    assert deviation[8] == pytest.approx(1 / 2 / 3, abs=1e-6)


def test_conflict_of_words_and_voice():
    relation = pa.array(["conflict", "matched", "neutral_text", "nonverbal", None])
    conflict = of({"cue_relation": relation})[1]["conflict"]
    assert conflict[:3].tolist() == [1.0, 0.0, 0.5] and np.isnan(conflict[3:]).all()


def test_the_total_is_the_weighted_mean_of_what_is_known():
    columns = {"arousal_pct": pa.array([1.0, None]), "f0_range_pct": pa.array([0.25, 0.25])}
    weights = Weights(intensity=3, range=1)
    assert of(columns, weights)[0].tolist() == [0.8125, 0.25]
    assert np.isnan(of(columns, Weights(intensity=1, deviation=1, range=0, conflict=1))[0][1])


def test_richness_is_between_0_and_1_and_the_same_for_any_order():
    random = np.random.default_rng(3)
    rows = 500
    table = pa.table(
        {
            "speaker": pa.array(random.choice(["a", "b", "c", None], rows)),
            "emotion": pa.array(random.choice(["neutral", "angry", None], rows)),
            "emotion_margin": pa.array(random.random(rows), mask=random.random(rows) < 0.2),
            "arousal": pa.array(random.random(rows)),
            "arousal_pct": pa.array(random.random(rows), mask=random.random(rows) < 0.2),
            "f0_range_pct": pa.array(random.random(rows), mask=random.random(rows) < 0.2),
            "rate_syl_s": pa.array(random.normal(4, 3, rows)),  # some below zero, which no rate is
            "level_dbfs": pa.array(np.where(random.random(rows) < 0.1, -np.inf, random.normal(-30, 9, rows))),
        }
    )
    total, parts = richness(table)
    for values in (total, *parts.values()):
        known = values[~np.isnan(values)]
        assert known.min(initial=0) >= 0 and known.max(initial=0) <= 1
        assert np.array_equal(known, np.round(known, 6))
    order = random.permutation(rows)
    shuffled, _ = richness(table.take(order))
    assert np.array_equal(shuffled, total[order], equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-3.5, -1.0, -0.0, 0.0, 0.25, 1.0, 7.0])), max_size=40),
    groups=st.integers(6, 9),
)
def test_medians_of_groups_are_those_of_each_alone(rows: list[tuple[int, float]], groups: int) -> None:
    value, group = np.array([v for _, v in rows], float), np.array([g for g, _ in rows], np.int64)
    alone = [np.median(value[group == g]) if (group == g).any() else np.nan for g in range(groups)]
    assert np.array_equal(_medians(value, group, groups), alone, equal_nan=True)
    assert _medians(value[:0], group[:0], 0).shape == (0,)
