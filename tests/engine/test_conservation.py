"""``datagen status`` does not believe the records: whatever is done to a run's files, it says so."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen import report, tables
from datagen.errors import RunError
from datagen.reader import all_rejects
from datagen.run import Options, open_run
from datagen.status import scan_count, stage_counts
from tests.engine import toy


def problems(space):
    found = scan_count(space.files, space.ledger)
    assert found is not None
    return {c.stage: c.problems for c in [found, *stage_counts(space.plan, space.store, verify=True)] if c.problems}


def refused(error_class, times=1):
    row = {"id": "x", "table": "sources", "stage": "scan", "error_class": error_class, "message": "m", "attempt": 1}
    return tables.from_rows([row] * times, tables.REJECTS)


def drop_last_row(table):
    return table.slice(0, len(table) - 1)


def flip_status(table):
    column = table.schema.get_field_index("_status")
    values = table["_status"].to_pylist()
    values[values.index("ok")] = "dropped"
    return table.set_column(column, table.schema.field(column), pa.array(values, pa.string()))


def twice(table):
    return pa.concat_tables([table, table.slice(0, 1)])


def swap(table):
    return table.take(pa.array([1, 0, *range(2, len(table))]))


def test_an_untouched_run_holds(run, space):
    run()
    assert problems(space()) == {}
    assert report.status(space())


ROWS, STATUS = (drop_last_row, twice, swap), (drop_last_row, twice, flip_status)
TAMPERED = [
    *(("cut", 1, "clips.parquet", harm) for harm in ROWS),
    *(("cut", 1, "status.parquet", harm) for harm in STATUS),
    *(("square", 1, "clips.parquet", harm) for harm in (*ROWS, flip_status)),
    *(("pick", None, "000001.clips.parquet", harm) for harm in (*ROWS, flip_status)),
    *(("verify", 1, "samples.parquet", harm) for harm in (*ROWS, flip_status)),
]


@pytest.mark.parametrize(("stage", "shard", "name", "harm"), TAMPERED)
def test_a_tampered_file_is_noticed(whole, stage, shard, name, harm):
    space = open_run(str(whole))
    path = whole / space.plan.done(stage, shard).folder / name
    original = path.read_bytes()
    try:
        pq.write_table(harm(pq.read_table(path)), path)
        space = open_run(str(whole))
        assert problems(space)
        assert not report.status(space)
    finally:
        path.write_bytes(original)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run that the tests harm and mend again."""
    from datagen import registry
    from datagen.run import execute

    before = dict(registry.BUILTIN)
    folder = tmp_path_factory.mktemp("whole")
    source = toy.write_input(folder / "in", 20, broken=(5,))
    execute(toy.recipe(source), str(folder / "run"), Options(progress="none"), print)
    registry.BUILTIN.clear()
    registry.BUILTIN.update(before)
    return folder / "run"


@pytest.fixture(autouse=True)
def _toy():
    toy.install()


def test_lost_audio_is_noticed(whole):
    space = open_run(str(whole))
    path = whole / space.plan.done("cut", 2).folder / "clips.audio.parquet"
    original = path.read_bytes()
    pq.write_table(drop_last_row(pq.read_table(path)), path)
    try:
        assert "audio" in problems(open_run(str(whole)))["cut"][0]
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("name", ["clips.parquet", "record.json"])
def test_a_deleted_file_is_noticed_and_made_again(run, space, tmp_path, name):
    run()
    before = toy.rows_of(str(tmp_path / "run"))
    (tmp_path / "run" / space().plan.done("square", 1).folder / name).unlink()
    assert name == "record.json" or "cannot be read" in problems(space())["square"][0]
    run(Options(progress="none", start="square"))
    assert problems(space()) == {}
    assert toy.rows_of(str(tmp_path / "run")) == before


def test_a_lost_file_of_the_run_is_blamed_on_no_row(run, space, tmp_path, monkeypatch):
    monkeypatch.setattr("datagen.worker.STORE_WAITS_S", (0.01,))
    run(Options(progress="none", until="cut"))
    (tmp_path / "run" / space().plan.done("cut", 1).folder / "clips.audio.parquet").unlink()
    with pytest.raises(RunError, match=r"stage square, shard 1: files of the run itself cannot be read"):
        run()
    assert set(all_rejects(space().plan, space().store)["stage"].to_pylist()) == {"ingest"}
    assert run(Options(progress="none", start="cut"))["cut"] == 4


def test_the_scan_has_a_line_of_its_own(run, space, monkeypatch):
    whole = toy.Ingest.scan

    def one_refused(self):
        found, _ = whole(self)
        row = {
            "id": "x",
            "table": "sources",
            "stage": "scan",
            "error_class": "UnsafePath",
            "message": "m",
            "attempt": 1,
        }
        return found, tables.from_rows([row], tables.REJECTS)

    monkeypatch.setattr(toy.Ingest, "scan", one_refused)
    run(Options(progress="none", limit=8))
    count = scan_count(space().files, space().ledger)
    assert (count.rows_in, count.ok, count.rejected, count.dropped) == (21, 8, 1, 12)
    assert count.rejected_why == {"UnsafePath": 1} and count.problems == []


def test_an_input_that_is_mostly_refused_ends_the_run(run, monkeypatch):
    whole = toy.Ingest.scan

    def most_refused(self):
        row = {
            "id": "x",
            "table": "sources",
            "stage": "scan",
            "error_class": "MissingFile",
            "message": "m",
            "attempt": 1,
        }
        return whole(self)[0], tables.from_rows([row] * 30, tables.REJECTS)

    monkeypatch.setattr(toy.Ingest, "scan", most_refused)
    with pytest.raises(RunError, match="30 of 50 entries of the input cannot be used, mostly MissingFile"):
        run()


def test_a_run_under_way_can_be_looked_at(run, space):
    """After every commit, from another process's point of view: never an error, never a false alarm."""
    seen = []

    def look(self, unit, record):
        before(self, unit, record)
        there = space()
        assert problems(there) == {}
        seen.append(sum(c.shards_done for c in stage_counts(there.plan, there.store)))

    from datagen.store import Store

    before = Store.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", look)
        run()
    assert seen == sorted(seen) and len(set(seen)) > 20
