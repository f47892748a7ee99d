"""The search for copies of recordings, as rounds of the barrier ``neighbours``: out of core, parallel, complete.

===================== ============================ ==========================================================
round                 one task per                 leaves behind
===================== ============================ ==========================================================
``sounds.postings``   shard                        keys of its clips, sorted; preference and length of a clip
``sounds.hits``       range of keys                pairs of clips that share one
``sounds.pairs``      range of clips               the pairs that are worth comparing
``sounds.prints``     shard                        fingerprints of the clips in these pairs
``sounds.align``      bytes of fingerprints        the pairs that are one recording
``sounds.components`` run                          what hangs together by them
``sounds.groups``     bytes of fingerprints        the members of each group, with their leader
===================== ============================ ==========================================================

Clips are numbered through all shards; the numbers name clips and decide nothing. The heavy column is read once, and
once more where a shard holds candidates. The decisions are in ``quality/sounds.py`` and ``quality/fingerprint.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.quality import sounds
from datagen.quality.components import components
from datagen.quality.fingerprint import compare
from datagen.rounds import Bench, Results
from datagen.stages.neighbours.prints import (
    FRAME_BYTES,
    Against,
    clip_ids,
    first_clips,
    gathered,
    leave_postings,
    leave_prints,
    load,
    total,
)

#: What one core took, as ``benchmarks/copies.py`` prints it: reading the column and making keys, per million frames of
#: 10 ms; sorting, per million keys, of one clip only and of several; comparing, per thousand candidates.
FRAMES_S, KEYS_S, SHARED_S, CANDIDATES_S = 0.07, 0.04, 0.3, 0.12
OPEN_S = 0.0002  #: to map a table
#: Most bytes a task holds per posting while it sorts, and per hit while it counts.
BYTES_PER_POSTING, BYTES_PER_HIT = 128, 64
_TASK_POSTINGS, _TASK_HITS, _TASK_BYTES = 8_000_000, 16_000_000, 256_000_000  # more only makes workers wait
_TWICE = 0.05  # at most of pairs with a key in common by chance have a second one: of 23 on 1.2 h of speech none had
_SPREAD = 256  # equal ranges of clips in which hits are counted, to cut them into tasks of one size


class Sounds:
    """See the module. ``memory_gb`` bounds what one task holds; it changes the number of tasks and nothing else.

    Raises:
        ValueError: no memory at all.
    """

    rounds: tuple[str, ...] = (
        "sounds.postings", "sounds.hits", "sounds.pairs", "sounds.prints", "sounds.align", "sounds.components",
        "sounds.groups",
    )  # fmt: skip

    def __init__(self, memory_gb: float) -> None:
        if memory_gb <= 0:
            raise ValueError(f"memory_gb: {memory_gb}; the search for copies needs some")
        memory = int(memory_gb * 1e9)
        self.task_postings = max(1, min(_TASK_POSTINGS, memory // BYTES_PER_POSTING))
        self.task_hits = max(1, min(_TASK_HITS, memory // BYTES_PER_HIT))
        self.task_bytes = max(1, min(_TASK_BYTES, memory // 4))

    def tasks(self, name: str, shards: int, results: Results) -> int:
        if name == "sounds.postings":
            return shards
        if name == "sounds.hits":
            return -(-total(results, "sounds.postings", "postings") // self.task_postings)
        if name == "sounds.pairs":
            return len(self._ranges(results))
        if name == "sounds.prints":
            return shards if total(results, "sounds.pairs", "pairs") else 0
        if name == "sounds.align":
            return -(-total(results, "sounds.pairs", "bytes") // self.task_bytes)
        if name == "sounds.components":
            return 1 if total(results, "sounds.align", "same") else 0
        return int(total(results, "sounds.components", "tasks"))

    def work(self, name: str, task: int, bench: Bench) -> dict[str, Any]:
        works: dict[str, Callable[[int, Bench], dict[str, Any]]] = {
            "sounds.postings": leave_postings,
            "sounds.hits": self._hits,
            "sounds.pairs": self._pairs,
            "sounds.prints": leave_prints,
            "sounds.align": self._align,
            "sounds.components": self._components,
            "sounds.groups": self._groups,
        }
        return works[name](task, bench)

    def column(self, shard: int, bench: Bench) -> pa.Array:
        """``sound_group`` of the shard's rows: clip_id of the group's leader, null for a clip without a copy."""
        first, end = first_clips(bench)[shard : shard + 2]
        group = np.full(end - first, None, object)
        for task in range(len(bench.results["sounds.groups"])):
            table = bench.get(f"sounds/groups/{task}")
            clip = table["clip"].to_numpy()
            low, high = np.searchsorted(clip, (first, end))
            group[clip[low:high] - first] = table["leader"].slice(low, high - low).to_pylist()
        return pa.array(group, pa.string())

    def conclude(self, results: Results) -> dict[str, Any]:
        """Figures of the search: numbers of clips, pairs and groups."""
        groups = results["sounds.groups"]
        return {
            "clips_with_fingerprint": total(results, "sounds.postings", "clips"),
            "keys": total(results, "sounds.postings", "postings"),
            "stop_words": total(results, "sounds.hits", "stop_words"),
            "candidates": total(results, "sounds.pairs", "pairs"),
            "verified": total(results, "sounds.align", "same"),
            "compared_with_leaders": total(results, "sounds.groups", "compared"),
            "groups": total(results, "sounds.groups", "groups"),
            "clips_in_groups": total(results, "sounds.groups", "members"),
            "largest_group": max((found["largest"] for found in groups), default=0),
        }

    # --- Rounds ---------------------------------------------------------------------------------------------

    def _hits(self, task: int, bench: Bench) -> dict[str, Any]:
        tasks, first = self.tasks("sounds.hits", bench.shards, bench.results), first_clips(bench)
        bounds = [(number << sounds.KEY_BITS) // tasks for number in (task, task + 1)]
        key, clip = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
        for shard in range(bench.shards):
            table = bench.get(f"sounds/postings/{shard}")
            own = table["key"].to_numpy()
            low, high = np.searchsorted(own, np.array(bounds, np.uint64))
            key.append(own[low:high])
            clip.append(table["row"].to_numpy()[low:high] + np.uint32(first[shard]))
        keys, clips = np.concatenate(key), np.concatenate(clip)
        many = sounds.shared(keys)
        keys, named = keys[many], clips[many].astype(np.int64)
        del key, clip, clips, many
        pairs, stop_words = sounds.edges(keys, named, gathered(bench, named, "preference"))
        bench.put(f"sounds/hits/{task}", pa.table({"pair": pairs}))
        member = (pairs >> np.uint64(32)).astype(np.int64)
        spread = np.bincount(member * _SPREAD // max(1, int(first[-1])), minlength=_SPREAD)
        return {"stop_words": stop_words, "spread": spread.tolist()}

    def _ranges(self, results: Results) -> list[tuple[int, int]]:
        """Ranges of ``_SPREAD``, each with about as many hits as a task may hold, none without hits."""
        spread = np.zeros(_SPREAD, np.int64)
        for found in results["sounds.hits"]:
            spread += np.array(found["spread"])
        ranges: list[tuple[int, int]] = []
        held = 0
        for place in np.flatnonzero(spread).tolist():
            if not ranges or held + spread[place] > self.task_hits:
                ranges.append((place, place + 1))
                held = 0
            ranges[-1] = (ranges[-1][0], place + 1)
            held += int(spread[place])
        return ranges

    def _pairs(self, task: int, bench: Bench) -> dict[str, Any]:
        clips = int(first_clips(bench)[-1])
        # The first clip of range n is the least c with c * _SPREAD // clips >= n.
        bounds = [-(-place * clips // _SPREAD) << 32 for place in self._ranges(bench.results)[task]]
        found = [np.zeros(0, np.uint64)]
        for part in range(len(bench.results["sounds.hits"])):
            pair = bench.get(f"sounds/hits/{part}")["pair"].to_numpy()
            low, high = np.searchsorted(pair, np.array(bounds, np.uint64))
            found.append(pair[low:high])
        member, leader, votes = sounds.counted(np.concatenate(found))
        keep = sounds.chosen(member, votes, gathered(bench, leader, "preference"))
        member, leader = member[keep], leader[keep]
        size = FRAME_BYTES * (gathered(bench, member, "frames") + gathered(bench, leader, "frames"))
        bench.put(f"sounds/pairs/{task}", pa.table({"member": member, "leader": leader, "bytes": size}))
        bench.put(f"sounds/wanted/{task}", pa.table({"clip": np.union1d(member, leader)}))
        return {"pairs": len(member), "bytes": int(size.sum())}

    def _align(self, task: int, bench: Bench) -> dict[str, Any]:
        bounds = task * self.task_bytes, (task + 1) * self.task_bytes
        pairs = [np.zeros((0, 2), np.int64)]
        at = 0
        for part, found in enumerate(bench.results["sounds.pairs"]):
            if at < bounds[1] and at + found["bytes"] > bounds[0]:
                table = bench.get(f"sounds/pairs/{part}")
                start = at + np.cumsum(table["bytes"].to_numpy()) - table["bytes"].to_numpy()
                own = (start >= bounds[0]) & (start < bounds[1])
                pairs.append(np.stack([table["member"].to_numpy()[own], table["leader"].to_numpy()[own]], axis=1))
            at += found["bytes"]
        every = np.concatenate(pairs)
        held = load(bench, np.unique(every))
        same = [compare(held[leader], held[member]).same_recording for member, leader in every.tolist()]
        every = every[np.array(same, bool)]
        bench.put(f"sounds/same/{task}", pa.table({"member": every[:, 0], "leader": every[:, 1]}))
        return {"same": len(every)}

    def _components(self, task: int, bench: Bench) -> dict[str, Any]:
        same = pa.concat_tables(
            [bench.get(f"sounds/same/{part}") for part in range(len(bench.results["sounds.align"]))]
        )
        clip, place = np.unique(
            np.concatenate([same["member"].to_numpy(), same["leader"].to_numpy()]), return_inverse=True
        )
        links = place.reshape(2, -1).T
        label = components(len(clip), links)
        order = np.lexsort((gathered(bench, clip, "preference"), label))
        size = FRAME_BYTES * gathered(bench, clip, "frames")[order]
        start = np.flatnonzero(np.diff(label[order], prepend=-1) != 0)
        # A component goes to the task in whose share of the bytes it begins; shares without one are left out.
        share = ((np.cumsum(size) - size) // self.task_bytes)[start]
        dealt = np.cumsum(np.diff(share, prepend=-1) != 0) - 1
        own = np.empty(len(clip), np.int64)  # task of each label
        own[label[order][start]] = dealt
        members = pa.table({"component": label[order], "clip": clip[order], "bytes": size})
        linked = pa.table({"component": label[links[:, 0]], "left": clip[links[:, 0]], "right": clip[links[:, 1]]})
        linked = linked.sort_by("component")
        for name, table in (("members", members), ("links", linked)):
            task_of = own[table["component"].to_numpy()]
            cuts = np.searchsorted(task_of, np.arange(dealt[-1] + 2))
            for number, (low, high) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
                bench.put(f"sounds/{name}/{number}", table.slice(low, high - low))
        return {"tasks": int(dealt[-1]) + 1, "components": len(start)}

    def _groups(self, task: int, bench: Bench) -> dict[str, Any]:
        members, links = bench.get(f"sounds/members/{task}"), bench.get(f"sounds/links/{task}")
        clips, linked = members["clip"].to_numpy(), np.stack([links["left"], links["right"]], axis=1)
        sizes = dict(zip(clips.tolist(), members["bytes"].to_pylist(), strict=True))
        against = Against(bench, sizes, 2 * self.task_bytes)
        component = members["component"].to_numpy()
        ends = np.append(np.flatnonzero(np.diff(component)) + 1, len(component))
        link_ends = np.searchsorted(links["component"].to_numpy(), component[ends - 1], "right")
        led: dict[int, int] = {}
        low = link_low = 0
        for high, link_high in zip(ends.tolist(), link_ends.tolist(), strict=True):
            led |= sounds.leaders(clips[low:high].tolist(), linked[link_low:link_high].tolist(), against)
            low, link_low = high, link_high
        clip = np.array(sorted(led), np.int64)
        leader = np.array([led[one] for one in clip.tolist()], np.int64)
        bench.put(f"sounds/groups/{task}", pa.table({"clip": clip, "leader": clip_ids(bench, leader)}))
        of = np.unique(leader, return_counts=True)[1]
        return {
            "groups": len(of), "members": len(clip), "largest": int(of.max(initial=0)), "compared": against.compared
        }  # fmt: skip


def predict(clips: int, seconds: float, workers: int) -> tuple[float, float]:
    """Seconds on the wall and GB of memory per worker, where few clips are copies.

    Args:
        clips: how many.
        seconds: of audio, all clips together.
        workers: that share the tasks.
    """
    frames = 100 * seconds
    keys = min(2 * frames, float(sounds.KEYS * clips))
    shards = 1 + seconds / 3600
    chance = keys**2 / 2 * sounds.CHANCE  # grows with the square of the clips, and counts from a million clips on
    shared = min(keys, 2 * chance)
    candidates = min(2.0 * sounds.CANDIDATES * clips, _TWICE * chance)
    work = (
        frames / 1e6 * FRAMES_S
        + (keys - shared) / 1e6 * KEYS_S
        + max(shared, chance) / 1e6 * SHARED_S
        + candidates / 1e3 * CANDIDATES_S
        + shards * (2 + keys / _TASK_POSTINGS) * OPEN_S
    )
    return work / max(1, workers), max(min(keys, _TASK_POSTINGS) * BYTES_PER_POSTING, 2 * _TASK_BYTES) / 1e9
