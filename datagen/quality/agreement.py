"""Do the annotators bear each other out? Category against dimensions, the corpus's label against the model's.

A voice's place is its ranks of arousal and valence within the corpus; an emotion's place is a quadrant of that plane,
from the table ``schemas/emotion_quadrants.yaml``, which names its sources. Pure functions on whole columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from datagen import tables
from datagen.digest import revision
from datagen.errors import UsageError
from datagen.quality.emotions import emotion_table
from datagen.resources import folder

DIMENSIONS = ("arousal", "valence")
#: Distance from the middle, of 0..1, from which on two ranks together contradict "neutral".
EXTREME = 0.8

_SIDES = {"low": -1.0, "high": 1.0, "middle": 0.0, "any": np.nan}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Quadrants:
    """Emotion -> expected side of each of ``DIMENSIONS``: -1 low, 1 high, 0 middle, NaN any."""

    version: str
    sides: Mapping[str, tuple[float, float]]


@lru_cache(maxsize=1)
def quadrants() -> Quadrants:
    """The packaged table.

    Raises:
        UsageError: it names an emotion or a side that there is not, or a middle of one dimension only.
    """
    path = folder("schemas") / "emotion_quadrants.yaml"
    data = yaml.safe_load(path.read_text("utf-8"))
    sides = {}
    for emotion, expected in data["quadrants"].items():
        words = [expected.get(name) for name in DIMENSIONS]
        if emotion not in tables.EMOTIONS or not set(words) <= set(_SIDES) or words.count("middle") == 1:
            raise UsageError(
                f"{path.name}: {emotion}: {expected}: an emotion of {', '.join(tables.EMOTIONS)} with arousal and "
                "valence, each low, high or any, or both middle"
            )
        sides[emotion] = (_SIDES[words[0]], _SIDES[words[1]])
    return Quadrants(revision(data), sides)


def affect_agreement(table: pa.Table) -> pa.Table:
    """Columns ``emotion``, ``arousal_level``, ``arousal_pct``, ``valence_level``, ``valence_pct`` -> the two of affect.

    With x = 2 * pct - 1 and the emotion's expected side s, a dimension fits by s * x, or by 1 - 2 * |x| where the
    middle is expected; the score (-1..1) is the mean over the dimensions that the emotion says something about. It is
    null where one of them is unknown.

    "agree": every such dimension is on its expected side (in the middle: both are "normal"). "conflict": each is on
    one side or the other, at least one on the wrong one; for the middle: both on a side and at least ``EXTREME`` from
    it. Anything else is null: the voice is undecided, or something is unknown.
    """
    expected = _expected(table["emotion"])
    place = np.stack([2 * _numbers(table[f"{name}_pct"]) - 1 for name in DIMENSIONS], axis=1)
    level = np.stack([_levels(table[f"{name}_level"]) for name in DIMENSIONS], axis=1)
    counts = ~np.isnan(expected)
    middle = (expected == 0).all(axis=1)

    fit = np.where(expected == 0, 1 - 2 * np.abs(place), expected * place)
    score = np.where(counts, fit, 0).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    known = counts.any(axis=1) & ~(counts & np.isnan(place)).any(axis=1)

    agree = known & (~counts | (level == expected)).all(axis=1)
    sided = (~counts | (np.abs(level) == 1)).all(axis=1)
    far = (np.abs(place) >= EXTREME - 1e-9).all(axis=1)
    conflict = known & ~agree & sided & (~middle | far)
    words = np.where(agree, "agree", "conflict")
    return pa.table(
        {
            "affect_agreement": pa.array(words, pa.string(), mask=~(agree | conflict)),
            "affect_agreement_score": pa.array(np.round(score, 6) + 0.0, pa.float64(), mask=~known),
        }
    )


def gold_agreement(table: pa.Table) -> pa.Array:
    """Columns ``emotion``, ``label_source``, ``emotion_predicted`` -> whether corpus and model say the same.

    A model of one's own may have other names ("anger"); they are read as those of a corpus are. Null where the label is
    not the corpus's, or where either is missing.
    """
    names = pc.unique(table["emotion_predicted"]).drop_null()
    meant = pa.array([emotion_table().lookup(name)[1] or name for name in names.to_pylist()], pa.string())
    same = pc.equal(table["emotion"], meant.take(pc.index_in(table["emotion_predicted"], names)))
    gold = pc.fill_null(pc.equal(table["label_source"], "gold"), False)
    found = pc.if_else(gold, same, pa.scalar(None, pa.bool_()))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _expected(emotions: pa.ChunkedArray) -> Numbers:
    """(rows, 2); all NaN for an emotion that is unknown or not in the table."""
    listed = quadrants().sides
    row = pc.index_in(emotions, pa.array(list(listed), pa.string()))
    sides = np.array([*listed.values(), (np.nan, np.nan)])
    found: Numbers = sides[pc.fill_null(row, len(listed)).to_numpy()]
    return found


def _numbers(column: pa.ChunkedArray) -> Numbers:
    found: Numbers = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    return found


def _levels(column: pa.ChunkedArray) -> Numbers:
    """low, normal, high -> -1, 0, 1; NaN for null."""
    row = pc.index_in(column, pa.array(tables.LEVELS, pa.string()))
    found: Numbers = np.array([-1.0, 0.0, 1.0, np.nan])[pc.fill_null(row, 3).to_numpy()]
    return found
