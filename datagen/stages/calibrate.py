"""Fit once per run what "high" and "low" mean here: distributions, speaker baselines, weights of the arousal cues.

The artifact is frozen: later clips are described with it until somebody asks for a refit, so that a word keeps its
meaning while a corpus grows. ``drift`` says when that stops being wise. See ``datagen/speech/calibration/``.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datagen.speech import calibration
from datagen.stage import Kind, Output, Stage


class Calibrate(Stage):
    name = "calibrate"
    version = "1"
    table = "clips"
    kind = Kind.BARRIER
    Config = calibration.Settings
    reads = calibration.GIVEN
    optional_reads = (*calibration.MEASURED, *calibration.LABELS)
    frozen = True

    def semantics(self) -> dict[str, Any]:
        return {"artifact": calibration.VERSION}

    def process(self, batch: pa.Table) -> Output:
        return Output(artifact=calibration.fit(batch, self.config))
