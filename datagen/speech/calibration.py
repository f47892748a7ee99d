"""What "high" means: distributions fitted on a corpus once, and read off for each clip. Pure functions.

``fit`` makes a JSON-able artifact from measured columns; ``apply`` turns the columns of one clip after another into
ranks, words and arousal, from that artifact alone; ``drift`` compares later clips with it. Neither depends on the
order of rows. Definitions and reasons: ``docs/prosody.md``.

A group is named by a JSON list, ``["ravdess","female"]``, with null for "any": ``[null,null]`` is the whole run. Each
holds ``n`` and, when ``n`` reaches ``min_group``, its quantiles; smaller groups are recorded without, and their clips
are read off the next wider group.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from datagen.speech import arousal
from datagen.speech.prosody import Floats
from datagen.stage import StageConfig

VERSION = 2
#: Columns every clip has, and columns that stages before may have written; nothing else is looked at.
GIVEN = ("corpus", "speaker", "sex", "level_dbfs")
MEASURED = (
    "f0_median_hz", "f0_range_st", "rate_syl_s", "rate_source", "pause_ratio", "arousal_cues", "arousal_raw",
    "dominance_raw", "valence_raw", "sex_predicted",
)  # fmt: skip
LABELS = ("emotion", "label_source")  #: read by the fit only, for neutral baselines
AFFECTS = ("arousal", "dominance", "valence")
QUANTILES = 101
LEAST_FOR_DRIFT = 100  #: clips of a group below which its distribution cannot be told from chance

#: feature -> (column of its percentile, column of its word)
FEATURES: dict[str, tuple[str, str]] = {
    "arousal": ("arousal_pct", "arousal_level"),
    "dominance": ("dominance_pct", "dominance_level"),
    "valence": ("valence_pct", "valence_level"),
    "f0": ("f0_pct", "pitch_level"),
    "f0_range": ("f0_range_pct", "pitch_range_level"),
    "level": ("level_pct", "loudness_level"),
    "rate": ("rate_pct", "rate_level"),
    "pause": ("pause_pct", "pause_level"),
}
#: A value this near to its group's median is "normal" whatever its rank: below what a listener notices. Units: 0..1
#: for the three affects; semitones; dB; syllables per second; share of the clip.
DEAD_ZONES = {"arousal": 0.05, "dominance": 0.05, "valence": 0.05, "f0": 1.0, "f0_range": 1.0, "level": 2.0,
              "rate": 0.3, "pause": 0.05}  # fmt: skip
#: Least spread of each cue (ln Hz, dB, dB): differences below it are errors of measurement, not effort.
_CUE_FLOOR = np.array([0.03, 1.0, 1.0])
_TO_SIGMA = 1.349  #: interquartile range of a standard normal distribution
_NORMALISED_SPREAD_DB = 1.0


class Settings(StageConfig):
    """How the fitted distributions are made."""

    min_group: int = Field(10, ge=2, description="fewest values for a distribution of its own")
    min_speaker_clips: int = Field(20, ge=2, description="fewest clips to compare a speaker's pitch with his own")
    min_neutral: int = Field(5, ge=1, description="fewest neutral clips for a neutral baseline of a speaker")
    neutral_baseline: bool = Field(False, description="clips labelled neutral (gold) are the baseline of arousal")
    shrink_clips: int = Field(5, ge=0, description="clips that the wider group weighs in a speaker's baseline")
    shrink_agreement: int = Field(20, ge=0, description="clips that the prior weighs in the weights of the cues")
    prior_agreement: float = Field(0.5, ge=0, le=1, description="agreement of the cues expected before any data")
    predicted_sex: bool = Field(
        True, description="clips of unknown sex count as what age_gender heard, where it ran and was sure"
    )


@lru_cache(maxsize=1 << 16)
def key(*parts: str | None) -> str:
    """Name of a group."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


# --- Columns to arrays --------------------------------------------------------------------------------------


class Columns:
    """The measured columns of a table as arrays; columns that are not there are null.

    Args:
        sexes: of speakers of whom the corpus does not always give it (see ``_predicted_sexes``); None = predictions do
            not count.
    """

    def __init__(self, table: pa.Table, sexes: Mapping[str, str | None] | None) -> None:
        self.rows = table.num_rows
        self._table = table
        self.corpus, self.speaker, self.sex = (self.text(name) for name in ("corpus", "speaker", "sex"))
        self.rate_source = self.text("rate_source")
        self.sex_heard: list[str | None] = [None] * self.rows
        if sexes is not None:
            heard = zip(self.sex, self.speaker, self.text("sex_predicted"), strict=True)
            self.sex_heard = [None if given else sexes.get(speaker or "", guess) for given, speaker, guess in heard]
            self.sex = [given or guess for given, guess in zip(self.sex, self.sex_heard, strict=True)]
        # Models go a little beyond 0..1; ranks are taken before that is cut off, so that they keep the order.
        raw = {name: self.number(f"{name}_raw") for name in AFFECTS}
        self.cues = arousal.as_array(self._list("arousal_cues"))
        f0 = self.number("f0_median_hz")
        with np.errstate(invalid="ignore", divide="ignore"):
            semitones = 12 * np.log2(np.where(f0 > 0, f0, np.nan))
        self.values: dict[str, Floats] = {
            **raw,
            "f0": semitones,
            "f0_range": self.number("f0_range_st"),
            "level": self.number("level_dbfs"),
            "rate": self.number("rate_syl_s"),
            "pause": self.number("pause_ratio"),
        }
        emotion, source = self.text("emotion"), self.text("label_source")
        self.neutral = np.array([e == "neutral" and s == "gold" for e, s in zip(emotion, source, strict=True)], bool)

    def _list(self, name: str) -> list[Any]:
        return self._table[name].to_pylist() if name in self._table.column_names else [None] * self.rows

    def text(self, name: str) -> list[str | None]:
        return self._list(name)

    def number(self, name: str) -> Floats:
        values = np.array(self._list(name), dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def _chain(columns: Columns, feature: str, row: int, pitch_mode: Mapping[str, str]) -> list[str]:
    """Groups a row may be compared with, narrowest first."""
    corpus, sex = columns.corpus[row], columns.sex[row]
    if feature == "f0":
        # A known sex is never compared across sexes: that would say "high" of every woman.
        wide = [key(corpus, sex), key(None, sex)] if sex else [key(corpus, None), key(None, None)]
        speaker = columns.speaker[row]
        return [key("speaker", speaker), *wide] if speaker and pitch_mode.get(corpus or "") == "speaker" else wide
    if feature == "rate":  # word times and nuclei are two rulers
        return [key(corpus, columns.rate_source[row]), key(None, columns.rate_source[row])]
    return [key(corpus), key(None)]


def _grouped(keys: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Row indices by key, keys sorted."""
    names, inverse = np.unique(np.asarray(keys, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(names) + 1))
    return {str(name): order[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}


# --- Fit ----------------------------------------------------------------------------------------------------


def fit(table: pa.Table, settings: Settings) -> dict[str, Any]:
    """The artifact: everything ``apply`` needs. Equal rows in any order give an equal artifact."""
    sexes = _predicted_sexes(table) if settings.predicted_sex else None
    columns = Columns(table, sexes)
    pitch_mode = _pitch_mode(columns, settings)
    baselines = _fit_baselines(columns, settings)
    scores = _scores(columns, baselines)
    artifact: dict[str, Any] = {
        "version": VERSION,
        "settings": settings.model_dump(),
        "clips": columns.rows,
        "sexes": sexes,
        "pitch_mode": pitch_mode,
        "baselines": baselines,
        "fusion": _fit_fusion(columns, scores, settings),
        "loudness": _fit_loudness(columns, settings),
        "tables": {},
    }
    values = _values(columns, artifact, scores)
    for feature in FEATURES:
        groups: dict[str, list[int]] = {}
        for row in np.flatnonzero(~np.isnan(values[feature])):
            names = _chain(columns, feature, int(row), pitch_mode)
            if feature == "f0":  # clips of unknown sex are compared with everybody
                names += [key(columns.corpus[row], None), key(None, None)]
            for name in dict.fromkeys(names):
                groups.setdefault(name, []).append(int(row))
        artifact["tables"][feature] = {
            name: _distribution(values[feature][rows], settings, _points(name)) for name, rows in sorted(groups.items())
        }
    return artifact


def _predicted_sexes(table: pa.Table) -> dict[str, str | None]:
    """Speakers with clips of which the corpus gives no sex -> what more of these sound like; None = as many one as the
    other, or not what the corpus says of their other clips."""
    columns = Columns(table, None)
    votes: dict[str, int] = {}
    said: dict[str, set[str]] = {}
    for speaker, given, guess in zip(columns.speaker, columns.sex, columns.text("sex_predicted"), strict=True):
        if speaker and given:
            said.setdefault(speaker, set()).add(given)
        elif speaker and guess:
            votes[speaker] = votes.get(speaker, 0) + (1 if guess == "female" else -1)
    heard = {name: "female" if vote > 0 else "male" if vote else None for name, vote in sorted(votes.items())}
    return {name: None if said.get(name, {sex}) != {sex} else sex for name, sex in heard.items()}


def _points(name: str) -> int:
    return 21 if name.startswith('["speaker"') else QUANTILES  # there may be thousands of speakers


def _distribution(values: Floats, settings: Settings, points: int) -> dict[str, Any]:
    edges = None
    if len(values) >= settings.min_group:
        edges = [round(float(x), 6) for x in np.quantile(np.sort(values), np.linspace(0, 1, points))]
    return {"n": len(values), "edges": edges}


def _pitch_mode(columns: Columns, settings: Settings) -> dict[str, str]:
    """Per corpus: ``speaker`` when most clips belong to speakers with enough clips, else ``sex``."""
    usable = ~np.isnan(columns.values["f0"])
    counts: dict[str, int] = {}
    for row in np.flatnonzero(usable):
        if speaker := columns.speaker[row]:
            counts[speaker] = counts.get(speaker, 0) + 1
    modes = {}
    for name, rows in _grouped([c or "" for c in columns.corpus]).items():
        rows = rows[usable[rows]]
        rich = sum(counts.get(columns.speaker[row] or "", 0) >= settings.min_speaker_clips for row in rows)
        modes[name] = "speaker" if len(rows) and rich >= 0.8 * len(rows) else "sex"
    return modes


def _centre_and_scale(cues: Floats, floor: Floats = _CUE_FLOOR) -> tuple[Floats, Floats]:
    """Median and robust standard deviation of each cue; NaN where a cue has no value."""
    centre, scale = np.full(cues.shape[1], np.nan), np.full(cues.shape[1], np.nan)
    for at in range(cues.shape[1]):
        known = cues[~np.isnan(cues[:, at]), at]
        if len(known):
            lower, middle, upper = np.quantile(known, [0.25, 0.5, 0.75])
            centre[at], scale[at] = middle, max((upper - lower) / _TO_SIGMA, floor[at])
    return centre, scale


def _within(columns: Columns, rows: NDArray[np.intp], values: Floats) -> Floats:
    """Values less their speaker's median; a row without a speaker takes part in none."""
    here = values[rows]
    centred = np.full_like(here, np.nan)
    speakers = _grouped([columns.speaker[row] or "" for row in rows])
    for speaker, at in speakers.items():
        if speaker and len(at) >= 3:
            centred[at] = here[at] - _centre_and_scale(here[at], np.zeros(values.shape[1]))[0]
    return centred


def _numbers(values: Floats) -> list[float | None]:
    return [None if math.isnan(x) else round(float(x), 6) for x in values]


def _fit_baselines(columns: Columns, settings: Settings) -> dict[str, Any]:
    """Location and spread of the cues, for corpus x sex, corpus, sex, all; and for each speaker, shrunk to these."""
    usable = ~np.isnan(columns.cues[:, 0])
    wide: dict[str, list[int]] = {}
    for row in np.flatnonzero(usable):
        for name in dict.fromkeys(_wide_groups(columns, int(row))):
            wide.setdefault(name, []).append(int(row))
    groups: dict[str, Any] = {}
    for name, listed in sorted(wide.items()):
        rows = np.array(listed, dtype=np.intp)
        if len(rows) < settings.min_group and name != key(None, None):
            groups[name] = {"n": len(rows), "centre": None, "scale": None, "within": None}
            continue
        centre, scale = _centre_and_scale(columns.cues[rows])
        _, within = _centre_and_scale(_within(columns, rows, columns.cues))
        within = np.where(np.isnan(within), scale, within)
        groups[name] = {
            "n": len(rows),
            "centre": _numbers(centre),
            "scale": _numbers(scale),
            "within": _numbers(within),
        }

    neutral_corpora = _neutral_corpora(columns, usable, settings)
    speakers: dict[str, Any] = {}
    for speaker, rows in _grouped([s or "" for s in columns.speaker]).items():
        rows = rows[usable[rows]]
        if not speaker or not len(rows):
            continue
        group = _baseline_group(groups, columns, int(rows[0]))
        wide_centre, wide_scale = _floats(group["centre"]), _floats(group["within"])
        centre, scale = _centre_and_scale(columns.cues[rows])
        n, k = len(rows), settings.shrink_clips
        source = "all"
        if columns.corpus[rows[0]] in neutral_corpora and columns.neutral[rows].sum() >= settings.min_neutral:
            source = "neutral"
            centre, _ = _centre_and_scale(columns.cues[rows[columns.neutral[rows]]])
            with np.errstate(invalid="ignore"):
                spread = [np.median(x[~np.isnan(x)]) if (~np.isnan(x)).any() else np.nan
                          for x in np.abs(columns.cues[rows] - centre).T]  # fmt: skip
            scale = np.maximum(2 * np.array(spread) / _TO_SIGMA, _CUE_FLOOR)
        else:
            centre = _blend(centre, wide_centre, n, k)
        scale = np.sqrt(_blend(scale**2, wide_scale**2, n, k))
        speakers[speaker] = {"n": n, "centre": _numbers(centre), "scale": _numbers(scale), "source": source}
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
    for corpus, rows in _grouped([c or "" for c in columns.corpus]).items():
        rows = rows[usable[rows]]
        good = sum(bool(columns.speaker[r]) and counts.get(columns.speaker[r] or "", 0) >= settings.min_neutral
                   for r in rows)  # fmt: skip
        if len(rows) and good >= 0.8 * len(rows):
            found.add(corpus)
    return found  # type: ignore[return-value]


def _wide_groups(columns: Columns, row: int) -> list[str]:
    corpus, sex = columns.corpus[row], columns.sex[row]
    narrow = [key(corpus, sex)] if sex else []
    return [*narrow, key(corpus, None), *([key(None, sex)] if sex else []), key(None, None)]


def _baseline_group(groups: Mapping[str, Any], columns: Columns, row: int) -> dict[str, Any]:
    corpus, sex = columns.corpus[row], columns.sex[row]
    names = [key(corpus, sex), key(None, sex)] if sex else [key(corpus, None)]
    for name in (*names, key(corpus, None), key(None, None)):
        if (group := groups.get(name)) and group["centre"] is not None:
            return dict(group)
    raise KeyError(key(None, None))


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if x is None else x for x in values])


def _scores(columns: Columns, baselines: Mapping[str, Any]) -> Floats:
    """Each cue's place in the baseline of its speaker, or of the group when the speaker was not there; (n, 3)."""
    centre = np.full(columns.cues.shape, np.nan)
    scale = np.ones(columns.cues.shape)
    for row in np.flatnonzero(~np.isnan(columns.cues[:, 0])):
        found = baselines["speakers"].get(columns.speaker[row] or "")
        if found is None:
            if key(None, None) not in baselines["groups"]:
                continue  # nothing was fitted
            found = _baseline_group(baselines["groups"], columns, int(row))
        centre[row], scale[row] = _floats(found["centre"]), np.nan_to_num(_floats(found["scale"]), nan=1.0)
    return arousal.score(columns.cues, centre, scale)


def _fit_fusion(columns: Columns, scores: Floats, settings: Settings) -> dict[str, Any]:
    """Weights of the cues per corpus and for all: agreement with F0 inside speakers, shrunk, never negative."""
    known = ~np.isnan(scores[:, 0])
    groups = {key(name or None): rows for name, rows in _grouped([c or "" for c in columns.corpus]).items()}
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
        fitted[name] = {"n": len(rows), "weights": _numbers(weights), "agreement": _numbers(measured)}
    return fitted


def _fit_loudness(columns: Columns, settings: Settings) -> dict[str, Any]:
    """Per corpus, whether level says anything about the speaker.

    Brought to one level: clips of a speaker hardly differ in level, or louder ones are *lower* in pitch. Nobody speaks
    like that; a level control does it.
    """
    pair = np.stack([columns.values["f0"], columns.values["level"]], axis=1)
    fitted: dict[str, Any] = {}
    for corpus, rows in _grouped([c or "" for c in columns.corpus]).items():
        centred = _within(columns, rows, pair)
        both = ~np.isnan(centred).any(axis=1)
        n = int(both.sum())
        entry: dict[str, Any] = {"n": n, "spread_db": None, "agreement": None, "normalised": False}
        if n >= settings.min_group:
            agreement = arousal.rank_correlation(centred[both, 1], centred[both, 0])
            spread = float(_centre_and_scale(centred[both][:, 1:], np.zeros(1))[1][0])
            shrunk = n * agreement / (n + settings.shrink_agreement)
            entry["spread_db"], entry["agreement"] = round(spread, 6), round(agreement, 6)
            # 1.645: chance alone gives a lower correlation in one of twenty corpora without any relation.
            entry["normalised"] = bool(spread < _NORMALISED_SPREAD_DB or shrunk < -1.645 / math.sqrt(n))
        fitted[key(corpus or None)] = entry
    return fitted


# --- Apply --------------------------------------------------------------------------------------------------


def _values(columns: Columns, artifact: Mapping[str, Any], scores: Floats) -> dict[str, Floats]:
    """All features; arousal from the cues where no model gave it."""
    fusion = artifact["fusion"]
    weights = np.ones(scores.shape)
    for row, corpus in enumerate(columns.corpus):
        own = fusion.get(key(corpus))
        chosen = own if own and own["weights"] else fusion.get(key(None))
        weights[row] = _floats(chosen["weights"]) if chosen else np.nan
    fused = arousal.fuse(scores, weights)
    modelled = columns.values["arousal"]
    return {**columns.values, "arousal": np.where(np.isnan(modelled), fused, modelled)}


def apply(table: pa.Table, artifact: Mapping[str, Any], low: float, high: float) -> dict[str, list[Any]]:
    """Columns of ``tables.DESCRIBE``: arousal, dominance, valence in 0..1, percentiles in 0..1, words, the sex heard.

    Each row depends on itself and the artifact only.
    """
    columns = Columns(table, artifact["sexes"])
    values = _values(columns, artifact, _scores(columns, artifact["baselines"]))
    out: dict[str, list[Any]] = {name: _numbers(np.clip(values[name], 0, 1)) for name in AFFECTS}
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
        for name in _chain(columns, feature, int(row), artifact["pitch_mode"]):
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


# --- Drift --------------------------------------------------------------------------------------------------


def drift(artifact: Mapping[str, Any], table: pa.Table) -> dict[str, dict[str, dict[str, Any]]]:
    """How far ``table``'s rows are from the fitted distributions: feature -> group -> ``{n, psi, ks}``.

    ``psi`` is the population stability index over tenths of the fitted distribution (above 0.25 is commonly called a
    shift worth refitting for), ``ks`` the largest distance between the two cumulative distributions. Groups with
    fewer than ``LEAST_FOR_DRIFT`` rows are left out: over ten bins chance alone makes the index about 9 / n. Pitch is
    compared per corpus and sex, not per speaker.
    """
    columns = Columns(table, artifact["sexes"])
    values = _values(columns, artifact, _scores(columns, artifact["baselines"]))
    report: dict[str, dict[str, dict[str, Any]]] = {}
    for feature in FEATURES:
        rows = np.flatnonzero(~np.isnan(values[feature]))
        groups = _grouped([_chain(columns, feature, int(row), {})[0] for row in rows])
        for name, at in groups.items():
            edges = artifact["tables"][feature].get(name, {}).get("edges")
            if edges is None or len(at) < LEAST_FOR_DRIFT:
                continue
            found = compare(values[feature][rows[at]], np.array(edges))
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
