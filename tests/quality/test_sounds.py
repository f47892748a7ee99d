"""Keys, candidates and leaders: the parts of the search for copies, by themselves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.quality import sounds
from datagen.quality.fingerprint import pack

SOUNDING = np.uint32(1 << 31)


def prints(seed: int, frames: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 24, frames, dtype=np.uint32) | SOUNDING
    return np.stack([words, rng.integers(0, 1 << 32, frames, dtype=np.uint32)], axis=1)


def keys_of(*clips: np.ndarray) -> list[set[int]]:
    key, row = sounds.keys(np.concatenate(clips), np.array([len(one) for one in clips]))
    assert np.all(np.diff(row) >= 0)
    return [set(key[row == number].tolist()) for number in range(len(clips))]


def test_keys_of_a_clip_do_not_depend_on_its_company():
    clips = [prints(n, length) for n, length in enumerate((30, 0, 700, 3, 120))]
    assert keys_of(*clips) == [keys for one in clips for keys in keys_of(one)]


def test_a_long_clip_has_no_more_keys_than_the_bound_and_shares_them_with_its_copy():
    long = prints(1, 3000)
    whole, part, other = keys_of(long, long[200:2900], prints(2, 3000))
    assert len(whole) == len(part) == len(other) == sounds.KEYS
    assert len(whole & part) > 0.8 * sounds.KEYS
    assert not whole & other


def test_a_short_clip_gets_keys_of_the_second_distance():
    (few,) = keys_of(prints(3, 100))
    assert 100 < len(few) <= 92 + 84
    (enough,) = keys_of(prints(3, 280))
    assert len(enough) == sounds.KEYS


def test_what_does_not_sound_has_no_keys():
    silent = prints(4, 100) & np.uint32(~SOUNDING)
    held = np.repeat(prints(5, 1), 100, axis=0)
    assert keys_of(silent, held)[0] == set()
    assert len(keys_of(held)[0]) <= len(sounds.STEPS)


def test_runs_of_a_column_hold_every_frame(monkeypatch):
    clips = [prints(n, 3 * n % 40) for n in range(30)]
    data = [None if n % 7 == 3 else pack(one) for n, one in enumerate(clips)]
    column = pa.chunked_array([pa.array(data[:11]), pa.array([], pa.binary()), pa.array(data[9:]).slice(2)])
    monkeypatch.setattr(sounds, "_FRAMES_AT_ONCE", 50)
    back = {}
    for at, flat, frames in sounds.runs(column):
        assert len(flat) == frames.sum()
        for number, one in enumerate(np.split(flat, np.cumsum(frames)[:-1])):
            back[at + number] = one
    assert sorted(back) == list(range(30))
    for number, one in back.items():
        assert np.array_equal(one, clips[number] if data[number] else np.zeros((0, 2)))
    with pytest.raises(ValueError, match="8 bytes per 10 ms"):
        list(sounds.runs(pa.chunked_array([pa.array([b"12345678", b"123"])])))


def test_more_sound_is_preferred_then_a_hash():
    numbers = sounds.preferences(np.array([10, 300, 300, 90_000]), ["a", "b", "c", "d"])
    assert numbers.argsort().tolist()[0] == 3 and numbers.argsort().tolist()[3] == 0
    assert numbers[1] != numbers[2]
    assert sounds.preferences(np.array([300]), ["c"])[0] == numbers[2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), max_size=60, unique=True))
def test_every_list_is_a_star_and_a_chain(postings):
    key = np.array([one for one, _ in postings], np.uint64)
    clip = np.array([one for _, one in postings], np.int64)
    preference = (clip * 7 % 13).astype(np.uint64)
    pairs, stop_words = sounds.edges(key, clip, preference)
    expected: Counter[tuple[int, int]] = Counter()
    for one in set(key.tolist()):
        members = sorted(clip[key == one].tolist(), key=lambda number: number * 7 % 13)
        for place, member in enumerate(members[1:], 1):
            expected.update({(member, members[0]), (member, members[place - 1])})
    found = [(int(pair) >> 32, int(pair) & 0xFFFFFFFF) for pair in pairs]
    assert Counter(found) == expected and found == sorted(found) and stop_words == 0
    member, leader, votes = sounds.counted(pairs[::-1])
    enough = {pair: number for pair, number in expected.items() if number >= sounds.MIN_SHARED}
    assert dict(zip(zip(member.tolist(), leader.tolist(), strict=True), votes.tolist(), strict=True)) == enough


def test_the_most_preferred_and_the_most_alike_are_compared():
    member = np.array([1, 1, 1, 1, 1, 1, 2])
    votes = np.array([2, 2, 9, 3, 8, 2, 2])
    preference = np.array([50, 10, 40, 60, 30, 20, 99], np.uint64)
    assert sounds.chosen(member, votes, preference).tolist() == [False, True, True, False, True, True, True]


def test_shared_finds_what_stands_twice():
    key = np.array([5, 3, 9, 3, 7, 5, 5], np.uint64)
    assert sorted(sounds.shared(key).tolist()) == [0, 1, 3, 5, 6]
    assert not len(sounds.shared(np.zeros(0, np.uint64)))


@given(st.permutations(range(12)), st.integers(1, 5))
def test_leaders_lead_whom_they_were_compared_with(order, reach):
    def same(a: int, b: int) -> bool:
        return abs(a - b) <= reach

    links = [(n, n + 1) for n in range(11)]
    led = sounds.leaders(order, links, lambda leader, others: [same(leader, one) for one in others])
    taken: set[int] = set()
    for place, leader in enumerate(order):  # leader clustering as defined, over all
        if leader in taken:
            continue
        own = [one for one in order[place + 1 :] if one not in taken and same(leader, one)]
        assert all(led[one] == leader for one in own)
        assert led.get(leader) == (leader if own else None)
        taken |= {leader, *own}


def test_a_chain_of_excerpts_costs_little_more_than_its_length():
    compared = 0

    def compare(leader: int, others: list[int]) -> list[bool]:
        nonlocal compared
        compared += len(others)
        return [abs(leader - one) <= 1 for one in others]

    clips = np.random.default_rng(0).permutation(4000).tolist()
    led = sounds.leaders(clips, [(n, n + 1) for n in range(3999)], compare)
    assert all(abs(clip - leader) <= 1 for clip, leader in led.items())
    assert len(led) > 3000 and compared < 4000 * 60


def test_one_key_in_common_may_be_chance_two_are_a_candidate():
    pair = np.array([3 << 32 | 1, 5 << 32 | 2, 3 << 32 | 2, 5 << 32 | 2], np.uint64)
    member, leader, votes = sounds.counted(pair)
    assert (member.tolist(), leader.tolist(), votes.tolist()) == ([5], [2], [2])
