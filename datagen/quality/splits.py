"""Splits that share nobody: who belongs together, and which split a group goes to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.errors import RunError
from datagen.quality.components import joined_by
from datagen.quality.luck import luck

#: Split of corpora that must never be trained on: apart from ``test``, which is of the training corpora's kind.
HOLDOUT = "holdout"
_SHOWN = 10  # groups listed in an error

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_OFFICIAL = (
    (re.compile(r"(train|training)(\W|_|\d|$)"), "train"),
    (re.compile(r"(dev|devel|development|val|valid|validation)(\W|_|\d|$)"), "validation"),
    (re.compile(r"(test|testing|eval|evaluation)(\W|_|\d|$)"), "test"),
)


def official_split(name: str | None) -> str | None:
    """A corpus's own split name as ours: ``Development`` is validation, ``Test2`` is test; None stays None.

    Raises:
        RunError: a name of no known form.
    """
    if name is None:
        return None
    for pattern, split in _OFFICIAL:
        if pattern.match(name.strip().casefold()):
            return split
    raise RunError(
        f"the official split {name!r} is none of train, validation and test; set split.official: false to split anew, "
        "or rename it in the manifest"
    )


@dataclass(frozen=True)
class Groups:
    """Clips that must not be parted. ``label`` per row is an index into ``names``, ``sizes`` and ``rows``."""

    label: Ints
    names: list[str]  #: smallest name of a speaker, or else of a recording, in the group: what its luck hangs on
    sizes: Floats  #: seconds or clips
    rows: list[Ints]


def find_groups(clips: pa.Table, size: Floats, *, texts: bool) -> Groups:
    """Rows that share a speaker, a recording, a duplicate or (``texts``) the words are one group.

    An unknown speaker is nobody else's: such clips are held together by their recording only.

    Args:
        clips: columns clip_id, recording_id, speaker, dup_of, and text_cluster when ``texts``.
        size: of each row, what groups are measured in.
    """
    ids, recordings, speakers = (clips[name].to_pylist() for name in ("clip_id", "recording_id", "speaker"))
    # Every clip counts twice: under its own id and under that of its copy, tied together by its place.
    none, places = [None] * len(ids), [str(row) for row in range(len(ids))]
    links = [speakers + none, recordings + none, ids + clips["dup_of"].to_pylist(), places * 2]
    if texts:
        links.append(clips["text_cluster"].to_pylist() + none)
    root = joined_by(links)[: len(ids)]
    _, label = np.unique(root, return_inverse=True)
    count = int(label.max()) + 1 if len(label) else 0
    order = np.argsort(label, kind="stable")
    rows = np.split(order, np.searchsorted(label[order], np.arange(1, count))) if count else []
    names = []
    for inside in rows:
        known = [f"speaker {speakers[row]}" for row in inside.tolist() if speakers[row] is not None]
        names.append(min(known or [f"recording {recordings[row]}" for row in inside.tolist()]))
    return Groups(label, names, np.asarray(np.bincount(label, size, count), np.float64), rows)


def pinned(groups: Groups, wishes: Mapping[str, Sequence[str | None]], free: Sequence[int]) -> dict[int, str]:
    """Group -> the split its rows are bound to.

    Args:
        wishes: whose wish it is -> split per row; None = no wish.
        free: the groups to look at.

    Raises:
        RunError: one group is bound to two splits.
    """
    bound: dict[int, str] = {}
    for group in free:
        met: dict[str, str] = {}
        for why, wish in wishes.items():
            for row in groups.rows[group].tolist():
                if (split := wish[row]) is not None:
                    met.setdefault(split, why)
        if len(met) > 1:
            told = " and ".join(f"{split} ({why})" for split, why in sorted(met.items()))
            raise RunError(
                f"the group of {groups.names[group]} ({len(groups.rows[group])} clips that share speakers, recordings "
                f"or words) is bound to {told}, but may be in one split only. Leave out what joins the clips, split "
                "anew without the earlier assignment, or set split.official: false if the corpus parts its own speakers"
            )
        if met:
            bound[group] = next(iter(met))
    return bound


def assign(groups: Groups, fractions: Mapping[str, float], bound: Mapping[int, str], *, seed: int) -> list[str]:
    """A split for every group.

    Bound groups stay where they are. The others come in the order of their luck (a hash of seed and name) and fill
    the small splits while they fit; what does not fit goes to the largest split, so big groups are trained on. Then
    a small split takes the smallest groups left as long as that brings it nearer to its share, and an empty one takes
    one in any case.

    Raises:
        RunError: fewer groups than splits. The message lists the groups.
    """
    wanted = [name for name, share in fractions.items() if share > 0]
    main = max(wanted, key=lambda name: fractions[name])
    result = [bound.get(group, "") for group in range(len(groups.names))]
    free = [group for group, split in enumerate(result) if not split]
    counted = [group for group, split in enumerate(result) if split != HOLDOUT]
    total = float(groups.sizes[counted].sum())
    scale = total / sum(fractions[name] for name in wanted)
    filled = dict.fromkeys(wanted, 0.0)
    members = dict.fromkeys(wanted, 0)
    for group, split in bound.items():
        if split in filled:
            filled[split] += float(groups.sizes[group])
            members[split] += 1
    empty = [name for name in wanted if not members[name]]
    if len(free) < len(empty):
        raise RunError(_too_few(groups, counted, wanted, empty, len(free)))

    queue = sorted(free, key=lambda group: (luck(seed, groups.names[group]), groups.names[group]))
    left = len(queue)

    def give(group: int, split: str) -> None:
        nonlocal left
        result[group] = split
        filled[split] += float(groups.sizes[group])
        members[split] += 1
        left -= 1

    small = sorted((name for name in wanted if name != main), key=lambda name: (fractions[name], name))
    for name in small:
        for group in queue:
            if left <= _reserved(wanted, members, name):
                break
            if not result[group] and filled[name] + groups.sizes[group] <= fractions[name] * scale + 1e-9:
                give(group, name)
    by_size = sorted(queue, key=lambda group: (groups.sizes[group], luck(seed, groups.names[group])))
    for name in small:
        for group in by_size:
            missing = fractions[name] * scale - filled[name]
            if members[name] and (groups.sizes[group] > 2 * missing or left <= _reserved(wanted, members, name)):
                break
            if not result[group]:
                give(group, name)
    for group in queue:
        if not result[group]:
            give(group, main)
    return result


def unfillable(groups: Groups, fractions: Mapping[str, float], bound: Mapping[int, str]) -> list[str]:
    """Splits that ``assign`` has no group left for; the largest share is served first, then the last named."""
    wanted = [name for name, share in fractions.items() if share > 0]
    free = len(groups.names) - len(bound)
    empty = sorted(
        (name for name in wanted if name not in bound.values()),
        key=lambda name: (-fractions[name], -wanted.index(name)),
    )
    return sorted(empty[free:], key=wanted.index)


def _reserved(wanted: Sequence[str], members: Mapping[str, int], but: str) -> int:
    """How many groups have to be left over for splits that are still empty, besides ``but``."""
    return sum(1 for name in wanted if name != but and not members[name])


def _too_few(groups: Groups, counted: list[int], wanted: list[str], empty: list[str], free: int) -> str:
    largest = sorted(counted, key=lambda group: (-groups.sizes[group], groups.names[group]))[:_SHOWN]
    shown = "; ".join(f"{groups.names[g]}: {len(groups.rows[g])} clips, size {groups.sizes[g]:.1f}" for g in largest)
    more = f"; and {len(counted) - _SHOWN} more" if len(counted) > _SHOWN else ""
    return (
        f"cannot fill the splits {', '.join(wanted)}: {', '.join(empty)} would be empty, and only {free} groups of "
        f"clips are free to go there. Clips that share a speaker, a recording or (split.disjoint_texts) words must "
        f"stay together; the groups are: {shown or 'none'}{more}. Ask for fewer splits (split.fractions), switch "
        "disjoint_texts off, or add recordings of other speakers"
    )


def straddling(clips: pa.Table, splits: Sequence[str | None], column: str) -> list[str]:
    """Values of ``column`` that occur in two splits: empty when nothing leaks."""
    met: dict[str, set[str]] = {}
    for value, split in zip(clips[column].to_pylist(), splits, strict=True):
        if value is not None and split is not None:
            met.setdefault(value, set()).add(split)
    return sorted(value for value, found in met.items() if len(found) > 1)
