"""Copies of recordings among many clips: found whole, by one leader, whatever the layout, at bounded cost."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.quality import sounds
from datagen.quality.fingerprint import Prints, compare, pack
from datagen.stages.neighbours.sounds import Sounds, predict
from datagen.stages.neighbours.stage import Neighbours, NeighboursConfig
from datagen.testing.copies import sound_groups
from datagen.testing.rounds import TableBench

SOUNDING = np.uint32(1 << 31)


def take(seed: int, frames: int = 150) -> Prints:
    """A fingerprint like no other: find words that last three frames, as a slow window has them."""
    rng = np.random.default_rng(seed)
    find = np.repeat(rng.integers(0, 1 << 24, -(-frames // 3), dtype=np.uint32), 3)[:frames]
    return np.stack([find | SOUNDING, rng.integers(0, 1 << 32, frames, dtype=np.uint32)], axis=1)


def copy(prints: Prints, seed: int, find: float = 0.02, check: float = 0.1) -> Prints:
    """As a codec leaves it: so large a share of its bits is wrong."""
    rng = np.random.default_rng(seed)

    def flips(bits: int, share: float) -> Any:
        wrong = rng.random((len(prints), bits)) < share
        return (wrong * (np.uint64(1) << np.arange(bits, dtype=np.uint64))).sum(axis=1).astype(np.uint32)

    return np.stack([prints[:, 0] ^ flips(24, find), prints[:, 1] ^ flips(32, check)], axis=1)


def shards(clips: dict[str, Prints | None], size: int) -> list[pa.Table]:
    data = pa.array([None if one is None else pack(one) for one in clips.values()], pa.binary())
    table = pa.table({"clip_id": pa.array(list(clips), pa.string()), "audio_fingerprint": data})
    return [table.slice(at, size) for at in range(0, len(table), size)]


def stage(memory_gb: float = 1.0) -> Neighbours:
    return Neighbours(NeighboursConfig(texts=False, voices=False, memory_gb=memory_gb))


def grouped(clips: dict[str, Prints | None], sizes: Sequence[int] = (), memory_gb: float = 1.0):
    found, figures = sound_groups(clips, sizes, memory_gb)
    return {clip: found.get(clip) for clip in clips}, figures


@st.composite
def corpora(draw: st.DrawFn) -> dict[str, Prints | None]:
    """Recordings with copies of some, cut or not, worse or better; clips without a fingerprint between."""
    clips: dict[str, Prints | None] = {}
    for recording in range(draw(st.integers(1, 5))):
        original = take(draw(st.integers(0, 10**6)), draw(st.integers(50, 200)))
        clips[f"r{recording}"] = original
        for number in range(draw(st.integers(0, 5))):
            cut = draw(st.integers(0, len(original) // 5))
            seed, find = draw(st.integers(0, 10**6)), draw(st.sampled_from([0.0, 0.01, 0.05]))
            clips[f"r{recording}c{number}"] = copy(original[cut:], seed, find)
    return clips | {f"silent{number}": None for number in range(draw(st.integers(0, 2)))}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(corpora(), st.randoms(use_true_random=False), st.lists(st.integers(0, 6), max_size=4), st.booleans())
def test_neither_order_nor_shards_nor_memory_matter(clips, random, sizes, tight):
    expected, figures = grouped(clips)
    names = list(clips)
    random.shuffle(names)
    found, again = grouped({name: clips[name] for name in names}, sizes, 1e-5 if tight else 1.0)
    assert found == expected
    assert again == figures


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(corpora())
def test_every_member_is_the_same_recording_as_its_leader(clips):
    found, figures = grouped(clips)
    for clip, leader in found.items():
        if leader is not None and leader != clip:
            assert compare(clips[leader], clips[clip]).same_recording
            assert found[leader] == leader
    sizes = Counter(leader for leader in found.values() if leader is not None)
    assert all(size > 1 for size in sizes.values())
    assert (figures["groups"], figures["largest_group"]) == (len(sizes), max(sizes.values(), default=0))
    assert figures["clips_with_fingerprint"] == sum(one is not None for one in clips.values())


def test_two_hundred_copies_are_one_group_and_cost_a_few_comparisons_each():
    original = take(1, 200)
    clips = {f"copy{n}": copy(original[n % 7 : 200 - n % 5], n, 0.03, 0.12) for n in range(200)}
    others = {f"other{n}": take(1000 + n, 120 + n) for n in range(60)}
    found, figures = grouped(clips | others, [50, 90, 7])
    leader = {found[name] for name in clips}
    assert len(leader) == 1 and leader < set(clips)
    assert all(found[name] is None for name in others)
    assert figures["groups"] == 1 and figures["largest_group"] == 200
    assert figures["candidates"] + figures["compared_with_leaders"] < 5 * 200


def test_who_leads_is_the_longest():
    original = take(3, 180)
    clips = {"a": copy(original[:150], 1), "z": original, "b": copy(original[:170], 2)}
    assert grouped(clips)[0] == {"a": "z", "z": "z", "b": "z"}


def test_nobody_is_joined_through_a_chain():
    whole = take(4, 400)
    chain = {f"part{n}": whole[20 * n : 20 * n + 200] for n in range(11)}  # each shares nine tenths with the next
    found, _ = grouped(chain)
    for clip, leader in found.items():
        assert leader is None or compare(chain[leader], chain[clip]).same_recording
    groups = Counter(found.values())
    assert len(groups) > 2 and max(groups.values()) <= 5


def test_a_group_is_completed_beyond_its_candidates():
    """Where every copy is a candidate of its nearest only, the leader still gets all of them."""
    original = take(5, 200)
    clips = {f"c{n}": copy(original, n, 0.05) for n in range(40)}
    found, figures = grouped(clips)
    assert set(found.values()) == {next(iter(found.values()))} != {None}
    assert figures["verified"] < 40 * 39 // 2


def test_a_beginning_that_all_share_joins_nobody():
    jingle = take(6, 60)
    clips = {f"show{n}": np.concatenate([copy(jingle, n, 0.0), take(100 + n, 200)]) for n in range(80)}
    clips["again"] = copy(clips["show7"], 1)
    found, figures = grouped(clips, [11, 30])
    assert {name for name, leader in found.items() if leader} == {"show7", "again"}
    assert figures["candidates"] < 5 * len(clips)


def test_what_more_clips_share_than_the_bound_is_a_stop_word(monkeypatch):
    monkeypatch.setattr(sounds, "STOP_WORD", 20)
    jingle = take(7, 60)
    clips = {f"show{n}": np.concatenate([jingle, take(200 + n, 100)]) for n in range(40)}
    clips["again"] = copy(clips["show3"], 1)
    found, figures = grouped(clips)
    assert {name for name, leader in found.items() if leader} == {"show3", "again"}
    assert figures["stop_words"] > 10 and figures["candidates"] == 1


def test_memory_bounds_what_a_task_holds_by_making_more_tasks(tmp_path):
    clips = {f"c{n}": take(n, 150) for n in range(1500)}
    tables = shards(clips, 500)

    def hits(memory_gb: float) -> tuple[int, int]:
        search = stage(memory_gb)
        bench = TableBench(search, tables, tmp_path / str(memory_gb))
        results = {"sounds.postings": [search.work("sounds.postings", n, bench) for n in range(3)]}
        bench.results = results
        count = search.tasks("sounds.hits", 3, results)
        tracemalloc.start()
        search.work("sounds.hits", 0, bench)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return count, peak

    few, wide = hits(1.0)
    many, narrow = hits(0.003)
    assert few == 1 and many > 8
    assert narrow < 0.003e9 < wide
    with pytest.raises(ValueError, match="memory_gb"):
        Sounds(0)


def test_the_second_reading_is_only_where_candidates_are(tmp_path):
    clips = {f"c{n}": take(n) for n in range(30)} | {"copy": copy(take(0), 1)}
    search, read = stage(), []

    class Watched(TableBench):
        def read(self, shard, columns=()):
            read.append((self.round, shard, tuple(columns)))
            return super().read(shard, columns)

    bench = Watched(search, shards(clips, 11), tmp_path)
    results: dict[str, list[dict[str, Any]]] = {}
    for bench.round in search.rounds:
        bench.results = dict(results)
        count = search.tasks(bench.round, 3, results)
        results[bench.round] = [search.work(bench.round, task, bench) for task in range(count)]
    heavy = [(name, shard) for name, shard, columns in read if columns]
    assert heavy == [("sounds.postings", 0), ("sounds.postings", 1), ("sounds.postings", 2),
                     ("sounds.prints", 0), ("sounds.prints", 2)]  # fmt: skip


@pytest.mark.parametrize("clips", [{}, {"silent": None}, {"short": take(0, 8)}, {"alone": take(0)}])
def test_nothing_to_find(clips):
    found, figures = grouped(clips)
    assert found == dict.fromkeys(clips)
    assert figures["groups"] == figures["candidates"] == figures["largest_group"] == 0


def test_a_prediction_grows_with_the_work_and_shrinks_with_workers():
    seconds, memory = predict(10_000, 50_000.0, 1)
    more, same_memory = predict(100_000, 500_000.0, 1)
    assert 8 * seconds < more < 20 * seconds and same_memory < 2
    assert predict(100_000, 500_000.0, 10)[0] < more / 5 and memory > 0
