"""diarize: alone, and from ingest to segment on both executors."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pydantic import ValidationError

from datagen import config, tables
from datagen.reader import RunView
from datagen.run import Options, execute, open_run
from datagen.speech.audio import encode_flac
from datagen.speech.turns import SOURCE
from datagen.stages.diarize import Diarize, DiarizeConfig
from datagen.stages.segment import Segment
from datagen.testing.speech import synth

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips"
BATCH = pa.schema(
    [
        ("recording_id", pa.string()), ("duration", pa.float64()), ("audio", pa.large_binary()),
        ("annotations", pa.list_(tables.ANNOTATION)),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from datagen.testing.checkpoints import diarizer

    return diarizer.build(tmp_path_factory.mktemp("checkpoints") / "diarizer")


@pytest.fixture(scope="module")
def stage(folder):
    made = Diarize(DiarizeConfig(model=str(folder), device="cpu", batch_seconds=16))
    assert made.check() is None
    made.setup()
    return made


@pytest.fixture(scope="module")
def talk():
    """Some seconds of two synthetic voices."""
    ann, _ = synth("Where did you leave the car this morning?", f0_hz=210, level_db=-22, seed=1)
    bob, _ = synth("It is standing behind the station, I think.", f0_hz=110, level_db=-26, seed=2)
    return np.concatenate([ann, np.zeros(8000, np.float32), bob])


def note(field, value, start=None, end=None, channel=None, source="corpus"):
    return {"channel": channel, "start": start, "end": end, "field": field, "value": value, "source": source}


def recording(sound, notes=(), name="r1"):
    audio = sound if isinstance(sound, bytes) else encode_flac(sound)
    seconds = 3.0 if isinstance(sound, bytes) else len(sound) / 16_000
    return {"recording_id": name, "duration": seconds, "audio": audio, "annotations": list(notes)}


def said(made, *recordings):
    output = made.process(pa.Table.from_pylist(list(recordings), schema=BATCH))
    assert output.created["annotations"].schema == tables.ANNOTATIONS
    return output.created["annotations"].to_pylist(), output


def test_turns_become_annotations_in_the_order_of_their_recordings(stage, talk):
    rows, output = said(stage, recording(talk, name="b"), recording(talk[::-1], name="a"))
    assert not output.rejects and {row["source"] for row in rows} == {SOURCE}
    owners = [row["recording_id"] for row in rows]
    assert owners == sorted(owners, reverse=True) and set(owners) == {"a", "b"}
    for row in rows:
        assert row["field"] in ("speaker", "overlap") and 0 <= row["start"] < row["end"] <= len(talk) / 16_000
    names = {name: {r["value"] for r in rows if r["recording_id"] == name and r["field"] == "speaker"} for name in "ab"}
    assert names["a"] and names["b"] and not names["a"] & names["b"]
    assert output.metrics["audio_s"] == pytest.approx(2 * len(talk) / 16_000)


def test_company_changes_nothing(stage, talk):
    one, two = recording(talk, name="a"), recording(talk[20_000:], name="b")
    together, _ = said(stage, one, two)
    assert together == said(stage, one)[0] + said(stage, two)[0] and said(stage, one)[0] != said(stage, two)[0]


def test_each_channel_is_listened_to_by_itself(stage, talk):
    rows, _ = said(stage, recording(np.stack([talk, talk[::-1], np.zeros_like(talk)], axis=1)))
    assert {row["channel"] for row in rows} == {0, 1}, "the silent one has no turns"
    alone = said(stage, recording(talk))[0] + said(stage, recording(talk[::-1]))[0]
    times = [(row["start"], row["end"], row["field"]) for row in rows]
    assert sorted(times) == sorted((row["start"], row["end"], row["field"]) for row in alone)
    assert all(row["value"].startswith(f"r1-{row['channel']}-") for row in rows if row["field"] == "speaker")


def test_what_the_corpus_says_is_not_asked_again(folder, stage, talk):
    named = recording(talk, [note("speaker", "ann")])
    turns = recording(talk, [note("speaker", "ann", 0.0, 2.0), note("speaker", "bob", 2.0, 4.0)])
    split = recording(
        np.stack([talk, talk], axis=1), [note("speaker", "ann", channel=0), note("speaker", "bob", channel=1)]
    )
    for known in (named, turns, split):
        rows, output = said(stage, known)
        assert rows == [] and output.metrics["audio_s"] == 0 and not output.rejects
    half = recording(np.stack([talk, talk], axis=1), [note("speaker", "ann", channel=0)])
    assert {row["channel"] for row in said(stage, half)[0]} == {1}
    asked = Diarize(DiarizeConfig(model=str(folder), device="cpu", trust_seconds=0))
    asked.setup()
    assert said(asked, named)[0] and not said(asked, turns)[0]


def test_a_recording_that_breaks_is_a_reject_and_its_neighbours_are_not(stage, talk, monkeypatch):
    rows, output = said(stage, recording(b"not flac", name="a"), recording(talk, name="b"))
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(0, "Undecodable")]
    assert {row["recording_id"] for row in rows} == {"b"}
    listen = stage._diarizer.pipeline.get_embeddings

    def breaks(file, *rest, **options):
        if file["waveform"].shape[1] == len(talk):
            raise ValueError("no embeddings today")
        return listen(file, *rest, **options)

    monkeypatch.setattr(stage._diarizer.pipeline, "get_embeddings", breaks)
    rows, output = said(stage, recording(talk, name="a"), recording(talk[8000:], name="b"), recording(talk, name="c"))
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(0, "ValueError"), (2, "ValueError")]
    assert {row["recording_id"] for row in rows} == {"b"}


def test_nobody_speaks_in_silence_and_in_next_to_nothing(stage):
    silent, short = np.zeros(32_000, np.float32), np.full(50, 0.1, np.float32)
    rows, output = said(stage, recording(silent, name="a"), recording(short, name="b"))
    assert not output.rejects and not [row for row in rows if row["recording_id"] == "a"]
    assert all(row["end"] <= 50 / 16_000 for row in rows)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"num_speakers": 2, "max_speakers": 3}, "not both"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers 3 is more than max_speakers 2"),
        ({"num_speakers": 0}, "greater than or equal to 1"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        DiarizeConfig(**settings)


def test_a_missing_model_says_how_to_get_access(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAGEN_MODELS", str(tmp_path))
    problem = Diarize().check() or ""
    assert "datagen models pull pyannote-community-1" in problem
    assert "accept the conditions" in problem and "HF_TOKEN" in problem
    assert Diarize().provenance()[0].licence == "CC-BY-4.0"


# --- What segment makes of it -------------------------------------------------------------------------------


def clips(sound, notes, **settings):
    stage = Segment(Segment.Config(**settings))
    stage.setup()
    row = {"recording_id": "r1", "corpus": "c", "licence": None, "official_split": None, "audio": encode_flac(sound),
           "annotations": notes}  # fmt: skip
    schema = pa.schema([*((name, pa.string()) for name in ("corpus", "licence", "official_split")), *BATCH])
    made = stage.process(pa.Table.from_pylist([row], schema=schema)).created["clips"].to_pylist()
    return [(clip["start"], clip["end"], clip["speaker"]) for clip in made], made


def test_clips_hold_one_voice_where_a_diarizer_heard_two(talk):
    notes = [note("speaker", "r1-0-00", 0.0, 2.6, 0, SOURCE), note("speaker", "r1-0-01", 2.4, 5.0, 0, SOURCE),
             note("speaker", "ann"), note("sex", "f"), note("emotion", "sad")]  # fmt: skip
    spans, made = clips(talk, notes)
    assert spans == [(0.0, 2.4, "c/r1-0-00"), (2.6, 5.0, "c/r1-0-01")]
    assert [clip["sex"] for clip in made] == [None, None], "whose sex it is, nobody knows"
    assert clips(talk, notes, method="turns")[0] == spans


def test_one_voice_leaves_a_short_file_whole_and_the_corpus_names_it(talk):
    notes = [note("speaker", "r1-0-00", 0.5, 1.2, 0, SOURCE), note("speaker", "r1-0-00", 3.0, 4.0, 0, SOURCE)]
    seconds = len(talk) // 16 / 1000
    assert clips(talk, [*notes, note("speaker", "ann")])[0] == [(0.0, seconds, "c/ann")]
    assert clips(talk, notes)[0] == [(0.0, seconds, "c/r1-0-00")]
    assert clips(talk, notes, method="turns")[0] == [(0.5, 1.2, "c/r1-0-00"), (3.0, 4.0, "c/r1-0-00")]


def test_the_corpus_s_utterances_are_cut_as_it_says_and_named_by_who_speaks_in_them(talk):
    heard = [note("speaker", "r1-0-00", 0.0, 3.0, 0, SOURCE), note("speaker", "r1-0-01", 3.0, 5.0, 0, SOURCE)]
    notes = [note("transcript", "one", 0.0, 2.0), note("transcript", "both", 2.0, 4.0), *heard]
    spans, made = clips(talk, notes)
    assert spans == [(0.0, 2.0, "c/r1-0-00"), (2.0, 4.0, None)]
    (speaker,) = [label for label in made[1]["labels"] if label["field"] == "speaker"]
    assert speaker["reason"] == "ambiguous: r1-0-00 50%, r1-0-01 50% of the clip"
    assert clips(talk, notes, method="given")[0] == spans


# --- The whole chain ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two recordings nobody has annotated, and an utterance whose speaker is known; read speech, for real pauses."""
    place = tmp_path_factory.mktemp("source")
    rows = []
    for name, file, speaker in (
        ("one", "speeches/jfk_inaugural_1961.flac", None),
        ("two", "librivox/en_shakespeare_sonnet_2.flac", None),
        ("ann", "librispeech/2414-128291-0000.flac", "ann"),
    ):
        samples, rate = soundfile.read(CLIPS / file, frames=16 * 16_000)
        soundfile.write(place / f"{name}.wav", samples[: 2 * rate if speaker else None], rate)
        rows.append({"file_name": f"{name}.wav", "speaker": speaker, "corpus": "c"})
    (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def run(source, folder, place, kind, voices=2):
    executor = {"kind": kind, "cpus": 2} if kind == "ray" else {"kind": kind}
    recipe = config.parse(
        {
            "recipe": "talk",
            "stages": {
                "ingest": {"input": str(source)},
                "diarize": {"model": str(folder), "device": "cpu", "batch_seconds": 16, "num_speakers": voices},
                "segment": {"min_seconds": 0.1},
            },
            "executor": executor,
        },
        "talk",
    )
    _, outcome = execute(recipe, str(place), Options(progress="none"), print)
    space = open_run(str(place))
    view = RunView(space.plan, space.store, space.recipe)
    columns = ["clip_id", "recording_id", "start", "end", "speaker", "labels", "audio_hash"]
    found = pa.concat_tables([view.read("clips", shard, columns) for shard in view.shards]).to_pylist()
    return found, {name: count for name, count in outcome.committed.items() if count}


@pytest.fixture(scope="module")
def local(source, folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("local") / "run"
    return place, *run(source, folder, place, "local")


def test_from_files_to_clips_of_one_speaker(local):
    _, found, committed = local
    assert committed == {"ingest": 1, "diarize": 1, "segment": 1}
    named = [clip for clip in found if clip["speaker"] == "c/ann"]
    assert [(clip["start"], clip["end"]) for clip in named] == [(0.0, 2.0)], "short and named: not listened to"
    others = [clip for clip in found if clip not in named]
    assert len(others) > 2
    for clip in others:
        assert clip["speaker"].startswith(f"c/{clip['recording_id']}-0-")
        assert 0 <= clip["start"] < clip["end"] <= 16
    voices = {recording: {c["speaker"] for c in others if c["recording_id"] == recording}
              for recording in {c["recording_id"] for c in others}}  # fmt: skip
    assert [len(names) for names in voices.values()] == [2, 2]
    for name in voices:
        mine = sorted((clip["start"], clip["end"]) for clip in others if clip["recording_id"] == name)
        assert all(one[1] <= two[0] for one, two in pairwise(mine)), "no stretch belongs to two"


def test_the_same_command_does_nothing_again_and_another_setting_only_what_follows(local, source, folder):
    place, found, _ = local
    again, committed = run(source, folder, place, "local")
    assert again == found and committed == {}
    one, committed = run(source, folder, place, "local", voices=1)
    assert committed == {"diarize": 1, "segment": 1}
    assert len({clip["speaker"] for clip in one}) == 3
    assert len(one) == 3, "one voice each: short files stay whole"


def test_ray_gives_the_same_clips(local, source, folder, tmp_path):
    _, found, _ = local
    import ray

    assert run(source, folder, tmp_path / "run", "ray")[0] == found
    assert not ray.is_initialized()
