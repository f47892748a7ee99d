"""Whom a clip is compared with: names of groups, and the rows in each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from datagen.speech.calibration.columns import Columns
from datagen.speech.calibration.settings import Settings


@lru_cache(maxsize=1 << 16)
def key(*parts: str | None) -> str:
    """Name of a group."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def chain(columns: Columns, feature: str, row: int, pitch_mode: Mapping[str, str]) -> list[str]:
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


def wide_groups(columns: Columns, row: int) -> list[str]:
    corpus, sex = columns.corpus[row], columns.sex[row]
    narrow = [key(corpus, sex)] if sex else []
    return [*narrow, key(corpus, None), *([key(None, sex)] if sex else []), key(None, None)]


def grouped(keys: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Row indices by key, keys sorted."""
    names, inverse = np.unique(np.asarray(keys, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(names) + 1))
    return {str(name): order[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}


def pitch_modes(columns: Columns, settings: Settings) -> dict[str, str]:
    """Per corpus: ``speaker`` when most clips belong to speakers with enough clips, else ``sex``."""
    usable = ~np.isnan(columns.values["f0"])
    counts: dict[str, int] = {}
    for row in np.flatnonzero(usable):
        if speaker := columns.speaker[row]:
            counts[speaker] = counts.get(speaker, 0) + 1
    modes = {}
    for name, rows in grouped([c or "" for c in columns.corpus]).items():
        rows = rows[usable[rows]]
        rich = sum(counts.get(columns.speaker[row] or "", 0) >= settings.min_speaker_clips for row in rows)
        modes[name] = "speaker" if len(rows) and rich >= 0.8 * len(rows) else "sex"
    return modes
