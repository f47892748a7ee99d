"""A corpus to the artifact that its clips, and later ones, are described with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from datagen.speech.calibration.baselines import cue_scores, fit_baselines
from datagen.speech.calibration.columns import Columns, predicted_sexes
from datagen.speech.calibration.fusion import feature_values, fit_fusion, fit_loudness
from datagen.speech.calibration.groups import chain, grouped, pitch_modes, whole_corpora
from datagen.speech.calibration.robust import numbers
from datagen.speech.calibration.settings import FEATURES, VERSION, Settings
from datagen.speech.prosody import Floats

QUANTILES = 101


def fit(table: pa.Table, settings: Settings) -> dict[str, Any]:
    """The artifact: everything ``apply`` needs. Equal rows in any order give an equal artifact."""
    sexes = predicted_sexes(table) if settings.predicted_sex else None
    columns = Columns(table, sexes)
    pitch_mode = pitch_modes(columns, settings)
    baselines = fit_baselines(columns, settings)
    scores = cue_scores(columns, baselines)
    artifact: dict[str, Any] = {
        "version": VERSION,
        "settings": settings.model_dump(),
        "clips": columns.rows,
        "sexes": sexes,
        "pitch_mode": pitch_mode,
        "baselines": baselines,
        "fusion": fit_fusion(columns, scores, settings),
        "loudness": fit_loudness(columns, settings),
        "tables": {},
    }
    values = feature_values(columns, artifact, scores)
    for feature in FEATURES:
        levels = chain(columns, feature, pitch_mode)
        if feature == "f0":  # clips of unknown sex are compared with everybody
            levels += whole_corpora(columns)
        groups = grouped(levels, np.flatnonzero(~np.isnan(values[feature])))
        artifact["tables"][feature] = {
            name: _distribution(values[feature][rows], settings, _points(name)) for name, rows in groups.items()
        }
    return artifact


def _points(name: str) -> int:
    return 21 if name.startswith('["speaker"') else QUANTILES  # there may be thousands of speakers


def _distribution(values: Floats, settings: Settings, points: int) -> dict[str, Any]:
    edges = None
    if len(values) >= settings.min_group:
        edges = numbers(np.quantile(np.sort(values), np.linspace(0, 1, points)))
    return {"n": len(values), "edges": edges}
