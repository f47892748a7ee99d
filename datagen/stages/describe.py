"""Measured numbers to ranks and words, by the frozen artifact of ``calibrate``; arousal from its cues.

A pure function of the row and the artifact: a clip is described alike alone and among thousands. So ``sex_heard`` lies
here as well: one speaker is not a woman in this clip and a man in the next.
"""

from __future__ import annotations

from typing import Any, Self

import pyarrow as pa
from pydantic import Field, model_validator

from datagen import tables
from datagen.speech import arousal, calibration
from datagen.stage import Kind, Output, Stage, StageConfig


class DescribeConfig(StageConfig):
    low: float = Field(0.3, gt=0, lt=1, description="at or below this rank a value is called low")
    high: float = Field(0.7, gt=0, lt=1, description="at or above this rank a value is called high")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self


class Describe(Stage):
    name = "describe"
    version = "2"
    table = "clips"
    kind = Kind.MAP
    Config = DescribeConfig
    reads = calibration.GIVEN
    optional_reads = calibration.MEASURED
    reads_artifacts = ("calibrate",)
    writes = tables.DESCRIBE

    def semantics(self) -> dict[str, Any]:
        return {"arousal": arousal.REVISION, "dead_zones": calibration.DEAD_ZONES}

    def process(self, batch: pa.Table) -> Output:
        columns = calibration.apply(batch, self.artifacts["calibrate"], self.config.low, self.config.high)
        return Output(tables.cast(pa.table(columns, schema=tables.DESCRIBE), tables.DESCRIBE))
