"""Fingerprints and their keys on the bench of the barrier ``neighbours``: leaving them there, finding them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.quality import sounds
from datagen.quality.fingerprint import Prints, compare
from datagen.rounds import Bench, Results

FRAME_BYTES = 8  #: of fingerprint
_COLUMN = "audio_fingerprint"

Ints = npt.NDArray[np.int64]


def total(results: Results, name: str, figure: str) -> int:
    return sum(int(found[figure]) for found in results[name])


def first_clips(bench: Bench) -> Ints:
    """Number of the first clip of each shard, and of all clips.

    Raises:
        ValueError: more clips than 32 bits can number.
    """
    first = np.cumsum([0, *(found["rows"] for found in bench.results["sounds.postings"])])
    if first[-1] >= 1 << 32:
        raise ValueError(f"{first[-1]} clips are too many to compare in one run; the most are {(1 << 32) - 1}")
    return first


def leave_postings(shard: int, bench: Bench) -> dict[str, Any]:
    """``key, row`` sorted by key, and ``preference, frames`` of every row (no frames: no fingerprint)."""
    table = bench.read(shard, [_COLUMN])
    length, loud = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
    keys, rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for at, prints, frames in sounds.runs(table[_COLUMN]):
        key, row = sounds.keys(prints, frames)
        keys.append(key)
        rows.append(row + at)
        length[at : at + len(frames)] = frames
        loud[at : at + len(frames)] = sounds.sounding_frames(prints, frames)
    every, row = np.concatenate(keys), np.concatenate(rows)
    order = np.argsort(every, kind="stable")
    bench.put(f"sounds/postings/{shard}", pa.table({"key": every[order], "row": row[order].astype(np.uint32)}))
    preference = sounds.preferences(loud, table.column(0).to_pylist())
    bench.put(f"sounds/clips/{shard}", pa.table({"preference": preference, "frames": length.astype(np.uint32)}))
    return {"rows": len(table), "clips": int((length > 0).sum()), "postings": len(every)}


def leave_prints(shard: int, bench: Bench) -> dict[str, Any]:
    """``row, clip_id, prints`` of the clips of a shard that will be compared, sorted by row."""
    first, end = first_clips(bench)[shard : shard + 2]
    wanted = [np.zeros(0, np.int64)]
    for part in range(len(bench.results["sounds.pairs"])):
        clip = bench.get(f"sounds/wanted/{part}")["clip"].to_numpy()
        low, high = np.searchsorted(clip, (first, end))
        wanted.append(clip[low:high])
    row = pa.array(np.unique(np.concatenate(wanted)) - first)
    table = bench.read(shard, [_COLUMN] if len(row) else []).take(row)
    prints = table[_COLUMN].cast(pa.large_binary()) if len(row) else pa.array([], pa.large_binary())
    left = pa.table({"row": row, "clip_id": table.column(0), "prints": prints})
    bench.put(f"sounds/prints/{shard}", left.combine_chunks())
    return {"prints": len(row)}


def by_shard(bench: Bench, clips: Ints) -> Iterator[tuple[int, Ints, Ints]]:
    """Clips shard by shard: the shard, where they stand in ``clips``, and their rows in it."""
    first = first_clips(bench)
    shard = np.searchsorted(first, clips, "right") - 1
    order = np.argsort(shard, kind="stable")
    bounds = np.searchsorted(shard[order], np.arange(bench.shards + 1))
    for number in np.unique(shard).tolist():
        where = order[bounds[number] : bounds[number + 1]]
        yield number, where, clips[where] - first[number]


def gathered(bench: Bench, clips: Ints, column: str) -> npt.NDArray[Any]:
    """``preference`` (uint64) or ``frames`` (int64) of clips, in their order."""
    values = np.zeros(len(clips), np.uint64 if column == "preference" else np.int64)
    for shard, where, row in by_shard(bench, clips):
        values[where] = bench.get(f"sounds/clips/{shard}")[column].to_numpy()[row]
    return values


def clip_ids(bench: Bench, clips: Ints) -> pa.Array:
    """``clip_id`` of clips that were compared, in their order."""
    names = np.full(len(clips), None, object)
    for shard, where, row in by_shard(bench, clips):
        table = bench.get(f"sounds/prints/{shard}")
        place = np.searchsorted(table["row"].to_numpy(), row)
        names[where] = table["clip_id"].take(pa.array(place)).to_pylist()
    return pa.array(names, pa.string())


def load(bench: Bench, clips: Ints) -> dict[int, Prints]:
    """Fingerprints of clips that were left by ``leave_prints``, copied out of the tables."""
    held: dict[int, Prints] = {}
    for shard, where, row in by_shard(bench, clips):
        table = bench.get(f"sounds/prints/{shard}")
        place = np.searchsorted(table["row"].to_numpy(), row)
        at = 0
        names = clips[where].tolist()
        for _, prints, frames in sounds.runs(
            pa.chunked_array([table["prints"].combine_chunks().take(pa.array(place))])
        ):
            ends = np.cumsum(frames).tolist()
            for low, high in zip([0, *ends], ends, strict=False):
                held[names[at]] = prints[low:high]
                at += 1
    return held


class Against:
    """Compares leaders with others, holding at most about ``memory`` bytes: all clips at once, or blocks of them."""

    def __init__(self, bench: Bench, sizes: Mapping[int, int], memory: int) -> None:
        self.bench, self.sizes, self.memory = bench, sizes, memory
        self.compared = 0
        at_once = sum(sizes.values()) <= memory
        self.held = load(bench, np.array(sorted(sizes), np.int64)) if at_once else {}

    def __call__(self, leader: int, others: Sequence[int]) -> list[bool]:
        self.compared += len(others)
        own = self.held.get(leader)
        if own is None:
            own = load(self.bench, np.array([leader]))[leader]
        same: list[bool] = []
        for block in self._blocks(others):
            prints = self.held or load(self.bench, np.array(block))
            same += [compare(own, prints[clip]).same_recording for clip in block]
        return same

    def _blocks(self, clips: Sequence[int]) -> Iterator[list[int]]:
        if self.held:
            yield list(clips)
            return
        block: list[int] = []
        size = 0
        for clip in clips:
            if block and size + self.sizes[clip] > self.memory:
                yield block
                block, size = [], 0
            block.append(clip)
            size += self.sizes[clip]
        yield block
