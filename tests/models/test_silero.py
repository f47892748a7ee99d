import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datagen.models import silero
from datagen.speech.audio import decode_flac
from datagen.testing.speech import synth

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips"
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "corpora"


@pytest.fixture(scope="module")
def detect():
    return silero.Silero()


@pytest.fixture(scope="module")
def jfk():
    return decode_flac((CLIPS / "speeches" / "jfk_inaugural_1961.flac").read_bytes())


def test_speech_is_told_from_its_pauses(detect, jfk):
    speech = detect(jfk)
    assert len(speech) == -(-len(jfk) // silero.FRAME)

    def share(begin, end):
        return np.mean(speech[int(begin / silero.FRAME_S) : int(end / silero.FRAME_S)] >= 0.5)

    assert share(0.4, 2.0) > 0.9  # And so, my fellow Americans
    assert share(2.5, 3.2) < 0.1
    assert share(4.5, 5.3) < 0.1


def test_sixty_decibels_less_change_nothing_that_matters(detect, jfk):
    loud, quiet = detect(jfk), detect(jfk / 1000)
    assert np.mean((loud >= 0.5) == (quiet >= 0.5)) > 0.97


def test_noise_and_silence_are_not_speech(detect):
    noise = np.random.default_rng(5).normal(0, 0.01, 16000 * 3).astype(np.float32)
    assert detect(noise).max() < 0.5
    assert detect(np.zeros(16000, np.float32)).max() < 0.1
    assert detect(np.zeros(0, np.float32)).shape == (0,)


def test_the_same_sound_gives_the_same_numbers_in_one_block_or_many(detect, jfk, monkeypatch):
    whole = detect(jfk)
    monkeypatch.setattr(silero, "_BLOCK_FRAMES", 37)
    assert np.array_equal(detect(jfk), whole)


def test_the_model_is_found_without_importing_its_package():
    found = "bool(silero.model_path()), 'faster_whisper' in sys.modules"
    ask = f"import sys; from datagen.models import silero; print({found})"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False"], "other tests import it, so a process of its own is asked"


def test_synthetic_speech_is_heard_as_speech(detect):
    samples, truth = synth("Nobody told me that the train was late.", seed=4)
    speech = detect(samples)
    assert speech.max() > 0.5, truth.duration


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared corpora")
def test_the_shared_broken_noise_and_silence_are_not_speech(detect):
    import soundfile

    for name in ("noise_only_1.5s.wav", "silence_1.5s.wav"):
        samples, _ = soundfile.read(SHARED / "broken" / name, dtype="float32")
        assert detect(samples).max() < 0.2
