import io
import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from datagen.quality.fingerprint import align, fingerprint, pack, same_recordings, unpack
from datagen.testing.speech import synth

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
TEXT = "Kids are talking by the door while it rains."


def encoded(samples, kind, subtype, level, rate=16_000):
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(samples, 16_000, rate), rate, format=kind, subtype=subtype,
                    compression_level=level)  # fmt: skip
    buffer.seek(0)
    back, rate = soundfile.read(buffer, dtype="float32")
    return soxr.resample(back, rate, 16_000)


def resampled(samples, rate):
    return soxr.resample(soxr.resample(samples, 16_000, rate), rate, 16_000)


COPIES = {
    "mp3": lambda x: encoded(x, "MP3", "MPEG_LAYER_III", 0.5),
    "vorbis": lambda x: encoded(x, "OGG", "VORBIS", 0.8),
    "opus": lambda x: encoded(x, "OGG", "OPUS", 0.6, 48_000),
    "quieter": lambda x: x * 0.05,
    "few bits": lambda x: np.round(x * 3276.7) / 32767,
    "22.05 kHz": lambda x: resampled(x, 22_050),
    "telephone": lambda x: resampled(x, 8_000),
    "re-cut": lambda x: x[1511 : len(x) - 987],
    "padded": lambda x: np.pad(x, (3333, 5555)),
    "noisy": lambda x: x + np.random.default_rng(0).normal(0, np.std(x) / 30, len(x)).astype(np.float32),
    "all at once": lambda x: encoded(resampled(x, 22_050)[777:] * 0.3, "MP3", "MPEG_LAYER_III", 0.5),
}


@pytest.fixture(scope="module")
def take():
    return synth(TEXT, f0_hz=120, seed=1, noise_db=-70)[0]


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_recognised(take, kind):
    others = [fingerprint(synth(TEXT, f0_hz=110 + 9 * n, seed=n + 5, noise_db=-70)[0]) for n in range(4)]
    prints = [fingerprint(take), *others, fingerprint(COPIES[kind](take).astype(np.float32))]
    assert list(same_recordings(prints)) == [(0, 5)]


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"f0_hz": 126}, {"rate": 4.65}, {"f0_range_st": 8}, {"whispered": True}, {"rate": 5.5}]
)
def test_another_take_of_the_same_words_is_not(take, other):
    second, _ = synth(TEXT, **{"f0_hz": 120, "seed": 1, "noise_db": -70, **other})
    a, b = fingerprint(take), fingerprint(second)
    best = align(a, b, range(-60, 61))
    assert best.frames > 100  # they were compared, and found different
    assert best.bit_error > 0.3
    assert not same_recordings([a, b])


def test_an_excerpt_is_not_a_copy(take):
    assert not same_recordings([fingerprint(take), fingerprint(take[: len(take) // 2])])


def test_silence_tones_and_stubs_match_nothing():
    tone = np.sin(2 * np.pi * 200 * np.arange(32_000) / 16_000).astype(np.float32)
    prints = [fingerprint(x) for x in (tone, tone.copy(), np.zeros(32_000, np.float32), np.ones(30, np.float32))]
    assert [len(p) > 0 for p in prints] == [True, True, False, False]
    assert not same_recordings([*prints, *prints])
    assert not same_recordings([])


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
    assert same_recordings(prints) == {}
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
    prints = [fingerprint(x) for x in originals]
    made = [(index, kind) for index in range(len(originals)) for kind in COPIES]
    copies = [fingerprint(COPIES[kind](originals[index]).astype(np.float32)) for index, kind in made]
    found = {pair for pair in same_recordings(prints + copies) if pair[0] < len(prints) <= pair[1]}
    true = {(index, len(prints) + place) for place, (index, _) in enumerate(made)}
    assert found <= true
    assert len(found) >= 0.97 * len(true), sorted({made[b - len(prints)] for _, b in true - found})


@pytest.mark.shared
def test_copies_found_in_the_wild():
    if not CORPORA.is_dir():
        pytest.skip("no shared corpora")
    names = ["duplicate_a_03-01-03-01-02-01-07", "duplicate_b_03-01-03-01-02-02-07",
             "wrong_speaker_03-01-05-01-01-01-02", "wrong_speaker_true_file_03-01-05-02-02-01-05",
             "resampled_22k_03-01-01-01-01-01-01", "original_48k_extra_chunk_03-01-01-01-01-01-01",
             "ravdess_stereo_03-01-02-01-01-02-01"]  # fmt: skip
    prints = [fingerprint(_read(CORPORA / "broken" / f"{name}.wav")) for name in names]
    assert list(same_recordings(prints)) == [(0, 1), (2, 3), (4, 5)]
