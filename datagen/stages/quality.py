"""quality: the finished samples looked at together. Nothing is asked and nothing judged anew; figures and gates.

Writes how many other clips are asked nearly the same (``question_repeats``), and the artifact that becomes the
dataset's ``quality.json`` (``quality/run_quality.py``).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from datagen import tables
from datagen.quality import question_likeness, run_quality
from datagen.quality.run_gates import Gates
from datagen.stage import Forecast, Kind, Output, Stage, StageConfig

#: Measured by ``benchmarks/quality.py``: processor time, and memory with the rows themselves.
SECONDS_PER_MILLION = 40.0
BYTES_PER_SAMPLE = 8_000
SAMPLES_PER_CLIP = 10  # of the usual counts


class QualityConfig(StageConfig):
    gates: Gates = Gates()
    most_repeats: int | None = Field(
        None, ge=0, description="samples whose question more other clips are asked are dropped; None = none are"
    )


class Quality(Stage):
    name, version, table, kind = "quality", "1", "samples", Kind.BARRIER
    Config = QualityConfig
    reads = run_quality.REQUIRED
    optional_reads = run_quality.OPTIONAL
    writes = tables.QUALITY

    def forecast(self, clips: int, audio_s: float, workers: int) -> Forecast:
        samples = clips * SAMPLES_PER_CLIP
        seconds, memory = samples * SECONDS_PER_MILLION / 1e6, samples * BYTES_PER_SAMPLE / 1e9
        return Forecast(seconds, memory, how="one process, columns in memory")

    def process(self, batch: pa.Table) -> Output:
        repeats = pa.array(question_likeness.repeats(batch["question"], batch["clip_id"]), pa.int64())
        dropped = None
        if self.config.most_repeats is not None:
            often = pc.greater(repeats, self.config.most_repeats)
            dropped = pc.if_else(often, "question asked too often", pa.scalar(None, pa.string()))
        stays = batch if dropped is None else batch.filter(pc.is_null(dropped))
        kept = repeats if dropped is None else repeats.filter(pc.is_null(dropped))
        artifact = run_quality.summary(stays, kept, self.config.gates)
        columns = pa.table({"question_repeats": repeats}, schema=self.writes)
        return Output(columns, dropped=dropped, artifact=artifact)
