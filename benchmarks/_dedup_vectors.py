"""Vectors for ``dedup.py``: clusters, planted near-duplicates and hard negatives, made block by block in a file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

DIMENSIONS = 384
CENTRES = 20_000
COPIES, HARD = 0.05, 0.10  #: shares of rows that are near-duplicates (cosine 0.95 to 1) and hard negatives
ALIKE = 0.64  #: cosine of two rows of a cluster, on average
THRESHOLD = 0.92
_BLOCK = 20_000


class Made(NamedTuple):
    """``group``: per row the number of the row it was copied from, or its own."""

    path: Path
    group: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.group)

    def open(self) -> np.ndarray:
        return np.memmap(self.path, np.float32, "r", shape=(self.rows, DIMENSIONS))


def make(path: Path, rows: int, seed: int) -> Made:
    """Rows in an order that says nothing: a copy may come before what it was copied from.

    Full-rank Gaussian noise round the centres, which is harder than sentences: no direction tells more than another.
    """
    random = np.random.default_rng(seed)
    centres = _unit(random.standard_normal((CENTRES, DIMENSIONS), dtype=np.float32))
    copies, hard = int(rows * COPIES), int(rows * HARD)
    base = rows - copies - hard
    place = random.permutation(rows)
    made = np.memmap(path, np.float32, "w+", shape=(rows, DIMENSIONS))
    for first in range(0, base, _BLOCK):
        count = min(_BLOCK, base - first)
        noise = random.standard_normal((count, DIMENSIONS), dtype=np.float32) / np.sqrt(np.float32(DIMENSIONS))
        middle = centres[random.integers(0, CENTRES, count)]
        made[place[first : first + count]] = _unit(np.sqrt(ALIKE) * middle + np.sqrt(1 - ALIKE) * noise)
    group = np.arange(rows)
    source = place[random.integers(0, base, copies + hard)]
    cosine = np.concatenate([random.uniform(0.95, 1.0, copies), random.uniform(0.80, 0.90, hard)]).astype(np.float32)
    for first in range(0, copies + hard, _BLOCK):
        part = slice(first, min(first + _BLOCK, copies + hard))
        made[place[base:][part]] = _at(made[source[part]], cosine[part], random)
    group[place[base : base + copies]] = source[:copies]
    made.flush()
    return Made(path, group)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _at(vectors: np.ndarray, cosine: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A vector at the given cosine from each, in a direction drawn evenly."""
    away = random.standard_normal(vectors.shape, dtype=np.float32)
    away = _unit(away - np.einsum("ij,ij->i", away, vectors)[:, None] * vectors)
    return _unit(cosine[:, None] * vectors + np.sqrt(1 - cosine**2)[:, None] * away)


class Judged(NamedTuple):
    """Against what was planted: of a group of n near-duplicates n - 1 should go."""

    recall: float
    precision: float
    wiped_out: int  #: groups of which nobody is left
    groups: int


def judge(group: np.ndarray, gone: np.ndarray) -> Judged:
    """``gone``: bool per row."""
    size = np.bincount(group, minlength=len(group))
    went = np.bincount(group[gone], minlength=len(group))
    planted = size > 1
    right = np.minimum(went, np.maximum(size - 1, 0))[planted].sum()
    surplus = (size[planted] - 1).sum()
    wiped = int(np.count_nonzero(went[planted] == size[planted]))
    return Judged(float(right / max(surplus, 1)), float(right / max(gone.sum(), 1)), wiped, int(planted.sum()))


class Survivors(NamedTuple):
    """Planted groups whose rows are all near each other, by how many of them are left: one is right."""

    groups: int
    none: int
    several: int


def survivors(made: Made, gone: np.ndarray) -> Survivors:
    """``gone``: bool per row. Groups in which two copies are less alike than the threshold are not counted."""
    rows = np.argsort(made.group, kind="stable")
    group, vectors = made.group[rows], made.open()
    size = np.bincount(group, minlength=made.rows)
    counted = size > 1
    for step in range(1, int(size.max())):
        first = np.flatnonzero(group[:-step] == group[step:])
        one, other = (vectors[rows[places]].astype(np.float64) for places in (first, first + step))
        apart = np.round(np.einsum("ij,ij->i", one, other), 6) < THRESHOLD
        counted[group[first[apart]]] = False
    left = np.bincount(made.group[~gone], minlength=made.rows)[counted]
    return Survivors(len(left), int(np.count_nonzero(left == 0)), int(np.count_nonzero(left > 1)))
