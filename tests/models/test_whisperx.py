"""Whisper for many clips at once says what the stock call says clip by clip.

The tiny random Whisper decodes to its limit now and then; both sides are held to 64 tokens per window instead of 224.
"""

import logging
import socket

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.errors import EnvironmentFault, RunError
from datagen.models import manifest
from datagen.models.batching import Room
from datagen.models.whisperx import WhisperX, lacking, recogniser, vad, windows
from datagen.speech import hallucination
from datagen.testing.speech import SENTENCES, synth

TOLERANCE = 1e-4
OWN_LIMIT = recogniser.MOST_TOKENS
RATE = 16_000


@pytest.fixture(scope="module", autouse=True)
def no_network():
    """From before whisperx is first imported: an attempt to reach anything is an error."""

    def refuse(*args, **kwargs):
        raise AssertionError("somebody looked for a network")

    kept = {name: getattr(socket, name) for name in ("getaddrinfo", "create_connection")}
    connect = socket.socket.connect
    for name in kept:
        setattr(socket, name, refuse)
    socket.socket.connect = refuse
    yield
    socket.socket.connect = connect
    for name, function in kept.items():
        setattr(socket, name, function)


@pytest.fixture(scope="module", autouse=True)
def short_texts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recogniser, "MOST_TOKENS", 64)
        yield


@pytest.fixture(scope="module")
def model(whisper_folder):
    return manifest.find(str(whisper_folder), "whisper-large-v3")


@pytest.fixture(scope="module")
def everything(model, no_network):
    return WhisperX(model, method="none", beam_size=2)


@pytest.fixture(scope="module")
def speaking(model, no_network):
    return WhisperX(model, method="pyannote", beam_size=2)


def stock(whisper, sounds, language=None):
    """``pipeline.transcribe`` of whisperx itself, one clip after the other, with its own voice detector."""
    pipeline = whisper.pipeline
    pipeline.model.max_length = 2 * recogniser.MOST_TOKENS
    pipeline.vad_model = whisper.detector.vad if hasattr(whisper.detector, "vad") else _Whole()
    return [pipeline.transcribe(sound, batch_size=1, language=language) for sound in sounds]


class _Whole:
    """The clip as one stretch, in the form in which WhisperX takes a voice detector."""

    def __new__(cls):
        from whisperx.diarize import Segment
        from whisperx.vads import Silero

        class Whole(Silero):
            def __init__(self): ...

            def __call__(self, audio, **kwargs):
                return [Segment(0.0, len(audio["waveform"]) / RATE)]

        return Whole()


def speech(seconds, seed):
    """``seconds`` of a voice of its own, cut or followed by silence."""
    said = synth(SENTENCES[seed % 8], f0_hz=90 + seed % 13 * 12, rate=3 + seed % 4, seed=seed, noise_db=-60)[0]
    wanted = int(seconds * RATE)
    return np.pad(said, (0, max(wanted - len(said), 0)))[:wanted]


def as_stock(found):
    """In the form of the stock answer, to be compared within the tolerance."""
    segments = [{"text": one.text, "start": one.start, "end": one.end} for one in found.heard]
    for segment, one in zip(segments, found.heard, strict=True):
        segment["avg_logprob"] = pytest.approx(one.avg_logprob, abs=TOLERANCE)
    return {"language": found.language, "segments": segments}


def assert_spread(found):
    """Numbers far enough apart for their agreement to mean something."""
    values = [one.avg_logprob for clip in found for one in clip.heard]
    assert np.ptp(values) >= 100 * TOLERANCE
    assert len({one.text for clip in found for one in clip.heard}) > len(values) / 2


# --- As the stock call --------------------------------------------------------------------------------------


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.lists(st.tuples(st.floats(0.3, 12), st.integers(0, 40)), min_size=2, max_size=5, unique_by=lambda clip: clip[1])
)
def test_a_batch_of_any_lengths_is_heard_as_one_clip_at_a_time(everything, clips):
    sounds = [speech(seconds, seed) for seconds, seed in clips]
    found = everything(sounds, [None] * len(sounds))
    assert [as_stock(one) for one in found] == stock(everything, sounds)


def test_with_its_voice_detector_too_and_longer_clips_in_several_stretches(speaking):
    pauses = np.zeros(6 * RATE, np.float32)
    long = np.concatenate([part for seed in range(4) for part in (speech(3.5, seed), pauses)])
    sounds = [speech(4, 1), long, speech(2, 3)]
    found = speaking(sounds, ["en"] * 3)
    assert [as_stock(one) for one in found] == stock(speaking, sounds, "en")
    assert len(found[1].heard) >= 2 and found[1].heard[0].speech_s < found[1].heard[0].end
    assert_spread(found)


def test_neighbours_change_nothing_though_what_is_compared_does_differ(everything):
    sounds = [speech(1 + seed / 2, seed) for seed in range(8)]
    together = everything(sounds, [None] * 8)
    alone = [everything([sound], [None])[0] for sound in sounds]
    assert [as_stock(one) for one in alone] == [as_stock(one) for one in together]
    assert [one.heard[0].no_speech for one in alone] == pytest.approx(
        [one.heard[0].no_speech for one in together], abs=1e-6
    )
    assert_spread(together)
    backwards = everything(sounds[::-1], [None] * 8)[::-1]
    assert [as_stock(one) for one in backwards] == [as_stock(one) for one in together]


def test_padding_to_the_longest_instead_of_the_window_would_not_pass(everything):
    """The comparison can fail: the same sounds, mixed up or lengthened by noise, give other texts."""
    sounds = [speech(1 + seed / 2, seed) for seed in range(4)]
    found = [as_stock(one) for one in everything(sounds, ["en"] * 4)]
    longest = max(len(sound) for sound in sounds)
    noise = np.random.default_rng(0).normal(0, 0.01, longest).astype(np.float32)
    filled = [np.concatenate([sound, noise[len(sound) :]]) for sound in sounds]
    wrong = stock(everything, filled, "en")
    assert sum(a["segments"][0]["text"] != b["segments"][0]["text"] for a, b in zip(found, wrong, strict=True)) >= 2


def test_each_clip_of_a_batch_is_prompted_in_its_own_language(everything):
    sounds = [speech(2, seed) for seed in range(3)]
    mixed = everything(sounds, ["de", "ja", "en"])
    expected = [stock(everything, [sound], lang)[0] for sound, lang in zip(sounds, ["de", "ja", "en"], strict=True)]
    assert [as_stock(one) for one in mixed] == expected
    assert [one.language_score for one in mixed] == [None] * 3
    english = everything(sounds, ["en"] * 3)
    assert [one.heard[0].text for one in english] != [one.heard[0].text for one in mixed]


# --- Languages ----------------------------------------------------------------------------------------------


def probabilities(whisper, sound):
    encoded = whisper._encode([sound])
    return {token[2:-2]: score for token, score in whisper._whisper.model.detect_language(encoded)[0]}


def test_languages_are_told_apart_among_those_of_a_list(everything):
    sounds = [speech(2, seed) for seed in range(5)]
    known = [probabilities(everything, sound) for sound in sounds]
    free = everything(sounds, [None] * 5)
    assert [one.language for one in free] == [max(one, key=one.get) for one in known]
    listed = ["en", "de", "fr", "pl"]
    found = everything(sounds, [None] * 5, listed)
    assert [one.language for one in found] == [max(listed, key=one.get) for one in known]
    assert [one.language_score for one in found] == pytest.approx(
        [max(one[name] for name in listed) for one in known], abs=TOLERANCE
    )
    assert {one.language for one in found} <= set(listed) and {one.language for one in free} - set(listed)


def test_the_window_that_tells_the_language_is_the_first_30_seconds_whatever_the_detector_finds(speaking):
    late = np.concatenate([np.zeros(2 * RATE, np.float32), speech(3, 4), np.zeros(RATE, np.float32)])
    (found,) = speaking([late], [None])
    assert found.heard[0].start > 1
    known = probabilities(speaking, late)
    assert found.language == max(known, key=known.get)
    assert found.language_score == pytest.approx(known[found.language], abs=TOLERANCE)


def test_a_window_heard_for_both_language_and_text_is_encoded_once(everything, monkeypatch):
    calls = []
    encode = everything._whisper.encode
    monkeypatch.setattr(everything._whisper, "encode", lambda features: calls.append(len(features)) or encode(features))
    everything([speech(2, 1), speech(3, 2)], [None, None])
    assert calls == [1, 1], "on a CPU, one after the other"


def test_codes_are_iso_whatever_whisper_calls_them(everything):
    assert {"jv", "no", "en", "zh", *hallucination._SCRIPTS} <= everything.languages
    assert "jw" not in everything.languages
    (found,) = everything([speech(2, 1)], ["jv"])
    assert found.language == "jv"
    assert as_stock(found)["segments"] == stock(everything, [speech(2, 1)], "jw")[0]["segments"]


def test_bokmal_is_what_whisper_calls_norwegian(everything):
    assert {"nb", "no", "nn"} <= everything.languages
    given, told, norwegian = everything([speech(2, 1)] * 3, ["nb", None, "no"], ["nb"])
    assert (given.language, told.language, norwegian.language) == ("nb", "nb", "no")
    assert given.heard == told.heard == norwegian.heard


# --- Caps and memory ----------------------------------------------------------------------------------------


def test_a_cap_on_tokens_follows_the_seconds_of_the_clip_and_nobody_else_s(model):
    capped = WhisperX(model, method="none", beam_size=2, max_tokens_per_second=4)
    sounds = [speech(seconds, seed) for seed, seconds in enumerate((1.5, 2, 4, 9, 2))]
    found = capped(sounds, ["en"] * 5)
    assert [one.heard[0].tokens <= limit for one, limit in zip(found, (8, 8, 16, 36, 8), strict=True)] == [True] * 5
    assert [as_stock(capped([sound], ["en"])[0]) for sound in sounds] == [as_stock(one) for one in found]
    unbound = WhisperX(model, method="none", beam_size=2)
    assert unbound.pipeline.model.max_length == 2 * OWN_LIMIT, "else the stock call would stop elsewhere"
    free = unbound(sounds, ["en"] * 5)
    assert any(a.heard[0].tokens > b.heard[0].tokens for a, b in zip(free, found, strict=True))
    assert all(one.heard[0].tokens <= recogniser.MOST_TOKENS for one in free)


def test_out_of_memory_halves_the_batch_says_so_once_and_loses_nothing(everything, monkeypatch, caplog):
    sounds = [speech(1 + seed / 4, seed) for seed in range(5)]
    expected = [as_stock(one) for one in everything(sounds, ["en"] * 5)]
    encode, sizes = everything._encode, []

    def narrow(some):
        sizes.append(len(some))
        if len(some) > 2:
            raise RuntimeError("CUDA failed with error out of memory")
        return encode(some)

    monkeypatch.setattr(everything, "room", Room("tiny", 480.0))
    monkeypatch.setattr(everything, "_encode", narrow)
    with caplog.at_level(logging.WARNING):
        assert [as_stock(one) for one in everything(sounds, ["en"] * 5)] == expected
        everything(sounds, ["en"] * 5)
    assert sizes == [5, 3, 2, 1, 2, 2, 2, 1], "what is smaller from now on is not tried larger again"
    assert sum("out of memory" in record.message for record in caplog.records) == 1


def test_one_window_that_does_not_fit_is_the_machine_s_fault(everything, monkeypatch):
    def full(features):
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(everything, "room", Room("tiny", 480.0))
    monkeypatch.setattr(everything._whisper, "encode", full)
    with pytest.raises(EnvironmentFault, match=r"tiny: 30\.0 s of audio alone do not fit"):
        everything([speech(1, 1), speech(2, 2)], ["en", "en"])


# --- Parts --------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    st.one_of(st.integers(100, 4000), st.integers(470_000, 490_000), st.integers(4000, 300_000)),
    st.sampled_from([80, 128]),
)
def test_the_short_way_to_a_mel_window_gives_the_long_way_s(length, bands):
    from whisperx.audio import N_SAMPLES, log_mel_spectrogram

    samples = (np.random.default_rng(length).normal(0, 0.1, length) * np.linspace(0, 1, length)).astype(np.float32)
    short = windows.mel(samples, bands)
    full = log_mel_spectrogram(samples[:N_SAMPLES], bands, padding=max(N_SAMPLES - length, 0)).numpy()
    assert short.shape == full.shape == (bands, 3000)
    assert np.abs(short - full).max() < 2e-5 < np.ptp(full) / 100


def test_voice_activity_of_many_clips_is_that_of_each(speaking):
    detector = speaking.detector
    sounds = [speech(seconds, seed) for seed, seconds in enumerate((0.2, 3, 4.99, 5, 5.2, 7.5, 11))]
    found = detector.scores(sounds)
    expected = [detector.vad({"waveform": torch.from_numpy(sound)[None], "sample_rate": RATE}) for sound in sounds]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.data.shape == theirs.data.shape
        assert (mine.sliding_window.start, mine.sliding_window.step) == (
            theirs.sliding_window.start,
            theirs.sliding_window.step,
        )
        assert np.abs(mine.data - theirs.data).max() < 1e-5
    values = np.concatenate([theirs.data for theirs in expected])
    assert np.ptp(values) >= 100 * 1e-5
    shuffled = detector.scores(sounds[::-1])[::-1]
    assert max(np.abs(a.data - b.data).max() for a, b in zip(found, shuffled, strict=True)) < 1e-5


@pytest.mark.parametrize("method", ["pyannote", "silero"])
def test_detectors_hear_speech_where_it_is_and_none_in_silence(method, speaking):
    detector = speaking.detector if method == "pyannote" else vad.detector(method, "cpu")
    silence = np.zeros(2 * RATE, np.float32)
    jfk = _clip("speeches/jfk_inaugural_1961.flac")
    stretches, nothing, padded = detector([jfk, silence, np.concatenate([silence, jfk, silence])])
    assert nothing == [] and stretches and padded
    assert all(0 < part.speech_s <= part.end - part.start + 1e-6 for part in stretches + padded)
    assert padded[0].start == pytest.approx(stretches[0].start + 2, abs=0.5)
    assert sum(part.speech_s for part in stretches) > len(jfk) / RATE / 2


def test_without_a_detector_a_clip_is_heard_in_windows_of_30_seconds():
    whole, long, empty = vad.detector("none", "cpu")([np.zeros(n, np.float32) for n in (RATE, 61 * RATE, 0)])
    assert whole == [(0, 1, 1)] and [part[:2] for part in long] == [(0, 30), (30, 60), (60, 61)] and empty == []


def test_nobody_speaks_no_text_and_no_language(speaking):
    found = speaking([np.zeros(RATE, np.float32), speech(3, 2)], [None, None])
    assert found[0].heard == [] and found[0].language is None and found[0].language_score is None
    assert found[1].heard and found[1].language


def test_what_is_lacking_is_said(model, tmp_path, monkeypatch):
    assert lacking(model) is None
    for name in ("config.json", "model.bin", "vocabulary.txt"):
        (tmp_path / name).write_bytes(b"")
    assert "lacks tokenizer.json" in lacking(manifest.find(str(tmp_path), "whisper-large-v3"))
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    assert (
        lacking(manifest.find("", "whisper-tiny")) == "model whisper-tiny is not here: datagen models pull whisper-tiny"
    )


def test_a_broken_model_is_an_error_that_names_it(tmp_path):
    for name in ("config.json", "model.bin", "vocabulary.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(RunError, match=r"whisper-large-v3 in .* cannot be loaded"):
        WhisperX(manifest.find(str(tmp_path), "whisper-large-v3"), method="none")


def _clip(name):
    from pathlib import Path

    from datagen.speech.audio import decode_flac

    return decode_flac((Path(__file__).resolve().parents[2] / "examples" / "clips" / name).read_bytes())
