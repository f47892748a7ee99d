"""How much a clip's voice tells: intensity, deviation from the speaker's baseline, pitch range, word-voice conflict."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from datagen.stage import StageConfig

Floats = npt.NDArray[np.float64]

PARTS = ("intensity", "deviation", "range", "conflict")


class Weights(StageConfig):
    """What each part counts in the mean; 0 leaves it out."""

    intensity: float = Field(1.0, ge=0)
    deviation: float = Field(1.0, ge=0)
    range: float = Field(0.5, ge=0)
    conflict: float = Field(1.0, ge=0)


def richness(clips: pa.Table, weights: Weights | None = None) -> tuple[Floats, dict[str, Floats]]:
    """Richness per row, 0..1, and its ``PARTS``; NaN where nothing was measured. Rounded to 6 decimals."""
    raise NotImplementedError
