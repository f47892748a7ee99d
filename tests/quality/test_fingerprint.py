import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from datagen.quality.fingerprint import align, compare, fingerprint, likely_offsets, pack, unpack
from datagen.testing.copies import KINDS, sound_groups
from datagen.testing.speech import synth

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
TEXT = "Kids are talking by the door while it rains."


HARD = ("noise at 20 dB", "MP3 at 22 kb/s", "Opus at 11 kb/s", "1 % faster", "2 % faster")  # known misses
FAITHFUL = [kind for kind in KINDS if kind not in HARD]


@pytest.fixture(scope="module")
def take():
    return synth(TEXT, f0_hz=120, seed=1, noise_db=-70)[0]


@pytest.mark.parametrize("kind", FAITHFUL)
def test_a_copy_is_recognised(take, kind):
    found = compare(fingerprint(take), fingerprint(KINDS[kind](take)))
    assert found.same_recording and found.frames > 100


@pytest.mark.parametrize(("kind", "offset"), [("zero-padded", -3333), ("cut by 15 %", None), ("gain -26 dB", 0)])
def test_it_is_known_where_a_copy_lies(take, kind, offset):
    if offset is None:
        offset = 2 * int(0.15 * len(take)) // 3 + 51
    assert abs(compare(fingerprint(take), fingerprint(KINDS[kind](take))).offset - offset / 160) <= 1


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"f0_hz": 126}, {"rate": 4.65}, {"f0_range_st": 8}, {"whispered": True}, {"rate": 5.5}]
)
def test_another_take_of_the_same_words_is_not(take, other):
    second, _ = synth(TEXT, **{"f0_hz": 120, "seed": 1, "noise_db": -70, **other})
    a, b = fingerprint(take), fingerprint(second)
    best = align(a, b, range(-60, 61))
    assert best.frames > 100  # they were compared, and found different
    assert best.bit_error > 0.3
    assert not compare(a, b).same_recording


def test_an_excerpt_is_not_a_copy(take):
    found = compare(fingerprint(take), fingerprint(take[: len(take) // 2]))
    assert found.bit_error < 0.05 and found.overlap < 0.6
    assert not found.same_recording


def test_silence_tones_and_stubs_match_nothing():
    tone = np.sin(2 * np.pi * 200 * np.arange(32_000) / 16_000).astype(np.float32)
    prints = [fingerprint(x) for x in (tone, tone.copy(), np.zeros(32_000, np.float32), np.ones(30, np.float32))]
    assert [len(p) > 0 for p in prints] == [True, True, False, False]
    assert not any(compare(a, b).same_recording for a in prints for b in prints)
    assert [likely_offsets(a, a) for a in prints] == [[], [], [], []]


def test_a_sound_that_repeats_itself_is_tried_in_each_place(take):
    once, twice = fingerprint(take), fingerprint(np.concatenate([take, np.zeros(800, np.float32), take]))
    tried = likely_offsets(twice, once)
    second = len(take) // 160 + 5
    assert min(abs(offset) for offset in tried) <= 1 and min(abs(offset - second) for offset in tried) <= 1
    assert compare(twice, once).bit_error < 0.1 and not compare(twice, once).same_recording
    assert compare(twice, twice).same_recording


def test_packing_keeps_every_bit(take):
    words = fingerprint(take)
    assert len(words) == pytest.approx(len(take) / 160, abs=5)
    assert np.array_equal(unpack(pack(words)), words)
    assert unpack(None).shape == (0, 2)


def _devset(*corpora):
    if not CORPORA.is_dir():
        pytest.skip("no shared corpora")
    lines = (CORPORA / "devset" / "manifest.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["corpus"] in corpora]


def _read(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, 16_000).astype(np.float32)


@pytest.mark.shared
def test_no_two_takes_of_ravdess_and_emodb_match():
    rows = _devset("ravdess", "emodb")
    prints = [fingerprint(_read(CORPORA / "devset" / row["file"])) for row in rows]
    assert sound_groups({row["file"]: one for row, one in zip(rows, prints, strict=True)})[0] == {}
    # Nor would they if every pair were compared: the search alone must not be what saves them.
    takes = defaultdict(list)
    for index, row in enumerate(rows):
        takes[row["speaker"], row["sentence_id"], row["emotion"]].append(index)
    pairs = [pair for group in takes.values() for pair in itertools.combinations(group, 2)]
    assert len(pairs) > 500
    nearest = min((align(prints[a], prints[b], range(-60, 61, 2)) for a, b in pairs), key=lambda a: a.bit_error)
    assert nearest.bit_error > 0.35


@pytest.mark.shared
def test_generated_copies_of_ravdess_and_emodb_are_found():
    rows = _devset("ravdess", "emodb")[::28]
    originals = [_read(CORPORA / "devset" / row["file"]) for row in rows]
    clips = {
        (index, kind): fingerprint(KINDS[kind](x) if kind else x)
        for index, x in enumerate(originals)
        for kind in ("", *FAITHFUL)
    }
    found, _ = sound_groups({f"{index} {kind}": one for (index, kind), one in clips.items()})
    assert all(clip.split()[0] == leader.split()[0] for clip, leader in found.items())
    alone = {f"{index} {kind}" for index, kind in clips} - set(found)
    assert len(alone) <= 0.01 * len(clips), sorted(alone)
    assert len(set(found.values())) <= 1.1 * len(originals)


@pytest.mark.shared
def test_copies_found_in_the_wild():
    if not CORPORA.is_dir():
        pytest.skip("no shared corpora")
    names = ["duplicate_a_03-01-03-01-02-01-07", "duplicate_b_03-01-03-01-02-02-07",
             "wrong_speaker_03-01-05-01-01-01-02", "wrong_speaker_true_file_03-01-05-02-02-01-05",
             "resampled_22k_03-01-01-01-01-01-01", "original_48k_extra_chunk_03-01-01-01-01-01-01",
             "ravdess_stereo_03-01-02-01-01-02-01"]  # fmt: skip
    found, _ = sound_groups({name: fingerprint(_read(CORPORA / "broken" / f"{name}.wav")) for name in names})
    leaders = [found.get(name) for name in names]
    assert leaders[0] == leaders[1] and leaders[2] == leaders[3] and leaders[4] == leaders[5]
    assert len({*leaders} - {None}) == 3 and leaders[6] is None
