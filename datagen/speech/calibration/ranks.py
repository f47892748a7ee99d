"""Clips to ranks and words, by the artifact alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.speech.calibration.baselines import cue_scores
from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.fusion import feature_values
from datagen.speech.calibration.groups import chain, key, members
from datagen.speech.calibration.robust import numbers
from datagen.speech.calibration.settings import AFFECTS, DEAD_ZONES, FEATURES
from datagen.speech.prosody import Floats


def apply(table: pa.Table, artifact: Mapping[str, Any], low: float, high: float) -> dict[str, list[Any]]:
    """Columns of ``tables.DESCRIBE``: arousal, dominance, valence in 0..1, percentiles in 0..1, words, the sex heard.

    Each row depends on itself and the artifact only.
    """
    columns = Columns(table, artifact["sexes"])
    values = feature_values(columns, artifact, cue_scores(columns, artifact["baselines"]))
    out: dict[str, list[Any]] = {name: numbers(np.clip(values[name], 0, 1)) for name in AFFECTS}
    for feature, (pct_name, level_name) in FEATURES.items():
        pct, level = _rank(columns, feature, values[feature], artifact, low, high)
        out[pct_name], out[level_name] = pct, level
    out["sex_heard"] = columns.sex_heard.to_list()
    return out


def _rank(
    columns: Columns, feature: str, values: Floats, artifact: Mapping[str, Any], low: float, high: float
) -> tuple[list[float | None], list[str | None]]:
    pct = np.full(columns.rows, np.nan)
    level = np.full(columns.rows, None, dtype=object)
    tables, dead = artifact["tables"][feature], DEAD_ZONES[feature]
    waiting = ~np.isnan(values)
    if feature == "level":
        waiting &= ~columns.corpus.test(lambda c: artifact["loudness"].get(key(c), {}).get("normalised", False))
    for groups in chain(columns, feature, artifact["pitch_mode"]):
        for name, rows in members(groups, np.flatnonzero(waiting)):
            if name is None or not tables.get(name, {}).get("edges"):
                continue  # they are read off the next wider group
            waiting[rows] = False
            edges, here = np.array(tables[name]["edges"]), values[rows]
            ranks, middle = percentile(here, edges), edges[len(edges) // 2]
            is_low, is_high = (ranks <= low) & (here < middle - dead), (ranks >= high) & (here > middle + dead)
            pct[rows] = ranks
            level[rows] = np.where(is_low, "low", np.where(is_high, "high", "normal"))
    return numbers(pct), level.tolist()


def percentile(values: Floats, edges: Floats) -> Floats:
    """Rank in 0..1: interpolated between quantiles; a value that occurs often gets the middle of its ranks."""
    steps = np.linspace(0, 1, len(edges))
    unique, first, counts = np.unique(edges, return_index=True, return_counts=True)
    lowest, highest = steps[first], steps[first + counts - 1]
    values = np.round(values, 6)  # as the edges are: equal must be found equal
    right = np.searchsorted(unique, values)
    left = np.clip(right - 1, 0, len(unique) - 1)
    right = np.minimum(right, len(unique) - 1)
    gap = np.maximum(unique[right] - unique[left], 1e-12)
    between = highest[left] + (lowest[right] - highest[left]) * (values - unique[left]) / gap
    ranks = np.where(values == unique[right], (lowest[right] + highest[right]) / 2, between)
    return np.asarray(np.where(values < unique[0], 0.0, np.where(values > unique[-1], 1.0, ranks)))
