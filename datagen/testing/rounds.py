"""Work through a ``Rounds`` barrier in this process, over tables instead of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.rounds import Results, Rounds
from datagen.stage import Output
from datagen.tables import ID


class TableBench:
    """A bench over one table per shard. What is ``put`` lies in a folder, uncompressed, and is mapped by ``get``."""

    def __init__(self, stage: Rounds, tables: Sequence[pa.Table], folder: Path) -> None:
        self.stage, self.tables, self.folder = stage, tables, folder
        self.shards = len(tables)
        self.results: Results = {}

    def read(self, shard: int, columns: Sequence[str] = ()) -> pa.Table:
        known = {*self.stage.reads, *self.stage.optional_reads}
        if strange := set(columns) - known:
            raise LookupError(f"stage {self.stage.name} does not declare that it reads {', '.join(sorted(strange))}")
        return self.tables[shard].select([ID[self.stage.table], *columns])

    def put(self, name: str, table: pa.Table) -> None:
        path = self.folder / f"{name}.arrow"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    def get(self, name: str) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self.folder / f"{name}.arrow"))).read_all()


def worked(stage: Rounds, tables: Sequence[pa.Table]) -> tuple[list[Output], dict[str, Any] | None]:
    """All rounds one task after the other; what ``finish`` makes of each shard, and the artifact."""
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = TableBench(stage, tables, Path(folder))
        for name in stage.rounds:
            bench.results = dict(results)
            results[name] = [stage.work(name, task, bench) for task in range(stage.tasks(name, len(tables), results))]
        bench.results = results
        return [stage.finish(shard, bench) for shard in range(len(tables))], stage.conclude(results)
