"""Choosing what is rich and balanced: gates, richness, strata and limits put together. Pure, and free of row order.

Gates take what is too poor; of the rest, limits leave the richest and most even set there is (``limits.py``).

A set that satisfies its limits is left as it is, so selecting from a selected set drops nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality import gates as quality_gates
from datagen.quality.balance import stratify, weights
from datagen.quality.contrast import ASPECTS
from datagen.quality.cues import CUE_RELATIONS
from datagen.quality.limits import (
    CAP,
    NEUTRAL,
    NEUTRAL_EMOTION,
    NO_LABEL,
    RELATION,
    TARGET,
    UNKNOWN_RELATION,
    Limits,
)
from datagen.quality.richness import COLUMNS, richness
from datagen.quality.select_config import SelectConfig

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
    own = ("clip_id", "duration", "emotion", *ASPECTS, *(("corpus",) if config.exempt else ()))
    return tuple(dict.fromkeys((*own, *COLUMNS, *quality_gates.columns(config.gates), *config.strata)))


def left_whole(clips: pa.Table, config: SelectConfig) -> Bools:
    """Per row whether it is of an exempt corpus."""
    if not config.exempt:
        return np.zeros(clips.num_rows, bool)
    return np.asarray(pc.is_in(clips["corpus"], pa.array(config.exempt, pa.string())).to_numpy(), bool)


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
        kept_before, seen_before: per row of ``clips``. What was kept before is held against the gates only (a clip
            fails one only if it was measured anew); the limits do not take it back.

    Figures and limits are about what is offered: clips of exempt corpora stay whatever they are, and count for nothing.

    Raises:
        RunError: a neutral share is asked for, but no clip has another emotion.
    """
    exempt = left_whole(clips, config)[rows]
    untouched, rows = rows[exempt], rows[~exempt]
    gated = quality_gates.pass_gates(clips, rows, config.gates)
    rich, parts = richness(clips, config.richness)
    strata = stratify(clips, config.strata)
    reasons = [*(quality_gates.GATE + name for name in gated.names), CAP, NEUTRAL, RELATION, TARGET]
    fate = np.full(clips.num_rows, -1, np.int64)
    fate[rows] = gated.code
    limits = Limits(clips, rows[gated.code < 0], contrast, strata, rich, config, kept_before, seed)
    gone = limits.leave_out()
    for name, left_out in gone.items():
        fate[left_out] = reasons.index(name)
    stay = rows[fate[rows] < 0]
    weight = np.full(clips.num_rows, np.nan)
    drawn = np.union1d(stay, untouched)
    weight[drawn] = weights(strata.code[drawn], config.weight_power)
    solved = {
        "clips": len(rows),
        "passed_gates": int((gated.code < 0).sum()),
        "selected": len(stay),
        "selected_hours": round(int(limits.ms[stay].sum()) / 3_600_000, 6),
        "kept_before": int(kept_before[stay].sum()),
        "returned": int((seen_before & ~kept_before)[stay].sum()),  # left out before, and there is room for it now
        "strata": len(np.unique(strata.code[stay])),
        "mean_richness": _mean(rich[stay]),
        "mean_richness_before": _mean(rich[rows]),
        "neutral_share": _neutral_share(limits, stay),
        "cue_relation": _relation_shares(limits, stay),
    }
    shortfalls = _shortfalls(limits, stay, enough=len(gone[TARGET]) > 0)
    names = _words(fate, reasons), _words(strata.code, strata.names)
    return Selection(*names, weight, rich, parts, gated.counts, shortfalls, solved)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    # Added up as integers: the sum does not depend on the order of the rows.
    return round(int(np.rint(known * 1e6).astype(np.int64).sum()) / len(known) / 1e6, 6) if len(known) else None


def _words(code: Ints, names: list[str]) -> pa.StringArray:
    index = pa.array(code, pa.int32(), mask=code < 0)
    return pa.DictionaryArray.from_arrays(index, pa.array(names, pa.string())).cast(pa.string())


def _neutral_share(limits: Limits, rows: Ints) -> float | None:
    kind = limits.emotion[rows]
    labelled = int((kind != NO_LABEL).sum())
    return round(int((kind == NEUTRAL_EMOTION).sum()) / labelled, 6) if labelled else None


def _relation_shares(limits: Limits, rows: Ints) -> dict[str, float]:
    count = np.bincount(limits.relation[rows], minlength=UNKNOWN_RELATION + 1)[:UNKNOWN_RELATION]
    total = int(count.sum())
    return {n: round(int(c) / total, 6) for n, c in zip(CUE_RELATIONS, count, strict=True)} if total else {}


def _shortfalls(limits: Limits, stay: Ints, *, enough: bool) -> list[dict[str, Any]]:
    """What the limits asked for and did not get, the strata in the order of their names.

    Args:
        enough: whether there was more than the target could take.
    """
    config, found = limits.config, []

    def lacks(kind: str, about: str | None, wanted: float, has: float) -> None:
        found.append({"kind": kind, "stratum": about, "wanted": wanted, "has": has})

    hours = round(int(limits.ms[stay].sum()) / 3_600_000, 6)
    for kind, wanted, has in (("clips", config.target_clips, len(stay)), ("hours", config.target_hours, hours)):
        if wanted is not None and (has > wanted + 1e-6 or (has < wanted - 1e-6 and not enough)):
            lacks(f"target_{kind}", None, wanted, has)
    share = _neutral_share(limits, stay)
    if config.max_neutral_share is not None and share is not None and share > config.max_neutral_share + 1e-6:
        lacks("max_neutral_share", None, config.max_neutral_share, share)
    shares = _relation_shares(limits, stay)
    known = int((limits.relation[stay] < UNKNOWN_RELATION).sum())
    clip = 1 / known if known else 0.0  # shares cannot be met more exactly than this
    for name, bounds in config.cue_relation.shares.items():
        if bounds.min is not None and shares.get(name, 0.0) < bounds.min - clip:
            lacks("cue_relation.min", name, bounds.min, shares.get(name, 0.0))
        if bounds.max is not None and shares.get(name, 0.0) > bounds.max + clip:
            lacks("cue_relation.max", name, bounds.max, shares[name])
    if config.min_per_stratum is not None:
        count = np.bincount(limits.strata.code[stay], minlength=len(limits.strata.names))
        for code in np.flatnonzero(count < config.min_per_stratum).tolist():
            lacks("min_per_stratum", limits.strata.names[code], config.min_per_stratum, int(count[code]))
    return found
