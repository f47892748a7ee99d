"""Contrast groups: the same words said in at least two ways. They teach that words alone do not tell (law 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: What may differ, the most telling first; the first that differs names the group's type.
ASPECTS = {"emotion": "emotion", "style": "style", "arousal_level": "arousal"}


def cluster_id(name: str | None) -> str | None:
    """Stable id of a text cluster: from its words, not from rows or their order."""
    return None if name is None else blake2b(name.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Contrast:
    """Per row; None outside a contrast group."""

    group: list[str | None]
    type: list[str | None]
    emotions: list[list[str] | None]


def contrast_groups(
    clips: pa.Table, clusters: Sequence[str | None], rows: npt.NDArray[np.int64] | Sequence[int]
) -> Contrast:
    """Find the groups among the given rows.

    A null (not labelled, not measured) differs from nothing. The type is ``same_speaker:<aspect>`` when one speaker
    says the words in two ways, else ``different_speakers:<aspect>``; aspects in the order of ``ASPECTS``.

    Args:
        clips: columns speaker, emotion, style, arousal_level.
        clusters: id of the text cluster per row of ``clips``.
        rows: which rows take part.
    """
    values = {aspect: clips[aspect].to_pylist() for aspect in ASPECTS}
    speakers = clips["speaker"].to_pylist()
    members: dict[str, list[int]] = {}
    for row in rows:
        if (name := clusters[int(row)]) is not None:
            members.setdefault(name, []).append(int(row))
    result = Contrast([None] * clips.num_rows, [None] * clips.num_rows, [None] * clips.num_rows)
    for name, inside in members.items():
        kind = _type(inside, values, speakers)
        if kind is None:
            continue
        met = sorted({values["emotion"][row] for row in inside} - {None})
        for row in inside:
            result.group[row], result.type[row], result.emotions[row] = name, kind, met
    return result


def _type(rows: list[int], values: dict[str, list[str | None]], speakers: list[str | None]) -> str | None:
    for aspect, short in ASPECTS.items():
        said = {(speakers[row], values[aspect][row]) for row in rows if values[aspect][row] is not None}
        if len({value for _, value in said}) < 2:
            continue
        known = [speaker for speaker, _ in said if speaker is not None]
        who = "same_speaker" if len(set(known)) < len(known) else "different_speakers"
        return f"{who}:{short}"
    return None
