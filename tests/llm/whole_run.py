"""A run of shipped clips up to where a language model comes in, made once; copies of it go on from there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.config import Recipe, load
from datagen.resources import folder
from datagen.run import Options, Workspace, execute, open_run
from datagen.status import stage_counts

CLIPS = folder("examples") / "clips"
#: One sentence said in eight ways, another speaker's readings, and one whose words nobody gave.
TAKEN = ("thorsten/emotional_", "thorsten/neutral_", "librispeech/1272", "librispeech/3080")
#: Small shards, so that there are several.
SETS = ("shards.rows=5", "executor.kind=local", "stages.write.candidates=2", "stages.write.withheld_share=0.5")


def recipe(source: Path, *sets: str, name: str = "full") -> Recipe:
    return load(name, profile="embedded", sets=[*SETS, *sets], overrides={"stages.ingest.input": str(source)})


def prepare(into: Path, *sets: str, name: str = "full") -> Path:
    """A run directory in ``into`` in which everything before the language model is done."""
    source = into / "clips"
    source.mkdir()
    lines = (CLIPS / "metadata.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["file_name"].startswith(TAKEN)]
    for row in rows:
        target = source / row["file_name"]
        target.parent.mkdir(exist_ok=True)
        shutil.copy(CLIPS / row["file_name"], target)
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    execute(
        recipe(source, *sets, name=name), str(into / "run"), Options(until="split", progress="none"), say=lambda _: None
    )
    return into / "run"


def go_on(prepared: Path, copy: Path, *sets: str, until: str | None = None, name: str = "full") -> Workspace:
    """Copy a prepared run and finish it; a copy that is there already is gone on with."""
    if not copy.exists():
        shutil.copytree(prepared, copy)
    source = prepared.parent / "clips"
    execute(recipe(source, *sets, name=name), str(copy), Options(until=until, progress="none"), say=lambda _: None)
    return open_run(str(copy))


def samples(space: Workspace, without: tuple[str, ...] = ()) -> pa.Table:
    """The published samples, all tasks."""
    import pyarrow.parquet as pq

    found = [
        pq.read_table(path).drop_columns(["audio"])
        for path in sorted(Path(space.dataset()).rglob("*.parquet"))
        if path.parent.name != "clips"
    ]
    table = pa.concat_tables(found, promote_options="permissive")
    return table.drop_columns([name for name in without if name in table.column_names])


def conserved(space: Workspace) -> Mapping[str, Any]:
    """Counts per stage, conservation proven."""
    counts = stage_counts(space.plan, space.store, verify=True)
    assert [problem for count in counts for problem in count.problems] == []
    return {count.stage: count for count in counts}


def journalled(run: Path) -> Iterator[str]:
    """Keys of all finished calls, one per record."""
    for segment in sorted((run / "llm" / "journal").rglob("*.jsonl")):
        for line in segment.read_text("utf-8").splitlines():
            yield json.loads(line)["key"]
