"""segment: real clips of the repository, synthetic ones, and the shared corpora where they are."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.models import silero
from datagen.speech.audio import decode_flac, encode_flac, prepare
from datagen.stages.segment import Segment, SegmentConfig, levels
from datagen.testing.speech import synth

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips"
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "corpora"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared corpora")

BATCH = pa.schema(
    [
        *((name, pa.string()) for name in ("recording_id", "corpus", "licence", "official_split")),
        ("duration", pa.float64()), ("audio", pa.large_binary()), ("annotations", pa.list_(tables.ANNOTATION)),
    ]
)  # fmt: skip


def note(field, value, start=None, end=None, channel=None):
    return {"channel": channel, "start": start, "end": end, "field": field, "value": value, "source": "corpus"}


def recording(samples, notes=(), name="r1"):
    audio = samples if isinstance(samples, bytes) else encode_flac(samples)
    return {"recording_id": name, "corpus": "test", "licence": "CC0-1.0", "audio": audio, "annotations": list(notes)}


def segment(*recordings, **config):
    stage = Segment(SegmentConfig(**config))
    stage.setup()
    return stage.process(pa.Table.from_pylist(list(recordings), schema=BATCH))


def clips(*recordings, **config):
    output = segment(*recordings, **config)
    assert not output.rejects and not output.drops
    return output.created["clips"].to_pylist()


def read(name):
    return (CLIPS / name).read_bytes()


@pytest.fixture(scope="module")
def dialogue():
    """Ten seconds of two people on two microphones; each hears the other 20 dB lower."""
    ann, _ = synth("Where did you leave the car this morning?", f0_hz=210, level_db=-22, seed=1)
    bob, _ = synth("It is standing behind the station, I think.", f0_hz=110, level_db=-26, seed=2)
    first, second = np.zeros(160_000, np.float32), np.zeros(160_000, np.float32)
    first[8000 : 8000 + len(ann)] += ann
    second[88_000 : 88_000 + len(bob)] += bob
    noise = np.random.default_rng(3).normal(0, 3e-4, (2, 160_000)).astype(np.float32)
    return np.stack([first + second / 10, second + first / 10], axis=1) + noise.T


def test_a_short_file_passes_through_whole_with_what_the_corpus_says():
    notes = [note("speaker", "jfk"), note("sex", "M"), note("language", "en-US"), note("age_years", "43"),
             note("style", "speech"), note("transcript", "And so, my fellow Americans")]  # fmt: skip
    (clip,) = clips(recording(read("speeches/jfk_inaugural_1961.flac"), notes))
    assert clip["clip_id"] == "r1-0-00000000-00011000"
    assert (clip["start"], clip["end"], clip["duration"], clip["channel"]) == (0.0, 11.0, 11.0, 0)
    assert (clip["speaker"], clip["sex"], clip["speech_lang"], clip["age_years"]) == ("test/jfk", "male", "en", 43.0)
    assert (clip["style"], clip["licence"]) == ("speech", "CC0-1.0")
    assert {label["field"] for label in clip["labels"]} == {n["field"] for n in notes}
    before, after = decode_flac(read("speeches/jfk_inaugural_1961.flac")), decode_flac(clip["audio"])
    assert np.array_equal(before, after)


def test_no_clip_is_longer_than_the_limit_and_no_speech_is_lost():
    sound = read("librivox/en_shakespeare_sonnet_1.flac")
    samples = decode_flac(sound)
    detect = silero.Silero()
    speech = detect(samples) >= 0.5
    for limit in (6.0, 13.0, 30.0):
        found = clips(recording(sound), max_seconds=limit)
        assert all(0 < clip["duration"] <= limit for clip in found)
        assert all(len(decode_flac(clip["audio"])) == round(clip["duration"] * 16000) for clip in found)
        times = (np.arange(len(speech)) + 0.5) * silero.FRAME_S
        held = sum(((times >= clip["start"]) & (times < clip["end"])).astype(int) for clip in found)
        assert held.max() == 1
        assert np.mean(held[speech]) > 0.995


def test_cuts_fall_into_pauses():
    sound = read("librivox/en_shakespeare_sonnet_2.flac")
    power = np.square(decode_flac(sound))
    found = clips(recording(sound))
    assert len(found) >= 3
    for edge in [clip["end"] for clip in found[:-1]] + [clip["start"] for clip in found[1:]]:
        around = power[int((edge - 0.05) * 16000) : int((edge + 0.05) * 16000)]
        assert 10 * np.log10(around.mean() / power.mean()) < -10


def test_quiet_speech_is_kept():
    samples = decode_flac(read("librispeech/2414-128291-0000.flac"))
    quiet = samples / np.abs(samples).max() * 10 ** (-48 / 20)  # speech at about -65 dBFS
    (clip,) = clips(recording(quiet))
    assert clip["level_dbfs"] < -55
    (vad,) = clips(recording(quiet), method="vad")
    assert vad["duration"] > 1.5


def test_silence_and_noise_become_no_clip():
    noise = np.random.default_rng(0).normal(0, 0.006, 24_000).astype(np.float32)
    output = segment(recording(np.zeros(24_000, np.float32)), recording(noise), recording(np.zeros(100, np.float32)))
    assert [(drop.row, drop.reason) for drop in output.drops] == [
        (0, "no speech: digital silence"), (1, "no speech"), (2, "no speech: digital silence"),
    ]  # fmt: skip
    assert output.created["clips"].num_rows == 0


def test_somebody_s_label_outweighs_the_voice_detector():
    sigh = np.random.default_rng(1).normal(0, 0.01, 24_000).astype(np.float32)  # the detector hears no voice
    (clip,) = clips(recording(sigh, [note("emotion", "sad")]))
    assert clip["duration"] == 1.5 and clip["level_dbfs"] == pytest.approx(-40, abs=1)
    assert segment(recording(sigh, [note("speaker", "ann")])).drops[0].reason == "no speech"  # nobody listened for it
    assert segment(recording(np.zeros(24_000, np.float32), [note("emotion", "sad")])).drops


def test_the_corpus_s_utterances_are_taken_as_they_are():
    samples = decode_flac(read("librivox/en_shakespeare_sonnet_1.flac"))
    notes = [
        note("transcript", "First.", 1.0, 4.0), note("emotion", "sad", 1.0, 4.0),
        note("transcript", "Second.", 4.0, 9.5004), note("emotion", "angry", 4.0, 9.5004), note("speaker", "x"),
        note("event", "cough", 20.0, 20.4), note("transcript", "Beyond.", 400.0, 410.0), note("emotion", "sad", 9, 9.1),
    ]  # fmt: skip
    found = clips(recording(samples, notes))
    assert [(c["start"], c["end"]) for c in found] == [(1.0, 4.0), (4.0, 9.5)]
    values = [{label["field"]: label["value"] for label in clip["labels"]} for clip in found]
    assert values[0] == {"transcript": "First.", "emotion": "sad", "speaker": "x"}
    assert values[1] == {"transcript": "Second.", "emotion": "angry", "speaker": "x"}


def test_an_utterance_that_is_too_long_is_cut_and_its_text_is_not_given_to_any_piece_whole():
    notes = [note("transcript", "A long text.", 0.0, 52.0), note("emotion", "neutral", 0.0, 52.0)]
    found = clips(recording(read("librivox/en_shakespeare_sonnet_1.flac"), notes), max_seconds=20)
    assert len(found) >= 3 and all(clip["duration"] <= 20 for clip in found)
    for clip in found:
        values = {label["field"]: label["value"] for label in clip["labels"]}
        assert values == {"transcript_of_recording": "A long text.", "emotion": "neutral"}


def test_a_label_that_covers_two_utterances_is_null_with_a_reason():
    notes = [note("transcript", "x", 0.0, 6.0), note("emotion", "sad", 0.0, 3.0), note("emotion", "happy", 3.0, 6.0)]
    (clip,) = clips(recording(read("speeches/jfk_inaugural_1961.flac"), notes))
    (emotion,) = [label for label in clip["labels"] if label["field"] == "emotion"]
    assert emotion["value"] is None and emotion["reason"] == "ambiguous: happy 50%, sad 50% of the clip"


def test_words_of_the_corpus_are_never_cut_and_come_in_clip_time():
    words = [{"word": f"w{i}", "start": i * 0.5, "end": i * 0.5 + 0.5} for i in range(100)]
    notes = [note("words", json.dumps(words))]
    found = clips(recording(read("librivox/en_shakespeare_sonnet_1.flac"), notes), method="vad", pad=0)
    assert all(float(edge * 2).is_integer() for clip in found for edge in (clip["start"], clip["end"]))
    listed = [json.loads(label["value"]) for clip in found for label in clip["labels"] if label["field"] == "words"]
    assert [word["word"] for part in listed for word in part] == [word["word"] for word in words]
    assert all(part[0]["start"] == 0.0 for part in listed)


def test_two_channels_become_clips_of_their_own_and_leaks_none(dialogue):
    found = clips(
        recording(dialogue, [note("speaker", "ann", channel=0), note("speaker", "bob", channel=1)]), method="vad"
    )
    assert [(clip["channel"], clip["speaker"]) for clip in found] == [(0, "test/ann"), (1, "test/bob")]
    assert found[0]["end"] < 5.5 < found[1]["start"] + 0.5
    assert all(decode_flac(clip["audio"]).ndim == 1 for clip in found)


def test_a_channel_that_repeats_another_adds_nothing():
    samples = decode_flac(read("speeches/jfk_inaugural_1961.flac"))
    assert len(clips(recording(np.stack([samples, samples], axis=1)))) == 1


def test_turns_leave_out_where_two_speak_at_once():
    samples = decode_flac(read("librivox/en_shakespeare_sonnet_1.flac"))
    notes = [note("speaker", "ann", 0.0, 5.0), note("speaker", "bob", 4.0, 9.0), note("speaker", "bob", 9.5, 12.0)]
    found = clips(recording(samples, notes), method="turns")
    spans = [(clip["start"], clip["end"], clip["speaker"]) for clip in found]
    assert spans == [(0.0, 4.0, "test/ann"), (5.0, 12.0, "test/bob")]


def test_the_same_recording_gives_the_same_clips_in_any_company():
    a = recording(read("speeches/jfk_inaugural_1961.flac"), name="a")
    b = recording(read("librivox/en_shakespeare_sonnet_2.flac"), name="b")
    together, apart = clips(a, b), [*clips(a), *clips(b)]
    assert together == apart == clips(b, a)[-1:] + clips(b, a)[:-1]


def test_levels_are_those_of_the_speech_and_clipping_is_counted():
    samples, truth = synth("Nobody told me that the train was late.", level_db=-30, noise_db=-60, lead_s=1, tail_s=1)
    (clip,) = clips(recording(samples))
    assert clip["level_dbfs"] == pytest.approx(-30, abs=2)
    assert clip["snr_db"] == pytest.approx(30, abs=4), truth.duration
    assert clip["clipping_ratio"] == 0
    loud = np.clip(samples * 300, -1, 1)
    assert clips(recording(loud))[0]["clipping_ratio"] > 0.05


def test_zeros_are_no_pauses():
    speech = np.array([0.9] * 30 + [0.0] * 30, np.float32)
    frames = np.zeros((60, silero.FRAME), np.float32)
    frames[:30] = 0.1
    assert levels(frames, speech, 0.5) == (pytest.approx(-20.0, abs=1e-5), None)
    frames[30:] = 0.001 * (-1) ** np.arange(silero.FRAME)
    assert levels(frames, speech, 0.5) == pytest.approx((-20.0, 40.0), abs=1e-3)


def test_damaged_audio_is_a_reject_and_the_others_are_kept():
    good = recording(read("speeches/jfk_inaugural_1961.flac"))
    output = segment(recording(b"not flac"), good)
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(0, "Undecodable")]
    assert output.created["clips"].num_rows == 1


def test_times_that_make_no_sense_say_nothing():
    notes = [
        note("emotion", "sad", 3.0, 1.0),
        note("emotion", "sad", float("nan"), 2.0),
        note("emotion", "sad", -5, -1),
    ]
    (clip,) = clips(recording(read("speeches/jfk_inaugural_1961.flac"), notes))
    assert clip["duration"] == 11.0 and clip["labels"] == []


@pytest.mark.shared
@needs_shared
def test_the_quietest_recordings_of_ravdess_all_become_clips():
    rows = [
        json.loads(line) for line in (SHARED / "devset" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    quiet = []
    for row in (row for row in rows if row["corpus"] == "ravdess"):
        sound = (SHARED / "devset" / row["file"]).read_bytes()
        level = 10 * np.log10(np.mean(np.square(decode_flac(sound), dtype=np.float64)) + 1e-12)
        if level < -55:
            quiet.append(recording(sound, [note("emotion", row["emotion"])], name=row["file"]))
    assert len(quiet) >= 10
    found = clips(*quiet)
    assert len(found) == len(quiet)
    unlabelled = segment(*[{**row, "annotations": []} for row in quiet])
    assert len(unlabelled.drops) <= 0.1 * len(quiet)


@pytest.mark.shared
@needs_shared
def test_the_shared_noise_and_silence_become_no_clip():
    files = [SHARED / "broken" / name for name in ("noise_only_1.5s.wav", "silence_1.5s.wav")]
    output = segment(*[recording(encode_flac(prepare(path).pcm)) for path in files])
    assert [drop.reason for drop in output.drops] == ["no speech", "no speech: digital silence"]
