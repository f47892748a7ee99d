"""Texts in cells of like vectors: tuned on some texts, measured on others, laid out so that a cell is read in a row."""

from __future__ import annotations

from collections.abc import Iterator
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
    known = neighbours(matrix(sampled), ids, vectors, numbers, near.threshold, filter_)
    same = same_space(bench, np.stack([known.sampled, known.other], axis=1))
    known = Neighbours(known.sampled[same], known.other[same], known.first[same], known.second[same])
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
    pieces = []
    for shard in range(bench.shards):
        table, starts = bench.get(f"texts/home-{shard}"), bench.get(f"texts/starts-{shard}")
        visit = values(bench.get(f"texts/visit-{shard}"), "place")
        pieces.append((matrix(table), integers(table, "number"), visit,
                       values(starts, "home"), values(starts, "visit")))  # fmt: skip
    for cell in range(*group):
        homes, guests = [], []
        for vectors, numbers, visit, home, first in pieces:
            here = slice(int(home[cell]), int(home[cell + 1]))
            there = visit[int(first[cell]) : int(first[cell + 1])].astype(np.int64)
            homes.append((vectors[here], numbers[here]))
            guests.append((vectors[there], numbers[there]))
        sides = [np.concatenate([side[k] for side in part]) for part in (homes, guests) for k in (0, 1)]
        yield from within(sides[0], sides[1], sides[2], sides[3], near.threshold, filter_)


def same_space(bench: Bench, pairs: Ints) -> npt.NDArray[np.bool_]:
    """Which pairs of texts could be near-same at all (``text_keys``)."""
    spaces = values(bench.get("texts/ids"), "space")
    return np.asarray(spaces[pairs[:, 0]] == spaces[pairs[:, 1]])
