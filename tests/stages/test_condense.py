"""Condensation: true copies go, contrast stays, and nothing depends on the order of rows."""

import io
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import tables
from datagen.errors import RunError
from datagen.quality.emotions import emotion_table
from datagen.quality.fingerprint import fingerprint, pack
from datagen.quality.texts import text_key
from datagen.stages.condense import Condense, CondenseConfig
from datagen.stages.fingerprint import Fingerprint
from datagen.testing.batches import batch_for
from datagen.testing.speech import synth

DEVSET = Path(__file__).parents[2].parent / "shared" / "corpora" / "devset"
TAKE = {"level_dbfs": -25.0, "f0_median_hz": 120.0, "f0_range_st": 5.0, "rate_syl_s": 4.5, "duration": 2.0}


def clip(number, **changes):
    row = {"clip_id": f"c{number:03}", "recording_id": f"r{number}", "corpus": "toy", "speaker": "toy/1",
           "sex": "female", "speech_lang": "en", "audio_hash": f"h{number}", "snr_db": 30.0, "label_source": "gold",
           "emotion": "neutral", "text_key": "en|kids are talking by the door", **TAKE}  # fmt: skip
    return row | changes


def condense(rows, seed=0, previous=None, **config):
    stage = Condense(CondenseConfig(**config), seed=seed)
    stage.previous = previous
    out = stage.process(batch_for(stage, rows))
    assert out.columns.schema == tables.CONDENSE
    columns = out.columns.to_pylist()
    assert {drop.row: drop.reason for drop in out.drops} == {
        row: column["drop_reason"] for row, column in enumerate(columns) if column["drop_reason"]
    }
    return {row["clip_id"]: column for row, column in zip(rows, columns, strict=True)}, out.artifact


def kept(result):
    return {clip_id for clip_id, column in result.items() if column["drop_reason"] is None}


def committed(result):
    """What the engine hands to the next run as ``previous``."""
    rows = [{"clip_id": clip_id, **column} for clip_id, column in result.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema([pa.field("clip_id", pa.string()), *tables.CONDENSE]))


# --- dedup ----------------------------------------------------------------------------------------------------


def test_of_equal_sounds_the_better_labelled_one_stays():
    rows = [
        clip(1, audio_hash="x", emotion=None, label_source=None),
        clip(2, audio_hash="x", snr_db=20.0),
        clip(3, audio_hash="x", snr_db=35.0),
        clip(4, audio_hash="x", snr_db=35.0, speaker=None),
    ]
    result, report = condense(rows)
    assert kept(result) == {"c003"}
    assert {c["dup_of"] for i, c in result.items() if i != "c003"} == {"c003"}
    assert report["dropped"] == {"duplicate:content": 3}


def test_a_copy_under_another_label_is_told():
    rows = [clip(1, audio_hash="x", emotion="angry"), clip(2, audio_hash="x", emotion="sad"), clip(3, audio_hash="x")]
    _, report = condense(rows)
    assert report["copies_with_other_labels"] == 2
    assert report["examples"]["copies_with_other_labels"][0] == {
        "clip_id": "c002", "dup_of": "c001", "reason": "duplicate:content",
    }  # fmt: skip


@pytest.fixture(scope="module")
def takes():
    """Six takes of one sentence by one voice, and one of them re-encoded, as the stage sees them."""
    stage = Fingerprint()
    sounds = [synth("Kids are talking by the door.", f0_hz=115 + 3 * n, seed=n, noise_db=-70)[0] for n in range(6)]
    buffer = io.BytesIO()
    soundfile.write(buffer, sounds[2] * 0.4, 16_000, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.5)
    buffer.seek(0)
    sounds.append(soundfile.read(buffer, dtype="float32")[0][900:])
    rows = []
    for number, samples in enumerate(sounds):
        flac = io.BytesIO()
        soundfile.write(flac, samples, 16_000, format="FLAC")
        rows.append(clip(number, audio=flac.getvalue(), f0_median_hz=115.0 + 3 * number))
    prints = stage.process(batch_for(stage, rows)).columns["audio_fingerprint"].to_pylist()
    return [row | {"audio_fingerprint": words} for row, words in zip(rows, prints, strict=True)]


@pytest.mark.parametrize("labels", ["true", "neutral", "shuffled", "none"])
def test_only_the_reencoded_copy_of_generated_takes_goes(takes, labels):
    emotions = {
        "true": ["neutral", "neutral", "angry", "angry", "sad", "sad", "angry"],
        "shuffled": ["sad", "angry", "angry", "neutral", "neutral", "sad", "neutral"],
    }.get(labels, ["neutral" if labels == "neutral" else None] * 7)
    result, report = condense([row | {"emotion": e} for row, e in zip(takes, emotions, strict=True)])
    assert report["dropped"] == {"duplicate:acoustic": 1}
    gone = next(column for column in result.values() if column["drop_reason"])
    assert {gone["dup_of"]} | {i for i, c in result.items() if c is gone} == {"c002", "c006"}


def test_a_broken_audio_column_is_a_reject_not_a_crash():
    stage = Fingerprint()
    out = stage.process(batch_for(stage, [clip(1, audio=b"not audio"), clip(2, audio=None)]))
    assert [(r.row, r.error_class) for r in out.rejects] == [(0, "Undecodable"), (1, "Undecodable")]


def test_repeats_of_one_take_are_thinned_to_keep_per_cell():
    rows = [clip(n, snr_db=float(n)) for n in range(10, 30)]
    result, report = condense(rows)
    assert kept(result) == {"c029", "c028", "c027"}  # the clearest first
    assert report["dropped"] == {"duplicate:semantic": 17}
    assert {column["dup_of"] for column in result.values()} == {None, "c029"}
    assert len(kept(condense(rows, dedup={"keep_per_cell": 5})[0])) == 5
    assert len(kept(condense(rows, dedup={"semantic": False})[0])) == 20


@pytest.mark.parametrize(
    "change",
    [
        {"emotion": "angry"}, {"arousal_level": "high"}, {"style": "whisper"}, {"speaker": "toy/2"},
        {"text_key": "en|dogs are sitting by the door"}, {"text_key": None},
        {"f0_median_hz": 126.0}, {"level_dbfs": -22.0}, {"rate_syl_s": 5.0}, {"duration": 2.2}, {"f0_range_st": 7.0},
        {"f0_median_hz": None}, {"rate_syl_s": None},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_sounds_or_means_otherwise_stays(change):
    rows = [clip(n) for n in range(3)] + [clip(9, **change)]
    assert len(kept(condense(rows)[0])) == 4


def test_unknown_speakers_are_never_taken_for_one():
    rows = [clip(n, speaker=None) for n in range(8)]
    assert len(kept(condense(rows)[0])) == 8
    in_one_recording = [clip(n, speaker=None, recording_id="r") for n in range(8)]
    assert len(kept(condense(in_one_recording)[0])) == 3


def test_a_copy_of_a_repeat_points_at_a_clip_that_stays():
    rows = [clip(n, snr_db=40.0 - n) for n in range(4)] + [clip(8, audio_hash="h3", snr_db=1.0)]
    result, _ = condense(rows)
    assert (result["c003"]["drop_reason"], result["c008"]["drop_reason"]) == ("duplicate:semantic", "duplicate:content")
    assert result["c008"]["dup_of"] == result["c003"]["dup_of"] == "c000"


# --- contrast -------------------------------------------------------------------------------------------------


def test_contrast_pairs_survive_and_are_named():
    rows = [
        clip(1, emotion="angry"),
        clip(2, emotion="sad"),
        clip(3, text_key="en|other words", emotion="angry", speaker="toy/1"),
        clip(4, text_key="en|other words", emotion="sad", speaker="toy/2"),
        clip(5, text_key="en|third words", emotion=None, arousal_level="low"),
        clip(6, text_key="en|third words", emotion=None, arousal_level="high"),
        clip(7, text_key="en|alone"),
        clip(8, text_key="en|twice alike"),
        clip(9, text_key="en|twice alike", speaker="toy/2"),
    ]
    result, report = condense(rows)
    assert kept(result) == set(result)
    types = [column["contrast_type"] for column in result.values()]
    assert (
        types
        == ["same_speaker:emotion"] * 2 + ["different_speakers:emotion"] * 2 + ["same_speaker:arousal"] * 2 + [None] * 3
    )
    assert result["c001"]["contrast_emotions"] == ["angry", "sad"]
    assert result["c001"]["contrast_group_id"] == result["c002"]["contrast_group_id"]
    assert len({column["contrast_group_id"] for column in result.values()}) == 4  # three groups and None
    assert report["contrast"]["groups"] == 3


def test_contrast_survives_a_cap_as_whole_groups():
    emotions = ["angry", "sad", "happy", "neutral"]
    rows = [
        clip(10 * n + k, emotion=emotion, text_key=f"en|text {n}")
        for n in range(8)
        for k, emotion in enumerate(emotions)
    ]
    rows += [clip(100 + n, emotion=emotions[n % 4], text_key=f"en|alone {n}") for n in range(40)]
    result, report = condense(rows, select={"max_per_stratum": 3})
    assert report["after"]["clips"] == 12
    groups = Counter(result[clip_id]["contrast_group_id"] for clip_id in kept(result))
    assert sorted(groups.values()) == [4, 4, 4] and None not in groups


# --- select ---------------------------------------------------------------------------------------------------


def unbalanced():
    rows = [clip(n, text_key=f"en|neutral {n}") for n in range(60)]
    rows += [clip(100 + n, emotion="angry", text_key=f"en|angry {n}") for n in range(10)]
    return rows + [clip(200 + n, emotion="sad", text_key=f"en|sad {n}", duration=20.0) for n in range(5)]


def test_defaults_leave_nothing_out_and_weigh_the_rare_up():
    result, report = condense(unbalanced())
    assert len(kept(result)) == 75
    weights = {column["stratum"]: column["sampling_weight"] for column in result.values()}
    assert weights["sad/female/toy/en"] > weights["angry/female/toy/en"] > weights["neutral/female/toy/en"]
    assert sum(column["sampling_weight"] for column in result.values()) == pytest.approx(75, abs=1e-3)
    assert report["before"] == report["after"]
    assert report["before"]["neutral_share"] == 0.8


def test_neutral_share_cap_and_targets():
    _, report = condense(unbalanced(), select={"max_neutral_share": 0.5})
    assert report["dropped"] == {"select:neutral_share": 45}
    assert report["after"]["neutral_share"] == 0.5
    assert report["after"]["emotion_evenness"] > report["before"]["emotion_evenness"]
    _, report = condense(unbalanced(), select={"target_clips": 15})
    assert report["after"]["strata"] == {f"{e}/female/toy/en": 5 for e in ("angry", "neutral", "sad")}
    _, report = condense(unbalanced(), select={"target_hours": 0.02})
    assert 0.015 < report["after"]["hours"] <= 0.02
    assert len(report["after"]["strata"]) == 3


def test_a_neutral_share_that_would_leave_nothing_is_an_error():
    with pytest.raises(RunError, match="all 3 clips"):
        condense([clip(n, text_key=f"en|{n}") for n in range(3)], select={"max_neutral_share": 0.3})


def test_a_misspelt_stratum_is_an_error():
    with pytest.raises(ValueError, match="emotoin"):
        CondenseConfig(select={"strata": ["emotoin"]})


def test_the_seed_decides_which():
    pick = {
        seed: frozenset(kept(condense(unbalanced(), seed=seed, select={"target_clips": 12})[0])) for seed in range(3)
    }
    assert len(set(pick.values())) == 3


def test_a_grown_corpus_keeps_what_was_selected():
    old = unbalanced()
    first, _ = condense(old, select={"target_clips": 20, "max_neutral_share": 0.5})
    new = [clip(300 + n, emotion="angry", text_key=f"en|new {n}", snr_db=60.0) for n in range(30)]
    new += [clip(400, audio_hash=f"h{sorted(kept(first))[0][1:].lstrip('0')}", snr_db=90.0)]
    grown, _ = condense(old + new, previous=committed(first), select={"target_clips": 25, "max_neutral_share": 0.5})
    assert kept(first) <= kept(grown)
    assert len(kept(grown)) == 25
    assert grown["c400"]["drop_reason"] == "duplicate:content"  # better, but late


# --- properties -----------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["en|a", "en|b", "de|c", None])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "speaker": st.sampled_from(["toy/1", "toy/2", None]),
            "recording_id": st.sampled_from(["r1", "r2", "r3"]),
            "emotion": st.sampled_from(["neutral", "angry", None]),
            "arousal_level": st.sampled_from(["low", "high", None]),
            "audio_hash": st.sampled_from([f"h{n}" for n in range(12)]),
            "text_key": WORDS,
            "f0_median_hz": st.sampled_from([100.0, 102.0, 104.0, 200.0, None]),
            "snr_db": st.sampled_from([10.0, 20.0, None]),
            "duration": st.sampled_from([1.0, 1.04, 1.08, 3.0]),
        }
    ),
    max_size=30,
).map(lambda rows: [clip(n, **row) for n, row in enumerate(rows)])
SELECT = st.fixed_dictionaries(
    {
        "max_per_stratum": st.sampled_from([None, 1, 3]),
        "max_neutral_share": st.sampled_from([None, 0.4]),
        "target_clips": st.sampled_from([None, 5]),
        "target_hours": st.sampled_from([None, 6 / 3600]),
    }
)


def attempt(rows, **config):
    try:
        return condense(rows, **config)[0]
    except RunError:  # nothing but neutral: said, not guessed
        return None


@settings(deadline=None, max_examples=60)
@given(ROWS, SELECT, st.randoms(use_true_random=False), st.integers(1, 3))
def test_order_of_rows_never_matters_and_condensing_twice_drops_nothing(rows, select, random, keep):
    config = {"select": select, "dedup": {"keep_per_cell": keep}}
    once = attempt(rows, **config)
    assert attempt(random.sample(rows, len(rows)), **config) == once
    if once is None:
        return
    assert set(once) == {row["clip_id"] for row in rows}
    for column in once.values():
        if (column["drop_reason"] or "").startswith("duplicate"):
            assert not (once[column["dup_of"]]["drop_reason"] or "").startswith("duplicate")
        else:
            assert column["dup_of"] is None
    left = [row for row in rows if row["clip_id"] in kept(once)]
    again = attempt(left, **config)
    assert again is not None and kept(again) == set(again)
    same_sounds = Counter(row["audio_hash"] for row in rows)
    dedup_only = condense(rows, dedup={"semantic": False})[0]
    assert len(kept(dedup_only)) == len(same_sounds)  # exactly one of each sound


# --- real speech ----------------------------------------------------------------------------------------------


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
    return rows


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
    result, report = condense([*rows, copy])
    assert report["dropped"] == {"duplicate:acoustic": 1}
    assert result["zz/copy.flac"]["dup_of"] == rows[5]["clip_id"]
    if labels == "all neutral":  # the measured delivery is what saves them
        blind = {"f0_st": 99, "f0_range_st": 99, "level_db": 99, "rate": 99, "duration": 99}
        assert condense(rows, dedup={"alike": blind})[1]["dropped"]["duplicate:semantic"] > 300
    if labels == "true":
        assert report["contrast"]["clips_by_type"] == {"same_speaker:emotion": len(rows)}
