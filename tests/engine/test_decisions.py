"""What barriers decided stays decided, and what is published is what the run holds now."""

from __future__ import annotations

import json

from datagen.run import Options, collect
from tests.engine import toy

REFIT = Options(progress="none", refit=True)
PUBLISHED = [*toy.DEFAULT, "publish"]


def fitted(space):
    return space.store.artifact(space.plan.done("fit", None))


def published(tmp_path):
    return json.loads((tmp_path / "run" / "dataset" / "rows.json").read_text())


def test_a_pilot_decides_nothing_for_the_full_run(run, space):
    run(to="straight")
    run(Options(progress="none", limit=8))
    pilot = fitted(space())
    assert pilot != fitted(space("straight"))
    assert run()["fit"] == 1
    assert fitted(space()) == fitted(space("straight"))
    assert run() == {}


def test_a_fit_on_everything_binds_later_pilots_and_runs(run, source, space):
    run()
    first = fitted(space())
    toy.write_input(source, 8, start=100)
    run(Options(progress="none", limit=22))
    run()
    assert fitted(space()) == first


def test_a_second_refit_to_old_data_is_the_one_that_counts(run, source, space):
    run()
    first = fitted(space())
    more = [path for path in toy.write_input(source, 4, start=100).iterdir() if path.name.startswith("010")]
    run(REFIT)
    assert fitted(space()) != first
    for path in more:
        path.unlink()
    assert run(REFIT)["fit"] == 1
    assert fitted(space()) == first
    assert run() == {}, "the run after a refit goes on from it"
    assert run(REFIT) == {}, "there is nothing new to fit"


def remembered(space):
    """Clips that the last decision of ``pick`` knew to have been kept before."""
    view = space()
    unit = view.plan.done("pick", None)
    found = [view.files.read_table(unit.file(shard, "clips.parquet"))["kept_before"] for shard in view.plan.shards]
    return sum(value is True for column in found for value in column.to_pylist())


def test_a_refit_forgets_what_was_picked_and_is_what_later_runs_go_on_from(run, source, space):
    run()
    assert remembered(space) == 0
    more = [path for path in toy.write_input(source, 4, start=100).iterdir() if path.name.startswith("010")]
    run()
    assert remembered(space) > 0
    assert run(REFIT)["pick"] == 1
    assert remembered(space) == 0
    assert run() == {} and run(REFIT) == {}
    for path in more:
        path.unlink()
    assert run(REFIT)["pick"] == 1, "though these clips were picked from once before: it is the last that counts"
    assert remembered(space) == 0
    assert run() == {} and run(REFIT) == {}
    toy.write_input(source, 2, start=200)
    run()
    assert remembered(space) > 0


def test_from_a_stage_leaves_the_decisions_of_later_barriers(run, source, space):
    run()
    first = fitted(space())
    toy.write_input(source, 4, start=100)
    run()
    done = run(Options(progress="none", start="square"))
    assert done["square"] == 5 and done["apply"] == 5
    assert fitted(space()) == first
    assert "fit" not in done
    assert run(Options(progress="none", start="fit"))["fit"] == 1
    assert fitted(space()) != first


def test_gc_in_an_unfinished_run_keeps_what_was_decided_and_what_may_serve_yet(run, source, space, tmp_path):
    run()
    first = fitted(space())
    decided = set(space().store.keys("pick", None))
    toy.write_input(source, 4, start=100)
    run(Options(progress="none", until="cut"))  # nobody can tell yet what the barriers will need
    units, _ = collect(str(tmp_path / "run"))
    assert units == []
    assert decided <= set(space().store.keys("pick", None))
    run()
    assert fitted(space()) == first


def test_gc_after_growth_keeps_the_chain_of_decisions(run, source, space, tmp_path):
    run()
    toy.write_input(source, 4, start=100)
    run()
    kept = set(space().store.keys("pick", None))
    collect(str(tmp_path / "run"))
    assert set(space().store.keys("pick", None)) == kept and len(kept) == 2
    assert run() == {}


def test_gc_deletes_what_killed_writers_left(run, tmp_path, space):
    run()
    unit = space().plan.done("square", 0)
    torn = tmp_path / "run" / unit.folder / "clips.parquet.0123abcd.tmp"
    torn.write_bytes(b"x" * 100)
    lost = tmp_path / "run" / "scratch" / "square" / "000000" / ("0" * 32)
    lost.mkdir(parents=True)
    (lost / "00000000-00000004.part").write_bytes(b"y" * 10)
    _, size = collect(str(tmp_path / "run"))
    assert size == 110
    assert not torn.exists() and not lost.exists()
    assert run() == {}


def test_what_is_published_follows_the_run_back_as_well(run, tmp_path):
    assert run(stages=PUBLISHED)["publish"] == 1
    before = published(tmp_path)
    run(stages=PUBLISHED, write={"prompt": "What was it?"})
    assert published(tmp_path) != before
    assert run(stages=PUBLISHED) == {"publish": 1}, "the rows are there; only the output has to be written again"
    assert published(tmp_path) == before
    assert run(stages=PUBLISHED) == {}


def test_a_deleted_output_is_written_again(run, tmp_path):
    run(stages=PUBLISHED)
    before = published(tmp_path)
    for path in (tmp_path / "run" / "dataset").iterdir():
        path.unlink()
    assert run(stages=PUBLISHED) == {"publish": 1}
    assert published(tmp_path) == before


def test_a_pilot_of_everything_until_a_stage_then_the_full_run(run, tmp_path):
    run(Options(progress="none", until="cut"), stages=PUBLISHED)
    assert not (tmp_path / "run" / "dataset").exists()
    done = run(stages=PUBLISHED)
    assert "cut" not in done and done["publish"] == 1
