"""Nothing leaves the input root, nothing is unpickled, one bad row costs one row."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.config import load
from datagen.errors import RowError, UsageError
from datagen.readers import scan
from datagen.readers.tree import Tree
from datagen.run import look_at_input, open_run
from datagen.stages.ingest import Ingest, IngestConfig
from datagen.testing.corpora import LAYOUTS, encoded, tone

WAV = encoded(tone(1))


def uris(table: pa.Table) -> list[str]:
    return table["source_uri"].to_pylist()


def reasons(table: pa.Table) -> list[str]:
    return table["error_class"].to_pylist()


def put(path: Path, data: bytes = WAV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path / "outside" / "secret.wav")
    put(tmp_path / "in" / "good.wav")
    return tmp_path / "in"


@pytest.mark.parametrize(
    "reference",
    ["../outside/secret.wav", "a/../../outside/secret.wav", "/etc/passwd", "file:///etc/passwd", "s3://bucket/a.wav",
     "link.wav", "folder_link/secret.wav", "good.wav\0.txt"],
)  # fmt: skip
def test_manifest_cannot_name_a_file_outside(root: Path, reference: str) -> None:
    (root / "link.wav").symlink_to(root.parent / "outside" / "secret.wav")
    (root / "folder_link").symlink_to(root.parent / "outside")
    rows = [{"audio": reference, "text": "stolen"}, {"audio": "good.wav", "text": "kept"}]
    (root / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = scan(IngestConfig(input=str(root), format="manifest"))
    assert uris(found.sources) == ["good.wav"]
    assert "UnsafePath" in reasons(found.rejects)
    message = found.rejects["message"].to_pylist()[0]
    assert "list.jsonl row 1" in message or "link" in message


def test_absolute_paths_inside_the_root_are_allowed(root: Path) -> None:
    (root / "list.jsonl").write_text(json.dumps({"audio": str(root / "good.wav")}))
    found = scan(IngestConfig(input=str(root), format="manifest"))
    assert uris(found.sources) == ["good.wav"] and not len(found.rejects)


def test_links_out_are_refused_links_inside_are_kept(root: Path) -> None:
    (root / "out.wav").symlink_to(root.parent / "outside" / "secret.wav")
    (root / "out_folder").symlink_to(root.parent / "outside")
    (root / "again.wav").symlink_to("good.wav")
    (root / "loop").symlink_to(root)
    (root / "dangling.wav").symlink_to("nowhere.wav")
    found = scan(IngestConfig(input=str(root)))
    assert uris(found.sources) == ["again.wav", "good.wav"]
    assert sorted(reasons(found.rejects)) == ["MissingFile", "UnsafePath", "UnsafePath"]


def test_a_link_made_after_the_scan_is_not_followed(root: Path) -> None:
    config = IngestConfig(input=str(root))
    sources = scan(config).sources
    (root / "good.wav").unlink()
    (root / "good.wav").symlink_to(root.parent / "outside" / "secret.wav")
    output = Ingest(config).process(sources)
    assert [reject.error_class for reject in output.rejects] == ["UnsafePath"]


def test_a_sibling_whose_name_begins_alike_is_outside(root: Path) -> None:
    put(root.parent / "in2" / "a.wav")
    with pytest.raises(RowError) as refused:
        Tree(str(root)).locate(str(root.parent / "in2" / "a.wav"))
    assert refused.value.error_class == "UnsafePath"


def test_names_that_mean_something_else(root: Path) -> None:
    put(root / "a.tar::b.wav")
    with open(os.fsencode(root) + b"/bad\xff.wav", "wb") as file:  # noqa: PTH123 - the name is no str
        file.write(WAV)
    put(root / ".hidden.wav")
    put(root / "._apple.wav", b"AppleDouble")
    put(root / "__MACOSX" / "x.wav")
    found = scan(IngestConfig(input=str(root)))
    assert uris(found.sources) == ["good.wav"]
    assert reasons(found.rejects) == ["UnsafePath", "UnsafePath"]


def _tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_tar_members_that_leave_or_link_are_refused(tmp_path: Path) -> None:
    _tar(
        tmp_path / "a.tar",
        [
            (_member("../x.wav"), WAV),
            (_member("/abs.wav"), WAV),
            (_member("ok/../../y.wav"), WAV),
            (_member("link.wav", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (_member("hard.wav", tarfile.LNKTYPE, "good.wav"), b""),
            (_member("device.wav", tarfile.CHRTYPE), b""),
            (_member("a::b.wav"), WAV),
            (_member("good.wav"), WAV),
            (_member("good.wav"), WAV),
            (_member("bad.json"), b'{"text": '),
            (_member("bad.wav"), WAV),
        ],
    )
    config = IngestConfig(input=str(tmp_path))
    found = scan(config)
    assert uris(found.sources) == ["a.tar::bad.wav", "a.tar::good.wav"]
    assert sorted(reasons(found.rejects)) == ["BadManifestRow"] + ["UnsafePath"] * 8
    assert Ingest(config).process(found.sources).rejects == []


def test_damaged_tar_keeps_what_comes_before(tmp_path: Path) -> None:
    LAYOUTS["webdataset"](tmp_path)
    path = tmp_path / "shard-00000.tar"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    config = IngestConfig(input=str(tmp_path))
    found = scan(config)
    output = Ingest(config).process(found.sources)
    assert 3 < len(found.sources) <= 6
    assert len(found.sources) == len(output.created["recordings"]) + len(output.rejects)
    (tmp_path / "b.tar").write_bytes(os.urandom(4096))
    (tmp_path / "c.tar.gz").write_bytes(b"\x1f\x8b")
    assert reasons(scan(config).rejects).count("Unreadable") >= 2


def test_a_pickled_table_is_refused_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "exploded",))

    LAYOUTS["audformat"](tmp_path)
    (tmp_path / "db.files.csv").unlink()
    (tmp_path / "db.files.pkl").write_bytes(pickle.dumps(Bomb()))
    found = scan(IngestConfig(input=str(tmp_path)))
    assert reasons(found.rejects) == ["PickleRefused"]
    assert uris(found.sources) == ["audio/a.wav", "audio/c.wav"]
    assert not (tmp_path / "exploded").exists()


def test_yaml_tags_build_no_objects(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text("!!python/object/apply:os.system ['touch exploded']")
    with pytest.raises(UsageError, match="no YAML"):
        scan(IngestConfig(input=str(tmp_path)))


def test_bad_manifest_rows_cost_one_row_each(root: Path) -> None:
    deep = '{"audio": ' + "[" * 100_000
    lines = [
        '{"audio": "good.wav", "text": "first"}', "{broken", "[1, 2]", '{"audio": null}', '{"audio": "gone.wav"}',
        '{"audio": "good.wav", "start": 2, "end": 1}', '{"audio": "good.wav", "start": "soon"}',
        '{"audio": "good.wav", "start": 0.5, "duration": 0.25, "emotion": "sad"}', deep,
        '{"audio": "good.wav", "x": NaN}',
    ]  # fmt: skip
    (root / "list.jsonl").write_text("\n".join(lines))
    found = scan(IngestConfig(input=str(root)))
    assert uris(found.sources) == ["good.wav"]
    source = found.sources.to_pylist()[0]
    said = [(entry["start"], entry["end"], entry["field"], entry["value"]) for entry in source["annotations"]]
    assert said == [(None, None, "transcript", "first"), (0.5, 0.75, "emotion", "sad")]
    assert json.loads(source["metadata"]) == {"x": None}
    assert sorted(reasons(found.rejects)) == ["BadManifestRow"] * 6 + ["MissingFile"]
    assert len(set(found.rejects["id"].to_pylist())) == 7


def test_one_damaged_parquet_shard_costs_that_shard(tmp_path: Path) -> None:
    LAYOUTS["parquet"](tmp_path)
    path = tmp_path / "data" / "train-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    found = scan(IngestConfig(input=str(tmp_path)))
    assert len(found.sources) == 5
    assert reasons(found.rejects) == ["Unreadable"]


def test_dimensions_off_their_scale_ask_for_it(root: Path) -> None:
    (root / "list.csv").write_text("audio,valence\ngood.wav,5\n")
    with pytest.raises(UsageError, match=r"valence 5 is outside 0..1; say its scale"):
        scan(IngestConfig(input=str(root)))
    config = IngestConfig(input=str(root), scales={"valence": (1, 7)})
    assert scan(config).sources["annotations"][0].as_py()[0]["value"] == "0.666667"


def test_columns_are_mapped_by_the_recipe(root: Path) -> None:
    (root / "list.csv").write_text("wo,was,wer,emotion,geschlecht\ngood.wav,Hallo,3,W,weiblich\n")
    config = IngestConfig.model_validate(
        {
            "input": str(root),
            "columns": {"audio": "wo", "transcript": "was", "speaker": "wer", "sex": "geschlecht"},
            "labels": {"emotion": {"W": "anger"}},
            "language": "de",
        }
    )
    said = {entry["field"]: entry["value"] for entry in scan(config).sources["annotations"][0].as_py()}
    assert said == {"transcript": "Hallo", "emotion": "anger", "speaker": "3", "sex": "female", "language": "de"}
    wrong = IngestConfig.model_validate({"input": str(root), "columns": {"audio": "wo", "transcript": "werr"}})
    with pytest.raises(UsageError, match=r"no column 'werr'; there are: wo, was"):
        scan(wrong)


def test_a_pattern_reads_facts_from_names(tmp_path: Path) -> None:
    put(tmp_path / "anna" / "x_W_1.wav")
    put(tmp_path / "odd.wav")
    config = IngestConfig.model_validate(
        {
            "input": str(tmp_path),
            "format": "regex",
            "pattern": r"(?P<speaker>\w+)/\w_(?P<emotion>[A-Z])_",
            "labels": {"emotion": {"W": "anger"}},
        }
    )
    found = scan(config).sources.to_pylist()
    assert {entry["field"]: entry["value"] for entry in found[0]["annotations"]} == {
        "speaker": "anna",
        "emotion": "anger",
    }
    assert found[1]["annotations"] == []


def test_class_folders_become_labels(tmp_path: Path) -> None:
    put(tmp_path / "happy" / "a.wav")
    config = IngestConfig(input=str(tmp_path), format="audiofolder")
    assert scan(config).sources["annotations"][0].as_py()[0]["field"] == "label"
    config = IngestConfig(input=str(tmp_path), format="audiofolder", columns={"emotion": "label"})
    assert scan(config).sources["annotations"][0].as_py()[0]["field"] == "emotion"


def test_one_file_is_an_input_too(root: Path) -> None:
    assert uris(scan(IngestConfig(input=str(root / "good.wav"))).sources) == ["good.wav"]
    (root / "list.csv").write_text("audio\ngood.wav\n")
    config = IngestConfig(input=str(root / "list.csv"))
    sources = scan(config).sources
    assert uris(sources) == ["good.wav"]
    assert Ingest(config).process(sources).rejects == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "input is not set"),
        ({"input": "/no/such/folder"}, "there is nothing here"),
        ({"input": "nosuchscheme://x"}, "cannot be opened"),
        ({"input": "EMPTY"}, "no audio found"),
        ({"input": "EMPTY", "format": "manifest"}, "no manifest"),
        ({"input": "EMPTY", "format": "audformat"}, "no db.yaml"),
        ({"input": "EMPTY", "corpora": {"a": {"path": "nowhere"}}}, "no folder 'nowhere'"),
    ],
)
def test_wrong_inputs_say_what_to_do(config: dict, message: str, tmp_path: Path) -> None:
    values = {**config, "input": str(tmp_path)} if config.get("input") == "EMPTY" else config
    with pytest.raises(UsageError, match=message):
        scan(IngestConfig.model_validate(values))


def test_hf_dataset_saved_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    outside = put(tmp_path / "outside.wav")
    inside = put(tmp_path / "saved" / "wavs" / "inside.wav")
    rows = [
        {"audio": {"bytes": WAV, "path": "a.wav"}, "text": "bytes", "emotion": "happy"},
        {"audio": {"bytes": None, "path": str(inside)}, "text": "path", "emotion": "sad"},
        {"audio": {"bytes": None, "path": str(outside)}, "text": "stolen", "emotion": "sad"},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "audio": pa.array([row["audio"] for row in rows], kind),
            **{name: [row[name] for row in rows] for name in ("text", "emotion")},
        }
    )
    dataset = datasets.Dataset(table)
    datasets.DatasetDict({"train": dataset, "test": dataset.select([0])}).save_to_disk(str(tmp_path / "saved"))
    config = IngestConfig(input=str(tmp_path / "saved"))
    found = scan(config)
    assert uris(found.sources) == ["hf:test::0", "hf:train::0", "hf:train::1", "hf:train::2"]
    assert found.sources["official_split"].to_pylist() == ["test", "train", "train", "train"]
    output = Ingest(config).process(found.sources)
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(3, "UnsafePath")]
    assert len(set(output.created["recordings"]["content_hash"].to_pylist())) == 1
    one = IngestConfig.model_validate({"input": str(tmp_path / "saved"), "hf": {"split": "test"}})
    assert uris(scan(one).sources) == ["hf:test::0"]


def test_hf_repository_layout_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    LAYOUTS["parquet"](tmp_path)
    config = IngestConfig(input=str(tmp_path), format="hf")
    found = scan(config)
    assert len(found.sources) == 10
    assert Ingest(config).process(found.sources).rejects == []


@pytest.mark.parametrize("name", ["../secret/data.arrow", "/etc/data.arrow", "file:///etc/data.arrow"])
def test_a_saved_dataset_cannot_name_files_outside(name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"audio": [WAV]}).save_to_disk(str(tmp_path / "secret"))
    datasets.Dataset.from_dict({"audio": [WAV]}).save_to_disk(str(tmp_path / "saved"))
    state = tmp_path / "saved" / "state.json"
    about = json.loads(state.read_text("utf-8"))
    about["_data_files"] = [{"filename": name.replace("data.arrow", "data-00000-of-00001.arrow")}]
    state.write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(UsageError, match="leads out of the folder"):
        scan(IngestConfig(input=str(tmp_path / "saved")))


def test_a_card_cannot_name_files_outside(tmp_path: Path) -> None:
    LAYOUTS["parquet"](tmp_path / "inside")
    LAYOUTS["parquet"](tmp_path / "outside")
    files = "{split: train, path: ../outside/data/train-00000-of-00002.parquet}"
    assert (tmp_path / "inside" / "../outside/data/train-00000-of-00002.parquet").is_file()
    card = f"---\nconfigs:\n- config_name: default\n  data_files: [{files}]\n---\n"
    (tmp_path / "inside" / "README.md").write_text(card, encoding="utf-8")
    with pytest.raises(UsageError, match="leads out of the folder"):
        scan(IngestConfig(input=str(tmp_path / "inside"), format="hf"))


def test_parquet_that_holds_paths_only(tmp_path: Path) -> None:
    put(tmp_path / "wavs" / "a.wav")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array([{"bytes": None, "path": "wavs/a.wav"}, {"bytes": None, "path": "../b.wav"}], kind)
    pq.write_table(pa.table({"audio": audio}), tmp_path / "x.parquet")
    config = IngestConfig(input=str(tmp_path))
    found = scan(config)
    output = Ingest(config).process(found.sources)
    assert [reject.error_class for reject in output.rejects] == ["UnsafePath"]
    assert len(output.created["recordings"]) == 1


def test_a_remote_listing_cannot_climb_either() -> None:
    with pytest.raises(RowError):
        Tree("memory://").locate("../x.wav")


def test_scan_of_ten_thousand_files_reads_no_more_than_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        put(tmp_path / f"{number % 7}" / f"{number}.wav")
    opened: list[str] = []
    real = Tree.read
    monkeypatch.setattr(
        Tree, "read", lambda self, uri, *rest, **more: opened.append(uri) or real(self, uri, *rest, **more)
    )
    found = scan(IngestConfig(input=str(tmp_path)))
    assert len(found.sources) == 300 and opened == []
    assert found.sources["seconds_hint"].to_pylist() == [0.3] * 300
    assert found.sources.equals(scan(IngestConfig(input=str(tmp_path))).sources)


def test_a_file_changed_in_place_has_another_fingerprint(root: Path) -> None:
    before = scan(IngestConfig(input=str(root))).sources
    os.utime(root / "good.wav", ns=(1, 1))
    after = scan(IngestConfig(input=str(root))).sources
    assert before["recording_id"].equals(after["recording_id"])
    assert not before["fingerprint"].equals(after["fingerprint"])


def test_a_store_that_fails_for_a_moment_blames_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe(f"/{tmp_path.name}/a.wav", WAV)
    config = IngestConfig(input=f"memory://{tmp_path.name}")
    sources = scan(config).sources
    stage = Ingest(config)

    def fail(*_: object, **__: object) -> bytes:
        raise ConnectionResetError("try again")

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "cat_file", fail)
        with pytest.raises(ConnectionResetError):
            stage.process(sources)
    assert stage.process(sources).rejects == []
    fs.rm(f"/{tmp_path.name}", recursive=True)


def test_a_run_below_its_own_input_is_not_read(root: Path) -> None:
    recipe = load("cpqa", profile="offline", overrides={"stages.ingest.input": str(root)})
    for _ in range(2):
        space = open_run(str(root / "out" / "run"), recipe)
        look_at_input(space, None, save=True)
        put(root / "out" / "run" / "dataset" / "clip.wav")
    assert uris(space.ledger.live) == ["good.wav"]
