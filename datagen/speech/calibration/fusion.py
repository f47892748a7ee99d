"""What each cue is worth in a corpus: weights of the arousal cues, whether level says anything, all features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from datagen.speech import arousal
from datagen.speech.calibration.columns import Columns, combined
from datagen.speech.calibration.groups import key, members, named
from datagen.speech.calibration.robust import centre_and_scale, floats, numbers, within_speakers
from datagen.speech.calibration.settings import Settings
from datagen.speech.prosody import Floats

_NORMALISED_SPREAD_DB = 1.0


def fit_fusion(columns: Columns, scores: Floats, settings: Settings) -> dict[str, Any]:
    """Weights of the cues per corpus and for all: agreement with F0 inside speakers, shrunk, never negative."""
    known = ~np.isnan(scores[:, 0])
    groups = {key(name or None): rows for name, rows in members(named(columns.corpus))}
    groups[key(None)] = np.arange(columns.rows)
    fitted: dict[str, Any] = {}
    for name, rows in sorted(groups.items()):
        rows = rows[known[rows]]
        if len(rows) < settings.min_group and name != key(None):
            fitted[name] = {"n": len(rows), "weights": None, "agreement": None}
            continue
        measured = np.array(arousal.agreement(scores[rows]))
        k = settings.shrink_agreement
        counts = (~np.isnan(scores[rows][:, 1:])).sum(axis=0)
        shrunk = (counts * measured + k * settings.prior_agreement) / np.maximum(counts + k, 1)
        weights = np.concatenate([[1.0], np.maximum(shrunk, 0.0)])
        fitted[name] = {"n": len(rows), "weights": numbers(weights), "agreement": numbers(measured)}
    return fitted


def fit_loudness(columns: Columns, settings: Settings) -> dict[str, Any]:
    """Per corpus, whether level says anything about the speaker.

    Brought to one level: clips of a speaker hardly differ in level, or louder ones are *lower* in pitch. Nobody speaks
    like that; a level control does it.
    """
    pair = np.stack([columns.values["f0"], columns.values["level"]], axis=1)
    fitted: dict[str, Any] = {}
    for corpus, rows in members(named(columns.corpus)):
        centred = within_speakers(columns, rows, pair)
        both = ~np.isnan(centred).any(axis=1)
        n = int(both.sum())
        entry: dict[str, Any] = {"n": n, "spread_db": None, "agreement": None, "normalised": False}
        if n >= settings.min_group:
            agreement = arousal.rank_correlation(centred[both, 1], centred[both, 0])
            spread = float(centre_and_scale(centred[both][:, 1:], np.zeros(1))[1][0])
            shrunk = n * agreement / (n + settings.shrink_agreement)
            entry["spread_db"], entry["agreement"] = round(spread, 6), round(agreement, 6)
            # 1.645: chance alone gives a lower correlation in one of twenty corpora without any relation.
            entry["normalised"] = bool(spread < _NORMALISED_SPREAD_DB or shrunk < -1.645 / math.sqrt(n))
        fitted[key(corpus or None)] = entry
    return fitted


def feature_values(columns: Columns, artifact: Mapping[str, Any], scores: Floats) -> dict[str, Floats]:
    """All features; arousal from the cues where no model gave it."""
    fusion = artifact["fusion"]

    def fitted(corpus: str | None) -> str | None:
        own = fusion.get(key(corpus))
        return key(corpus) if own and own["weights"] else key(None) if key(None) in fusion else None

    used = combined(fitted, columns.corpus)
    weights = np.ones(scores.shape)
    for name, rows in members(used):
        weights[rows] = floats(fusion[name]["weights"]) if name else np.nan
    fused = arousal.fuse(scores, weights)
    modelled = columns.values["arousal"]
    return {**columns.values, "arousal": np.where(np.isnan(modelled), fused, modelled)}
