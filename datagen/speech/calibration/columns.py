"""Columns of a table as arrays, and the sex of speakers whose corpus does not say it.

Text is held as each value once and a number per row, so that what depends on names is worked out per name, not per row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen.speech.arousal import CUES
from datagen.speech.calibration.settings import AFFECTS
from datagen.speech.prosody import Floats

Name = TypeVar("Name", bound=Hashable)
Rows = NDArray[np.intp]


class Coded(NamedTuple, Generic[Name]):
    """A column of few values: each that may occur, once, and which of them each row has."""

    names: list[Name]
    codes: Rows

    def at(self, rows: Rows | NDArray[np.bool_]) -> Coded[Name]:
        return Coded(self.names, self.codes[rows])

    def test(self, holds: Callable[[Name], object]) -> NDArray[np.bool_]:
        """For each row, whether this holds of its value."""
        return np.array([bool(holds(name)) for name in self.names], bool)[self.codes]

    def to_list(self) -> list[Name]:
        return [self.names[code] for code in self.codes.tolist()]


def combined(function: Callable[..., Name], *columns: Coded[Any]) -> Coded[Name]:
    """``function`` of the values of these columns in a row, called once for each combination that occurs."""
    code = np.zeros(len(columns[0].codes), np.int64)
    for column in columns:
        code = code * len(column.names) + column.codes
    occurring, inverse = np.unique(code, return_inverse=True)
    parts: list[list[Any]] = []
    for column in reversed(columns):
        occurring, rest = np.divmod(occurring, max(len(column.names), 1))
        parts.append([column.names[at] for at in rest.tolist()])
    found = [function(*values) for values in zip(*reversed(parts), strict=True)]
    place = {name: at for at, name in enumerate(dict.fromkeys(found))}
    return Coded(list(place), np.array([place[name] for name in found], np.intp)[inverse])


def text(table: pa.Table, name: str) -> Coded[str | None]:
    """A column of text; all null when it is not there."""
    if name not in table.column_names:
        return Coded([None], np.zeros(table.num_rows, np.intp))
    whole = table[name].cast(pa.large_string()).combine_chunks()
    encoded = pc.dictionary_encode(whole, null_encoding="encode")
    return Coded(encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp))


def number(table: pa.Table, name: str) -> Floats:
    """A column of numbers; NaN where it is null, infinite or not there."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values = table[name].cast(pa.float64()).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def cues(table: pa.Table) -> Floats:
    """Column ``arousal_cues`` as (n, 3) in the order of ``CUES``; NaN where null."""
    found = np.full((table.num_rows, len(CUES)), np.nan)
    if "arousal_cues" in table.column_names and pa.types.is_struct(table["arousal_cues"].type):
        for at, cue in enumerate(CUES):
            if table["arousal_cues"].type.get_field_index(cue) >= 0:
                found[:, at] = pc.struct_field(table["arousal_cues"], cue).cast(pa.float64()).to_numpy()
    return found


class Columns:
    """The measured columns of a table as arrays; columns that are not there are null.

    Args:
        sexes: of speakers of whom the corpus does not always give it (see ``predicted_sexes``); None = predictions do
            not count.
    """

    def __init__(self, table: pa.Table, sexes: Mapping[str, str | None] | None) -> None:
        self.rows = table.num_rows
        self.corpus, self.speaker, self.sex = (text(table, name) for name in ("corpus", "speaker", "sex"))
        self.rate_source = text(table, "rate_source")
        self.sex_heard: Coded[str | None] = Coded([None], np.zeros(self.rows, np.intp))
        if sexes is not None:
            self.sex_heard = combined(
                lambda given, speaker, guess: None if given else sexes.get(speaker or "", guess),
                *(self.sex, self.speaker, text(table, "sex_predicted")),
            )
            self.sex = combined(lambda given, guess: given or guess, self.sex, self.sex_heard)
        # Models go a little beyond 0..1; ranks are taken before that is cut off, so that they keep the order.
        raw = {name: number(table, f"{name}_raw") for name in AFFECTS}
        self.cues = cues(table)
        f0 = number(table, "f0_median_hz")
        with np.errstate(invalid="ignore", divide="ignore"):
            semitones = 12 * np.log2(np.where(f0 > 0, f0, np.nan))
        self.values: dict[str, Floats] = {
            **raw,
            "f0": semitones,
            "f0_range": number(table, "f0_range_st"),
            "level": number(table, "level_dbfs"),
            "rate": number(table, "rate_syl_s"),
            "pause": number(table, "pause_ratio"),
        }
        gold = text(table, "label_source").test(lambda source: source == "gold")
        self.neutral = text(table, "emotion").test(lambda emotion: emotion == "neutral") & gold


def predicted_sexes(table: pa.Table) -> dict[str, str | None]:
    """Speakers with clips of which the corpus gives no sex -> what more of these sound like; None = as many one as the
    other, or not what the corpus says of their other clips."""
    votes: dict[str, int] = {}
    said: dict[str, set[str]] = {}
    names = ("speaker", "sex", "sex_predicted")
    kinds = combined(lambda *values: values, *(text(table, name) for name in names))
    for (speaker, given, guess), clips in zip(kinds.names, np.bincount(kinds.codes).tolist(), strict=True):
        if speaker and given:
            said.setdefault(speaker, set()).add(given)
        elif speaker and guess:
            votes[speaker] = votes.get(speaker, 0) + (clips if guess == "female" else -clips)
    heard = {name: "female" if vote > 0 else "male" if vote else None for name, vote in sorted(votes.items())}
    return {name: None if said.get(name, {sex}) != {sex} else sex for name, sex in heard.items()}
