"""Choosing what is rich and balanced: gates, richness, strata and limits put together. Pure, and free of row order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from datagen.stages.select_config import SelectConfig

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Fate of every row of ``clips``."""

    reason: pa.StringArray  #: null = stays (or was not among ``rows``), else "gate:<column>" or "select:<limit>"
    stratum: pa.StringArray  #: of every row, never null
    weight: Floats  #: sampling weight, mean 1 over the selected; NaN elsewhere
    richness: Floats  #: of every row, 0..1; NaN = nothing measured
    parts: dict[str, Floats]  #: of ``richness``, by name
    #: gate -> clips it removes ``alone``, ``removed`` in sequence, ``missing`` (not measured)
    gates: dict[str, dict[str, int]] = field(default_factory=dict)
    #: what could not be had: kind, stratum (or relation, or None), wanted, has
    shortfalls: list[dict[str, Any]] = field(default_factory=list)
    solved: dict[str, Any] = field(default_factory=dict)  #: figures of the solution


def columns(config: SelectConfig) -> tuple[str, ...]:
    """Columns of ``clips`` that ``select`` looks at (those that are absent count as null throughout)."""
    raise NotImplementedError


def select(
    clips: pa.Table,
    rows: Ints,
    contrast: Ints,
    config: SelectConfig,
    *,
    kept_before: Bools,
    seen_before: Bools,
    seed: int,
) -> Selection:
    """Choose among ``rows``.

    Args:
        clips: all clips; see ``columns``, and ``cue_relation`` where it is known.
        rows: those to choose from (what dedup left).
        contrast: per row of ``clips`` a number of its contrast group, any but the same within a group; -1 = none.
        kept_before, seen_before: per row of ``clips``; what was kept before is held against the gates only.
    """
    raise NotImplementedError
