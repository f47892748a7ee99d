"""Near-same texts, by rounds: every distinct text once, gathered round leaders (``text_cluster``).

A text's number is the rank of its hash, so that nothing depends on rows or shards; of near texts the one with the
lower number leads. Small corpora are compared text by text with text; larger ones by cells (``neighbours/``), whose
recall is tuned on some texts and measured on others. Vectors never pass through the driver: each shard leaves its own
in a scratch table that later tasks map into memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.neighbours import exact
from datagen.neighbours.tables import values
from datagen.quality.texts import text_id
from datagen.rounds import Bench, Results
from datagen.stages.neighbours import text_cells, text_keys, text_pairs
from datagen.stages.neighbours.text_keys import Near


@dataclass(frozen=True)
class Texts:
    """See the module; what each round does is in ``text_keys.py``, ``text_cells.py`` and ``text_pairs.py``."""

    near: Near

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
        match name:
            case "texts.keys":
                return text_keys.keys(task, bench)
            case "texts.number":
                return text_keys.number(self.near, bench)
            case "texts.truth":
                return text_cells.truth(self.near, task, bench)
            case "texts.tune":
                return text_cells.tune(self.near, bench)
            case "texts.assign":
                return text_cells.assign(task, bench)
            case "texts.groups":
                return text_cells.groups(self.near, bench)
            case "texts.search":
                return text_pairs.search(self.near, task, bench)
            case "texts.lead":
                return text_pairs.lead(bench)
        raise ValueError(f"no round {name}")

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
        told |= {"threshold": self.near.threshold, "asked": self.near.recall}
        told |= results["texts.tune"][0] if results["texts.tune"] else {}
        return told | (results["texts.lead"][0] if results["texts.lead"] else {})
