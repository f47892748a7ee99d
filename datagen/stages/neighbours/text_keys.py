"""Every distinct text once: its number, its vector, and which shard owns it; cells fitted to a sample of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.errors import RunError
from datagen.neighbours import cells as cells_
from datagen.neighbours import choose, sketch
from datagen.neighbours.arrays import Ints, Vectors, chosen
from datagen.neighbours.recall import halves
from datagen.neighbours.tables import as_table, bundle, integers, matrix, of_sketch, unit_rows, values
from datagen.quality.texts import text_number
from datagen.quality.turning import turning
from datagen.rounds import Bench

_FILTER_SAMPLE = 4096


@dataclass(frozen=True)
class Near:
    """Settings of the search; see ``stage.py``."""

    threshold: float
    recall: float
    exact_rows: int
    memory_gb: float
    seed: int


def keys(shard: int, bench: Bench) -> dict[str, Any]:
    """The shard's distinct texts that have a vector."""
    rows = bench.read(shard, ["text_key", "text_embedding"])
    rows = rows.filter(pc.and_(rows["text_key"].is_valid(), rows["text_embedding"].is_valid()))
    keys = rows["text_key"].combine_chunks().dictionary_encode()
    _, first = np.unique(keys.indices.to_numpy(), return_index=True)
    distinct = keys.dictionary.to_pylist()  # in the order of ``first``
    ids = np.array([text_number(key) for key in distinct], np.uint64)
    if pc.count_distinct(pc.list_value_length(rows["text_embedding"])).as_py() > 1:
        raise RunError("text embeddings of different lengths in one shard; run `embed` again")
    vectors, usable = unit_rows(rows["text_embedding"].take(pa.array(first)))
    order = np.argsort(ids, kind="stable")
    order = order[usable[order]]
    spaces = np.array([_space(key) for key in distinct], np.uint64)
    bench.put(f"texts/keys-{shard}", as_table(id=ids[order], space=spaces[order], vector=vectors[order]))
    return {"texts": len(order), "dimensions": vectors.shape[1] if len(order) else 0}


def number(near: Near, bench: Bench) -> dict[str, Any]:
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
    owner, row = home[first], row[first]
    for shard, mine in _by_shard(owner, len(every)):
        bench.put(f"texts/own-{shard}", as_table(number=mine, row=row[mine]))
    rows, numbers = len(unique), np.arange(len(unique))
    told: dict[str, Any] = {"rows": rows, "method": choose.method(rows, near.recall, near.exact_rows)}
    if not rows:
        return told
    (told["dimensions"],) = dimensions

    def vectors_of(places: Ints) -> Vectors:
        found = np.empty((len(places), told["dimensions"]), np.float32)
        for shard, mine in _by_shard(owner[places], len(every)):
            if len(mine):
                found[mine] = matrix(every[shard])[row[places[mine]]]
        return found

    if told["method"] == "exact":
        everything = vectors_of(numbers)
        sample = everything[chosen(numbers, _FILTER_SAMPLE, near.seed)]
        bench.put("texts/filter", of_sketch(sketch.best(sample, np.zeros(len(sample), np.int64), near.threshold)))
        bench.put("texts/all", as_table(vector=everything))
        return told
    count = choose.cell_count(rows)
    sample = vectors_of(chosen(numbers, count * cells_.SAMPLE_PER_CELL, near.seed))
    cells = cells_.fit(sample, rows, seed=near.seed, count=count)
    bench.put("texts/cells", bundle(cells.arrays()))
    groups = cells.assign(sample)[0].astype(np.int64)
    bench.put("texts/filter", of_sketch(sketch.best(sample, groups, near.threshold)))
    to_tune, to_measure = halves(numbers, min(choose.SAMPLED_ROWS, rows // 2), near.seed)
    both = np.concatenate([to_tune, to_measure])
    sampled = vectors_of(both)
    few = sampled[:_FILTER_SAMPLE]
    bench.put("texts/everyone", of_sketch(sketch.best(few, np.zeros(len(few), np.int64), near.threshold)))
    bench.put("texts/sampled", as_table(number=both, vector=sampled))
    return told | {"tuned_on": len(to_tune)}


def _by_shard(owner: Ints, shards: int) -> Iterator[tuple[int, Ints]]:
    """Each shard, and the places where it is the owner, in order."""
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(shards + 1))
    for shard in range(shards):
        yield shard, order[bounds[shard] : bounds[shard + 1]]


def own(shard: int, bench: Bench) -> tuple[Ints, Vectors]:
    """Numbers and vectors of the texts this shard owns."""
    own, table = bench.get(f"texts/own-{shard}"), bench.get(f"texts/keys-{shard}")
    rows, vectors = integers(own, "row"), matrix(table)
    return integers(own, "number"), vectors if len(rows) == len(vectors) else vectors[rows]


def _space(key: str) -> int:
    """Texts can be near-same only in one language, with the same numbers, negations, persons and days."""
    words = turning(key)
    return text_number(key if words is None else "\n".join((key.split("|", 1)[0], *words)))
