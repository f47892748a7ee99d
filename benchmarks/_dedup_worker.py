"""One measurement of ``dedup.py`` in a process of its own: seconds, processor seconds, peak memory, who goes.

    python _dedup_worker.py ours|exact|semhash VECTORS ROWS RECALL OUT

Prints one line of JSON and writes to OUT, per row, the row it goes for, or -1 where it stays (semhash does not say for
which one goes: 0). ``semhash`` runs in the peers' environment, so nothing of
datagen is imported before it is needed.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _dedup_vectors import DIMENSIONS, THRESHOLD


def ours(vectors: np.ndarray, recall: float) -> tuple[np.ndarray, dict[str, Any]]:
    return searched(vectors, recall=recall, scratch=Path(sys.argv[5]).parent, exact_rows=0)


def exact(vectors: np.ndarray, _: float) -> tuple[np.ndarray, dict[str, Any]]:
    return searched(vectors, recall=1.0)


def searched(vectors: np.ndarray, **settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
    from datagen.neighbours.keep import keep_first
    from datagen.neighbours.pairs import near_pairs

    found = near_pairs(vectors, threshold=THRESHOLD, workers=2, **settings)
    dup_of = keep_first(np.arange(len(vectors)), found.pairs)
    both_stay = int(np.count_nonzero((dup_of[found.pairs] < 0).all(axis=1)))
    return dup_of, {**found.measured, "pairs_found": len(found.pairs), "both_stay": both_stay}


def semhash(vectors: np.ndarray, _: float) -> tuple[np.ndarray, dict[str, Any]]:
    from semhash import SemHash

    class NoModel:
        """Vectors are given; nothing is ever encoded."""

        def encode(self, *_: Any, **__: Any) -> np.ndarray:
            raise RuntimeError("no text was to be encoded")

    records = [str(row) for row in range(len(vectors))]
    hashed = SemHash.from_embeddings(vectors, records=records, model=NoModel())
    result = hashed.self_deduplicate(threshold=THRESHOLD)
    dup_of = np.zeros(len(vectors), np.int64)
    dup_of[np.array([int(record) for record in result.selected])] = -1
    return dup_of, {}


def main() -> None:
    kind, path, rows, recall, out = sys.argv[1:6]
    vectors = np.memmap(path, np.float32, "r", shape=(int(rows), DIMENSIONS))
    if kind == "semhash":
        vectors = np.array(vectors)  # it takes an array in memory; loading is not in its time
    started, spent = time.perf_counter(), time.process_time()
    dup_of, told = {"ours": ours, "exact": exact, "semhash": semhash}[kind](vectors, float(recall))
    told |= {"seconds": time.perf_counter() - started, "cpu": time.process_time() - spent}
    told["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    np.save(out, dup_of)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
