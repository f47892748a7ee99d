"""write and verify as the engine calls them: Arrow in, Arrow out, every row accounted for."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datagen import tables
from datagen.errors import UsageError
from datagen.llm import prompts
from datagen.stages.verify import Verify
from datagen.stages.write import Write, WriteConfig
from datagen.testing.records import clip_rows, clip_table, joined


def write(clips, seed=0, **config):
    stage = Write(WriteConfig(**config), seed=seed)
    stage.setup()
    batch = clips.select(["clip_id", *stage.reads, *stage.optional_reads])
    return stage.process(batch)


@pytest.fixture(scope="module")
def clips():
    return clip_table(30, seed=8, null_rate=0.15)


@pytest.fixture(scope="module")
def samples(clips):
    return write(clips).created["samples"]


def test_samples_have_their_schema_and_come_in_clip_order(clips, samples):
    assert samples.schema == tables.SAMPLES
    places = [clips["clip_id"].to_pylist().index(clip) for clip in samples["clip_id"].to_pylist()]
    assert places == sorted(places)


def test_every_clip_has_samples_or_a_reason():
    rows = [*clip_rows(3, seed=1), {"clip_id": "silent", "duration": 2.0, "speech_lang": "en"}]
    clips = tables.from_rows([{**rows[-1], **row} for row in rows], clip_table(1).schema)
    out = write(clips)
    assert {*out.created["samples"]["clip_id"].to_pylist()} == {row["clip_id"] for row in rows[:3]}
    assert [(drop.row, drop.reason.split(":")[0]) for drop in out.drops] == [(3, "nothing to ask")]


def test_batches_do_not_change_what_is_written(clips, samples):
    parts = [write(clips.slice(at, 7)).created["samples"] for at in range(0, clips.num_rows, 7)]
    assert pa.concat_tables(parts).equals(samples)


def test_tasks_modes_counts_and_languages_are_settings(clips):
    out = write(clips, tasks=["qa"], modes=["implicit"], counts={"qa": 2}, languages=["de"])
    made = out.created["samples"]
    assert set(made["task"].to_pylist()) == {"qa"} and set(made["mode"].to_pylist()) == {"implicit"}
    assert set(made["index"].to_pylist()) == {0, 1}
    assert any("is not asked for" in drop.reason for drop in out.drops)
    german = {row["clip_id"] for row in clips.to_pylist() if (row["text_lang"] or row["speech_lang"]) == "de"}
    assert {*made["clip_id"].to_pylist()} <= german


@pytest.mark.parametrize("config", [{"counts": {"qa": 0}}, {"tasks": ["poem"]}, {"writer": "oracle"}, {"tasks": []}])
def test_wrong_settings_are_refused(config):
    with pytest.raises(ValueError):
        WriteConfig(**config)


def test_own_prompts_change_the_texts_and_the_key_but_their_place_does_not(tmp_path, clips):
    for name, text in prompts.sources(prompts.folder("template")).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    shipped, copied = Write(WriteConfig()), Write(WriteConfig(prompts=str(tmp_path)))
    assert shipped.semantics() == copied.semantics()
    assert "prompts" in WriteConfig.non_semantic
    path = tmp_path / "caption.j2"
    path.write_text(path.read_text().replace("Describe how this recording sounds.", "Tell me about this sound."))
    assert shipped.semantics() != copied.semantics()
    made = write(clips, prompts=str(tmp_path), tasks=["caption"]).created["samples"]["question"].to_pylist()
    assert "Tell me about this sound." in made and "Describe how this recording sounds." not in made


def test_a_prompts_folder_without_a_needed_task_is_refused(tmp_path):
    (tmp_path / "caption.j2").write_text(
        prompts.sources(prompts.folder("template"))["caption.j2"].replace("uses: [voice.j2]\n", "")
    )
    with pytest.raises(UsageError, match="classification"):
        write(clip_table(1), prompts=str(tmp_path))


def test_a_prompt_that_claims_what_was_not_measured_is_rejected_not_published(tmp_path, clips):
    """The writer holds itself to the checks: a careless template makes rejects, not samples."""
    for name, text in prompts.sources(prompts.folder("template")).items():
        (tmp_path / name).write_text(text.replace("{% macro answer() %}", "{% macro answer() %}The speaker chuckles. "))
    out = write(clips, prompts=str(tmp_path), tasks=["caption"])
    heard = {row["clip_id"] for row in clips.to_pylist() if any(e["event"] == "laughter" for e in row["events"] or ())}
    assert {*out.created["samples"]["clip_id"].to_pylist()} <= heard
    assert len(out.rejects) > 15 and {reject.error_class for reject in out.rejects} == {"UnsupportedClaim"}


def test_verify_accepts_all_and_says_what_it_ran(clips, samples):
    out = Verify().process(joined(samples, clips))
    assert out.rejects == [] and out.columns.schema == tables.VERIFY
    for task, run, skipped in zip(
        samples["task"].to_pylist(), *(column.to_pylist() for column in out.columns), strict=True
    ):
        assert "leak" in run and "evidence" in run
        assert ("style" in skipped) == (task != "response")


def test_verify_rejects_what_another_clip_said(clips, samples):
    """Samples beside the record of another clip: nothing of what they claim holds."""
    table = joined(samples, clips)
    facts = [name for name in table.column_names if name not in tables.SAMPLES.names]
    rows = table.num_rows
    turned = table.select(facts).take([(row + rows // 2) % rows for row in range(rows)])
    for name in facts:
        table = table.set_column(table.column_names.index(name), name, turned[name])
    out = Verify().process(table)
    assert len(out.rejects) > 0.9 * rows
    assert "WrongIdentity" not in {reject.error_class for reject in out.rejects}


def test_verify_rejects_the_second_of_two_same_questions(clips, samples):
    from datagen.quality import checks

    row = next(row for row in samples.to_pylist() if row["task"] == "qa" and row["mode"] == "implicit")
    twin = {**row, "index": 9, "sample_id": checks.sample_id(row["clip_id"], "qa", "implicit", 9)}
    out = Verify().process(joined(tables.from_rows([row, twin], tables.SAMPLES), clips))
    assert [(reject.row, reject.error_class) for reject in out.rejects] == [(1, "DuplicateQuestion")]


@pytest.mark.parametrize("stage", [Write, Verify])
def test_empty_batches_pass(stage):
    clips = clip_table(2).slice(0, 0)
    batch = clips if stage is Write else joined(tables.from_rows([], tables.SAMPLES), clips)
    made = stage()
    made.setup()
    out = made.process(batch)
    made_table = out.created["samples"] if stage is Write else out.columns
    assert made_table.num_rows == 0
