"""Near pairs of texts, strip by strip or cell by cell; then who leads whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.neighbours import exact
from datagen.neighbours.arrays import Ints
from datagen.neighbours.keep import keep_first
from datagen.neighbours.recall import Neighbours, measure
from datagen.neighbours.search import Found
from datagen.neighbours.tables import as_table, integers, matrix, to_sketch, values
from datagen.neighbours.thin import gathered, thinned
from datagen.rounds import Bench
from datagen.stages.neighbours.text_cells import halves, members, same_space
from datagen.stages.neighbours.text_keys import Near


def search(near: Near, task: int, bench: Bench) -> dict[str, Any]:
    """Near pairs of one strip of texts, or of one group of cells."""
    told, filter_ = bench.results["texts.number"][0], to_sketch(bench.get("texts/filter"))
    if told["method"] == "exact":
        vectors, numbers = matrix(bench.get("texts/all")), np.arange(told["rows"])
        found = exact.strip(vectors, numbers, exact.strips(told["rows"])[task], near.threshold, filter_)
    else:
        found = members(near, bench.results["texts.groups"][0]["groups"][task], bench, filter_)
        exact_pairs = bench.get("texts/measured")
        found = _noted(found, exact_pairs, task, bench)
    same = same_space(bench)
    pairs = gathered(piece.pairs[same(piece.pairs[:, 0], piece.pairs[:, 1])] for piece in found)
    bench.put(f"texts/pairs-{task}", as_table(better=pairs[:, 0], worse=pairs[:, 1]))
    return {"pairs": len(pairs)}


def lead(bench: Bench) -> dict[str, Any]:
    """Who leads whom; and how many of the known pairs were found."""
    rows, tasks = bench.results["texts.number"][0]["rows"], len(bench.results["texts.search"])
    tables = [bench.get(f"texts/pairs-{task}") for task in range(tasks)]
    sides = [np.concatenate([values(table, side) for table in tables]) for side in ("better", "worse")]
    pairs = thinned(np.stack(sides, axis=1).astype(np.int64))
    leader = keep_first(np.arange(rows), pairs)
    leader = np.where(leader < 0, np.arange(rows), leader)
    bench.put("texts/leaders", as_table(leader=leader))
    told: dict[str, Any] = {"pairs": len(pairs), "clusters": len(np.unique(leader)), "recall": 1.0}
    if bench.results["texts.number"][0]["method"] == "cells":
        known = bench.get("texts/measured")
        first, second = integers(known, "sampled"), integers(known, "other")
        none = np.zeros((len(first), 0), np.float32)
        found = [bench.get(f"texts/noted-{task}") for task in range(tasks)]
        noted = np.concatenate([np.stack([values(t, "a"), values(t, "b")], axis=1) for t in found])
        to_measure = halves(bench)[1]
        measured = measure(Neighbours(first, second, none, none), len(to_measure), noted.astype(np.int64))
        told |= asdict(measured) | {"pairs": len(pairs), "measured_pairs": measured.pairs}
    return told


def _noted(found: Iterator[Found], known: pa.Table, task: int, bench: Bench) -> Iterator[Found]:
    """Pass pairs on, and leave those of the known ones that were among them."""
    sides = [integers(known, side) for side in ("sampled", "other")]
    ids = np.unique(np.concatenate(sides))

    def keys(some: Ints) -> Ints:
        return np.asarray(np.searchsorted(ids, some[:, 0]) * len(ids) + np.searchsorted(ids, some[:, 1]))

    wanted = keys(np.sort(np.stack(sides, axis=1), axis=1))
    noted = [np.zeros((0, 2), np.int64)]
    for piece in found:
        mine = piece.pairs[np.isin(piece.pairs[:, 0], ids) & np.isin(piece.pairs[:, 1], ids)]
        noted.append(mine[np.isin(keys(mine), wanted)])
        yield piece
    pairs = np.concatenate(noted)
    bench.put(f"texts/noted-{task}", as_table(a=pairs[:, 0], b=pairs[:, 1]))
