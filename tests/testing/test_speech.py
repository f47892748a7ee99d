"""Does the synthetic voice hold what its truth says? Measured here with means of our own, not the pipeline's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.testing.speech import HIGH_AROUSAL, SAMPLE_RATE, VOICES, Truth, corpus, say, syllables, synth

TEXT = "The harbour was quiet, and nobody spoke. We can leave as soon as it stops raining."


def f0_by_autocorrelation(samples: np.ndarray, truth: Truth) -> np.ndarray:
    """F0 at the truth's voiced instants, in Hz: highest peak of the normalised autocorrelation of 48 ms."""
    found = []
    for at in truth.f0_times[np.isfinite(truth.f0_hz)]:
        middle = int(at * SAMPLE_RATE)
        cut = samples[max(middle - 384, 0) : middle + 384].astype(float)
        if len(cut) < 768:
            continue
        spectrum = np.fft.rfft(cut * np.hanning(768), 2048)
        window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(768), 2048)) ** 2)[40:200]
        lags = np.fft.irfft(np.abs(spectrum) ** 2)[40:200] / window
        found.append(SAMPLE_RATE / (40 + int(np.argmax(lags > 0.95 * lags.max()))))
    return np.array(found)


def level(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2))))


def cut(samples: np.ndarray, start: float, end: float) -> np.ndarray:
    return samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]


@pytest.mark.parametrize("f0_hz", [90.0, 140.0, 230.0])
def test_measured_f0_is_the_truths(f0_hz: float) -> None:
    samples, truth = synth(TEXT, f0_hz=f0_hz, f0_range_st=4, seed=2)
    assert truth.f0_median_hz == pytest.approx(f0_hz, rel=0.005)
    assert truth.f0_range_st == pytest.approx(4, abs=0.3)
    assert np.median(f0_by_autocorrelation(samples, truth)) == pytest.approx(f0_hz, rel=0.03)


@given(
    syllable_count=st.integers(1, 25),
    f0_hz=st.floats(70, 400),
    rate=st.floats(2, 8),
    level_db=st.floats(-60, -24),
    whispered=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_what_was_asked_is_in_the_samples(
    syllable_count: int, f0_hz: float, rate: float, level_db: float, whispered: bool, seed: int
) -> None:
    samples, truth = synth(syllable_count, f0_hz=f0_hz, rate=rate, level_db=level_db, whispered=whispered, seed=seed)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert len(samples) == round(truth.duration * SAMPLE_RATE)
    assert level(cut(samples, truth.speech_start, truth.speech_end)) == pytest.approx(level_db, abs=0.1)
    assert truth.speech_end - truth.speech_start == pytest.approx(syllable_count / rate)
    assert len(truth.syllables) == syllable_count
    assert np.isfinite(truth.f0_hz).any() != whispered


def test_pauses_are_silent_and_where_the_truth_says() -> None:
    samples, truth = synth(12, pauses={3: 0.4, 7: 0.8}, seed=5)
    assert [round(p.end - p.start, 6) for p in truth.pauses] == [0.4, 0.8]
    for pause in truth.pauses:
        assert not cut(samples, pause.start, pause.end).any()
    assert not cut(samples, 0, truth.speech_start).any()
    assert truth.pause_ratio == pytest.approx(1.2 / (truth.speech_end - truth.speech_start))
    speech = np.concatenate([cut(samples, *span) for span in truth.speech_spans])
    assert level(speech) == pytest.approx(-26, abs=0.1)


def test_syllables_are_humps_in_level() -> None:
    samples, truth = synth(10, rate=4, seed=9)
    for span in truth.syllables:
        length = span.end - span.start
        middle = level(cut(samples, span.start + 0.45 * length, span.start + 0.75 * length))
        onset = level(cut(samples, span.start, span.start + 0.15 * length) + 1e-9)
        assert middle - onset > 6


def test_formants_follow_the_vocal_tract() -> None:
    def centroid(scale: float) -> float:
        samples, _ = synth(TEXT, formant_scale=scale, seed=4)
        power = np.abs(np.fft.rfft(samples)) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
        band = (hertz > 1500) & (hertz < 4000)
        return float((power[band] * hertz[band]).sum() / power[band].sum())

    assert centroid(1.17) > centroid(1.0) * 1.05


def test_a_flatter_source_has_more_energy_above_500_hz() -> None:
    def share(tilt: float) -> float:
        samples, _ = synth(TEXT, tilt_db_octave=tilt, seed=4)
        power = np.abs(np.fft.rfft(samples)) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
        return float(power[hertz > 500].sum() / power[hertz > 80].sum())

    assert share(-3) > share(-6) > share(-12)


def test_a_whisper_has_formants_but_no_period() -> None:
    whisper, truth = synth(TEXT, whispered=True, seed=6)
    spoken, _ = synth(TEXT, f0_hz=120, f0_range_st=0.5, seed=6)
    assert truth.f0_median_hz is None
    assert truth.f0_range_st is None

    def periodicity(samples: np.ndarray) -> float:
        peaks = []
        for span in truth.syllables:
            part = cut(samples, span.start + 0.4 * (span.end - span.start), span.end - 0.02).astype(float)
            lags = np.fft.irfft(np.abs(np.fft.rfft(part, 8192)) ** 2)
            peaks.append(lags[80:230].max() / lags[0])
        return float(np.median(peaks))

    assert periodicity(spoken) > 0.7
    assert periodicity(whisper) < 0.45


def test_noise_sets_the_signal_to_noise_ratio() -> None:
    samples, truth = synth(8, level_db=-30, noise_db=-50, pauses={3: 0.5}, seed=7)
    assert truth.snr_db == pytest.approx(20)
    pause = truth.pauses[0]
    assert level(cut(samples, pause.start, pause.end)) == pytest.approx(-50, abs=0.5)


def test_words_have_their_syllables_times() -> None:
    _, truth = synth(TEXT, seed=8)
    assert [word.label for word in truth.words][:4] == ["The", "harbour", "was", "quiet"]
    assert truth.words[1].end == truth.syllables[2].end
    assert all(a.end <= b.start + 1e-9 for a, b in zip(truth.words, truth.words[1:], strict=False))
    assert len(truth.pauses) == 2  # after the comma and between the sentences, none after the last word


@pytest.mark.parametrize(("word", "count"), [("harbour", 2), ("quite", 1), ("nobody", 3), ("hm", 1), ("table", 2)])
def test_syllables_of_a_written_word(word: str, count: int) -> None:
    assert len(syllables(word)) == count


def test_same_arguments_same_samples_other_seed_other_samples() -> None:
    one, other, third = (synth(9, seed=seed, noise_db=-60)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one[:10_000], third[:10_000])


@pytest.mark.parametrize("call", [lambda: synth(0), lambda: synth("..."), lambda: synth(3, rate=0)])
def test_nonsense_is_refused(call) -> None:
    with pytest.raises(ValueError):
        call()


def test_aroused_manners_are_higher_louder_and_faster() -> None:
    _, calm = say(TEXT, VOICES[0], "sad", seed=1)
    for emotion in HIGH_AROUSAL:
        _, excited = say(TEXT, VOICES[0], emotion, seed=1)
        assert excited.f0_median_hz > calm.f0_median_hz * 1.1
        assert excited.level_dbfs > calm.level_dbfs + 4
        assert excited.rate_syl_s > calm.rate_syl_s


def test_corpus_is_an_audio_folder_of_parallel_sentences(tmp_path: Path) -> None:
    made = corpus(tmp_path, speakers=2, emotions=("sad", "angry"), sentences=2, suffix="wav")
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert rows == [row for row, _ in made]
    assert len(rows) == 8
    assert {row["sex"] for row in rows} == {"female", "male"}
    for row, truth in made:
        samples, rate = soundfile.read(tmp_path / row["file_name"], dtype="float32")
        assert rate == SAMPLE_RATE
        assert len(samples) == round(truth.duration * SAMPLE_RATE)
    assert len({(row["speaker"], row["transcript"]) for row in rows}) == 4  # each said in both emotions


def test_a_grown_corpus_changes_no_earlier_file(tmp_path: Path) -> None:
    corpus(tmp_path / "small", speakers=1, emotions=("sad",), sentences=1)
    corpus(tmp_path / "large", speakers=2, emotions=("angry", "sad"), sentences=2, takes=2)
    file = "ada/00-sad-1.flac"
    assert (tmp_path / "small" / file).read_bytes() == (tmp_path / "large" / file).read_bytes()


def test_a_level_normalised_corpus_has_one_level(tmp_path: Path) -> None:
    made = corpus(tmp_path, speakers=3, emotions=("sad", "angry"), sentences=1, level_normalised=True)
    assert {truth.level_dbfs for _, truth in made} == {-26.0}
