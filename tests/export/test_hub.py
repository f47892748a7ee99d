"""The exported folder: complete, in order, within limits, the same every time, and loadable as it is."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from datagen import tables
from datagen.errors import RunError, UsageError
from datagen.export import hub, published
from datagen.export.swap import MARK
from datagen.stages.export import Export, ExportConfig
from datagen.testing.runs import CLIPS, SAMPLES, MemoryRun, memory_run

CONFIGS = ["clips", "classification", "qa", "reasoning", "response"]


def export(run: MemoryRun, out: Path, **config: Any) -> dict[str, Any]:
    return Export(ExportConfig(**config)).write(run, out)


def only_data(run: MemoryRun, out: Path, **options: Any) -> hub.Published:
    """Without card and pictures, for tests of the files alone."""
    return hub.write(run, out, hub.Options(**options), lambda folder, result: None)[0]


def read(folder: Path, config: str) -> dict[str, pa.Table]:
    """Split -> all its files, in order."""
    found: dict[str, list[pa.Table]] = {}
    for path in sorted((folder / config).iterdir()):
        found.setdefault(path.name.split("-")[0], []).append(pq.read_table(path))
    return {split: pa.concat_tables(parts) for split, parts in found.items()}


def everything(folder: Path, config: str) -> pa.Table:
    return pa.concat_tables(read(folder, config).values())


def files(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def run() -> MemoryRun:
    return memory_run(clips=24, shards=3)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "out"
    export(run, out)
    return out


# --- Content ------------------------------------------------------------------------------------------------


def test_every_live_row_is_there_once_in_the_order_of_ids(run, folder):
    clips = pa.concat_tables(run.clips)
    assert sorted(everything(folder, "clips")["clip_id"].to_pylist()) == sorted(clips["clip_id"].to_pylist())
    samples = [row for part in run.samples for row in part.to_pylist()]
    for task in CONFIGS[1:]:
        expected = sorted(row["sample_id"] for row in samples if row["task"] == task and row["route"] != "drop")
        assert sorted(everything(folder, task)["sample_id"].to_pylist()) == expected
    for config in CONFIGS:
        for split, table in read(folder, config).items():
            ids = table["clip_id" if config == "clips" else "sample_id"].to_pylist()
            assert ids == sorted(ids) and len(ids) > 1
            assert set(table["split"].to_pylist()) == {split}
    assert not (folder / "caption").exists()  # all of its items were routed to be dropped


def test_values_are_those_of_the_run(run, folder):
    source = {row["clip_id"]: row for part in run.clips for row in part.to_pylist()}
    for row in everything(folder, "clips").to_pylist():
        clip = source[row["clip_id"]]
        for name in ("transcript", "words", "arousal", "licence", "speaker", "contrast_emotions", "age_years"):
            assert row[name] == clip[name]
        assert row["audio"] == {"bytes": clip["audio"], "path": f"{row['clip_id']}.flac"}
        assert tables.EMOTIONS[row["emotion_id"]] == row["emotion"]
    originals = {row["sample_id"]: row for part in run.samples for row in part.to_pylist()}
    for row in everything(folder, "reasoning").to_pylist():
        assert row["audio"]["bytes"] == source[row["clip_id"]]["audio"]
        assert row["transcript"] == source[row["clip_id"]]["transcript"]
        assert row["evidence"] == originals[row["sample_id"]]["evidence"]


def test_an_unknown_emotion_has_no_class(tmp_path):
    only_data(memory_run(clips=3, shards=1, changes={0: {"emotion": None}, 1: {"emotion": "bored"}}), tmp_path / "out")
    found = {row["emotion"]: row["emotion_id"] for row in everything(tmp_path / "out", "clips").to_pylist()}
    assert found == {None: None, "bored": None, "neutral": 4}


def test_a_clip_without_sound_is_a_null(tmp_path):
    only_data(memory_run(clips=2, shards=1, split=False, changes={0: {"audio": None}}), tmp_path / "out")
    sounds = everything(tmp_path / "out", "clips")["audio"].to_pylist()
    assert sorted(sound is None for sound in sounds) == [False, True]


def test_file_names_of_sounds_are_plain(tmp_path):
    changes = {0: {"clip_id": "../../etc/passwd"}, 1: {"clip_id": "a/b\\c d"}}
    only_data(memory_run(clips=2, shards=1, split=False, changes=changes), tmp_path / "out")
    paths = {sound["path"] for sound in everything(tmp_path / "out", "clips")["audio"].to_pylist()}
    assert paths == {"_.._etc_passwd.flac", "a_b_c_d.flac"}


# --- Files --------------------------------------------------------------------------------------------------


def test_files_are_named_and_split_as_the_hub_expects(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*CONFIGS, "figures", "README.md", "LICENSE.md", MARK]
    )
    assert (folder / "clips" / "train-00000-of-00001.parquet").is_file()


def test_limits_on_files_and_row_groups_hold(tmp_path):
    run = memory_run(clips=40, shards=2, split=False)
    result = only_data(run, tmp_path / "out", file_bytes=80_000, group_bytes=30_000, group_rows_audio=3)
    paths = sorted((tmp_path / "out" / "clips").iterdir())
    assert len(paths) > 2 and result.configs["clips"]["train"].files == len(paths)
    assert [path.name for path in paths] == [f"train-{i:05d}-of-{len(paths):05d}.parquet" for i in range(len(paths))]
    ids = []
    for path in paths:
        file = pq.ParquetFile(path)
        table = file.read()
        ids += table["clip_id"].to_pylist()
        assert table.nbytes <= 80_000 * 1.1  # Arrow's bit maps and paddings aside
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            assert group.num_rows <= 3 and file.read_row_group(number).nbytes <= 30_000 * 1.1
    assert ids == sorted(ids) and len(ids) == 40


def test_all_files_of_a_config_have_one_schema_and_those_of_all_tasks_too(folder):
    for group in (CONFIGS[:1], CONFIGS[1:]):
        schemas = [pq.read_schema(path) for config in group for path in sorted((folder / config).iterdir())]
        assert len(schemas) > 2
        for schema in schemas[1:]:
            assert schema.equals(schemas[0], check_metadata=True)


def test_encoding_suits_viewers_and_the_hubs_storage(folder):
    for path in folder.glob("*/*.parquet"):
        file = pq.ParquetFile(path)
        assert json.loads(file.schema_arrow.metadata[b"content_defined_chunking"]) == published.CHUNKING
        assert file.schema_arrow.names[-1] == "audio"
        group = file.metadata.row_group(0)
        for column in map(group.column, range(group.num_columns)):
            assert column.has_offset_index
            if column.path_in_schema.startswith("audio."):
                assert column.compression == "UNCOMPRESSED" and not column.has_dictionary_page
            else:
                assert column.compression == "SNAPPY" and column.has_column_index
                assert (
                    column.has_dictionary_page
                    or column.num_values == column.statistics.null_count
                    or (column.physical_type == "BOOLEAN")
                )


def test_the_footer_says_who_wrote_it(folder):
    found = json.loads(pq.read_schema(next((folder / "qa").iterdir())).metadata[b"datagen"])
    assert found == {"format": "datagen-hub", "format_version": 1, "datagen_version": "0.0.test"}


def test_the_mark_lists_every_file_with_its_hash(folder):
    mark = json.loads((folder / MARK).read_text())
    found = files(folder)
    del found[MARK]
    assert {name: entry["sha256"] for name, entry in mark["files"].items()} == found
    assert mark["configs"]["clips"]["train"]["rows"] == 16


# --- The same every time ------------------------------------------------------------------------------------


def test_repetition_gives_the_same_bytes_and_so_does_another_shard_layout(folder, tmp_path):
    before = files(folder)
    for number, shards in enumerate((3, 5)):
        out = tmp_path / str(number)
        export(memory_run(clips=24, shards=shards), out)
        assert files(out) == before
    export(memory_run(clips=24, shards=3), tmp_path / "0")  # onto itself
    assert files(tmp_path / "0") == before


def test_a_new_export_leaves_nothing_of_the_old_one(tmp_path):
    out = tmp_path / "out"
    only_data(memory_run(clips=6, shards=1), out)
    only_data(memory_run(clips=6, shards=1, split=False), out, tasks=("qa",))
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.parquet")) == [
        "clips/train-00000-of-00001.parquet",
        "qa/train-00000-of-00001.parquet",
    ]


# --- What is left out ---------------------------------------------------------------------------------------


def rows_in(run: MemoryRun) -> dict[str, int]:
    return {"clips": sum(map(len, run.clips)), "samples": sum(map(len, run.samples))}


def rows_out(result: hub.Published) -> dict[str, int]:
    out = {"clips": 0, "samples": 0}
    for name, splits in result.configs.items():
        out["clips" if name == "clips" else "samples"] += sum(info.rows for info in splits.values())
    return out


@pytest.mark.parametrize(
    ("options", "changes", "reasons"),
    [
        ({}, {}, {"route: drop"}),
        ({}, {3: {"split": None}, 7: {"split": None}}, {"route: drop", "no split"}),
        ({"tasks": ("qa", "response")}, {}, {"route: drop", "task not asked for"}),
        ({"require": ("commercial",)}, {1: {"licence": "CC-BY-NC-4.0"}}, {"route: drop", "not permitted: commercial"}),
        (
            {"audio": "clips", "require": ("redistribute_audio", "derivatives")},
            {1: {"licence": None}, 2: {"licence": "CC-BY-ND-4.0"}},
            {"route: drop", "not permitted: redistribute_audio"},
        ),
    ],
)
def test_rows_in_are_rows_out_and_rows_left_out_with_a_reason(tmp_path, options, changes, reasons):
    run = memory_run(clips=12, shards=2, changes=changes)
    result = only_data(run, tmp_path / "out", **options)
    out = rows_out(result)
    for table, rows in rows_in(run).items():
        assert rows == out[table] + sum(result.left_out[table].values())
    assert set(result.left_out["samples"]) == reasons
    assert out == {"clips": result.clips.num_rows, "samples": result.samples.num_rows}


def test_required_permissions_hold_for_every_row_that_remains(tmp_path):
    run = memory_run(clips=12, shards=2, changes={1: {"licence": "CC-BY-NC-4.0"}, 2: {"licence": None}})
    only_data(run, tmp_path / "out", require=("commercial", "redistribute_audio"))
    for config in CONFIGS:
        table = everything(tmp_path / "out", config)
        assert all(table["commercial_ok"].to_pylist()) and all(table["redistribute_audio_ok"].to_pylist())
        assert len(set(table["clip_id"].to_pylist())) == 10


def test_a_model_that_forbids_commerce_costs_only_the_rows_that_rest_on_it(tmp_path):
    makers = [{"stage": "affect", "model": "m", "licence": "CC-BY-NC-SA-4.0", "columns": ["arousal_raw"]}]
    only_data(memory_run(clips=12, shards=2, provenance=makers), tmp_path / "out", require=("commercial",))
    # Rationales and responses rest on the arousal; every clip's row holds it; questions about words do not.
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["classification", "qa"]


def test_a_writer_whose_licence_nobody_said_costs_its_items_and_no_clip(tmp_path):
    writes = [field.name for field in tables.SAMPLES]
    makers = [
        {"stage": "write", "model": "my/model", "licence": "unknown", "columns": writes},
        {"stage": "scenario", "model": "my/model", "licence": "unknown", "columns": tables.SCENARIO.names},
    ]
    outside = {number: {"scenario_reason": "no contrast group"} for number in range(12)}
    told = {number: {"scenario": "On the phone, before a journey."} for number in range(4)}
    run = memory_run(clips=12, shards=2, provenance=makers, changes=outside | told)
    export(run, tmp_path / "all")
    for task in ("classification", "qa", "reasoning", "response"):
        assert not any(everything(tmp_path / "all", task)["redistribute_labels_ok"].to_pylist()), task
    clips = everything(tmp_path / "all", "clips")
    assert sum(clips["redistribute_labels_ok"].to_pylist()) == 8  # but for those that hold a scenario
    assert all(clips["redistribute_audio_ok"].to_pylist())
    result = Export(ExportConfig()).write(run, tmp_path / "again")
    assert any("my/model (unknown)" in warning and "llm.licence" in warning for warning in result["warnings"])


def test_a_recipe_without_a_split_stage_makes_one_training_split(tmp_path):
    result = only_data(memory_run(clips=6, shards=2, split=False), tmp_path / "out")
    assert {name: list(splits) for name, splits in result.configs.items()} == {name: ["train"] for name in CONFIGS}
    assert set(everything(tmp_path / "out", "qa")["split"].to_pylist()) == {"train"}


def test_a_run_without_samples_publishes_its_clips(tmp_path):
    run = memory_run(clips=6, shards=2)
    run.samples = [SAMPLES.empty_table(), SAMPLES.empty_table()]
    export(run, tmp_path / "out")
    assert list(read(tmp_path / "out", "clips")) == ["test", "train", "validation"]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (MemoryRun([CLIPS.empty_table()], [SAMPLES.empty_table()]), "no row is left"),
        (MemoryRun([], []), "no row is left"),
        (
            memory_run(clips=2, shards=1, split=False, changes={1: {"clip_id": "same"}, 0: {"clip_id": "same"}}),
            "two shards",
        ),
        (memory_run(clips=2, shards=1, changes={0: {"split": "../train"}}), "cannot be a split"),
    ],
)
def test_what_cannot_be_exported_is_said_and_leaves_nothing(tmp_path, run, message):
    with pytest.raises(RunError, match=message):
        only_data(run, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_sample_without_its_clip_is_an_error(tmp_path):
    run = memory_run(clips=4, shards=1)
    run.clips = [run.clips[0].slice(1)]
    with pytest.raises(RunError, match="no live clip"):
        only_data(run, tmp_path / "out")


@pytest.mark.parametrize("task", ["clips", "data", "a/b", "..", "", "Qa"])
def test_a_task_cannot_take_a_folder_it_must_not(tmp_path, task):
    run = memory_run(clips=2, shards=1)
    rows = run.samples[0].to_pylist()
    run.samples = [tables.from_rows([row | {"task": task} for row in rows], SAMPLES)]
    with pytest.raises(RunError, match="task"):
        only_data(run, tmp_path / "out")


def test_a_licence_alias_that_leads_nowhere_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such licence"):
        export(memory_run(clips=2, shards=1), tmp_path / "out", licences={"mine": "CC-BY-77"})


# --- Sound once per clip ------------------------------------------------------------------------------------


def test_sound_goes_into_items_while_that_is_small(tmp_path):
    run = memory_run(clips=6, shards=1)
    small = export(run, tmp_path / "small")
    large = export(run, tmp_path / "large", embed_limit_gb=1e-6)
    assert (small["audio"], large["audio"]) == ("embed", "clips")
    assert small["predicted_audio_bytes"] == large["predicted_audio_bytes"]
    sounds = [row["bytes"] for row in everything(tmp_path / "small", "qa")["audio"].to_pylist()]
    assert len(sounds) == 6
    table = everything(tmp_path / "large", "qa")
    assert "audio" not in table.column_names and "Audio" not in str(table.schema.metadata[b"huggingface"])
    assert "audio" in everything(tmp_path / "large", "clips").column_names
    embedded = sum(
        len(sound["bytes"])
        for config in CONFIGS
        for sound in everything(tmp_path / "small", config)["audio"].to_pylist()
    )
    assert small["predicted_audio_bytes"]["embed"] == embedded


def test_items_whose_clip_is_not_published_go_too_when_only_clips_carry_sound(tmp_path):
    makers = [{"stage": "prosody", "model": "m", "licence": "research-only", "columns": ["f0_median_hz"]}]
    run = memory_run(
        clips=6,
        shards=1,
        split=False,
        provenance=makers,
        changes={0: dict.fromkeys(("f0_median_hz", "f0_pct", "pitch_level"))},
    )
    result = only_data(run, tmp_path / "clips", audio="clips", require=("commercial",))
    assert result.left_out["samples"]["its clip is left out"] == 25
    kept = set(everything(tmp_path / "clips", "clips")["clip_id"].to_pylist())
    assert len(kept) == 1 and set(everything(tmp_path / "clips", "qa")["clip_id"].to_pylist()) == kept
    result = only_data(run, tmp_path / "embed", audio="embed", require=("commercial",))
    assert len(everything(tmp_path / "embed", "qa")) == 6


# --- What the caller is told --------------------------------------------------------------------------------


def test_the_report_counts_and_warns(tmp_path):
    report = export(memory_run(clips=6, shards=1, changes={1: {"licence": "my grandmother's"}}), tmp_path / "out")
    assert report["output"] == str(tmp_path / "out")
    assert report["configs"]["clips"]["train"]["rows"] == 4
    assert report["left_out"]["samples"] == {"route: drop": 6}
    told = " ".join(report["warnings"])
    assert "not for publication" in told and "my grandmother's" in told
    aliased = export(
        memory_run(clips=6, shards=1, changes={1: {"licence": "my grandmother's"}}),
        tmp_path / "out",
        licences={"my grandmother's": "CC0-1.0"},
    )
    assert aliased["warnings"] == []


# --- The real reader ----------------------------------------------------------------------------------------


def load(folder: Path, config: str, cache: Path, **options: Any) -> Any:
    import datasets

    return datasets.load_dataset(str(folder), config, cache_dir=str(cache), **options)


@pytest.mark.parametrize("config", CONFIGS)
def test_datasets_loads_every_config_and_split_offline(folder, run, tmp_path, config):
    import datasets

    found = load(folder, config, tmp_path)
    assert list(found) == ["train", "validation", "test"]
    written = read(folder, config)
    for split, rows in found.items():
        assert rows.features["audio"] == datasets.Audio(sampling_rate=16000)
        assert rows.features["emotion_id"] == datasets.ClassLabel(names=list(tables.EMOTIONS))
        assert rows.column_names == written[split].column_names
        rows = rows.cast_column("audio", datasets.Audio(decode=False))
        assert rows["clip_id"][:] == written[split]["clip_id"].to_pylist()
        row = rows[0]
        assert rows.features["emotion_id"].int2str(row["emotion_id"]) == row["emotion"]
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        assert rate == 16000 and len(samples) == round(row["duration"] * rate)


def test_datasets_streams_and_filters(folder, tmp_path):
    import datasets

    rows = load(folder, "classification", tmp_path, split="train", streaming=True)
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    explicit = [row for row in rows if row["mode"] == "explicit"]
    assert len(explicit) == 16 and all(row["audio"]["bytes"][:4] == b"fLaC" for row in explicit)


def test_tasks_can_be_joined_into_one_set(folder, tmp_path):
    import datasets

    parts = [load(folder, config, tmp_path, split="test") for config in CONFIGS[1:]]
    assert len(datasets.concatenate_datasets(parts)) == sum(map(len, parts)) == 20


def test_features_survive_where_the_card_is_lost(folder, tmp_path):
    """Whoever takes the Parquet files alone still gets sound and classes: the footer carries them."""
    import datasets

    paths = [str(path) for path in sorted((folder / "clips").glob("train-*"))]
    rows = datasets.load_dataset("parquet", data_files=paths, split="train", cache_dir=str(tmp_path))
    assert rows.features["audio"] == datasets.Audio(sampling_rate=16000)
    assert isinstance(rows.features["emotion_id"], datasets.ClassLabel)


def test_datasets_own_decoder_reads_the_sound(folder, tmp_path):
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError):  # installed, but FFmpeg's shared libraries are not
        pytest.skip("needs torchcodec and the FFmpeg libraries")
    decoded = load(folder, "clips", tmp_path, split="test")[0]["audio"].get_all_samples()
    assert decoded.sample_rate == 16000
