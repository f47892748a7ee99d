"""The ingest stage: every source becomes a recording or a reject, and says where it came from."""

from __future__ import annotations

import io
import json
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from datagen.readers import scan
from datagen.speech.audio import decode_flac
from datagen.stages.ingest import Ingest, IngestConfig
from datagen.tables import ANNOTATIONS, RECORDINGS
from datagen.testing.corpora import LAYOUTS, encoded, tone

SHARED = Path(__file__).parents[3] / "shared" / "corpora"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared corpora are not beside this checkout")


def ingest(root: Path, **config: object):  # type: ignore[no-untyped-def]
    settings = IngestConfig.model_validate({"input": str(root), **config})
    sources = scan(settings).sources
    stage = Ingest(settings)
    batch = sources.select(["recording_id", *stage.reads])
    return sources, stage.process(batch)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A generated twin of the corpus of broken files: name -> what must become of it."""
    wav = encoded(tone(2, 0.5))
    files = {
        "EmptyFile.wav": b"",
        "NoSamples.wav": encoded(np.zeros((0, 1), np.float32)),
        "NotAudio.mp3": b"no audio at all\n",
        "GitLfsPointer.wav": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "HeaderlessPcm.wav": wav[44:],
        "HeaderlessPcm.pcm": wav[44:],
        "Undecodable.wav": wav[:22],
        "NonFiniteSamples.wav": encoded(np.full((99, 1), np.nan, np.float32), subtype="FLOAT"),
        "ok_8bit.wav": encoded(tone(3, 0.5, 32_000, 2), 32_000, subtype="PCM_U8"),
        "ok_24bit.flac": encoded(tone(4, 0.5, 44_100, 2), 44_100, "FLAC", "PCM_24"),
        "ok_192k.flac": encoded(tone(5, 0.5, 192_000, 2), 192_000, "FLAC", "PCM_24"),
        "ok_flac_called.mp3": encoded(tone(6, 0.5), format="FLAC"),
        "ok_silence.wav": encoded(np.zeros((8000, 1), np.float32)),
        "ok_cut.wav": encoded(tone(7, 1.0))[: 44 + 16_000],
        "ok_overstated.wav": wav[:40] + b"\xff\xff\xff\x7f" + wav[44:],
        "ok_speech.ogg": encoded(tone(8, 0.5), format="OGG", subtype="VORBIS"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_each_broken_file_ends_as_itself(broken: Path) -> None:
    sources, output = ingest(broken)
    names = sources["source_uri"].to_pylist()
    assert {names[reject.row]: reject.error_class for reject in output.rejects} == {
        name: name.split(".")[0] for name in names if not name.startswith("ok_")
    }
    recordings = output.created["recordings"]
    assert recordings.schema == RECORDINGS and output.created["annotations"].schema == ANNOTATIONS
    assert recordings["source_uri"].to_pylist() == [name for name in names if name.startswith("ok_")]
    for row in recordings.to_pylist():
        samples, rate = soundfile.read(io.BytesIO(row["audio"]), always_2d=True)
        assert (rate, samples.shape[1]) == (16_000, 1)
        assert row["duration"] == pytest.approx(0.5, abs=0.001)
        assert len(samples) == pytest.approx(8000, abs=1)
        assert row["content_hash"] == blake2b((broken / row["source_uri"]).read_bytes(), digest_size=16).hexdigest()


def test_result_does_not_depend_on_the_batch(broken: Path) -> None:
    sources, whole = ingest(broken)
    stage = Ingest(IngestConfig(input=str(broken)))
    parts = [stage.process(sources.slice(row, 1)).created["recordings"] for row in reversed(range(len(sources)))]
    assert pa.concat_tables(reversed(parts)).equals(whole.created["recordings"])


def test_two_channels_are_mixed_or_kept(tmp_path: Path) -> None:
    (tmp_path / "dialogue.wav").write_bytes(encoded(tone(1, 0.5, channels=2)))
    _, mixed = ingest(tmp_path)
    _, split = ingest(tmp_path, channels="split")
    one, two = (decode_flac(output.created["recordings"]["audio"][0].as_py()) for output in (mixed, split))
    assert one.shape == (8000,) and two.shape == (8000, 2)
    assert np.abs(two.mean(axis=1) - one).max() < 2 / 32768
    assert split.created["recordings"]["source_channels"].to_pylist() == [2]


def test_annotations_belong_to_their_recordings(tmp_path: Path) -> None:
    expected = LAYOUTS["manifest"](tmp_path)
    (tmp_path / "wav" / "e.wav").write_bytes(b"")
    sources, output = ingest(tmp_path)
    assert [reject.error_class for reject in output.rejects] == ["EmptyFile"]
    rows = output.created["annotations"].to_pylist()
    uri_of = dict(zip(sources["recording_id"].to_pylist(), sources["source_uri"].to_pylist(), strict=True))
    assert {uri_of[row["recording_id"]] for row in rows} == {"wav/d.wav"}
    wanted = [(*span, field, value) for span, facts in expected["wav/d.wav"]["spans"] for field, value in facts.items()]
    got = [(row["channel"], row["start"], row["end"], row["field"], row["value"]) for row in rows]
    assert sorted(got) == sorted(wanted)


def test_a_source_that_is_gone_or_unreadable_is_one_reject(tmp_path: Path) -> None:
    LAYOUTS["webdataset"](tmp_path)
    (tmp_path / "shard-00001.tar").rename(tmp_path / "keep")
    settings = IngestConfig(input=str(tmp_path), format="webdataset")
    (tmp_path / "keep").rename(tmp_path / "shard-00001.tar")
    sources = scan(settings).sources
    (tmp_path / "shard-00000.tar").write_bytes(b"")
    (tmp_path / "shard-00001.tar").unlink()
    output = Ingest(settings).process(sources)
    assert [reject.error_class for reject in output.rejects] == ["Unreadable"] * 3 + ["MissingFile"] * 3
    assert len(output.created["recordings"]) == 0 and len(output.created["annotations"]) == 0


def test_large_files_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datagen.readers import contents

    (tmp_path / "a.wav").write_bytes(encoded(tone(1, 0.5, 48_000, 2), 48_000))
    (tmp_path / "b.mp3").write_bytes(encoded(tone(2, 0.5, 48_000), 48_000, "MP3", "MPEG_LAYER_III"))
    _, whole = ingest(tmp_path)
    monkeypatch.setattr(contents, "WHOLE_BYTES", 10)
    _, streamed = ingest(tmp_path)
    assert streamed.created["recordings"].equals(whole.created["recordings"])


def test_what_only_the_layout_says_is_not_part_of_the_key() -> None:
    assert {"input", "format", "columns", "corpora", "corpus", "licence"} <= IngestConfig.non_semantic
    assert not {"channels", "max_seconds"} & IngestConfig.non_semantic
    assert IngestConfig.non_semantic <= set(IngestConfig.model_fields)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"formt": "auto"}, "formt"),
        ({"columns": {"transcrip": "x"}}, "unknown field 'transcrip'"),
        ({"scales": {"valence": [7, 1]}}, "no scale"),
        ({"format": "regex"}, "belong together"),
        ({"format": "regex", "pattern": "("}, "pattern"),
        ({"format": "regex", "pattern": "a+"}, "no named group"),
        ({"max_seconds": 0}, "max_seconds"),
    ],
)
def test_config_is_strict(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IngestConfig.model_validate(values)


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize("corpus", ["ravdess", "emodb"])
def test_presets_agree_with_the_labelled_corpora(corpus: str) -> None:
    noted = {}
    for line in (SHARED / "devset" / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["corpus"] == corpus:
            noted[entry["file"].split("/")[1]] = entry
    settings = IngestConfig(input=str(SHARED / "devset" / corpus))
    found = scan(settings)
    assert not len(found.rejects)
    sources = {row["source_uri"]: row for row in found.sources.to_pylist()}
    assert sources.keys() == noted.keys() and len(noted) > 300
    for name, entry in noted.items():
        said = {fact["field"]: fact["value"] for fact in sources[name]["annotations"]}
        assert sources[name]["corpus"] == corpus
        assert said["emotion"] == entry["emotion"].split(" (")[0]
        assert said["sex"] == {"F": "female", "M": "male"}[entry["sex"]]
        assert said["speaker"] == entry["speaker"].split("_")[1]
        if entry["transcript"]:  # null where this copy of the corpus is cut before the sentence ends
            assert said["transcript"].rstrip(".?") == entry["transcript"].rstrip(".?")
        assert said["language"] == entry["language"][:2]
        if corpus == "emodb":
            assert float(said["age_years"]) == entry["age"]
        elif entry["emotion"] != "neutral":
            assert said["intensity"] == entry["intensity"]
    output = Ingest(settings).process(found.sources.slice(0, 40))
    durations = dict(
        zip(*(output.created["recordings"][name].to_pylist() for name in ("source_uri", "duration")), strict=True)
    )
    assert output.rejects == [] and len(durations) == 40
    for name, seconds in durations.items():
        assert seconds == pytest.approx(noted[name]["duration_s"], abs=0.001)
