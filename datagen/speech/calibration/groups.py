"""Whom a clip is compared with: names of groups, and the rows in each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from datagen.speech.calibration.columns import Coded, Columns, Name, Rows, combined
from datagen.speech.calibration.settings import Settings

Level = Coded[str | None]  #: for each row the name of a group it belongs to; None = of none of this kind


def key(*parts: str | None) -> str:
    """Name of a group."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def chain(columns: Columns, feature: str, pitch_mode: Mapping[str, str]) -> list[Level]:
    """Groups each row may be compared with, narrowest first."""
    corpus, speaker, sex, source = columns.corpus, columns.speaker, columns.sex, columns.rate_source
    if feature == "f0":
        # A known sex is never compared across sexes: that would say "high" of every woman.
        wide: list[Level] = [
            combined(lambda c, s: key(c, s or None), corpus, sex),
            combined(lambda s: key(None, s or None), sex),
        ]
        if "speaker" not in pitch_mode.values():
            return wide
        own = {name for name, mode in pitch_mode.items() if mode == "speaker"}
        return [combined(lambda c, s: key("speaker", s) if s and (c or "") in own else None, corpus, speaker), *wide]
    if feature == "rate":  # word times and nuclei are two rulers
        return [combined(key, corpus, source), combined(lambda s: key(None, s), source)]
    return [combined(key, corpus), combined(lambda c: key(None), corpus)]


def wide_groups(columns: Columns) -> list[Level]:
    """Groups whose baselines are fitted: corpus x sex, corpus, sex, all."""
    corpus, sex = columns.corpus, columns.sex
    return [
        combined(lambda c, s: key(c, s) if s else None, corpus, sex),
        combined(lambda s: key(None, s) if s else None, sex),
        *whole_corpora(columns),
    ]


def whole_corpora(columns: Columns) -> list[Level]:
    """Corpus, all: whatever the sex."""
    return [combined(lambda c: key(c, None), columns.corpus), combined(lambda c: key(None, None), columns.corpus)]


def members(column: Coded[Name], rows: Rows | None = None) -> Iterator[tuple[Name, Rows]]:
    """Each value that occurs (among these rows, if given) and its rows, in the order they come."""
    codes = column.codes if rows is None else column.codes[rows]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(column.names)))
    for name, at in zip(column.names, np.split(order, ends[:-1]), strict=False):
        if len(at):
            yield name, at if rows is None else rows[at]


def grouped(levels: Iterable[Level], rows: Rows) -> dict[str, Rows]:
    """Rows by name of a group, names sorted; a row that several levels put into one group is in it once."""
    found: dict[str, list[Rows]] = {}
    for level in levels:
        for name, at in members(level, rows):
            if name is not None:
                found.setdefault(name, []).append(at)
    once = {name: parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts)) for name, parts in found.items()}
    return dict(sorted(once.items()))


def named(column: Coded[str | None]) -> Coded[str]:
    """The same with names sorted; null is the empty name."""
    names, place = np.unique(np.asarray([name or "" for name in column.names], object).astype(str), return_inverse=True)
    return Coded([str(name) for name in names], place[column.codes])


def pitch_modes(columns: Columns, settings: Settings) -> dict[str, str]:
    """Per corpus: ``speaker`` when most clips belong to speakers with enough clips, else ``sex``."""
    usable = ~np.isnan(columns.values["f0"])
    rich = of_speakers(columns, usable, settings.min_speaker_clips)
    modes = {}
    for name, rows in members(named(columns.corpus)):
        rows = rows[usable[rows]]
        modes[name] = "speaker" if len(rows) and rich[rows].sum() >= 0.8 * len(rows) else "sex"
    return modes


def of_speakers(columns: Columns, counted: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """For each row, whether it is of a speaker with at least so many rows that count."""
    speaker = columns.speaker
    counts = np.bincount(speaker.codes[counted], minlength=len(speaker.names))
    return speaker.test(bool) & (counts >= least)[speaker.codes]
