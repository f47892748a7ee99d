"""Condensation: true copies go, contrast stays, and what is asked for is kept to."""

import io
from collections import Counter

import pytest
import soundfile

from datagen.errors import RunError
from datagen.stages.condense import Condense, CondenseConfig, predict
from datagen.stages.fingerprint import Fingerprint
from datagen.testing.batches import batch_for
from datagen.testing.speech import synth
from tests.stages.condensation import clip, committed, condense, kept, neighboured

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
    assert [c["dup_why"] for c in result.values()] == [
        "surer source of its emotion: gold before requested before pseudo before none",
        "better signal-to-noise ratio",
        None,
        "speaker known",
    ]
    assert report["kept_because"]["speaker known"] == 1
    assert report["dropped"] == {"duplicate:content": 3}


def test_a_copy_under_another_label_is_told():
    rows = [clip(1, audio_hash="x", emotion="angry"), clip(2, audio_hash="x", emotion="sad"), clip(3, audio_hash="x")]
    _, report = condense(rows)
    assert report["copies_with_other_labels"] == 2
    first = report["examples"]["copies_with_other_labels"][0]
    assert (first["removed"]["clip_id"], first["kept"]["clip_id"]) == ("c002", "c001")
    assert (first["removed"]["emotion"], first["kept"]["emotion"]) == ("sad", "angry")


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
    return neighboured([row | {"audio_fingerprint": words} for row, words in zip(rows, prints, strict=True)])


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
    assert report["levels"]["acoustic"] == "on"


def test_levels_can_be_left_out_and_it_is_told(takes):
    assert condense(takes, dedup={"acoustic": False})[1]["levels"]["acoustic"] == "off"
    assert kept(condense(takes, dedup={"acoustic": False})[0]) == {row["clip_id"] for row in takes}
    alone = [row | {"text_cluster": None, "sound_group": None} for row in takes]
    result, report = condense(alone)
    assert len(kept(result)) == 7
    assert report["levels"]["acoustic"] == "not searched: no stage neighbours"
    same = [clip(n, audio_hash="x") for n in range(5)]
    assert len(kept(condense(same, dedup={"content": False, "semantic": False})[0])) == 5


def test_reads_no_heavy_column_and_what_a_level_needs_only():
    every = Condense(CondenseConfig())
    assert not {"text_embedding", "audio_fingerprint", "words", "audio"} & {*every.reads, *every.optional_reads}
    assert {"sound_group", "text_cluster", "voice_cluster"} <= set(every.optional_reads)
    bare = Condense(CondenseConfig(dedup={"content": False, "acoustic": False, "semantic": False}))
    assert not {"sound_group", "voice_cluster", "audio_hash", "f0_range_st"} & {*bare.reads, *(set(bare.optional_reads)
        - {"f0_range_st"})}  # fmt: skip
    assert "text_key" in every.reads and "text_key" not in bare.reads


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
        {"text_key": "en|dogs are sitting by the door"}, {"text_key": None}, {"voice_cluster": "c009"},
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
    strata = {row["name"]: row["clips"]["after"] for row in report["distributions"]["stratum"]}
    assert strata == {f"{e}/female/toy/en": 5 for e in ("angry", "neutral", "sad")}
    _, report = condense(unbalanced(), select={"target_hours": 0.02})
    assert 0.015 < report["after"]["hours"] <= 0.02
    assert report["after"]["strata"] == 3


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


def test_what_it_costs_is_foreseen_in_proportion():
    seconds, gigabytes = predict(1_000_000)
    assert seconds > 1 and gigabytes > 0.1
    assert predict(10_000_000) == pytest.approx((10 * seconds, 10 * gigabytes))


def test_a_refit_selects_anew_and_says_what_changed():
    assert Condense.forgets, "the engine then says so"
    rows = [clip(n, emotion="angry" if n % 2 else "neutral", text_key=f"en|{n}") for n in range(40)]
    first, _ = condense(rows[:20], select={"max_per_stratum": 5})
    stage = Condense(CondenseConfig(select={"max_per_stratum": 5}), seed=1)
    stage.previous, stage.anew = committed(first), True
    out = stage.process(batch_for(stage, rows))
    fresh, _ = condense(rows, seed=1, select={"max_per_stratum": 5})
    assert out.columns["drop_reason"].to_pylist() == [column["drop_reason"] for column in fresh.values()]
    change = out.artifact["change"]
    assert change["kept_before"] == 10 == change["still_kept"] + change["withdrawn"]["select:cap"]
    assert change["added_of_new"] == change["withdrawn"]["select:cap"] > 0
