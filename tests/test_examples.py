"""The shipped clips are what their papers say: complete, decodable, licensed, small, and hard in the right places."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from datagen.quality.licences import published

CLIPS = Path(__file__).parent.parent / "examples" / "clips"
ROWS = [json.loads(line) for line in (CLIPS / "metadata.jsonl").read_text("utf-8").splitlines()]
BY_FILE = {row["file_name"]: row for row in ROWS}
BROKEN = "reuploads/failed_download.wav"
DUPLICATE, ORIGINAL = "reuploads/reading_excerpt.mp3", "librispeech/3080-5032-0001.flac"
PAPERS = {"README.md", "ATTRIBUTION.md", "metadata.jsonl"}


def read(file_name: str) -> np.ndarray:
    samples, rate = soundfile.read(CLIPS / file_name, dtype="float64")
    assert rate == 16_000
    assert samples.ndim == 1
    return samples


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    on_disk = {p.relative_to(CLIPS).as_posix() for p in CLIPS.rglob("*") if p.is_file()} - PAPERS
    assert on_disk == set(BY_FILE)
    assert len(BY_FILE) == len(ROWS)


def test_rows_have_one_set_of_keys_documented_in_the_readme() -> None:
    readme = (CLIPS / "README.md").read_text("utf-8")
    assert len({tuple(row) for row in ROWS}) == 1
    for key in ROWS[0]:
        assert f"`{key}`" in readme
    assert {row["sex"] for row in ROWS} == {"female", "male", None}
    assert {row["language"] for row in ROWS} == {"en", "de", "es"}


def test_the_folder_stays_small() -> None:
    assert sum(p.stat().st_size for p in CLIPS.rglob("*") if p.is_file()) < 8_000_000


@pytest.mark.parametrize("file_name", [name for name in BY_FILE if name != BROKEN])
def test_clip_decodes_and_is_not_silent(file_name: str) -> None:
    samples = read(file_name)
    assert len(samples) > 16_000
    assert np.isfinite(samples).all()
    # The whisper lies at -51 dBFS: quiet speech is speech.
    assert -55 < 20 * np.log10(np.sqrt(np.mean(samples**2))) < -10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file_name"])
def test_clip_may_be_passed_on_and_sold_and_is_attributed(row: dict) -> None:
    permitted = published().permissions(row["licence"])
    assert permitted.redistribute_audio
    assert permitted.derivatives
    assert permitted.commercial
    papers = (CLIPS / "ATTRIBUTION.md").read_text("utf-8")
    assert f"{row['file_name'].split('/')[0]}/" in papers


def test_one_sentence_is_said_in_eight_ways() -> None:
    group = [row for row in ROWS if row["transcript"] == "Mist, wieder nichts geschafft."]
    assert len({row["emotion"] for row in group}) == len(group) == 8
    assert {row["speaker"] for row in group} == {"thorsten"}


def test_read_english_has_ten_speakers_of_both_sexes_and_no_invented_words() -> None:
    rows = [row for row in ROWS if row["corpus"] == "librispeech"]
    assert Counter({row["speaker"]: row["sex"] for row in rows}.values()) == {"female": 5, "male": 5}
    assert not any(row["transcript"] for row in rows)


def test_long_recordings_with_text_have_to_be_cut() -> None:
    long = [row for row in ROWS if row["file_name"] != BROKEN and len(read(row["file_name"])) > 30 * 16_000]
    assert {row["language"] for row in long} == {"en", "de", "es"}
    assert all(row["transcript"] for row in long)


def test_the_duplicate_is_the_same_sound_in_other_bytes() -> None:
    original, copy = read(ORIGINAL), read(DUPLICATE)
    assert BY_FILE[DUPLICATE]["corpus"] != BY_FILE[ORIGINAL]["corpus"]
    size = 1 << 18
    product = np.fft.rfft(copy, size) * np.conj(np.fft.rfft(original, size))
    likeness = np.fft.irfft(product).max() / np.sqrt((original**2).sum() * (copy**2).sum())
    assert likeness > 0.98
    assert 20 * np.log10(copy.std() / original.std()) == pytest.approx(-4, abs=0.3)


def test_the_broken_file_cannot_be_decoded_by_anything() -> None:
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(CLIPS / BROKEN)
    with pytest.raises(av.FFmpegError):
        av.open(str(CLIPS / BROKEN))
