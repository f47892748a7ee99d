"""A barrier worked on in rounds: tasks run apart, are parked, survive what dies, and come to the same."""

import pytest

from datagen.errors import RunError
from datagen.executors.base import Fate
from datagen.executors.local import LocalExecutor
from datagen.files import Files
from datagen.run import Options, collect, execute, open_run
from tests.engine import toy
from tests.engine.test_driver import Faulty

DONE = toy.Rank.done
WITH_RANK = [*toy.DEFAULT, "rank"]


@pytest.fixture(autouse=True)
def _nothing_done_yet():
    DONE.clear()


@pytest.fixture
def run(run):
    return lambda *args, **settings: run(*args, **({"stages": WITH_RANK} | settings))


def ranked(space):
    view = space()
    unit = view.plan.done("rank", None)
    record = view.store.record(unit)
    rows = {}
    for shard in view.plan.shards:
        table = view.files.read_table(unit.file(shard, "clips.parquet"))
        rows |= {row.pop("clip_id"): row for row in table.to_pylist()}
    return rows, record, view.store.artifact(unit), view.store.rejects(unit)


def outcome(space):
    """All that a second run of the same must come to again: not the times."""
    rows, record, artifact, rejects = ranked(space)
    timed = {"seconds", "finished"}
    return rows, {name: value for name, value in record.items() if name not in timed}, artifact, rejects.to_pylist()


def struck(strike):
    return Options(progress="none", executor=lambda: Faulty(strike))


def test_rounds_come_to_columns_counts_rejects_and_an_artifact(run, space):
    assert run(rows=4)["rank"] == 1
    rows, record, artifact, rejects = ranked(space)
    counts = record["counts"]
    assert counts["in"] == counts["ok"] + counts["dropped"] + counts["rejected"]
    assert counts["rejected"] == 1 == len(rejects) and counts["dropped"] == counts["in"] // 2
    assert record["why"]["dropped"] == {"odd": counts["dropped"]} and record["why"]["rejected"] == {"First": 1}
    assert sum(artifact["rows"]) == counts["in"]
    seen = [row for row in rows.values() if row["_status"] in {"ok", "dropped"}]
    assert sorted(row["place"] for row in seen) == list(range(1, counts["in"]))
    assert {row["clips"] for row in seen} == {counts["in"]}
    assert len({name for name, _ in DONE}) == 3 and len(DONE) == len(set(DONE))


def test_the_same_command_does_nothing_again_and_leaves_no_scratch(run, space, tmp_path):
    run()
    DONE.clear()
    assert run() == {} and DONE == []
    assert not (tmp_path / "run" / "scratch" / "rank").exists() or not list(
        (tmp_path / "run/scratch/rank").rglob("*.*")
    )


def test_what_was_done_before_the_run_died_is_not_done_again(run, space, tmp_path):
    run(to="straight")
    DONE.clear()

    def strike(job):
        return Fate.RAISED if job.round == ("sort", 1) else None

    with pytest.raises(RunError, match=r"task 1 of sort: .*struck"):
        run(struck(strike))
    before = list(DONE)
    assert ("sort", 0) in before and ("sort", 1) not in before
    DONE.clear()
    run()
    assert not set(before) & set(DONE) and ("sort", 1) in DONE
    assert outcome(space) == outcome(lambda: space("straight"))


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.DIED, "after"])
def test_a_task_that_dies_or_is_lost_is_sent_again(run, space, fate):
    run(to="straight")
    told = set()

    def strike(job):
        if job.round is None or job.round in told:
            return None
        told.add(job.round)
        return fate

    run(struck(strike))
    assert len(told) > 4
    assert outcome(space) == outcome(lambda: space("straight"))


def test_what_was_done_with_other_memory_is_not_taken_for_a_part_of_this(run, space):
    run(to="straight")

    def strike(job):
        return Fate.RAISED if job.round == ("sort", 1) else None

    with pytest.raises(RunError, match="struck"):
        run(struck(strike), rank={"memory_gb": 2.0})
    DONE.clear()
    run(rank={"memory_gb": 1.0})
    assert ("gather", 0) in DONE and ("sort", 0) in DONE
    assert outcome(space) == outcome(lambda: space("straight"))


def test_gc_takes_what_a_death_after_the_commit_left_in_scratch(run, space):
    run()
    view = space()
    unit = view.plan.done("rank", None)
    view.store.park_result(unit, "sort", 1, {"found": {}, "seconds": 0.0})
    assert collect(view.files.url, dry_run=True)[1] > 0 and view.files.exists(unit.scratch)
    garbage, size = collect(view.files.url)
    assert garbage == [] and size > 0 and not view.files.names(unit.scratch)
    assert view.store.record(unit) is not None


def test_plans_and_results_of_all_shards_are_shared_not_sent_with_every_task(run):
    shared = []

    class Sharing(LocalExecutor):
        def share(self, value):
            shared.append(value)
            return super().share(value)

        def submit(self, pool, task):
            if task.payload.stage == "rank":
                assert task.payload.plans == () and task.payload.brief is not None
            super().submit(pool, task)

    assert run(Options(progress="none", executor=Sharing), rows=4)["rank"] == 1
    assert len(shared) == 4, "gather, sort, finish and the commit"


def test_rounds_in_memory_equal_those_on_disk(run, space, source):
    run()
    execute(toy.recipe(source, stages=WITH_RANK), "memory://rounds", Options(progress="none"), print)
    assert outcome(lambda: open_run("memory://rounds")) == outcome(space)
    assert not Files("memory://rounds").names("scratch/rank/all")


def test_a_column_that_was_not_declared_is_not_read(run, monkeypatch):
    monkeypatch.setattr(toy.Rank, "work", lambda self, name, task, bench: {"rows": len(bench.read(0, ["speaker"]))})
    with pytest.raises(RunError, match="does not declare that it reads speaker"):
        run()


def test_workers_on_ray_come_to_the_same(run, space):
    run(to="straight")
    assert run(to="ray", executor="ray")["rank"] == 1
    assert outcome(lambda: space("ray")) == outcome(lambda: space("straight"))
