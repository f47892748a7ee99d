"""Location and spread that a few odd clips do not move, as arrays and as the artifact keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from datagen.speech.calibration.columns import Columns, Rows
from datagen.speech.calibration.groups import named
from datagen.speech.prosody import Floats

#: Least spread of each cue (ln Hz, dB, dB): differences below it are errors of measurement, not effort.
CUE_FLOOR = np.array([0.03, 1.0, 1.0])
TO_SIGMA = 1.349  #: interquartile range of a standard normal distribution


def centre_and_scale(cues: Floats, floor: Floats = CUE_FLOOR) -> tuple[Floats, Floats]:
    """Median and robust standard deviation of each cue; NaN where a cue has no value."""
    centres, scales = centres_and_scales(cues, np.zeros(len(cues), np.intp), 1, floor)
    return centres[0], scales[0]


def centres_and_scales(cues: Floats, codes: Rows, groups: int, floor: Floats = CUE_FLOOR) -> tuple[Floats, Floats]:
    """The same for each of so many groups, of rows with one code, at once; (groups, cues) each."""
    lower, middle, upper = (np.empty((groups, cues.shape[1])) for _ in range(3))
    for at in range(cues.shape[1]):
        lower[:, at], middle[:, at], upper[:, at] = quantiles(cues[:, at], codes, groups, (0.25, 0.5, 0.75))
    return middle, np.maximum((upper - lower) / TO_SIGMA, floor)


def quantiles(values: Floats, codes: Rows, groups: int, shares: Sequence[float]) -> list[Floats]:
    """For each share the quantile of every group, NaN in one without values; NaN is none.

    To the last bit what ``np.quantile`` gives for one group after another (method "linear": Hyndman & Fan, "Sample
    Quantiles in Statistical Packages", 1996, definition 7).
    """
    known = ~np.isnan(values)
    values, codes = values[known], codes[known]
    ordered = values[np.lexsort((values, codes))] if groups > 1 else np.sort(values)
    counts = np.bincount(codes, minlength=groups)
    some = np.flatnonzero(counts)
    counts, first = counts[some], (np.cumsum(counts) - counts)[some]
    found = []
    for share in shares:
        place = (counts - 1) * share
        last = place >= counts - 1
        below = np.floor(place).astype(np.intp)
        left = ordered[first + below]
        right = ordered[first + np.minimum(below + 1, counts - 1)]
        part = np.where(last, 1.0, place - below)
        gap = right - left
        between = np.full(groups, np.nan)
        between[some] = np.where(part >= 0.5, right - gap * (1 - part), left + gap * part)
        found.append(between)
    return found


def within_speakers(columns: Columns, rows: Rows, values: Floats) -> Floats:
    """Values less their speaker's median; a row without a speaker takes part in none."""
    here, speakers = values[rows], named(columns.speaker)
    codes = speakers.codes[rows]
    counts = np.bincount(codes, minlength=len(speakers.names))
    medians = np.stack([quantiles(cue, codes, len(counts), (0.5,))[0] for cue in here.T], axis=1)
    takes_part = speakers.at(rows).test(bool) & (counts >= 3)[codes]
    return np.where(takes_part[:, None], here - medians[codes], np.nan)


def rounded(values: Floats) -> Floats:
    """Each to six places as ``round`` does it, which is exact; numpy's own is off in the last bit at times."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = values * 1e6
        near = np.rint(scaled)
        sure = (np.abs(scaled) < 1e9) & (np.abs(np.abs(scaled - near) - 0.5) > 1e-3)
    found = np.asarray(near / 1e6)
    unsure = ~sure & ~np.isnan(values)
    found[unsure] = [round(value, 6) for value in values[unsure].tolist()]
    return found


def numbers(values: Floats) -> list[Any]:
    """Rounded, as JSON has them; NaN = null. Of an array of arrays, a list of lists."""
    found = rounded(values).astype(object)
    found[np.isnan(values)] = None
    return list(found.tolist())


def floats(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if x is None else x for x in values])
