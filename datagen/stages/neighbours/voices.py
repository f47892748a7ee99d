"""Takes that sound alike to the emotion model, by rounds: one speaker, the same words, near embeddings.

The result only ever protects: ``dedup`` takes two clips for one take only if, besides all else, their embeddings lie
near the same leader. Takes are brought together by hash of speaker and text, bucket by bucket.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.neighbours.arrays import Ints, Vectors
from datagen.neighbours.keep import keep_first
from datagen.neighbours.search import inside
from datagen.neighbours.tables import as_table, matrix, unit_rows, values
from datagen.neighbours.thin import gathered
from datagen.quality.texts import text_number
from datagen.rounds import Bench, Results

READS = ("recording_id", "speaker", "emotion_embedding")


@dataclass(frozen=True)
class Voices:
    """``clusters``: text_cluster of a shard's rows, known by the time these rounds begin."""

    threshold: float
    memory_gb: float
    clusters: Callable[[int, Bench], pa.Array]

    rounds = ("voices.spread", "voices.lead")

    def tasks(self, name: str, shards: int, results: Results) -> int:
        return shards if name == "voices.spread" else self._buckets(results)

    def _buckets(self, results: Results) -> int:
        """As many that the takes of one fit into memory, twice."""
        told = results["voices.spread"]
        size = sum(found["takes"] * found["dimensions"] * 4 for found in told)
        return 1 + int(2 * size / (self.memory_gb * 1e9)) if size else 0

    def work(self, name: str, task: int, bench: Bench) -> dict[str, Any]:
        return self._spread(task, bench) if name == "voices.spread" else self._lead(task, bench)

    def _spread(self, shard: int, bench: Bench) -> dict[str, Any]:
        """The shard's takes with an embedding, in the order of their groups' hashes."""
        rows = bench.read(shard, READS).append_column("text_cluster", self.clusters(shard, bench))
        rows = rows.filter(pa.compute.and_(rows["emotion_embedding"].is_valid(), rows["text_cluster"].is_valid()))
        if not len(rows):
            return {"takes": 0, "dimensions": 0}
        vectors, _ = unit_rows(rows["emotion_embedding"])
        columns = (rows[name].to_pylist() for name in ("speaker", "recording_id", "text_cluster"))
        # An unknown speaker is one per recording, as in ``dedup``; a tab keeps the parts apart.
        groups = np.array(
            [
                text_number(f"{'s' if who else 'r'}\t{who or home}\t{text}")
                for who, home, text in zip(*columns, strict=True)
            ],
            np.uint64,
        )
        ids = rows["clip_id"].to_pylist()
        names = np.array([text_number(clip) for clip in ids], np.uint64)
        order = np.lexsort((names, groups))
        table = as_table(group=groups[order], name=names[order], vector=vectors[order])
        bench.put(f"voices/{shard}", table.append_column("clip_id", pa.array([ids[row] for row in order.tolist()])))
        return {"takes": len(rows), "dimensions": vectors.shape[1]}

    def _lead(self, bucket: int, bench: Bench) -> dict[str, Any]:
        """Leaders of the groups of one bucket: a range of hashes."""
        count = self._buckets(bench.results)
        low, high = (np.uint64(min(2**64 - 1, bound * 2**64 // count)) for bound in (bucket, bucket + 1))
        parts = []
        for shard, told in enumerate(bench.results["voices.spread"]):
            if told["takes"]:
                table = bench.get(f"voices/{shard}")
                groups = values(table, "group")
                end = len(groups) if bucket == count - 1 else int(np.searchsorted(groups, high))
                start = int(np.searchsorted(groups, low))
                parts.append(table.slice(start, end - start))
        takes = pa.concat_tables(parts)
        order = np.lexsort((values(takes, "name"), values(takes, "group")))
        takes = takes.take(pa.array(order))
        vectors, groups = matrix(takes), values(takes, "group")
        leader = np.arange(len(takes))
        bounds = [0, *(np.flatnonzero(groups[1:] != groups[:-1]) + 1).tolist(), len(groups)]
        for first, end in itertools.pairwise(bounds):
            if end - first > 1:
                leader[first:end] = first + _leaders(vectors[first:end], self.threshold)
        bench.put(f"voices/led-{bucket}", pa.table({"clip_id": takes["clip_id"],
                                                    "leader": takes["clip_id"].take(pa.array(leader))}))  # fmt: skip
        return {"takes": len(takes), "clusters": len(np.unique(leader))}

    def column(self, shard: int, bench: Bench) -> pa.Array:
        """``voice_cluster`` of the shard's rows."""
        ids = bench.read(shard)["clip_id"]
        led = [bench.get(f"voices/led-{bucket}") for bucket in range(len(bench.results["voices.lead"]))]
        if not led:
            return pa.nulls(len(ids), pa.string())
        leaders = pa.concat_tables(led)
        return _one(leaders["leader"].take(pa.compute.index_in(ids, leaders["clip_id"].combine_chunks())))

    def conclude(self, results: Results) -> dict[str, Any]:
        led = results["voices.lead"]
        return {
            "threshold": self.threshold,
            "takes": sum(found["takes"] for found in led),
            "clusters": sum(found["clusters"] for found in led),
        }


def _leaders(vectors: Vectors, threshold: float) -> Ints:
    """Place of each take's leader; takes come in the order of preference."""
    pairs = gathered(piece.pairs for piece in inside(vectors, np.arange(len(vectors)), threshold))
    leader = keep_first(np.arange(len(vectors)), pairs)
    return np.where(leader < 0, np.arange(len(vectors)), leader)


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
