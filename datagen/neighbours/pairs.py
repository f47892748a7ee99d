"""All near pairs of a matrix in one process, through the same pieces that parallel tasks work with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from datagen.neighbours import cells as cells_
from datagen.neighbours import choose, exact, sketch
from datagen.neighbours.arrays import Cells32, Doubles, Ints, Vectors, blocks, check, chosen, release, unique_pairs
from datagen.neighbours.cells import Cells, Visits
from datagen.neighbours.recall import halves, measure, neighbours, together, tune
from datagen.neighbours.search import Found, within

T = TypeVar("T")
_BLOCK = 16_384
_PASS = 65_536  #: rows that sampled rows are compared with in one task
_FILTER_SAMPLE = 4096  #: rows from which the filter's width is chosen


@dataclass(frozen=True)
class NearPairs:
    """``pairs``: ids int64 ``(n, 2)``, lower first, sorted; ``cosines``: rounded to six decimals.

    ``measured``: method and settings, and with cells the recall on rows that were not tuned on.
    """

    pairs: Ints
    cosines: Doubles
    measured: dict[str, Any]


def near_pairs(
    vectors: Vectors,
    *,
    threshold: float = 0.95,
    recall: float = 0.99,
    memory_gb: float = 2.0,
    seed: int = 0,
    ids: Ints | None = None,
    workers: int = 1,
    scratch: Path | None = None,
    exact_rows: int = choose.EXACT_ROWS,
) -> NearPairs:
    """Pairs of rows whose cosine is at least ``threshold``; of those, a share of about ``recall``.

    Args:
        vectors: float32 unit vectors ``(rows, dimensions)``, in memory or mapped from a file.
        memory_gb: held at a time, besides the pairs themselves and some 40 bytes per row.
        ids: int64 per row, unique; None = the row's number. Samples are drawn by hash of them.
        workers: threads that search cells; leave BLAS one thread of its own (OMP_NUM_THREADS=1) with more than one.
        scratch: folder for the copy in cell order, as large as ``vectors``; None = the system's.

    Raises:
        ValueError: a row is no unit vector.
    """
    ids = np.arange(len(vectors)) if ids is None else ids
    rows, dimensions = vectors.shape
    method = choose.method(rows, recall, exact_rows)
    told: dict[str, Any] = {"method": method, "rows": rows, "dimensions": dimensions, "threshold": threshold}
    if method == "exact":
        sample = _rows(vectors, chosen(ids, _FILTER_SAMPLE, seed))
        filter_ = sketch.best(check(sample), np.zeros(len(sample), np.int64), threshold)
        tasks = [partial(_strip, vectors, ids, strip, threshold, filter_) for strip in exact.strips(rows)]
        pairs, cosines = _joined(_in_threads(workers, tasks))
        return NearPairs(pairs, cosines, told | {"recall": 1.0, "filter": _width(filter_)})

    count = choose.cell_count(rows)
    sample = check(_rows(vectors, chosen(ids, count * cells_.SAMPLE_PER_CELL, seed)))
    cells = cells_.fit(sample, rows, seed=seed, count=count)
    filter_ = sketch.best(sample, cells.assign(sample)[0].astype(np.int64), threshold)
    del sample
    to_tune, to_measure = halves(ids, min(choose.SAMPLED_ROWS, rows // 2), seed)
    both = np.concatenate([to_tune, to_measure])
    sampled = _rows(vectors, both)
    everyone = sketch.best(sampled[:_FILTER_SAMPLE], np.zeros(min(len(both), _FILTER_SAMPLE), np.int64), threshold)
    passes = [
        partial(neighbours, sampled, ids[both], vectors[start:end], ids[start:end], threshold, everyone)
        for start, end in blocks(rows, _PASS)
    ]
    known = together(_in_threads(workers, passes))
    tuning = sampled[: len(to_tune)]
    cells = tune(cells, known.of(ids[to_tune]), recall, sample=tuning, threshold=threshold)

    home, visits = _assigned(vectors, cells, workers)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        laid_out = _Layout.of(vectors, ids, home, visits, len(cells), Path(folder) / "cells.f32")
        tasks = [
            partial(laid_out.search, group, threshold, filter_)
            for group in choose.groups(laid_out.sizes, dimensions, memory_gb / (2 * workers))
        ]
        pairs, cosines = _joined(_in_threads(workers, tasks))
    told |= asdict(measure(known.of(ids[to_measure]), len(to_measure), pairs))
    told |= {"asked": recall, "cells": len(cells), "margin": round(cells.margin, 6), "filter": _width(filter_)}
    return NearPairs(pairs, cosines, told | {"visits": round(1 + len(visits.cells) / rows, 3)})


@dataclass(frozen=True)
class _Layout:
    """A copy of the vectors in the order of their cells, and which rows visit each cell."""

    vectors: Vectors
    ids: Ints
    starts: Ints
    visitors: Ints  #: places in ``vectors``
    first: Ints

    @classmethod
    def of(cls, vectors: Vectors, ids: Ints, home: Cells32, visits: Visits, count: int, path: Path) -> _Layout:
        order, starts = cells_.by_cell(home, count)
        visitors, first = cells_.visitors_by_cell(visits, count)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        copy = np.memmap(path, np.float32, "w+", shape=vectors.shape)
        for start, end in blocks(len(vectors), _BLOCK):
            copy[place[start:end]] = vectors[start:end]
            release(vectors)
            release(copy)
        return cls(copy, ids[order], starts, place[visitors], first)

    @property
    def sizes(self) -> Ints:
        return np.asarray(np.diff(self.starts) + np.diff(self.first))

    def search(self, group: tuple[int, int], threshold: float, filter_: sketch.Sketch | None) -> list[Found]:
        found: list[Found] = []
        for cell in range(*group):
            home = slice(self.starts[cell], self.starts[cell + 1])
            visitors = self.visitors[self.first[cell] : self.first[cell + 1]]
            here, there = np.asarray(self.vectors[home]), np.asarray(self.vectors[visitors])
            found += within(here, self.ids[home], there, self.ids[visitors], threshold, filter_)
        release(self.vectors)
        return found


def _strip(
    vectors: Vectors, ids: Ints, rows: tuple[int, int], threshold: float, filter_: sketch.Sketch | None
) -> list[Found]:
    return list(exact.strip(vectors, ids, rows, threshold, filter_))


def _assigned(vectors: Vectors, cells: Cells, workers: int) -> tuple[Cells32, Visits]:
    def assign(start: int, end: int) -> tuple[Cells32, Visits]:
        made = cells.assign(check(np.asarray(vectors[start:end]), start))
        release(vectors)
        return made

    parts = _in_threads(workers, [partial(assign, *block) for block in blocks(len(vectors), _BLOCK)])
    counts = np.concatenate([np.diff(visits.offsets) for _, visits in parts])
    offsets = np.zeros(len(vectors) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return np.concatenate([home for home, _ in parts]), Visits(offsets, np.concatenate([v.cells for _, v in parts]))


def _rows(vectors: Vectors, places: Ints) -> Vectors:
    """Some rows in the order asked for, read in the order of the file."""
    found = np.empty((len(places), vectors.shape[1]), np.float32)
    order = np.argsort(places)
    for start, end in blocks(len(order), _BLOCK):
        found[order[start:end]] = vectors[places[order[start:end]]]
        release(vectors)
    return found


def _width(filter_: sketch.Sketch | None) -> int | None:
    return None if filter_ is None else filter_.width


def _joined(tasks: Iterable[list[Found]]) -> tuple[Ints, Doubles]:
    found = [piece for task in tasks for piece in task]
    if not found:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float64)
    return unique_pairs(np.concatenate([f.pairs for f in found]), np.concatenate([f.cosines for f in found]))


def _in_threads(workers: int, tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What the tasks return, in their order."""
    if workers == 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
