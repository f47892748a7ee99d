"""Selection by strata: caps, a limit on the neutral share, a size to reach; and the figures that say how balanced.

The choice among equals falls by a hash of the seed and the clip, so the order of rows, shards and workers cannot
matter, and a clip's luck does not change when others arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import floor

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.errors import RunError
from datagen.quality.components import number

CAP, NEUTRAL, TARGET = "select:cap", "select:neutral_share", "select:target"
UNKNOWN = "unknown"  #: what a null is called inside a stratum's name

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def strata(clips: pa.Table, columns: Sequence[str]) -> list[str]:
    """Name of each row's stratum: the columns' values joined by ``/``, e.g. ``angry/female/emodb/de``."""
    values = [clips[column].to_pylist() for column in columns]
    return ["/".join(UNKNOWN if value is None else str(value) for value in row) for row in zip(*values, strict=True)]


def luck(seed: int, name: str) -> int:
    """64 bits that depend on seed and name alone."""
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Limits:
    """What ``select`` has to keep to; None = no such limit."""

    max_per_stratum: int | None = None
    max_neutral_share: float | None = None  #: among clips with an emotion, 0..1
    target_clips: int | None = None
    target_seconds: float | None = None


def select(
    clips: pa.Table,
    stratum: Sequence[str],
    contrast: Sequence[str | None],
    rows: Ints,
    limits: Limits,
    *,
    kept_before: Bools,
    seed: int,
) -> dict[int, str]:
    """Row -> why it is not selected.

    Within a stratum those kept before come first, then members of contrast groups, group by group in the same order
    in every stratum (so that whole groups survive together), then the rest by luck. Targets are filled evenly: every
    stratum gives its first clip before any gives its second.

    Args:
        clips: columns clip_id, duration, emotion.
        stratum, contrast, kept_before: per row of ``clips``; what was kept before is never taken back.
        rows: those to choose from.

    Raises:
        RunError: a neutral share is asked for, but no clip has another emotion.
    """
    ids = clips["clip_id"].to_pylist()
    groups = [contrast[row] for row in rows.tolist()]
    order = np.lexsort(
        (
            np.argsort(np.argsort(np.array([ids[row] for row in rows.tolist()], object))),
            np.array([luck(seed, ids[row]) for row in rows.tolist()], np.uint64),
            np.array(
                [luck(seed, group or ids[row]) for group, row in zip(groups, rows.tolist(), strict=True)], np.uint64
            ),
            np.array([group is None for group in groups], bool),
            ~kept_before[rows],
        )
    )
    ranked = rows[order]
    label = number([stratum[row] for row in ranked.tolist()])
    neutral = np.array([value == "neutral" for value in clips["emotion"].to_pylist()], bool)
    labelled = ~clips["emotion"].is_null().to_numpy()
    seconds = np.nan_to_num(clips["duration"].to_numpy().astype(np.float64))
    fixed = kept_before[ranked]
    dropped: dict[int, str] = {}
    stays = np.ones(len(ranked), bool)
    if limits.max_per_stratum is not None:
        stays &= fixed | (_place(label, stays) < limits.max_per_stratum)
        dropped |= dict.fromkeys(ranked[~stays].tolist(), CAP)
    while True:  # each limit can unsettle the other; both only remove, so this ends
        before = stays.copy()
        turn = np.lexsort((np.arange(len(ranked)), _place(label, stays), ~fixed))
        if limits.max_neutral_share is not None:
            is_neutral = neutral[ranked] & stays
            others = int((labelled[ranked] & stays & ~is_neutral).sum())
            most = _most_neutral(limits.max_neutral_share, others, int(is_neutral.sum()))
            taken = np.cumsum(is_neutral[turn])
            out = turn[is_neutral[turn] & (taken > most) & ~fixed[turn]]
            stays[out] = False
            dropped |= dict.fromkeys(ranked[out].tolist(), NEUTRAL)
        for limit, size in ((limits.target_clips, np.ones(len(ids))), (limits.target_seconds, seconds)):
            if limit is not None:
                total = np.cumsum(size[ranked[turn]] * stays[turn])
                out = turn[(total > limit + 1e-9) & stays[turn] & ~fixed[turn]]
                stays[out] = False
                dropped |= dict.fromkeys(ranked[out].tolist(), TARGET)
        if np.array_equal(before, stays):
            return dropped


def _most_neutral(share: float, others: int, neutral: int) -> int:
    if share >= 1 or neutral == 0:
        return neutral
    if others == 0:
        raise RunError(
            f"select.max_neutral_share is {share:g}, but all {neutral} clips with an emotion are neutral: nothing "
            "could be kept. Leave the setting out, or add clips with other emotions"
        )
    return floor(share / (1 - share) * others + 1e-9)


def _place(label: Ints, stays: Bools) -> Ints:
    """Place of each row among the staying rows of its stratum, 0 first; rows come in rank order."""
    place = np.zeros(len(label), np.int64)
    staying = np.flatnonzero(stays)
    by_label = staying[np.argsort(label[staying], kind="stable")]
    sorted_labels = label[by_label]
    starts = np.flatnonzero(np.diff(sorted_labels, prepend=-1))
    place[by_label] = np.arange(len(by_label)) - np.repeat(starts, np.diff(np.append(starts, len(by_label))))
    return place


def weights(stratum: Sequence[str], power: float) -> npt.NDArray[np.float64]:
    """Sampling weights, mean 1: a stratum of n clips weighs n**(1 - power) in all.

    Power 1 draws all strata equally often, 0 leaves them as they are.
    """
    if not len(stratum):
        return np.zeros(0)
    _, label, count = np.unique(np.array(stratum, object), return_inverse=True, return_counts=True)
    raw = count[label].astype(np.float64) ** -power
    return np.asarray(np.round(raw / raw.mean(), 6))


def evenness(names: Sequence[str | None]) -> float | None:
    """Entropy of the names' shares over its maximum, 0..1: 1 = all equally frequent. None with fewer than two."""
    _, count = np.unique(np.array([name for name in names if name is not None], object), return_counts=True)
    if len(count) < 2:
        return None
    share = count / count.sum()
    return round(float(-(share * np.log(share)).sum() / np.log(len(count))), 6)


def neutral_share(emotions: Sequence[str | None]) -> float | None:
    """Share of neutral among labelled clips; None without labels."""
    labelled = [emotion for emotion in emotions if emotion is not None]
    return round(labelled.count("neutral") / len(labelled), 6) if labelled else None
