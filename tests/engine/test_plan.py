"""What makes a unit stale, and what does not."""

from __future__ import annotations

import os
import time

import pytest

from datagen.errors import UsageError
from datagen.plan import State
from datagen.run import Options, collect, execute, garbage, look_at_input, open_run, retry
from datagen.stage import Provenance
from tests.engine import toy

QUIET = Options(progress="none")


def rows(tmp_path):
    return toy.rows_of(str(tmp_path / "run"))


def test_a_finished_run_does_nothing_again(run):
    assert run() == {"ingest": 4, "cut": 4, "square": 4, "fit": 1, "apply": 4, "pick": 1, "write": 4, "verify": 4}
    assert run() == {}


def test_changing_a_prompt_makes_only_write_and_its_followers_stale(run, tmp_path, source):
    run()
    recipe = toy.recipe(source, write={"prompt": "What was it?"})
    space = open_run(str(tmp_path / "run"), recipe)
    look_at_input(space, None, save=False)
    stale = [name for name, p in space.plan.overview().items() if not p.units[State.DONE]]
    assert stale == ["write", "verify"]
    assert all(p.units[State.STALE] == 4 for name, p in space.plan.overview().items() if name in stale)
    assert run(write={"prompt": "What was it?"}) == {"write": 4}  # verify reads the answers only: they are the same
    assert rows(tmp_path)["samples"][0]["question"] == "What was it?"


def test_going_back_to_old_settings_costs_nothing(run):
    run()
    run(write={"prompt": "What was it?"})
    assert run() == {}


def test_an_optional_annotator_restales_only_its_readers(run):
    run()
    everything = [*toy.DEFAULT, "extra"]
    # apply reads `events`; it comes to the same columns, so nothing behind it moves
    assert run(stages=everything) == {"extra": 4, "apply": 4}


def test_a_licence_costs_an_export_and_nothing_else(tmp_path, source, monkeypatch):
    stages = [*toy.DEFAULT, "publish"]
    recipe = toy.recipe(source, stages=stages)
    execute(recipe, str(tmp_path / "run"), QUIET, print)
    monkeypatch.setattr(toy.Write, "provenance", lambda self: (Provenance("model", "", "MIT", ("question",)),))
    _, outcome = execute(recipe, str(tmp_path / "run"), QUIET, print)
    assert {name: count for name, count in outcome.committed.items() if count} == {"publish": 1}
    _, outcome = execute(recipe, str(tmp_path / "run"), QUIET, print)
    assert sum(outcome.committed.values()) == 0


def test_resources_never_matter(run):
    run()
    assert run(square={"resources": {"cpus": 2, "batch_timeout_s": 77}}) == {}


def test_a_semantic_setting_matters(run):
    run()
    done = run(square={"power": 3})
    assert done["square"] == 4
    assert "ingest" not in done and "cut" not in done


def test_new_files_are_processed_alone_and_move_no_row(run, source, tmp_path):
    run()
    before = rows(tmp_path)
    toy.write_input(source, 4, start=100)
    done = run()
    assert done["ingest"] == 1 and done["cut"] == 1 and done["square"] == 1
    assert "fit" not in done, "a frozen calibration is not fitted again"
    after = rows(tmp_path)
    assert after["clips"][: len(before["clips"])] == before["clips"]
    assert after["samples"][: len(before["samples"])] == before["samples"]
    assert len(after["clips"]) > len(before["clips"])


def test_a_file_that_sorts_first_moves_no_row_either(run, source, tmp_path):
    run()
    before = [clip["clip_id"] for clip in rows(tmp_path)["clips"]]
    (source / "!first.txt").write_text("77")
    run()
    assert [clip["clip_id"] for clip in rows(tmp_path)["clips"]][: len(before)] == before


def test_a_file_changed_in_place_is_noticed(run, source, tmp_path):
    run()
    (source / "0001.txt").write_text("1000")
    done = run()
    assert done["ingest"] == done["cut"] == done["square"] == 1
    assert 1000.0 in [clip["number"] for clip in rows(tmp_path)["clips"]]


def test_a_touched_file_with_the_same_content_goes_no_further_than_ingest(run, source):
    run()
    os.utime(source / "0001.txt", ns=(time.time_ns(), time.time_ns()))
    assert run() == {"ingest": 1}


def test_a_removed_file_leaves_and_comes_back_to_its_place(run, source, tmp_path):
    run()
    before = rows(tmp_path)
    text = (source / "0004.txt").read_text()
    stat = (source / "0004.txt").stat()
    (source / "0004.txt").unlink()
    run()
    space = open_run(str(tmp_path / "run"))
    assert "0004.txt" not in space.ledger.live["source_uri"].to_pylist()
    (source / "0004.txt").write_text(text)
    os.utime(source / "0004.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run() == {}, "the results of the old place are still there"
    assert rows(tmp_path) == before


def test_refit_fits_again(run, source):
    run()
    toy.write_input(source, 4, start=100)
    run()
    done = run(Options(progress="none", refit=True))
    assert done["fit"] == 1
    assert run() == {}


def test_selection_knows_what_it_kept_before(run, source, tmp_path):
    run()
    toy.write_input(source, 4, start=100)
    run()
    space = open_run(str(tmp_path / "run"))
    kept = [
        value
        for shard in space.plan.shards
        for value in space.store.read(space.plan.table_plan("clips", shard, ["kept_before"]))["kept_before"].to_pylist()
    ]
    assert True in kept and False in kept


def test_limit_is_a_pilot_that_the_full_run_goes_on_from(run, tmp_path):
    first = run(Options(progress="none", limit=8))
    assert first["ingest"] == 2
    pilot = {clip["clip_id"] for clip in rows(tmp_path)["clips"]}
    done = run()
    assert done["ingest"] == 2, "two more shards; the pilot's are not read again"
    assert pilot <= {clip["clip_id"] for clip in rows(tmp_path)["clips"]}


def test_until_stops_and_from_starts_again(run):
    assert run(Options(progress="none", until="square")) == {"ingest": 4, "cut": 4, "square": 4}
    run()
    assert run(Options(progress="none", start="pick")) == {"pick": 1, "write": 4, "verify": 4}


def test_unknown_stage_names_are_refused_with_a_suggestion(run):
    with pytest.raises(UsageError, match="did you mean 'square'"):
        run(Options(progress="none", until="sqare"))


def test_garbage_is_what_no_setting_leads_to(run, tmp_path):
    run(write={"prompt": "What was it?"})
    run()
    space = open_run(str(tmp_path / "run"))
    assert {unit.stage for unit in garbage(space)} == {"write"}  # verify's key is the same for both prompts
    units, size = collect(str(tmp_path / "run"))
    assert len(units) == 4 and size > 0
    assert collect(str(tmp_path / "run")) == ([], 0)
    assert run() == {}


def test_gc_keeps_what_a_stage_made_whose_model_is_gone(run, tmp_path, monkeypatch):
    run()
    monkeypatch.setattr(toy.Square, "semantics", lambda self: {"model": "absent"})  # its key cannot be known any more
    assert {unit.stage for unit in garbage(open_run(str(tmp_path / "run")))} == {"square"}
    monkeypatch.setattr(toy.Square, "check", lambda self: "there is no such folder")
    assert collect(str(tmp_path / "run")) == ([], 0)
    monkeypatch.undo()
    assert run() == {}


def test_rejects_can_be_retried(run, source, tmp_path):
    run()
    assert [r["error_class"] for r in rows(tmp_path)["rejects"]] == ["NotAudio"]
    stat = (source / "0005.txt").stat()
    (source / "0005.txt").write_text("12 1\n\n")  # the same size; pretend the same time as well
    os.utime(source / "0005.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run() == {}
    assert retry(str(tmp_path / "run")) == 1
    assert run()["ingest"] == 1
    assert rows(tmp_path)["rejects"] == []


def test_too_many_rejects_end_the_run(tmp_path):
    source = toy.write_input(tmp_path / "in", 4, broken=(1, 2, 3))
    from datagen.errors import RunError

    with pytest.raises(RunError, match="rejected 3 of 4 rows, mostly NotAudio"):
        execute(toy.recipe(source), str(tmp_path / "run"), QUIET, print)


def test_shards_and_batches_do_not_change_rows(tmp_path, source, monkeypatch):
    execute(toy.recipe(source, rows=6), str(tmp_path / "a"), QUIET, print)
    monkeypatch.setattr(toy.Square, "batch_rows", 3)
    execute(toy.recipe(source, rows=6), str(tmp_path / "b"), QUIET, print)
    assert toy.rows_of(str(tmp_path / "a")) == toy.rows_of(str(tmp_path / "b"))
    execute(toy.recipe(source, rows=100), str(tmp_path / "c"), QUIET, print)
    wide, narrow = toy.rows_of(str(tmp_path / "c")), toy.rows_of(str(tmp_path / "a"))
    assert sorted(wide["clips"], key=str) == sorted(narrow["clips"], key=str)


def test_a_foreign_folder_is_not_written_into(tmp_path, source):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        execute(toy.recipe(source), str(tmp_path / "run"), QUIET, print)


def test_a_row_that_raises_is_rejected_alone(run, tmp_path):
    run(square={"fall": [14.0]})
    found = rows(tmp_path)
    assert {r["error_class"] for r in found["rejects"]} == {"NotAudio", "ValueError"}
    numbers = [clip["number"] for clip in found["clips"]]
    assert 14.0 not in numbers and 13.0 in numbers and 15.0 in numbers


def test_a_barrier_with_a_grown_corpus_keeps_old_units_valid(run, source, tmp_path):
    run()
    toy.write_input(source, 2, start=200)
    done = run()
    assert done["pick"] == 1
    assert done.get("write", 0) <= 1 + 4
