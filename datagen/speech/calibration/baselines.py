"""How each speaker usually speaks: baselines of the arousal cues, and a clip's place in its speaker's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.speech import arousal
from datagen.speech.calibration.columns import Coded, Columns, combined
from datagen.speech.calibration.groups import grouped, key, members, named, of_speakers, wide_groups
from datagen.speech.calibration.robust import (
    CUE_FLOOR,
    TO_SIGMA,
    centre_and_scale,
    centres_and_scales,
    floats,
    numbers,
    within_speakers,
)
from datagen.speech.calibration.settings import Settings
from datagen.speech.prosody import Floats


def fit_baselines(columns: Columns, settings: Settings) -> dict[str, Any]:
    """Location and spread of the cues, for corpus x sex, corpus, sex, all; and for each speaker, shrunk to these."""
    usable = ~np.isnan(columns.cues[:, 0])
    groups: dict[str, Any] = {}
    for name, rows in grouped(wide_groups(columns), np.flatnonzero(usable)).items():
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
    return {"groups": groups, "speakers": _fit_speakers(columns, usable, groups, settings)}


def _fit_speakers(
    columns: Columns, usable: NDArray[np.bool_], groups: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    speakers = named(columns.speaker)
    rows = np.flatnonzero(usable & speakers.test(bool))
    present, first, codes = np.unique(speakers.codes[rows], return_index=True, return_inverse=True)
    first = rows[first]  # a speaker is of the group that his first clip is of
    wide = combined(lambda c, s: _baseline_group(groups, c, s), columns.corpus.at(first), columns.sex.at(first))
    wide_centre, wide_within = (
        np.array([floats(groups[name][what]) for name in wide.names]).reshape(-1, 3)[wide.codes]
        for what in ("centre", "within")
    )
    own_centre, scale = centres_and_scales(columns.cues[rows], codes, len(present))
    n, k = np.bincount(codes, minlength=len(present)), settings.shrink_clips
    centre = _blend(own_centre, wide_centre, n, k)
    neutral = _neutral_corpora(columns, usable, settings)
    sources = ["all"] * len(present)
    in_neutral = columns.corpus.test(lambda corpus: corpus in neutral)
    for place, at in members(Coded(list(range(len(present))), codes)) if neutral else ():
        own = rows[at]
        if in_neutral[own[0]] and columns.neutral[own].sum() >= settings.min_neutral:
            sources[place] = "neutral"
            centre[place], scale[place] = _neutral_baseline(columns.cues[own], columns.neutral[own])
    scale = np.sqrt(_blend(scale**2, wide_within**2, n, k))
    fitted = zip(n.tolist(), numbers(centre), numbers(scale), sources, strict=True)
    return {
        speakers.names[code]: {"n": count, "centre": middle, "scale": spread, "source": source}
        for code, (count, middle, spread, source) in zip(present.tolist(), fitted, strict=True)
    }


def _neutral_baseline(cues: Floats, neutral: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Median of a speaker's neutral clips, and how far all of them lie from it."""
    centre, _ = centre_and_scale(cues[neutral])
    with np.errstate(invalid="ignore"):
        spread = [np.median(x[~np.isnan(x)]) if (~np.isnan(x)).any() else np.nan for x in np.abs(cues - centre).T]
    return centre, np.maximum(2 * np.array(spread) / TO_SIGMA, CUE_FLOOR)


def _blend(own: Floats, wide: Floats, n: NDArray[np.intp], k: int) -> Floats:
    """Means of a speaker's ``n`` clips and of ``k`` such as the group's; (speakers, cues)."""
    mixed = (n[:, None] * own + k * wide) / np.maximum(n + k, 1)[:, None]
    return np.where(np.isnan(own), wide, np.where(np.isnan(wide), own, mixed))


def _neutral_corpora(columns: Columns, usable: NDArray[np.bool_], settings: Settings) -> set[str | None]:
    """Corpora where nearly all clips are of speakers with enough neutral ones: one meaning of 0.5 per corpus."""
    if not settings.neutral_baseline:
        return set()
    good = of_speakers(columns, columns.neutral & usable, settings.min_neutral)
    found: set[str | None] = set()
    for corpus, rows in members(named(columns.corpus)):
        rows = rows[usable[rows]]
        if len(rows) and good[rows].sum() >= 0.8 * len(rows):
            found.add(corpus)
    return found


def _baseline_group(groups: Mapping[str, Any], corpus: str | None, sex: str | None) -> str:
    """Name of the narrowest group with a baseline."""
    names = [key(corpus, sex), key(None, sex)] if sex else []
    for name in (*names, key(corpus, None), key(None, None)):
        if (group := groups.get(name)) and group["centre"] is not None:
            return name
    raise KeyError(key(None, None))


def cue_scores(columns: Columns, baselines: Mapping[str, Any]) -> Floats:
    """Each cue's place in the baseline of its speaker, or of the group when the speaker was not there; (n, 3)."""
    groups, speakers = baselines["groups"], baselines["speakers"]

    def baseline(speaker: str | None, corpus: str | None, sex: str | None) -> tuple[str, str] | None:
        if (speaker or "") in speakers:
            return "speakers", speaker or ""
        return ("groups", _baseline_group(groups, corpus, sex)) if key(None, None) in groups else None

    rows = np.flatnonzero(~np.isnan(columns.cues[:, 0]))
    centre = np.full(columns.cues.shape, np.nan)
    scale = np.ones(columns.cues.shape)
    used = combined(baseline, *(column.at(rows) for column in (columns.speaker, columns.corpus, columns.sex)))
    nothing = {"centre": [None] * 3, "scale": [None] * 3}
    found = [baselines[name[0]][name[1]] if name else nothing for name in used.names]
    if found:
        centre[rows] = np.array([floats(each["centre"]) for each in found])[used.codes]
        scale[rows] = np.nan_to_num(np.array([floats(each["scale"]) for each in found]), nan=1.0)[used.codes]
    return arousal.score(columns.cues, centre, scale)
