"""verify: every sample is re-checked mechanically against the record of its clip. It never generates.

The checks are those of ``quality/checks.py``; the error class of a reject is that of its first finding, its message
holds all of them. A language without a lexicon is unchecked and is refused.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datagen import tables
from datagen.quality import checks, facts
from datagen.stage import Kind, Output, Reject, Stage, StageConfig

_MESSAGE = 1_000


class VerifyConfig(StageConfig):
    language: str = "en"  # the language the texts are written in


class Verify(Stage):
    name, version, table, kind = "verify", "2", "samples", Kind.MAP
    Config = VerifyConfig
    reads = (*(name for name in tables.SAMPLES.names if name != "sample_id"), *facts.REQUIRED_COLUMNS)
    optional_reads = facts.OPTIONAL_COLUMNS
    writes = tables.VERIFY
    batch_rows = 1 << 20  # the whole shard: the questions of one clip are compared with each other

    def semantics(self) -> dict[str, Any]:
        return checks.contents()

    def process(self, batch: pa.Table) -> Output:
        clips = batch.select(["clip_id", *facts.REQUIRED_COLUMNS, *facts.OPTIONAL_COLUMNS]).to_pylist()
        samples = batch.select(tables.SAMPLES.names).to_pylist()
        records: dict[str, facts.Record] = {}
        findings: list[list[checks.Finding]] = []
        for sample, clip in zip(samples, clips, strict=True):
            if clip["clip_id"] not in records:
                records[clip["clip_id"]] = facts.from_row(clip)
            findings.append(checks.check(sample, records[clip["clip_id"]], self.config.language))
        sound = [row for row, found in enumerate(findings) if not found]
        keys = [tuple(samples[row][name] for name in ("clip_id", "mode", "task", "question")) for row in sound]
        for again in checks.duplicates(keys):
            findings[sound[again]].append(checks.Finding(*checks.DUPLICATE, "the clip was asked this before"))
        run = [checks.applicable(sample["task"]) for sample in samples]
        columns = pa.table(
            {"checks_run": [ran for ran, _ in run], "checks_skipped": [skipped for _, skipped in run]},
            schema=tables.VERIFY,
        )
        rejects = [
            Reject(row, found[0].error_class, "; ".join(finding.message for finding in found)[:_MESSAGE])
            for row, found in enumerate(findings)
            if found
        ]
        return Output(columns, rejects)
