"""Strata, the order within them, and how evenly they are filled: pure functions on whole columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.luck import Words, draws, mixed, uniform

UNKNOWN = "unknown"  #: what a null is called inside a stratum's name

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Least weight of a clip in the draw: who is not rich at all has some chance left.
_LEAST = 0.01


@dataclass(frozen=True)
class Strata:
    """``code``: per row the place of its stratum in ``names``, which are sorted."""

    code: Ints
    names: list[str]


def stratify(clips: pa.Table, columns: Sequence[str]) -> Strata:
    """Each row's stratum: its values joined by ``/``, e.g. ``angry/female/emodb/de``; absent columns are null."""
    code, values = _distinct([_codes(clips, column) for column in columns], clips.num_rows)
    joined = ["/".join(row) for row in values]
    names = sorted(set(joined))
    place = {name: index for index, name in enumerate(names)}
    return Strata(np.array([place[name] for name in joined], np.int64)[code], names)


def _codes(clips: pa.Table, column: str) -> tuple[Ints, list[str]]:
    if column not in clips.column_names:
        return np.zeros(clips.num_rows, np.int64), [UNKNOWN]
    encoded = pc.dictionary_encode(pc.fill_null(clips[column].cast(pa.string()), UNKNOWN))
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _distinct(columns: Sequence[tuple[Ints, list[str]]], rows: int) -> tuple[Ints, list[list[str]]]:
    """Code per row for each combination of values that is met, and the values of each."""
    code = np.zeros(rows, np.int64)
    values: list[list[str]] = [[]] if rows else []
    for own, names in columns:
        met, code = dense(code * len(names) + own)
        values = [[*values[each // len(names)], names[each % len(names)]] for each in met.tolist()]
    return code, values


def dense(keys: Ints) -> tuple[Ints, Ints]:
    """The distinct keys, sorted, and the place of each row's key among them."""
    top = int(keys.max(initial=-1)) + 1
    if top > max(1 << 20, 2 * len(keys)) or keys.min(initial=0) < 0:
        met, code = np.unique(keys, return_inverse=True)
        return met, np.asarray(code, np.int64)
    there = np.bincount(keys, minlength=top) > 0  # few keys need no sort of all rows
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


def preference(richness: Floats, draw: Words, power: float) -> Floats:
    """Key by which clips come first, the smallest first: a weighted draw without replacement.

    ``u ** (1 / w)``, largest first, with u uniform and weight w = richness ** power (Efraimidis & Spirakis 2006,
    Information Processing Letters 97), as log(-log u) - log w. Whose richness is unknown counts as the median clip.
    Rounded to 9 decimals, so that the last digits of a logarithm decide nothing.
    """
    known = ~np.isnan(richness)
    middle = float(np.median(richness[known])) if known.any() else 1.0
    weight = np.maximum(np.where(known, richness, middle), _LEAST)
    return np.round(np.log(-np.log(uniform(draw))) - power * np.log(weight), 9) + 0.0


def ranked(stratum: Ints, contrast: Ints, manner: Ints, fixed: Bools, hashes: Words, key: Floats, seed: int) -> Ints:
    """Rows from the first to be taken to the last, to be read stratum by stratum.

    ``fixed`` ones come first; then one clip of every contrast group in each stratum and ``manner`` (way of saying it),
    group by group in the same order in every stratum, so that caps leave whole groups; then the rest. So each group
    keeps its contrast, and a phrase that ten thousand people say cannot crowd out everything else.

    Args:
        contrast: number of the row's group, -1 = none.
        hashes, key: of each row, see ``luck.name_hashes`` and ``preference``.
    """
    first = np.zeros(len(stratum), bool)
    group_luck = np.zeros(len(stratum), np.uint64)
    grouped = np.flatnonzero(contrast >= 0)
    if len(grouped):
        _, group = dense(contrast[grouped])
        # A group is known by the least hash among its members, so its number may be any.
        least = np.full(int(group.max()) + 1, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(least, group, hashes[grouped])
        _, manners = dense(manner[grouped])
        _, strata = dense(stratum[grouped])
        _, cell = dense((group * (int(strata.max()) + 1) + strata) * (int(manners.max()) + 1) + manners)
        turn = np.lexsort((hashes[grouped], key[grouped], ~fixed[grouped], cell))
        opens = np.diff(cell[turn], prepend=-1) != 0
        first[grouped[turn[opens]]] = True
        group_luck[grouped] = draws(mixed(least), seed)[group]
    group_luck[~first] = 0
    return np.asarray(np.lexsort((hashes, key, group_luck, ~first, ~fixed)), np.int64)


def place_within(label: Ints) -> Ints:
    """Place of each row among the rows of its label, 0 first, in the order of the rows."""
    turn = np.argsort(label, kind="stable")
    ordered = label[turn]
    opens = np.flatnonzero(np.diff(ordered, prepend=-1))
    place = np.empty(len(label), np.int64)
    place[turn] = np.arange(len(label)) - np.repeat(opens, np.diff(np.append(opens, len(label))))
    return place


def weights(stratum: Ints, power: float) -> Floats:
    """Sampling weights of the rows, mean 1: a stratum of n clips weighs n**(1 - power) in all.

    Power 1 draws all strata equally often, 0 leaves them as they are.
    """
    if not len(stratum):
        return np.zeros(0)
    raw = np.bincount(stratum).astype(np.float64)[stratum] ** -power
    return np.asarray(np.round(raw / raw.mean(), 6))
