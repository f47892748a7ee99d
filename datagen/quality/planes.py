"""Histograms of a condensed set: arousal, the arousal-valence plane, richness; in each state, by emotion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.distributions import DECIMALS, Codes, Floats, Ints
from datagen.quality.states import STATES, Bytes, by_state
from datagen.tables import LEVELS

BINS = 20  #: of 0..1, each way


def histograms(clips: pa.Table, written: pa.Table, emotion: Codes | None, level: Bytes) -> dict[str, Any]:
    """``arousal`` by emotion, ``plane`` (arousal over valence) by emotion and ``richness``; None = not measured.

    ``cells`` are rows of bin numbers, the emotion's number (the last = no label) and clips in each state; empty ones
    are left out.
    """
    names = emotion.names if emotion is not None else []
    label = np.where(emotion.code < 0, len(names), emotion.code) if emotion is not None else np.zeros(len(level), int)
    axes = {name: _axis(clips, name) for name in ("arousal", "valence")}
    found: dict[str, Any] = {}
    for name, wanted in (("arousal", ("arousal",)), ("plane", ("valence", "arousal"))):
        parts = [axis for key in wanted if (axis := axes[key]) is not None]
        found[name] = None
        if len(parts) == len(wanted):
            sizes = [*(len(bins) for _, bins in parts), len(names) + 1]
            known = np.all([code >= 0 for code, _ in parts], axis=0)
            code = np.ravel_multi_index([*(np.maximum(code, 0) for code, _ in parts), label], sizes)
            counts = by_state(np.where(known, code, -1), int(np.prod(sizes)), level)
            filled = np.flatnonzero(counts[:, 0])
            places = np.stack(np.unravel_index(filled, sizes), axis=1)
            found[name] = {
                "axes": list(wanted),
                "bins": [bins for _, bins in parts],
                "emotions": names,
                "cells": np.hstack([places, counts[filled]]).tolist(),
            }
    found["richness"] = None
    if "richness" in written.column_names and written["richness"].null_count < written.num_rows:
        code = _binned(pc.cast(written["richness"], pa.float64()).to_numpy())
        found["richness"] = dict(zip(STATES, by_state(code, BINS, level).T.tolist(), strict=True))
    return found


def _axis(clips: pa.Table, name: str) -> tuple[Ints, list[Any]] | None:
    """Bin of each row (-1 = null) and the bins: lower edges of values 0..1, or words where there are only words."""
    for column in (name, f"{name}_level"):
        if column in clips.column_names and clips[column].null_count < clips.num_rows:
            if column == name:
                edges = [round(bin / BINS, DECIMALS) for bin in range(BINS)]
                return _binned(pc.cast(clips[name], pa.float64()).to_numpy()), edges
            place = pc.fill_null(pc.index_in(clips[column], pa.array(LEVELS)), -1)
            return place.to_numpy().astype(np.int64), list(LEVELS)
    return None


def _binned(values: Floats) -> Ints:
    known = np.isfinite(values)
    return np.where(known, np.clip(np.where(known, values, 0) * BINS, 0, BINS - 1).astype(np.int64), -1)
