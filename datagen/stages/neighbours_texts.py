"""Near-same texts, by rounds: every distinct text once, gathered round leaders (``text_cluster``).

A text's number is the rank of its hash, so that nothing depends on rows or shards; of near texts the one with the
lower number leads. Small corpora are compared text by text with text; larger ones by cells (``neighbours/``), whose
recall is tuned on some texts and measured on others. Vectors never pass through the driver: each shard leaves its own
in a scratch table that later tasks map into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.errors import RunError
from datagen.neighbours import cells as cells_
from datagen.neighbours import choose, exact, sketch
from datagen.neighbours.arrays import Ints, Vectors, chosen
from datagen.neighbours.cells import Cells
from datagen.neighbours.keep import keep_first
from datagen.neighbours.recall import Neighbours, halves, measure, neighbours, together, tune
from datagen.neighbours.search import Found, within
from datagen.neighbours.sketch import Sketch
from datagen.neighbours.tables import as_table, bundle, integers, matrix, of_sketch, to_sketch, unbundled, values
from datagen.neighbours.thin import thinned
from datagen.quality.texts import text_id
from datagen.quality.turning import turning
from datagen.rounds import Bench, Results

_HELD = 1_000_000  #: pairs gathered before they are thinned
_FILTER_SAMPLE = 4096

Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Texts:
    """Settings of the search; see ``stages/neighbours.py``."""

    threshold: float
    recall: float
    exact_rows: int
    memory_gb: float
    seed: int

    rounds = (
        "texts.keys", "texts.number", "texts.truth", "texts.tune", "texts.assign", "texts.groups", "texts.search",
        "texts.lead",
    )  # fmt: skip

    def tasks(self, name: str, shards: int, results: Results) -> int:
        if name == "texts.keys":
            return shards
        if name == "texts.number":
            return 1
        told = results["texts.number"][0]
        if not told["rows"]:
            return 0
        if name == "texts.lead":
            return 1
        if told["method"] == "exact":
            return len(exact.strips(told["rows"])) if name == "texts.search" else 0
        if name == "texts.search":
            return len(results["texts.groups"][0]["groups"])
        return shards if name in {"texts.truth", "texts.assign"} else 1

    def work(self, name: str, task: int, bench: Bench) -> dict[str, Any]:
        todo = {
            "texts.keys": self._keys, "texts.number": self._number, "texts.truth": self._truth,
            "texts.tune": self._tune, "texts.assign": self._assign, "texts.groups": self._groups,
            "texts.search": self._search, "texts.lead": self._lead,
        }  # fmt: skip
        return todo[name](task, bench)

    # -- gathering ---------------------------------------------------------------------------------------------

    def _keys(self, shard: int, bench: Bench) -> dict[str, Any]:
        """The shard's distinct texts that have a vector."""
        rows = bench.read(shard, ["text_key", "text_embedding"])
        rows = rows.filter(pa.compute.and_(rows["text_key"].is_valid(), rows["text_embedding"].is_valid()))
        keys = rows["text_key"].combine_chunks().dictionary_encode()
        _, first = np.unique(keys.indices.to_numpy(), return_index=True)
        distinct = [keys.dictionary[int(keys.indices[int(row)].as_py())].as_py() for row in first.tolist()]
        ids = np.array([text_number(key) for key in distinct], np.uint64)
        vectors, usable = _unit(rows["text_embedding"].take(pa.array(first)))
        order = np.argsort(ids, kind="stable")
        order = order[usable[order]]
        spaces = np.array([_space(key) for key in distinct], np.uint64)
        bench.put(f"texts/keys-{shard}", as_table(id=ids[order], space=spaces[order], vector=vectors[order]))
        return {"texts": len(order), "dimensions": vectors.shape[1] if len(order) else 0}

    def _number(self, _: int, bench: Bench) -> dict[str, Any]:
        """Number all texts, say which shard owns each, fit the cells."""
        dimensions = {found["dimensions"] for found in bench.results["texts.keys"]} - {0}
        if len(dimensions) > 1:
            raise RunError(f"text embeddings of different lengths: {sorted(dimensions)}; run `embed` again")
        every = [bench.get(f"texts/keys-{shard}") for shard in range(bench.shards)]
        ids = np.concatenate([values(table, "id") for table in every])
        home = np.repeat(np.arange(len(every)), [len(table) for table in every])
        row = np.concatenate([np.arange(len(table)) for table in every])
        unique, first = np.unique(ids, return_index=True)  # the first occurrence: the lowest shard
        spaces = np.concatenate([values(table, "space") for table in every])[first]
        bench.put("texts/ids", as_table(id=unique, space=spaces))
        for shard in range(bench.shards):
            mine = np.flatnonzero(home[first] == shard)
            bench.put(f"texts/own-{shard}", as_table(number=mine.astype(np.int64), row=row[first[mine]]))
        rows, numbers = len(unique), np.arange(len(unique))
        told: dict[str, Any] = {"rows": rows, "method": choose.method(rows, self.recall, self.exact_rows)}
        if not rows:
            return told
        (told["dimensions"],) = dimensions

        def vectors_of(places: Ints) -> Vectors:
            found = np.empty((len(places), told["dimensions"]), np.float32)
            for shard, table in enumerate(every):
                mine = np.flatnonzero(home[first[places]] == shard)
                found[mine] = matrix(table)[row[first[places[mine]]]]
            return found

        if told["method"] == "exact":
            everything = vectors_of(numbers)
            sample = everything[chosen(numbers, _FILTER_SAMPLE, self.seed)]
            bench.put("texts/filter", of_sketch(sketch.best(sample, np.zeros(len(sample), np.int64), self.threshold)))
            bench.put("texts/all", as_table(vector=everything))
            return told
        count = choose.cell_count(rows)
        sample = vectors_of(chosen(numbers, count * cells_.SAMPLE_PER_CELL, self.seed))
        cells = cells_.fit(sample, rows, seed=self.seed, count=count)
        bench.put("texts/cells", bundle(cells.arrays()))
        groups = cells.assign(sample)[0].astype(np.int64)
        bench.put("texts/filter", of_sketch(sketch.best(sample, groups, self.threshold)))
        to_tune, to_measure = halves(numbers, min(choose.SAMPLED_ROWS, rows // 2), self.seed)
        both = np.concatenate([to_tune, to_measure])
        sampled = vectors_of(both)
        few = sampled[:_FILTER_SAMPLE]
        bench.put("texts/everyone", of_sketch(sketch.best(few, np.zeros(len(few), np.int64), self.threshold)))
        bench.put("texts/sampled", as_table(number=both, vector=sampled))
        return told | {"tuned_on": len(to_tune)}

    # -- cells -------------------------------------------------------------------------------------------------

    def _truth(self, shard: int, bench: Bench) -> dict[str, Any]:
        """Exact neighbours of the sampled texts among this shard's."""
        sampled, (numbers, vectors) = bench.get("texts/sampled"), self._own(shard, bench)
        ids = integers(sampled, "number")
        filter_ = to_sketch(bench.get("texts/everyone"))
        known = neighbours(matrix(sampled), ids, vectors, numbers, self.threshold, filter_)
        same = _same_space(bench, np.stack([known.sampled, known.other], axis=1))
        known = Neighbours(known.sampled[same], known.other[same], known.first[same], known.second[same])
        table = as_table(sampled=known.sampled, other=known.other, vector=known.first, second=known.second)
        bench.put(f"texts/truth-{shard}", table)
        return {"pairs": len(known)}

    def _known(self, bench: Bench) -> Neighbours:
        pieces = []
        for shard in range(bench.shards):
            table = bench.get(f"texts/truth-{shard}")
            first, second = integers(table, "sampled"), integers(table, "other")
            pieces.append(Neighbours(first, second, matrix(table), matrix(table, "second")))
        return together(pieces)

    def _halves(self, bench: Bench) -> tuple[Ints, Ints, Vectors]:
        sampled = bench.get("texts/sampled")
        numbers, half = integers(sampled, "number"), bench.results["texts.number"][0]["tuned_on"]
        return numbers[:half], numbers[half:], matrix(sampled)[:half]

    def _tune(self, _: int, bench: Bench) -> dict[str, Any]:
        to_tune, to_measure, sample = self._halves(bench)
        known = self._known(bench)
        cells = Cells.of_arrays(unbundled(bench.get("texts/cells")))
        cells = tune(cells, known.of(to_tune), self.recall, sample=sample, threshold=self.threshold)
        bench.put("texts/tuned", bundle(cells.arrays()))
        measured = known.of(to_measure)
        bench.put("texts/measured", as_table(sampled=measured.sampled, other=measured.other))
        return {"cells": len(cells), "margin": round(cells.margin, 6)}

    def _assign(self, shard: int, bench: Bench) -> dict[str, Any]:
        """This shard's texts in the order of their cells, and who visits which."""
        cells = Cells.of_arrays(unbundled(bench.get("texts/tuned")))
        numbers, vectors = self._own(shard, bench)
        home, visits = cells.assign(vectors)
        order, starts = cells_.by_cell(home, len(cells))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        visitors, first = cells_.visitors_by_cell(visits, len(cells))
        bench.put(f"texts/home-{shard}", as_table(number=numbers[order], vector=vectors[order]))
        bench.put(f"texts/visit-{shard}", as_table(place=place[visitors]))
        bench.put(f"texts/starts-{shard}", as_table(home=starts, visit=first))
        return {"visits": len(visitors)}

    def _groups(self, _: int, bench: Bench) -> dict[str, Any]:
        sizes: Any = 0
        for shard in range(bench.shards):
            starts = bench.get(f"texts/starts-{shard}")
            sizes = sizes + np.diff(values(starts, "home")) + np.diff(values(starts, "visit"))
        told = bench.results["texts.number"][0]
        return {"groups": choose.groups(sizes.astype(np.int64), told["dimensions"], self.memory_gb / 2)}

    # -- searching ---------------------------------------------------------------------------------------------

    def _search(self, task: int, bench: Bench) -> dict[str, Any]:
        """Near pairs of one strip of texts, or of one group of cells."""
        told, filter_ = bench.results["texts.number"][0], to_sketch(bench.get("texts/filter"))
        if told["method"] == "exact":
            vectors, numbers = matrix(bench.get("texts/all")), np.arange(told["rows"])
            found = exact.strip(vectors, numbers, exact.strips(told["rows"])[task], self.threshold, filter_)
        else:
            found = self._group(bench.results["texts.groups"][0]["groups"][task], bench, filter_)
            exact_pairs = bench.get("texts/measured")
            found = _noted(found, exact_pairs, task, bench)
        pairs = thinned(_held(found, bench))
        bench.put(f"texts/pairs-{task}", as_table(better=pairs[:, 0], worse=pairs[:, 1]))
        return {"pairs": len(pairs)}

    def _group(self, group: tuple[int, int], bench: Bench, filter_: Sketch | None) -> Iterator[Found]:
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
            yield from within(sides[0], sides[1], sides[2], sides[3], self.threshold, filter_)

    def _lead(self, _: int, bench: Bench) -> dict[str, Any]:
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
            to_measure = self._halves(bench)[1]
            measured = measure(Neighbours(first, second, none, none), len(to_measure), noted.astype(np.int64))
            told |= asdict(measured)
        return told

    # -- what comes of it --------------------------------------------------------------------------------------

    def column(self, shard: int, bench: Bench) -> pa.Array:
        """``text_cluster`` of the shard's rows: a text without a vector leads itself."""
        keys = bench.read(shard, ["text_key"])["text_key"].combine_chunks().dictionary_encode()
        names = [text_id(key) for key in keys.dictionary.to_pylist()]
        if bench.results["texts.number"][0]["rows"] and names:
            table, leaders = bench.get("texts/ids"), values(bench.get("texts/leaders"), "leader")
            ids = values(table, "id")
            wanted = np.array([int(name or "0", 16) for name in names], np.uint64)
            at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
            led = ids[leaders[at].astype(np.int64)]
            names = [
                f"{int(leader):016x}" if known else name
                for name, leader, known in zip(names, led.tolist(), (ids[at] == wanted).tolist(), strict=True)
            ]
        return pa.array(names, pa.string()).take(keys.indices)

    def conclude(self, results: Results) -> dict[str, Any]:
        """Method, settings and measured recall."""
        told = dict(results["texts.number"][0])
        told |= {"threshold": self.threshold, "asked": self.recall}
        told |= results["texts.tune"][0] if results["texts.tune"] else {}
        return told | (results["texts.lead"][0] if results["texts.lead"] else {})

    def _own(self, shard: int, bench: Bench) -> tuple[Ints, Vectors]:
        """Numbers and vectors of the texts this shard owns."""
        own, table = bench.get(f"texts/own-{shard}"), bench.get(f"texts/keys-{shard}")
        rows, vectors = integers(own, "row"), matrix(table)
        return integers(own, "number"), vectors if len(rows) == len(vectors) else vectors[rows]


def text_number(key: str) -> int:
    """64 bits of a key's hash, the same as ``text_id`` names."""
    return int(text_id(key) or "0", 16)


@lru_cache(maxsize=4096)
def _hash(words: str) -> int:
    return int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "big")


def _space(key: str) -> int:
    """Texts can be near-same only in one language, with the same numbers, negations, persons and days."""
    words = turning(key)
    return _hash(key if words is None else "\n".join((key.split("|", 1)[0], *words)))


def _unit(column: pa.ChunkedArray) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """A list column as ``(rows, dimensions)`` of unit length, and which rows can be compared at all."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if not len(array):
        return np.zeros((0, 0), np.float32), np.zeros(0, bool)
    lengths = np.diff(array.offsets.to_numpy())
    if (lengths != lengths[0]).any():
        raise RunError("text embeddings of different lengths in one shard; run `embed` again")
    matrix = array.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(array), int(lengths[0]))
    norm = np.linalg.norm(matrix, axis=1, keepdims=True)
    usable = np.isfinite(norm[:, 0]) & (norm[:, 0] > 1e-6)
    return np.where(usable[:, None], matrix / np.where(usable[:, None], norm, 1), 0).astype(np.float32), usable


# --- Pairs --------------------------------------------------------------------------------------------------


def _held(found: Iterable[Found], bench: Bench) -> Ints:
    """Pairs that count, thinned whenever there are many."""
    kept, held = [np.zeros((0, 2), np.int64)], 0
    for piece in found:
        pairs = piece.pairs[_same_space(bench, piece.pairs)]
        kept.append(pairs)
        held += len(pairs)
        if held > _HELD:
            kept = [thinned(np.concatenate(kept))]
            held = 0
    return np.concatenate(kept)


def _same_space(bench: Bench, pairs: Ints) -> npt.NDArray[np.bool_]:
    spaces = values(bench.get("texts/ids"), "space")
    return np.asarray(spaces[pairs[:, 0]] == spaces[pairs[:, 1]])


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
