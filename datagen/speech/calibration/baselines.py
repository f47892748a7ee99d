"""How each speaker usually speaks: baselines of the arousal cues, and a clip's place in its speaker's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.speech import arousal
from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.groups import grouped, key, wide_groups
from datagen.speech.calibration.robust import CUE_FLOOR, TO_SIGMA, centre_and_scale, floats, numbers, within_speakers
from datagen.speech.calibration.settings import Settings
from datagen.speech.prosody import Floats


def fit_baselines(columns: Columns, settings: Settings) -> dict[str, Any]:
    """Location and spread of the cues, for corpus x sex, corpus, sex, all; and for each speaker, shrunk to these."""
    usable = ~np.isnan(columns.cues[:, 0])
    wide: dict[str, list[int]] = {}
    for row in np.flatnonzero(usable):
        for name in dict.fromkeys(wide_groups(columns, int(row))):
            wide.setdefault(name, []).append(int(row))
    groups: dict[str, Any] = {}
    for name, listed in sorted(wide.items()):
        rows = np.array(listed, dtype=np.intp)
        if len(rows) < settings.min_group and name != key(None, None):
            groups[name] = {"n": len(rows), "centre": None, "scale": None, "within": None}
            continue
        centre, scale = centre_and_scale(columns.cues[rows])
        _, within = centre_and_scale(within_speakers(columns, rows, columns.cues))
        within = np.where(np.isnan(within), scale, within)
        groups[name] = {
            "n": len(rows),
            "centre": numbers(centre),
            "scale": numbers(scale),
            "within": numbers(within),
        }

    neutral_corpora = _neutral_corpora(columns, usable, settings)
    speakers: dict[str, Any] = {}
    for speaker, rows in grouped([s or "" for s in columns.speaker]).items():
        rows = rows[usable[rows]]
        if not speaker or not len(rows):
            continue
        group = _baseline_group(groups, columns, int(rows[0]))
        wide_centre, wide_scale = floats(group["centre"]), floats(group["within"])
        centre, scale = centre_and_scale(columns.cues[rows])
        n, k = len(rows), settings.shrink_clips
        source = "all"
        if columns.corpus[rows[0]] in neutral_corpora and columns.neutral[rows].sum() >= settings.min_neutral:
            source = "neutral"
            centre, _ = centre_and_scale(columns.cues[rows[columns.neutral[rows]]])
            with np.errstate(invalid="ignore"):
                spread = [np.median(x[~np.isnan(x)]) if (~np.isnan(x)).any() else np.nan
                          for x in np.abs(columns.cues[rows] - centre).T]  # fmt: skip
            scale = np.maximum(2 * np.array(spread) / TO_SIGMA, CUE_FLOOR)
        else:
            centre = _blend(centre, wide_centre, n, k)
        scale = np.sqrt(_blend(scale**2, wide_scale**2, n, k))
        speakers[speaker] = {"n": n, "centre": numbers(centre), "scale": numbers(scale), "source": source}
    return {"groups": groups, "speakers": speakers}


def _blend(own: Floats, wide: Floats, n: int, k: int) -> Floats:
    mixed = (n * own + k * wide) / max(n + k, 1)
    return np.where(np.isnan(own), wide, np.where(np.isnan(wide), own, mixed))


def _neutral_corpora(columns: Columns, usable: NDArray[np.bool_], settings: Settings) -> set[str | None]:
    """Corpora where nearly all clips are of speakers with enough neutral ones: one meaning of 0.5 per corpus."""
    if not settings.neutral_baseline:
        return set()
    counts: dict[str, int] = {}
    for row in np.flatnonzero(columns.neutral & usable):
        counts[columns.speaker[row] or ""] = counts.get(columns.speaker[row] or "", 0) + 1
    found = set()
    for corpus, rows in grouped([c or "" for c in columns.corpus]).items():
        rows = rows[usable[rows]]
        good = sum(bool(columns.speaker[r]) and counts.get(columns.speaker[r] or "", 0) >= settings.min_neutral
                   for r in rows)  # fmt: skip
        if len(rows) and good >= 0.8 * len(rows):
            found.add(corpus)
    return found  # type: ignore[return-value]


def _baseline_group(groups: Mapping[str, Any], columns: Columns, row: int) -> dict[str, Any]:
    corpus, sex = columns.corpus[row], columns.sex[row]
    names = [key(corpus, sex), key(None, sex)] if sex else [key(corpus, None)]
    for name in (*names, key(corpus, None), key(None, None)):
        if (group := groups.get(name)) and group["centre"] is not None:
            return dict(group)
    raise KeyError(key(None, None))


def cue_scores(columns: Columns, baselines: Mapping[str, Any]) -> Floats:
    """Each cue's place in the baseline of its speaker, or of the group when the speaker was not there; (n, 3)."""
    centre = np.full(columns.cues.shape, np.nan)
    scale = np.ones(columns.cues.shape)
    for row in np.flatnonzero(~np.isnan(columns.cues[:, 0])):
        found = baselines["speakers"].get(columns.speaker[row] or "")
        if found is None:
            if key(None, None) not in baselines["groups"]:
                continue  # nothing was fitted
            found = _baseline_group(baselines["groups"], columns, int(row))
        centre[row], scale[row] = floats(found["centre"]), np.nan_to_num(floats(found["scale"]), nan=1.0)
    return arousal.score(columns.cues, centre, scale)
