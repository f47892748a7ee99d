"""Texts in cells of like vectors: tuned on some texts, measured on others, laid out so that a cell is read in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.neighbours import cells as cells_
from datagen.neighbours import choose
from datagen.neighbours import recall as recall_
from datagen.neighbours.arrays import Ints, Vectors
from datagen.neighbours.cells import Cells
from datagen.neighbours.recall import Neighbours, neighbours, together
from datagen.neighbours.search import Found, within
from datagen.neighbours.sketch import Sketch
from datagen.neighbours.tables import as_table, bundle, integers, matrix, to_sketch, unbundled, values
from datagen.rounds import Bench
from datagen.stages.neighbours.text_keys import Near, own


def truth(near: Near, shard: int, bench: Bench) -> dict[str, Any]:
    """Exact neighbours of the sampled texts among this shard's."""
    sampled, (numbers, vectors) = bench.get("texts/sampled"), own(shard, bench)
    ids = integers(sampled, "number")
    filter_ = to_sketch(bench.get("texts/everyone"))
    known = neighbours(matrix(sampled), ids, vectors, numbers, near.threshold, filter_, same_space(bench))
    table = as_table(sampled=known.sampled, other=known.other, vector=known.first, second=known.second)
    bench.put(f"texts/truth-{shard}", table)
    return {"pairs": len(known)}


def _known(bench: Bench) -> Neighbours:
    pieces = []
    for shard in range(bench.shards):
        table = bench.get(f"texts/truth-{shard}")
        first, second = integers(table, "sampled"), integers(table, "other")
        pieces.append(Neighbours(first, second, matrix(table), matrix(table, "second")))
    return together(pieces)


def halves(bench: Bench) -> tuple[Ints, Ints, Vectors]:
    sampled = bench.get("texts/sampled")
    numbers, half = integers(sampled, "number"), bench.results["texts.number"][0]["tuned_on"]
    return numbers[:half], numbers[half:], matrix(sampled)[:half]


def tune(near: Near, bench: Bench) -> dict[str, Any]:
    to_tune, to_measure, sample = halves(bench)
    known = _known(bench)
    cells = Cells.of_arrays(unbundled(bench.get("texts/cells")))
    cells = recall_.tune(cells, known.of(to_tune), near.recall, sample=sample, threshold=near.threshold)
    bench.put("texts/tuned", bundle(cells.arrays()))
    measured = known.of(to_measure)
    bench.put("texts/measured", as_table(sampled=measured.sampled, other=measured.other))
    return {"cells": len(cells), "margin": round(cells.margin, 6)}


def assign(shard: int, bench: Bench) -> dict[str, Any]:
    """This shard's texts in the order of their cells, and who visits which."""
    cells = Cells.of_arrays(unbundled(bench.get("texts/tuned")))
    numbers, vectors = own(shard, bench)
    home, visits = cells.assign(vectors)
    order, starts = cells_.by_cell(home, len(cells))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    visitors, first = cells_.visitors_by_cell(visits, len(cells))
    bench.put(f"texts/home-{shard}", as_table(number=numbers[order], vector=vectors[order]))
    bench.put(f"texts/visit-{shard}", as_table(place=place[visitors]))
    bench.put(f"texts/starts-{shard}", as_table(home=starts, visit=first))
    return {"visits": len(visitors)}


def groups(near: Near, bench: Bench) -> dict[str, Any]:
    sizes: Any = 0
    for shard in range(bench.shards):
        starts = bench.get(f"texts/starts-{shard}")
        sizes = sizes + np.diff(values(starts, "home")) + np.diff(values(starts, "visit"))
    told = bench.results["texts.number"][0]
    return {"groups": choose.groups(sizes.astype(np.int64), told["dimensions"], near.memory_gb / 2)}


def members(near: Near, group: tuple[int, int], bench: Bench, filter_: Sketch | None) -> Iterator[Found]:
    """Near pairs of a range of cells, whose rows are read once, shard by shard."""
    homes, guests = _Side(*group), _Side(*group)
    for shard in range(bench.shards):
        starts = bench.get(f"texts/starts-{shard}")
        homes.expect(values(starts, "home"))
        guests.expect(values(starts, "visit"))
    for shard in range(bench.shards):
        table = bench.get(f"texts/home-{shard}")
        if not len(table):
            continue  # it does not even know how wide a vector is
        starts, vectors, numbers = bench.get(f"texts/starts-{shard}"), matrix(table), integers(table, "number")
        homes.add(values(starts, "home"), vectors, numbers)
        visit = values(bench.get(f"texts/visit-{shard}"), "place")
        guests.add(values(starts, "visit"), vectors, numbers, visit)
    for cell in range(group[1] - group[0]):
        yield from within(*homes.cell(cell), *guests.cell(cell), near.threshold, filter_)


class _Side:
    """Rows of a range of cells, cell by cell, in memory that is asked for once."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, end
        self.sizes: Ints = np.zeros(end - first, np.int64)
        self._numbers: Ints = np.zeros(0, np.int64)
        self._vectors: Vectors | None = None

    def expect(self, starts: Ints) -> None:
        """A shard's rows, told of before any is added."""
        self.sizes = self.sizes + np.diff(starts[self.first : self.end + 1])

    def add(self, starts: Ints, vectors: Vectors, numbers: Ints, places: Ints | None = None) -> None:
        """A shard's rows, in the order of cells; ``places`` in the vectors, where that is not already theirs."""
        if self._vectors is None:
            self._vectors = np.empty((int(self.sizes.sum()), vectors.shape[1]), np.float32)
            self._numbers = np.empty(len(self._vectors), np.int64)
            self._starts = np.append(0, np.cumsum(self.sizes))
            self._free = self._starts[:-1].copy()
        low, high = int(starts[self.first]), int(starts[self.end])
        own = np.diff(starts[self.first : self.end + 1])
        runs = np.repeat(np.arange(len(own)), own)  # the cell of each row
        into = self._free[runs] + np.arange(high - low) - (starts[self.first : self.end] - low)[runs]
        taken = slice(low, high) if places is None else places[low:high]
        self._vectors[into], self._numbers[into] = vectors[taken], numbers[taken]
        self._free += own

    def cell(self, number: int) -> tuple[Vectors, Ints]:
        assert self._vectors is not None, "a range of cells without any text is no task"
        here = slice(int(self._starts[number]), int(self._starts[number + 1]))
        return self._vectors[here], self._numbers[here]


def same_space(bench: Bench) -> Callable[[Ints, Ints], npt.NDArray[np.bool_]]:
    """Says of pairs of texts which could be near-same at all (``text_keys``)."""
    spaces = values(bench.get("texts/ids"), "space")
    return lambda one, other: np.asarray(spaces[one] == spaces[other])
