"""Each layout is recognised, and what the corpus says arrives where it belongs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from datagen.readers import describe, scan
from datagen.stages.ingest import Ingest, IngestConfig
from datagen.tables import REJECTS, SOURCES
from datagen.testing.corpora import LAYOUTS, encoded, iemocap_dialogs, tone

PRESETS = {"ravdess", "emodb", "crema-d", "iemocap", "meld", "msp-podcast", "esd", "expresso", "librispeech"}


def said(source: dict) -> tuple[dict[str, str], list]:
    """Facts about the whole recording, and those about stretches of it."""
    whole: dict[str, str] = {}
    spans: dict[tuple, dict[str, str]] = {}
    for entry in source["annotations"]:
        place = (entry["channel"], entry["start"], entry["end"])
        target = whole if place == (None, None, None) else spans.setdefault(place, {})
        assert entry["field"] not in target, f"{entry['field']} said twice"
        target[entry["field"]] = entry["value"]
        assert entry["source"] == source["corpus"]
    return whole, list(spans.items())


def check(config: IngestConfig, expected: dict) -> pa.Table:
    found = scan(config)
    assert found.sources.schema == SOURCES and found.rejects.schema == REJECTS
    assert found.rejects.to_pylist() == []
    by_uri = {row["source_uri"]: row for row in found.sources.to_pylist()}
    assert by_uri.keys() == expected.keys()
    assert len({row["recording_id"] for row in by_uri.values()}) == len(by_uri)
    for uri, wanted in expected.items():
        whole, spans = said(by_uri[uri])
        assert whole == wanted["facts"], uri
        assert spans == wanted["spans"], uri
        assert by_uri[uri]["official_split"] == wanted["split"], uri
    return found.sources


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_layout_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    expected = LAYOUTS[name](tmp_path)
    config = IngestConfig(input=str(tmp_path))
    assert f"format {name} " in describe(config)[0]
    sources = check(config, expected)
    assert set(sources["corpus"].to_pylist()) == {name if name in PRESETS else "corpus"}
    if name in PRESETS:
        assert None not in sources["licence"].to_pylist()
    output = Ingest(config).process(sources)
    assert output.rejects == []
    assert output.created["recordings"]["recording_id"].to_pylist() == sources["recording_id"].to_pylist()


def test_iemocap_dialogues_become_annotations_with_times(tmp_path: Path) -> None:
    check(IngestConfig(input=str(tmp_path)), iemocap_dialogs(tmp_path))


def test_presets_below_another_folder_are_found(tmp_path: Path) -> None:
    for name in sorted(PRESETS):
        expected = LAYOUTS[name](tmp_path / name / "deep" / "er")
        check(IngestConfig(input=str(tmp_path / name)), {f"deep/er/{uri}": said for uri, said in expected.items()})


def test_several_corpora_below_one_input(tmp_path: Path) -> None:
    expected = {
        f"{name}/{uri}": said for name in ("ravdess", "emodb") for uri, said in LAYOUTS[name](tmp_path / name).items()
    }
    LAYOUTS["manifest"](tmp_path / "left_out")
    corpora = {"acted_en": {"path": "ravdess"}, "acted_de": {"path": "emodb", "licence": "CC-BY-4.0"}}
    sources = check(IngestConfig.model_validate({"input": str(tmp_path), "corpora": corpora}), expected)
    assert set(zip(sources["corpus"].to_pylist(), sources["licence"].to_pylist(), strict=True)) == {
        ("acted_en", "CC-BY-NC-SA-4.0"),
        ("acted_de", "CC-BY-4.0"),
    }


def test_a_table_that_nobody_reads_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(1)))
    (tmp_path / "liste.csv").write_text("datei,gefuehl\na.wav,Wut\n")
    assert "liste.csv is not read" in describe(IngestConfig(input=str(tmp_path)))[0]
    mapped = IngestConfig.model_validate(
        {
            "input": str(tmp_path),
            "columns": {"audio": "datei", "emotion": "gefuehl"},
            "labels": {"emotion": {"Wut": "angry"}},
        }
    )
    assert "liste.csv names audio files" in describe(mapped)[0]
    assert said(scan(mapped).sources.to_pylist()[0])[0] == {"emotion": "angry"}


def test_ids_do_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    LAYOUTS["ravdess"](tmp_path / "a")
    before = scan(IngestConfig(input=str(tmp_path / "a"))).sources
    (tmp_path / "a").rename(tmp_path / "b")
    assert scan(IngestConfig(input=str(tmp_path / "b"))).sources.equals(before)


@pytest.mark.parametrize("name", ["ravdess", "webdataset", "parquet", "manifest", "audiofolder", "audformat"])
def test_any_fsspec_url_reads_like_a_folder(name: str, tmp_path: Path) -> None:
    import fsspec

    expected = LAYOUTS[name](tmp_path)
    url = f"memory://{tmp_path.name}-{name}"
    fs, _ = fsspec.core.url_to_fs(url)
    fs.put(f"{tmp_path}/", f"{tmp_path.name}-{name}/", recursive=True)
    config = IngestConfig(input=url)
    sources = check(config, expected)
    here = Ingest(IngestConfig(input=str(tmp_path))).process(scan(IngestConfig(input=str(tmp_path))).sources)
    there = Ingest(config).process(sources)
    assert there.rejects == []
    assert there.created["recordings"].equals(here.created["recordings"])
    fs.rm(f"{tmp_path.name}-{name}", recursive=True)


def test_an_object_store_reads_like_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import fsspec

    expected = LAYOUTS["webdataset"](tmp_path)
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in (("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "x"),
                            ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
            monkeypatch.setenv(name, value)
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        fs.mkdir("corpora")
        fs.put(f"{tmp_path}/", "corpora/tars/", recursive=True)
        config = IngestConfig(input="s3://corpora/tars")
        sources = check(config, expected)
        assert Ingest(config).process(sources).rejects == []
        assert scan(config).sources.equals(sources)
    finally:
        server.stop()
