"""Acted corpora of few sentences survive condensation whole, whatever their labels say."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datagen.quality.emotions import emotion_table
from datagen.quality.fingerprint import fingerprint, pack
from datagen.quality.texts import text_key
from tests.stages.condensation import condense, neighboured

DEVSET = Path(__file__).parents[2].parent / "shared" / "corpora" / "devset"


def _delivery(samples):
    """Rough pitch, pitch range, syllable rate and level, enough to tell takes apart."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 640)[::320]
    power = np.square(frames).mean(axis=1)
    window = np.hanning(640)
    spectrum = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, 1024))
    lags = np.fft.irfft(spectrum**2)[:, :300] / np.fft.irfft(np.abs(np.fft.rfft(window, 1024)) ** 2)[:300]
    best = lags[:, 32:267].argmax(axis=1) + 32
    sounding = power > power.max() / 1000
    voiced = sounding & (lags[np.arange(len(lags)), best] > 0.5 * lags[:, 0])
    pitch = 16_000 / best[voiced]
    envelope = np.convolve(np.sqrt(power), np.ones(5) / 5, "same")
    middle = envelope[1:-1]
    nuclei = ((middle > envelope[:-2]) & (middle > envelope[2:]) & (middle > 0.15 * envelope.max())).sum()
    return {
        "f0_median_hz": float(np.median(pitch)),
        "f0_range_st": float(12 * np.log2(np.percentile(pitch, 95) / np.percentile(pitch, 5))),
        "rate_syl_s": float(nuclei / sounding.sum() * 50),
        "level_dbfs": float(10 * np.log10(power[sounding].mean())),
    }


@pytest.fixture(scope="module")
def acted():
    if not DEVSET.is_dir():
        pytest.skip("no shared corpora")
    rows = []
    for line in (DEVSET / "manifest.jsonl").open(encoding="utf-8"):
        entry = json.loads(line)
        if entry["corpus"] not in ("ravdess", "emodb"):
            continue
        samples, _ = soundfile.read(DEVSET / entry["file"], dtype="float32")
        rows.append(
            {
                "clip_id": entry["file"],
                "recording_id": entry["file"],
                "corpus": entry["corpus"],
                "speaker": entry["speaker"],
                "sex": entry["sex"],
                "duration": len(samples) / 16_000,
                "snr_db": 30.0,
                "audio_hash": str(hash(samples.tobytes())),
                "audio_fingerprint": pack(fingerprint(samples)),
                "emotion": emotion_table().lookup(entry["emotion"], entry["corpus"])[1],
                "label_source": "gold",
                "text_key": text_key(
                    entry.get("transcript_of_full_recording") or entry["transcript"], entry["language"]
                ),
                **_delivery(samples),
            }
        )
    return neighboured(rows, size=100)


@pytest.mark.shared
@pytest.mark.parametrize("labels", ["true", "30 % shuffled", "all neutral", "none"])
def test_ravdess_and_emodb_lose_nothing(acted, labels):
    rows = [dict(row) for row in acted]
    if labels == "30 % shuffled":
        rng = random.Random(7)
        chosen = rng.sample(rows, len(rows) * 3 // 10)
        emotions = [row["emotion"] for row in chosen]
        rng.shuffle(emotions)
        for row, emotion in zip(chosen, emotions, strict=True):
            row["emotion"] = emotion
    elif labels != "true":
        for row in rows:
            row["emotion"] = "neutral" if labels == "all neutral" else None
    copy = dict(rows[5], clip_id="zz/copy.flac", audio_hash="re-encoded")  # the same fingerprint in another file
    rows[5], copy = neighboured([rows[5], copy])
    assert {rows[5]["sound_group"], copy["sound_group"]} <= {rows[5]["clip_id"], copy["clip_id"]}
    result, report = condense([*rows, copy])
    assert report["dropped"] == {"duplicate:acoustic": 1}
    assert result["zz/copy.flac"]["dup_of"] == rows[5]["clip_id"]
    if labels == "all neutral":  # the measured delivery is what saves them
        blind = {"f0_st": 99, "f0_range_st": 99, "level_db": 99, "rate": 99, "duration": 99}
        assert condense(rows, dedup={"alike": blind})[1]["dropped"]["duplicate:semantic"] > 300
    if labels == "true":
        assert report["contrast"]["clips_by_type"] == {"same_speaker:emotion": len(rows)}
