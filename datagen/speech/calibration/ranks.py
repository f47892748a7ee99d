"""Clips to ranks and words, by the artifact alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.speech.calibration.baselines import cue_scores
from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.fusion import feature_values
from datagen.speech.calibration.groups import chain, key
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
    out["sex_heard"] = list(columns.sex_heard)
    return out


def _rank(
    columns: Columns, feature: str, values: Floats, artifact: Mapping[str, Any], low: float, high: float
) -> tuple[list[float | None], list[str | None]]:
    pct: list[float | None] = [None] * columns.rows
    level: list[str | None] = [None] * columns.rows
    tables = artifact["tables"][feature]
    rows = np.flatnonzero(~np.isnan(values))
    if feature == "level":
        silent = [artifact["loudness"].get(key(c), {}).get("normalised", False) for c in columns.corpus]
        rows = rows[~np.array(silent, bool)[rows]] if len(rows) else rows
    chosen: dict[str, list[int]] = {}
    for row in rows:
        for name in chain(columns, feature, int(row), artifact["pitch_mode"]):
            if tables.get(name, {}).get("edges"):
                chosen.setdefault(name, []).append(int(row))
                break
    for name, listed in chosen.items():
        edges = np.array(tables[name]["edges"])
        ranks = percentile(values[listed], edges)
        middle, dead = edges[len(edges) // 2], DEAD_ZONES[feature]
        for at, rank, value in zip(listed, ranks, values[listed], strict=True):
            pct[at] = round(float(rank), 6)
            if rank <= low and value < middle - dead:
                level[at] = "low"
            elif rank >= high and value > middle + dead:
                level[at] = "high"
            else:
                level[at] = "normal"
    return pct, level


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
