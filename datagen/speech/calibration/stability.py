"""How far later clips lie from those the artifact was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.speech.calibration.baselines import cue_scores
from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.fusion import feature_values
from datagen.speech.calibration.groups import chain, grouped
from datagen.speech.calibration.settings import FEATURES
from datagen.speech.prosody import Floats

LEAST_FOR_DRIFT = 100  #: clips of a group below which its distribution cannot be told from chance


def drift(artifact: Mapping[str, Any], table: pa.Table) -> dict[str, dict[str, dict[str, Any]]]:
    """How far ``table``'s rows are from the fitted distributions: feature -> group -> ``{n, psi, ks}``.

    ``psi`` is the population stability index over tenths of the fitted distribution (above 0.25 is commonly called a
    shift worth refitting for), ``ks`` the largest distance between the two cumulative distributions. Groups with
    fewer than ``LEAST_FOR_DRIFT`` rows are left out: over ten bins chance alone makes the index about 9 / n. Pitch is
    compared per corpus and sex, not per speaker.
    """
    columns = Columns(table, artifact["sexes"])
    values = feature_values(columns, artifact, cue_scores(columns, artifact["baselines"]))
    report: dict[str, dict[str, dict[str, Any]]] = {}
    for feature in FEATURES:
        rows = np.flatnonzero(~np.isnan(values[feature]))
        for name, at in grouped(chain(columns, feature, {})[:1], rows).items():
            edges = artifact["tables"][feature].get(name, {}).get("edges")
            if edges is None or len(at) < LEAST_FOR_DRIFT:
                continue
            found = compare(values[feature][at], np.array(edges))
            report.setdefault(feature, {})[name] = {"n": len(at), **found}
    return report


def compare(values: Floats, edges: Floats) -> dict[str, float]:
    """Population stability index and Kolmogorov-Smirnov distance of ``values`` against fitted quantiles."""
    cuts = np.unique(edges[np.linspace(0, len(edges) - 1, 11).round().astype(int)])
    steps = np.linspace(0, 1, len(edges))

    def share_up_to(at: Floats) -> Floats:
        return np.array([steps[np.searchsorted(edges, x, "right") - 1] if x >= edges[0] else 0.0 for x in at])

    inner = cuts[1:-1]
    expected = np.diff(np.concatenate([[0.0], share_up_to(inner), [1.0]]))
    ordered = np.sort(values)
    actual = np.diff(np.concatenate([[0.0], np.searchsorted(ordered, inner, "right") / len(ordered), [1.0]]))
    half = 0.5 / len(ordered)  # an empty tenth is not infinitely far
    expected, actual = np.maximum(expected, half), np.maximum(actual, half)
    psi = float(((actual - expected) * np.log(actual / expected)).sum())
    gaps = np.abs(np.searchsorted(ordered, edges, "right") / len(ordered) - share_up_to(edges))
    return {"psi": round(psi, 6), "ks": round(float(gaps.max()), 6)}
