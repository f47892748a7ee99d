"""The stages that measure: same clip, same row, whoever is in the batch; null with a reason when unreliable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.models.f0 import F0Tracker
from datagen.speech import arousal, prosody
from datagen.speech.audio import decode_flac, encode_flac
from datagen.stage import Stage
from datagen.stages.affect import Affect
from datagen.stages.prosody import Prosody, rate_from_words
from datagen.testing.speech import VOICES, say, synth

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "corpora"
TEXT = "Nobody told me, that the train was late."


TRACKER = F0Tracker()


def batch(clips: list[np.ndarray], words: list[Any] | None = None, lang: str | None = "en") -> pa.Table:
    count = len(clips)
    encoded = [encode_flac(clip) for clip in clips]
    heard = [decode_flac(data) for data in encoded]
    return pa.table(
        {
            "clip_id": [f"c{i}" for i in range(count)],
            "audio": pa.array(encoded, pa.large_binary()),
            "words": pa.array(words or [None] * count, tables.TRANSCRIBE.field("words").type),
            "text_lang": pa.array([lang] * count, pa.string()),
            "speech_lang": pa.nulls(count, pa.string()),
            "duration": pa.nulls(count, pa.float64()),
            "f0_track": pa.array([prosody.track_f0(clip, TRACKER) for clip in heard], pa.list_(pa.float32())),
        }
    )


@pytest.fixture(scope="module", params=[Prosody, Affect])
def stage(request: pytest.FixtureRequest) -> Stage:
    made: Stage = request.param()
    made.setup()
    return made


@pytest.fixture(scope="module")
def prosody_stage() -> Prosody:
    made = Prosody()
    made.setup()
    return made


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    spoken = [say(TEXT, VOICES[i], emotion, seed=i, noise_db=-75)[0] for i, emotion in enumerate(("sad", "angry"))]
    return [*spoken, synth(14, whispered=True, seed=3)[0], np.zeros(8000, np.float32)]


def rows(stage: Stage, table: pa.Table) -> list[dict[str, Any]]:
    output = stage.process(table)
    assert output.columns is not None
    assert not output.rejects
    assert tables.cast(output.columns, stage.writes).num_rows == table.num_rows
    return output.columns.to_pylist()


def test_batch_composition_changes_nothing(stage: Stage, clips: list[np.ndarray]) -> None:
    together = rows(stage, batch(clips))
    alone = [rows(stage, batch([clip]))[0] for clip in clips]
    reverse = rows(stage, batch(clips[::-1]))[::-1]
    assert together == alone == reverse


def test_a_fresh_worker_measures_the_same(stage: Stage, clips: list[np.ndarray]) -> None:
    other = type(stage)()
    other.setup()
    assert rows(stage, batch(clips)) == rows(other, batch(clips))


def test_values_are_rounded(stage: Stage, clips: list[np.ndarray]) -> None:
    for row in rows(stage, batch(clips)):
        for value in (row | (row.get("arousal_cues") or {})).values():
            if isinstance(value, float):
                assert value == round(value, 6)


def test_broken_audio_is_one_reject(stage: Stage, clips: list[np.ndarray]) -> None:
    table = batch(clips[:3])
    audio = table["audio"].to_pylist()
    audio[1] = b"fLaC but not really"
    table = table.set_column(1, "audio", pa.array(audio, pa.large_binary()))
    output = stage.process(table)
    assert [reject.row for reject in output.rejects] == [1]
    assert output.columns is not None and output.columns.num_rows == 3


def test_prosody_golden(prosody_stage: Prosody) -> None:
    samples, truth = synth(18, f0_hz=120, f0_range_st=6, rate=4.0, pauses={5: 0.4, 12: 0.8}, noise_db=-75, seed=11)
    (row,) = rows(prosody_stage, batch([samples]))
    assert row["f0_median_hz"] == pytest.approx(120, rel=0.02)
    assert row["f0_range_st"] == pytest.approx(6, abs=1.2)
    assert 0.5 < row["voiced_ratio"] < 0.95
    assert row["rate_syl_s"] == pytest.approx(4.0, rel=0.2) and row["rate_source"] == "nuclei"
    assert row["pause_ratio"] == pytest.approx(truth.pause_ratio, abs=0.05)
    assert row["longest_pause_s"] == pytest.approx(0.8, abs=0.12)
    assert row["prosody_reason"] is None


def test_whisper_has_no_f0_and_says_so(prosody_stage: Prosody, clips: list[np.ndarray]) -> None:
    (row,) = rows(prosody_stage, batch([clips[2]]))
    assert row["f0_median_hz"] is None and row["f0_range_st"] is None and row["rate_syl_s"] is None
    assert row["voiced_ratio"] < 0.1
    assert row["prosody_reason"] == "f0: hardly voiced; rate: hardly voiced"


def test_silence_has_nothing(prosody_stage: Prosody) -> None:
    (row,) = rows(prosody_stage, batch([np.zeros(8000, np.float32)]))
    reason = row.pop("prosody_reason")
    assert not any(row.pop("f0_track"))
    assert set(row.values()) == {None}
    assert reason == "f0: no speech; rate: no speech; pauses: no speech"


def test_gain_changes_neither_f0_nor_rate(prosody_stage: Prosody) -> None:
    samples, _ = say(TEXT, VOICES[2], seed=5, noise_db=-70)
    loud, quiet = rows(prosody_stage, batch([samples, samples * np.float32(0.1)]))
    for name in ("f0_median_hz", "f0_range_st", "rate_syl_s", "pause_ratio", "voiced_ratio"):
        assert loud[name] == pytest.approx(quiet[name], rel=0.01), name


def test_rate_from_words_leaves_pauses_out(prosody_stage: Prosody) -> None:
    samples, truth = synth(TEXT, rate=4.0, f0_hz=150, noise_db=-75, seed=2)
    words = [{"word": w.label, "start": w.start, "end": w.end, "score": 1.0} for w in truth.words]
    (row,) = rows(prosody_stage, batch([samples], [words]))
    assert row["rate_source"] == "words"
    assert row["rate_syl_s"] == pytest.approx(4.0, rel=0.02)  # nine syllables in both counts of this sentence


def test_words_nobody_can_count_fall_back_to_nuclei(prosody_stage: Prosody) -> None:
    samples, truth = synth(TEXT, rate=4.0, f0_hz=150, noise_db=-75, seed=2)
    words = [{"word": w.label, "start": w.start, "end": w.end, "score": 1.0} for w in truth.words]
    (row,) = rows(prosody_stage, batch([samples], [words], lang="fi"))
    assert row["rate_source"] == "nuclei"
    untimed = [{**word, "start": None} for word in words]
    assert rate_from_words(untimed, "en") is None
    assert rate_from_words(words, "en") is not None


def test_cues_rise_with_effort() -> None:
    stage = Affect()
    stage.setup()
    calm, angry = rows(stage, batch([say(TEXT, VOICES[0], e, noise_db=-75)[0] for e in ("calm", "angry")]))
    for cue in arousal.CUES:
        assert angry["arousal_cues"][cue] > calm["arousal_cues"][cue], cue
    assert calm["arousal_raw"] is None and calm["valence_raw"] is None


def test_a_telephone_line_loses_its_spectral_cue() -> None:
    samples, _ = synth(16, f0_hz=110, seed=8)
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    line = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    stage = Affect()
    stage.setup()
    wide, narrow = (row["arousal_cues"] for row in rows(stage, batch([samples, line])))
    assert wide["hf500_db"] is not None and narrow["hf500_db"] is None
    assert narrow["log_f0"] == pytest.approx(wide["log_f0"], abs=0.03)


def test_the_tracker_runs_once(clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    table = batch(clips).drop_columns(["f0_track"])
    first = Prosody()
    first.setup()
    columns = first.process(table).columns
    assert columns is not None
    tracked = table.append_column("f0_track", columns["f0_track"])
    monkeypatch.setattr(F0Tracker, "track", None)
    cues = rows(Affect(), tracked)[0]["arousal_cues"]
    assert np.exp(cues["log_f0"]) == pytest.approx(columns["f0_median_hz"][0].as_py(), abs=1e-3)
    assert len(columns["f0_track"][0]) == len(clips[0]) // 160 + 1


def test_whisper_has_no_cues(clips: list[np.ndarray]) -> None:
    stage = Affect()
    stage.setup()
    assert rows(stage, batch(clips[2:]))[0]["arousal_cues"] is None


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no corpora beside the checkout")
def test_a_real_whisper_has_no_f0(prosody_stage: Prosody) -> None:
    import soundfile

    samples, _ = soundfile.read(SHARED / "devset" / "thorsten" / "emo_whisper.flac", dtype="float32")
    (row,) = rows(prosody_stage, batch([samples], lang="de"))
    assert row["f0_median_hz"] is None and "f0: hardly voiced" in row["prosody_reason"]
