"""Location and spread that a few odd clips do not move, as arrays and as the artifact keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.groups import grouped
from datagen.speech.prosody import Floats

#: Least spread of each cue (ln Hz, dB, dB): differences below it are errors of measurement, not effort.
CUE_FLOOR = np.array([0.03, 1.0, 1.0])
TO_SIGMA = 1.349  #: interquartile range of a standard normal distribution


def centre_and_scale(cues: Floats, floor: Floats = CUE_FLOOR) -> tuple[Floats, Floats]:
    """Median and robust standard deviation of each cue; NaN where a cue has no value."""
    centre, scale = np.full(cues.shape[1], np.nan), np.full(cues.shape[1], np.nan)
    for at in range(cues.shape[1]):
        known = cues[~np.isnan(cues[:, at]), at]
        if len(known):
            lower, middle, upper = np.quantile(known, [0.25, 0.5, 0.75])
            centre[at], scale[at] = middle, max((upper - lower) / TO_SIGMA, floor[at])
    return centre, scale


def within_speakers(columns: Columns, rows: NDArray[np.intp], values: Floats) -> Floats:
    """Values less their speaker's median; a row without a speaker takes part in none."""
    here = values[rows]
    centred = np.full_like(here, np.nan)
    speakers = grouped([columns.speaker[row] or "" for row in rows])
    for speaker, at in speakers.items():
        if speaker and len(at) >= 3:
            centred[at] = here[at] - centre_and_scale(here[at], np.zeros(values.shape[1]))[0]
    return centred


def numbers(values: Floats) -> list[float | None]:
    return [None if math.isnan(x) else round(float(x), 6) for x in values]


def floats(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if x is None else x for x in values])
