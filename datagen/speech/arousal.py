"""Rule-based arousal: three cues of vocal effort, scored against the speaker's own baseline and fused.

After Bone, Lee & Narayanan, "Robust Unsupervised Arousal Rating: A Rule-Based Framework with Knowledge-Inspired
Vocal Features", IEEE Transactions on Affective Computing 5(2), 2014. As there: median log F0, median vocal intensity
and the energy above 500 Hz over that below (HF500); each scored to [-1, 1] by its place in a baseline distribution
of the speaker; fused by weights from how well the cues agree on this data, without any label. Our changes:

- the place is read off a normal distribution with robust, shrunk location and scale, not counted: a count needs many
  clips and saturates;
- the baseline is all clips of the speaker; clips labelled neutral only on demand (it gains nothing measurable, and
  arousal would no longer be evidence independent of the label);
- agreement is measured against F0 alone, not against the mean of the other cues. F0 is the one cue that neither gain,
  nor distance, nor equalising can change. In a corpus brought to one level the intensity runs *against* arousal (loud
  voices are turned down), and where two cues fail together the mean of the others cannot tell.

Scores are relative to the speaker. 0.5 means: as this speaker usually speaks (or speaks neutrally).
"""

from __future__ import annotations

import math

import numpy as np

from datagen.speech.prosody import Floats, Measured, decibel

NAME, REVISION, LICENCE = "acoustic", "1", "Apache-2.0"
CUES = ("log_f0", "intensity_db", "hf500_db")

#: A voice at F0 must not be weaker than this against the whole frame, or something has cut the low frequencies away.
_LOW_CUT_DB = -30.0


def cues(measured: Measured) -> dict[str, float | None] | None:
    """The three cues of one clip over its voiced frames, or None when it has no reliable F0.

    ``log_f0``: natural logarithm of the median F0 in Hz. ``intensity_db``: median frame level in dBFS. ``hf500_db``:
    median over frames of the level from 500 Hz up against 80..500 Hz; None when the recording has no low frequencies.
    """
    if measured.f0_reason:
        return None
    frames, voiced = measured.frames, measured.voiced
    low, high = frames.band_db(80, 500)[voiced], frames.band_db(500, 8001)[voiced]
    return {
        "log_f0": round(float(np.log(np.median(measured.f0))), 6),
        "intensity_db": round(float(np.median(frames.level[voiced])), 6),
        "hf500_db": None if low_cut(measured) else round(float(np.median(high - low)), 6),
    }


def low_cut(measured: Measured) -> bool:
    """Whether the fundamental itself is missing, as on a telephone line (300..3400 Hz).

    Energy within a third of an octave or so of F0, where F0 is below 220 Hz and so the line's edge is above it.
    """
    at = measured.voiced & (measured.hertz < 220) & (measured.hertz > 60)
    if at.sum() < 10:
        return False
    frames = measured.frames
    power, f0 = frames.power[at], measured.hertz[at][:, None]
    near = (frames.hertz > 0.7 * f0) & (frames.hertz < 1.3 * f0)
    return bool(np.median(decibel((power * near).sum(axis=1)) - decibel(power.sum(axis=1))) < _LOW_CUT_DB)


def score(values: Floats, centre: Floats, scale: Floats) -> Floats:
    """Place in the baseline distribution, -1..1; NaN stays NaN. 0 = at its median."""
    from math import erf

    z = (values - centre) / (np.maximum(scale, 1e-9) * math.sqrt(2))
    return np.array([erf(x) if not math.isnan(x) else math.nan for x in z.ravel()]).reshape(z.shape)


def fuse(scores: Floats, weights: Floats) -> Floats:
    """Weighted mean of scores (n, 3) with weights (n, 3), mapped to 0..1. Cues that are NaN do not count; a row
    without an F0 score, or whose weights sum to nothing, is NaN."""
    usable = ~np.isnan(scores)
    weight = np.where(usable, weights, 0.0)
    total = weight.sum(axis=1)
    mean = (np.where(usable, scores, 0.0) * weight).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where((total > 0) & usable[:, 0], (mean + 1) / 2, np.nan)


def agreement(scores: Floats) -> tuple[float, float]:
    """Spearman's rank correlation of intensity and of HF500 with F0, over rows that have both; 0 when undefined."""
    return rank_correlation(scores[:, 1], scores[:, 0]), rank_correlation(scores[:, 2], scores[:, 0])


def rank_correlation(left: Floats, right: Floats) -> float:
    both = ~(np.isnan(left) | np.isnan(right))
    if both.sum() < 3:
        return 0.0
    first, second = _ranks(left[both]), _ranks(right[both])
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Ranks with ties averaged."""
    order = np.sort(values)
    return np.asarray((np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")) / 2)
