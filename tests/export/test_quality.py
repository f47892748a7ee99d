"""What the stage ``quality`` found stands on the card, and all of it in quality.json."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from datagen import tables
from datagen.export.card.quality import figures, quality
from datagen.quality.run_gates import Gates
from datagen.quality.run_quality import OPTIONAL, REQUIRED, summary
from datagen.stages.export import Export, ExportConfig
from datagen.testing.runs import MemoryRun, memory_run


def judged(**gates: float | None) -> MemoryRun:
    """A run with the artifact that the stage would have left."""
    run = memory_run(clips=24, shards=2)
    rows = pa.concat_tables([run.read("samples", shard, [*REQUIRED, *OPTIONAL]) for shard in run.shards])
    run.artifacts = {"quality": summary(rows, pa.nulls(rows.num_rows, pa.int64()).fill_null(0), Gates(**gates))}
    return run


def test_every_gate_is_on_the_card_once() -> None:
    run = judged(neutral_share=0.1, emotion_entropy=0.5)
    page = quality(run)
    for gate in run.artifacts["quality"]["gates"]:
        assert page.count(f"`{gate['name']}`") == 1, gate["name"]
    lines = page.splitlines()
    (failed,) = [number for number, line in enumerate(lines) if "| `neutral_share` |" in line]
    (passed,) = [number for number, line in enumerate(lines) if "| `emotion_entropy` |" in line]
    assert "**fail**" in lines[failed] and "`<= 0.1`" in lines[failed]
    assert "most neutral among labelled clips" in lines[failed]  # whoever publishes need not look it up
    assert lines[passed].endswith("| pass |")
    assert failed < passed  # what failed comes first
    assert "- `judge_score`: nothing was judged" in page


def test_no_gate_fails_is_said() -> None:
    lenient = dict.fromkeys(Gates.model_fields)
    assert "None of 0 gates fails." in quality(judged(**lenient))


def test_quality_json_lies_beside_the_card_with_what_was_refused(tmp_path: Path) -> None:
    run = judged()
    refused = {
        "id": "s1",
        "table": "samples",
        "stage": "verify",
        "error_class": "LabelLeak",
        "message": "m",
        "attempt": 1,
    }
    run.rejected = tables.from_rows([refused], tables.REJECTS)
    told = Export(ExportConfig()).write(run, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "quality.json").read_text("utf-8"))
    assert found == figures(run) == json.loads(json.dumps(figures(run)))
    assert found["rejects"]["verify"]["leak"]["samples"] == 1
    assert "quality.json" in told["files"]
    page = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "\n## Quality\n" in page and "(quality.json)" in page


def test_a_run_without_that_stage_has_neither(tmp_path: Path) -> None:
    run = memory_run(clips=6, shards=2)
    Export(ExportConfig()).write(run, tmp_path / "out")
    assert not (tmp_path / "out" / "quality.json").exists()
    assert "## Quality" not in (tmp_path / "out" / "README.md").read_text("utf-8")
