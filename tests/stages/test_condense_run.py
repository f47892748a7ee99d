"""A whole run of condensation: the same decisions however the corpus is cut into shards."""

import json
import shutil
from pathlib import Path

from datagen import config, tables
from datagen.run import Options, execute
from datagen.testing import speech

COLUMNS = [*tables.NEIGHBOURS.names, *tables.CONDENSE.names]


def condensed(source, to, rows):
    settings = [f"shards.rows={rows}", "executor.kind=local", "stages.condense.select.min_per_stratum=1",
                "stages.condense.select.max_over_median=1"]  # fmt: skip
    recipe = config.load("cpqa", profile="offline", sets=settings, overrides={"stages.ingest.input": str(source)})
    space, _ = execute(recipe, str(to), Options(until="condense", progress="none"), print)
    found = {}
    for shard in space.plan.shards:
        table = space.store.read(space.plan.table_plan("clips", shard, COLUMNS, live=False))
        for row in table.to_pylist():
            found[row.pop("clip_id")] = row
    return found, len(space.plan.shards)


def test_shards_change_nothing(tmp_path):
    speech.corpus(tmp_path / "in", speakers=2, emotions=("angry", "neutral", "sad"), sentences=2)
    metadata = tmp_path / "in" / "metadata.jsonl"
    lines = metadata.read_text().splitlines()
    name = json.loads(lines[0])["file_name"]
    shutil.copy(tmp_path / "in" / name, tmp_path / "in" / f"again{Path(name).suffix}")
    copy = json.loads(lines[0]) | {"file_name": f"again{Path(name).suffix}", "emotion": None}
    metadata.write_text("\n".join([*lines, json.dumps(copy)]))
    whole, one = condensed(tmp_path / "in", tmp_path / "whole", 1000)
    parts, many = condensed(tmp_path / "in", tmp_path / "parts", 3)
    assert one == 1 and many >= 4
    assert parts == whole
    reasons = [row["drop_reason"] for row in whole.values()]
    assert reasons.count("duplicate:content") == 1
    assert "select:neutral_share" in reasons
    assert any(row["contrast_group_id"] for row in whole.values())
