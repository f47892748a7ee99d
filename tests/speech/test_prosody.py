"""What is measured on signals whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.models.f0 import F0Tracker
from datagen.speech import prosody
from datagen.testing.speech import VOICES, say, synth


@pytest.fixture(scope="module")
def tracker() -> F0Tracker:
    return F0Tracker()


def measure(samples: np.ndarray, tracker: F0Tracker) -> prosody.Measured:
    return prosody.measure(samples, prosody.track_f0(samples, tracker))


@pytest.mark.parametrize("hertz", [90.0, 130.0, 190.0, 260.0, 380.0])
def test_f0_is_found_within_half_a_semitone(tracker: F0Tracker, hertz: float) -> None:
    samples, truth = synth(16, f0_hz=hertz, f0_range_st=6.0, formant_scale=1.0 if hertz < 150 else 1.17, seed=1)
    measured = measure(samples, tracker)
    assert truth.f0_median_hz is not None
    assert abs(12 * np.log2(np.median(measured.f0) / truth.f0_median_hz)) < 0.5
    assert abs(prosody.range_semitones(measured.f0) - 6.0) < 1.5


@pytest.mark.parametrize("snr", [20.0, 10.0])
def test_f0_survives_noise(tracker: F0Tracker, snr: float) -> None:
    samples, truth = synth(16, f0_hz=150, level_db=-26, noise_db=-26 - snr, seed=2)
    measured = measure(samples, tracker)
    assert truth.f0_median_hz is not None
    assert abs(12 * np.log2(np.median(measured.f0) / truth.f0_median_hz)) < 0.5


@pytest.mark.parametrize("gain_db", [-40.0, -20.0, 6.0])
def test_nothing_but_level_depends_on_gain(tracker: F0Tracker, gain_db: float) -> None:
    samples, _ = say("Nobody told me, that the train was late.", VOICES[1], noise_db=-75)
    loud = measure(samples, tracker)
    other = measure(samples * np.float32(10 ** (gain_db / 20)), tracker)
    np.testing.assert_array_equal(loud.speech.active, other.speech.active)
    np.testing.assert_allclose(loud.f0, other.f0, rtol=1e-4)
    nuclei = [prosody.syllable_nuclei(m.frames, m.voiced) for m in (loud, other)]
    assert nuclei[0] == nuclei[1] > 5
    np.testing.assert_allclose(other.frames.level.max() - loud.frames.level.max(), gain_db, atol=1e-3)


def test_pauses_are_found_where_they_are(tracker: F0Tracker) -> None:
    samples, truth = synth(18, pauses={4: 0.5, 11: 0.9}, f0_hz=140, noise_db=-70, seed=4)
    measured = measure(samples, tracker)
    assert measured.pauses_reason is None
    np.testing.assert_allclose(measured.speech.pauses, [0.5, 0.9], atol=0.12)
    assert abs(measured.speech.pauses.sum() / measured.speech.span_s - truth.pause_ratio) < 0.05


def test_closures_are_not_pauses(tracker: F0Tracker) -> None:
    samples, _ = synth(14, pauses={3: 0.1, 8: 0.15}, f0_hz=140, seed=5)
    assert not len(measure(samples, tracker).speech.pauses)


@pytest.mark.parametrize("rate", [3.0, 4.5, 6.0])
def test_nuclei_count_syllables(tracker: F0Tracker, rate: float) -> None:
    """The synthetic voice has clear dips; real speech is harder, see docs/prosody.md."""
    samples, truth = synth(20, rate=rate, f0_hz=120, seed=6)
    measured = measure(samples, tracker)
    assert abs(prosody.syllable_nuclei(measured.frames, measured.voiced) - len(truth.syllables)) <= 3


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0, np.float32), "no speech"),
        (np.zeros(16_000, np.float32), "no speech"),
        (np.zeros(100, np.float32), "no speech"),
        (0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32), "noisy"),
        (np.sin(2 * np.pi * 150 * np.arange(16_000) / 16_000).astype(np.float32), "noisy"),
        (synth(14, whispered=True, seed=3)[0], "hardly voiced"),
        (synth(1, rate=6, seed=3)[0], "too short"),
    ],
    ids=["empty", "silence", "7 ms", "noise", "tone", "whisper", "one syllable"],
)
def test_what_cannot_be_measured_says_why(tracker: F0Tracker, samples: np.ndarray, reason: str) -> None:
    measured = measure(samples, tracker)
    assert measured.f0_reason == reason
    assert not len(measured.f0)


def test_octave_slips_are_left_out() -> None:
    hertz = np.concatenate([np.full(60, 150.0), np.full(6, 400.0), np.full(40, 140.0), np.full(5, 60.0)])
    kept = prosody.steady_f0(hertz, np.ones(len(hertz), bool))
    assert kept.min() == 140 and kept.max() == 150 and len(kept) == 100


def test_short_blips_of_voicing_are_left_out() -> None:
    voiced = np.zeros(50, bool)
    voiced[10:13] = voiced[20:40] = True
    assert len(prosody.steady_f0(np.full(50, 120.0), voiced)) == 20


def test_a_full_scale_sine_has_minus_three_db() -> None:
    samples = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    frames = prosody.analyse(samples)
    np.testing.assert_allclose(frames.level[5:-5], -3.01, atol=0.05)
    assert frames.band_db(500, 2000)[50] == pytest.approx(-3.01, abs=0.05)
    assert frames.band_db(3000, 8000)[50] < -60
