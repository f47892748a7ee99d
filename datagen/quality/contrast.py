"""Contrast groups: the same words said in at least two ways. They teach that words alone do not tell (law 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.components import distinct, numbered

#: What may differ, the most telling first; the first that differs names the group's type.
ASPECTS = {"emotion": "emotion", "style": "style", "arousal_level": "arousal"}
TYPES = tuple(f"{who}:{short}" for short in ASPECTS.values() for who in ("same_speaker", "different_speakers"))
_CHUNK = 1_000_000  # rows of lists made at a time: the offsets of one array are 32 bits wide

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Contrast:
    """The groups among some rows of a table; both arrays have all its rows."""

    group: Ints  #: number of the text cluster, -1 outside a contrast group
    type: Ints  #: index into ``TYPES``, -1 outside


def contrast_groups(clips: pa.Table, cluster: Ints, rows: Ints) -> Contrast:
    """Find the groups among the given rows.

    A null (not labelled, not measured) differs from nothing. The type is ``same_speaker:<aspect>`` when one speaker
    says the words in two ways, else ``different_speakers:<aspect>``; aspects in the order of ``ASPECTS``.

    Args:
        clips: columns speaker, emotion, style, arousal_level.
        cluster: number of the text cluster per row of ``clips``, -1 = none.
        rows: which rows take part.
    """
    rows = rows[cluster[rows] >= 0]
    text, speaker = cluster[rows], numbered(clips["speaker"])[rows]
    kind = np.full(int(cluster.max(initial=-1)) + 1, -1, np.int64)
    speakers = int(speaker.max(initial=0)) + 1
    for place, aspect in enumerate(ASPECTS):
        value = numbered(clips[aspect])[rows]
        known = value >= 0
        several = _several(text[known], value[known])
        known &= speaker >= 0
        mixed = _several(text[known] * speakers + speaker[known], value[known]) // speakers
        found = several[kind[several] < 0]
        kind[found] = 2 * place + 1
        kind[found[np.isin(found, mixed)]] = 2 * place
    inside = np.full(clips.num_rows, -1, np.int64)
    inside[rows] = kind[text]
    return Contrast(np.where(inside >= 0, cluster, -1), inside)


def met_emotions(clips: pa.Table, contrast: Contrast) -> pa.ChunkedArray:
    """Per row of a group the emotions met in it, sorted (list of strings); null outside."""
    names = pc.unique(clips["emotion"].combine_chunks()).drop_null().sort()
    code = pc.fill_null(pc.index_in(clips["emotion"], names), -1).to_numpy().astype(np.int64)
    size = int(contrast.group.max(initial=-1)) + 1
    known = (contrast.group >= 0) & (code >= 0)
    met = distinct(contrast.group[known] * len(names) + code[known])
    group, emotion = np.divmod(met, max(len(names), 1))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=size))])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names.take(pa.array(emotion)))
    wanted = pa.array(contrast.group, mask=contrast.group < 0)
    starts = range(0, max(len(wanted), 1), _CHUNK)
    return pa.chunked_array([lists.take(wanted.slice(start, _CHUNK)) for start in starts], pa.list_(pa.string()))


def _several(owner: Ints, value: Ints) -> Ints:
    """Owners with at least two different values, sorted. Values are 0 or more."""
    width = int(value.max(initial=0)) + 1
    owners, counts = np.unique(distinct(owner * width + value) // width, return_counts=True)
    return np.asarray(owners[counts > 1])
