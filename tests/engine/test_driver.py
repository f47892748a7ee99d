"""The run loop's bookkeeping when things go wrong half-way. Faults are injected where a real one would strike."""

from __future__ import annotations

import json
import re
import threading
from types import SimpleNamespace

import pytest

from datagen import driver
from datagen.errors import EnvironmentFault, RunError, UsageError
from datagen.executors.base import Completion, Fate
from datagen.executors.local import LocalExecutor
from datagen.pools import expected_gb
from datagen.run import Options, execute
from datagen.status import stage_counts
from datagen.store import Store
from tests.engine import toy


class Faulty(LocalExecutor):
    """In process, but asks ``strike(job)`` before each task whether that one fails, and how."""

    def __init__(self, strike):
        super().__init__()
        self.strike = strike

    def _run(self, pool, task):
        fate = self.strike(task.payload)
        if fate is None:
            return super()._run(pool, task)
        if fate == "after":  # the work is done, the answer is lost
            super()._run(pool, task)
            fate = Fate.DIED
        return Completion(pool, task, fate, error_class="" if fate is not Fate.RAISED else "OSError", message="struck")


def with_strikes(strike):
    return Options(progress="none", executor=lambda: Faulty(strike))


@pytest.fixture
def outcome(source, tmp_path):
    """Runs under faults and hands back the whole outcome."""

    def go(strike, to="run", **settings):
        return execute(toy.recipe(source, **settings), str(tmp_path / to), with_strikes(strike), print)[1]

    return go


def balanced(found):
    return {name: (t.done, t.total) for name, t in found.tallies.items() if t.done != t.total}


def test_progress_ends_at_its_total_whatever_failed(outcome, run, tmp_path):
    run(to="straight")
    struck: dict = {}

    def strike(job):  # the first two tries of every task, whatever it is
        spot = (job.unit, job.pieces)
        struck[spot] = struck.get(spot, 0) + 1
        return (Fate.DIED, Fate.RAISED, None)[min(struck[spot], 3) - 1]

    found = outcome(strike)
    assert balanced(found) == {}
    assert toy.rows_of(str(tmp_path / "run")) == toy.rows_of(str(tmp_path / "straight"))


def test_refused_rows_and_zero_rows_balance_too(outcome):
    found = outcome(lambda job: None, square={"fall": [float(n) for n in range(50)]}, max_reject_fraction=1.0)
    assert balanced(found) == {}
    assert found.tallies["square"].rejected == found.tallies["square"].total > 0
    assert found.tallies["write"].total == 0 and found.committed["write"] == 4


def test_a_commit_that_fails_costs_no_row_and_no_piece(outcome, run, tmp_path):
    run(to="straight")
    computed, failed = [], []

    def strike(job):
        if job.stage == "square" and job.pieces:
            computed.append((job.unit.shard, job.pieces))
        if job.stage == "square" and job.commit and len(failed) < 2:
            failed.append(job.unit)
            return Fate.RAISED
        return None

    found = outcome(strike)
    assert len(failed) == 2 and balanced(found) == {}
    assert len(computed) == len(set(computed)), "a piece that was done is not done again"
    assert toy.rows_of(str(tmp_path / "run")) == toy.rows_of(str(tmp_path / "straight"))


def test_a_commit_that_never_works_ends_the_run_and_names_the_unit(outcome):
    with pytest.raises(RunError, match=r"stage pick, shard None: raised OSError struck"):
        outcome(lambda job: Fate.RAISED if job.stage == "pick" else None)


def test_a_barrier_whose_machines_keep_dying_ends_the_run(outcome):
    with pytest.raises(RunError, match="stage pick, shard None: lost struck"):
        outcome(lambda job: Fate.LOST if job.stage == "pick" else None)


def test_a_barrier_has_the_deadline_the_recipe_gives_it(run):
    with pytest.raises(RunError, match=r"stage fit, shard None: hung no answer within 0.2 s"):
        run(fit={"hang": True, "resources": {"batch_timeout_s": 0.2}})
    assert run()["fit"] == 1


def test_pieces_parked_whole_and_in_halves_are_put_together_once(outcome, run, tmp_path):
    """A worker parks a piece and dies before it says so, until the piece is split; then the driver dies as well."""
    run(to="straight")

    def strike(job):
        if job.stage == "square" and not job.commit and job.pieces[0][1] - job.pieces[0][0] > 2:
            return "after"
        if job.stage == "square" and job.commit:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        outcome(strike)
    parked = [tuple(map(int, p.stem.split("-"))) for p in (tmp_path / "run" / "scratch" / "square").glob("*/*/*.part")]
    assert {hi - lo for lo, hi in parked} >= {2, 4}, "the halves and the whole are both there"
    found = outcome(lambda job: None)
    assert balanced(found) == {}
    assert toy.rows_of(str(tmp_path / "run")) == toy.rows_of(str(tmp_path / "straight"))


def test_a_stop_before_the_export_does_not_export(source, tmp_path, monkeypatch):
    recipe = toy.recipe(source, stages=[*toy.DEFAULT, "publish"])
    stopping = []
    before = driver.Driver._close_pools

    def stop_after_the_last_phase(self, names):
        before(self, names)
        if "verify" in names:
            stopping.append(self.stopping.set())

    monkeypatch.setattr(driver.Driver, "_close_pools", stop_after_the_last_phase)
    with pytest.raises(RunError, match="stopped on request"):
        execute(recipe, str(tmp_path / "run"), Options(progress="none"), print)
    assert stopping and not (tmp_path / "run" / "dataset").exists()


def test_a_run_that_was_taken_over_stops(source, tmp_path, monkeypatch):
    from datagen import run as runs

    class Lost(runs.RunLock):
        lost = property(lambda self: len(list((tmp_path / "run").glob("units/cut/*/*/record.json"))) > 1,
                        lambda self, value: None)  # fmt: skip

    monkeypatch.setattr(runs, "RunLock", Lost)
    with pytest.raises(RunError, match="another driver has taken this run over"):
        execute(toy.recipe(source), str(tmp_path / "run"), Options(progress="none"), print)


def test_the_executor_goes_down_even_if_the_screen_is_gone(source, tmp_path, monkeypatch):
    class Broken:
        def update(self, tallies):
            raise BrokenPipeError

        def close(self): ...

    down = []

    class Noticed(LocalExecutor):
        def shutdown(self):
            down.append(True)
            super().shutdown()

    monkeypatch.setattr("datagen.run.view", lambda kind: Broken())
    with pytest.raises(BrokenPipeError):
        execute(toy.recipe(source), str(tmp_path / "run"), Options(progress="none", executor=Noticed), print)
    assert down


def test_a_second_annotator_guards_who_reads_it(run, tmp_path):
    run(stages=[*toy.DEFAULT, "talk"])
    found = toy.rows_of(str(tmp_path / "run"))
    assert "Babble" in {r["error_class"] for r in found["rejects"]}
    assert 41.0 not in [clip["number"] for clip in found["clips"]]


def test_a_stage_that_cannot_run_here_is_refused_before_anything_starts(run, tmp_path, monkeypatch):
    monkeypatch.setattr(toy.Verify, "check", lambda self: "needs the package x: pip install x")
    with pytest.raises(UsageError, match="stage verify: needs the package x: pip install x"):
        run()
    assert not (tmp_path / "run").exists()
    assert run(Options(progress="none", until="cut")) == {"ingest": 4, "cut": 4}, "verify is not asked for here"


def test_from_and_until_must_meet(run):
    with pytest.raises(UsageError, match="--from write is not on the way to --until square"):
        run(Options(progress="none", start="write", until="square"))


def test_an_unreadable_input_leaves_the_run_as_it_was(run, tmp_path, monkeypatch):
    run()
    stored = (tmp_path / "run" / "recipe.yaml").read_text()
    monkeypatch.setattr(toy.Ingest, "scan", lambda self: (_ for _ in ()).throw(UsageError("nothing there")))
    with pytest.raises(UsageError, match="nothing there"):
        run(square={"power": 3})
    assert (tmp_path / "run" / "recipe.yaml").read_text() == stored


def test_retrying_rejects_of_many_stages_forgets_only_units_with_rejects(run, tmp_path):
    from datagen.run import retry

    run(square={"fall": [14.0]})
    units = {(r["stage"], r["id"]) for r in toy.rows_of(str(tmp_path / "run"))["rejects"]}
    assert {stage for stage, _ in units} == {"ingest", "square"}
    forgotten = retry(str(tmp_path / "run"))
    assert 2 <= forgotten <= 4
    done = run(square={"fall": [14.0]})
    assert done["ingest"] == 1 and done["ingest"] + done["square"] == forgotten == sum(done.values())
    with pytest.raises(UsageError, match="did you mean 'square'"):
        retry(str(tmp_path / "run"), "sqare")


def test_a_worker_that_commits_reads_ids_only(run, monkeypatch):
    read = []
    before = Store.read
    monkeypatch.setattr(Store, "read", lambda self, plan: read.append(plan) or before(self, plan))
    run(Options(progress="none", executor=lambda: Faulty(lambda job: None)), rows=20)
    audio = [plan for plan in read if any(column.column == "audio" for column in plan.columns)]
    assert len(audio) == 1, "one shard, one stage that listens, read once"


def test_events_hold_no_credentials(tmp_path):
    from datagen.files import Files
    from datagen.progress import EventLog

    log = EventLog(Files(str(tmp_path)))
    log.add("failed", message="https://me:s3cr3t@host/x.wav?X-Amz-Signature=abc123&part=1 is gone")
    log.close()
    text = (tmp_path / "events.jsonl").read_text()
    assert "s3cr3t" not in text and "abc123" not in text
    assert json.loads(text)["message"] == "https://***@host/x.wav?X-Amz-Signature=***&part=1 is gone"


def test_nothing_is_left_running(run):
    before = set(threading.enumerate())
    run()
    assert set(threading.enumerate()) <= before


class Gpus(LocalExecutor):
    """Says how many GPUs there are, and keeps what it was asked for."""

    def __init__(self, count):
        super().__init__()
        self.count, self.asked = count, {}

    def gpus(self):
        return self.count

    def admit(self, pools):
        self.asked |= {pool.name: pool.resources for pool in pools}


@pytest.mark.parametrize(
    ("count", "given", "share"),
    [
        (0.0, {}, 0.0),
        (2.0, {}, 0.25),
        (1.0, {}, 0.2),  # five of them side by side on one
        (1.0, {"talk": 0.6}, 0.1),
    ],
)
def test_models_share_the_gpus_there_are_so_that_all_fit_side_by_side(source, tmp_path, count, given, share):
    executor = Gpus(count)
    gpus = {name: given.get(name, "auto") for name in ("ingest", "talk", "cut", "square", "extra")}
    settings = {name: {"resources": {"gpus": wanted}} for name, wanted in gpus.items()}
    recipe = toy.recipe(source, stages=[*toy.DEFAULT, "talk", "extra"], **settings)
    execute(recipe, str(tmp_path / "run"), Options(progress="none", executor=lambda: executor), print)
    if not count:
        assert "square" not in executor.asked
    else:
        asked = {name: executor.asked[name] for name in settings}
        assert {name: one.fixed_gpus for name, one in asked.items()} == dict.fromkeys(settings, share) | given
        assert sum(one.fixed_gpus for one in asked.values()) <= count
        assert {one.workers for name, one in asked.items() if name not in given} == {int(count)}, "one model per GPU"
    assert all(resources.gpus != "auto" for resources in executor.asked.values())


def test_cuda_without_a_gpu_is_refused_before_anything_runs(source, tmp_path, monkeypatch):
    executor = Gpus(0.0)
    recipe = toy.recipe(source, square={"resources": {"gpus": "auto"}})
    monkeypatch.setattr(toy.SquareConfig, "device", "cuda", raising=False)
    with pytest.raises(UsageError, match=r"^stages\.square\.device: cuda is asked for, .* set it to auto"):
        execute(recipe, str(tmp_path / "run"), Options(progress="none", executor=lambda: executor), print)
    assert not executor.asked


class Loads:
    """What a stage with models says of them, and of what it holds beside them."""

    def __init__(self, *models, holds_gb=0.0):
        self.holds_gb = holds_gb
        self.kept = [SimpleNamespace(entry=SimpleNamespace(task=task, memory_gb=gb, files=())) for task, gb in models]

    def models(self):
        return self.kept


def test_a_stage_is_expected_to_hold_one_model_per_task_and_its_own_work():
    assert expected_gb(Loads()) == 0 and expected_gb(Loads(holds_gb=1.5)) == 1.5
    assert expected_gb(Loads(("asr", 10.0), ("align", 2.0), ("align", 4.0), ("align", 2.0))) == 14


def test_many_short_clips_have_time_for_a_model_that_hears_half_a_minute_each(source, tmp_path):
    asked = {}

    class Watching(LocalExecutor):
        def submit(self, pool, task):
            asked[task.payload.stage, task.payload.pieces] = task
            super().submit(pool, task)

    execute(toy.recipe(source), str(tmp_path / "run"), Options(progress="none", executor=Watching), print)
    clips = [(task, sum(hi - lo for lo, hi in pieces)) for (stage, pieces), task in asked.items() if stage == "square"]
    assert any(rows > 1 for _, rows in clips)
    assert all(task.timeout_s >= 600 + 60 * rows for task, rows in clips if rows)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            RuntimeError("Error(s) in loading state_dict"),
            RunError,
            "stage square could not be set up: RuntimeError: Error",
        ),
        (RuntimeError("CUDA failed with error out of memory"), EnvironmentFault, "no memory to load its model"),
    ],
)
def test_a_model_that_does_not_load_is_no_rows_fault(run, monkeypatch, error, kind, says):
    def setup(self):
        raise error

    monkeypatch.setattr(toy.Square, "setup", setup)
    with pytest.raises(kind, match=re.escape(says) if kind is RunError else says):
        run(max_reject_fraction=1.0)


def test_no_model_is_loaded_to_put_finished_pieces_together(source, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(toy.Square, "setup", lambda self: loaded.append(self))

    class Fresh(LocalExecutor):
        """A worker for every task."""

        def _run(self, pool, task):
            if task.payload.stage == "square" and task.payload.commit:
                self._workers.pop(pool)
                before = len(loaded)
                answer = super()._run(pool, task)
                assert answer.fate is Fate.DONE and (task.payload.pieces or len(loaded) == before)
                commits.append(task.payload.pieces)
                return answer
            return super()._run(pool, task)

    commits = []
    execute(toy.recipe(source), str(tmp_path / "run"), Options(progress="none", executor=Fresh), print)
    assert () in commits, "a commit of nothing but parked pieces"


def test_what_the_work_cost_is_added_up_over_pieces_shards_and_restarts(source, tmp_path, monkeypatch, space):
    def process(self, batch):
        found = before(self, batch)
        found.metrics = {"audio_s": float(len(batch)), "padded_s": 2.0 * len(batch)}
        return found

    before = toy.Square.process
    monkeypatch.setattr(toy.Square, "process", process)
    struck = []

    def strike(job):  # one piece in the middle is lost: those parked before keep what they cost
        if job.stage == "square" and len(struck) < 3:
            struck.append(job)
            return Fate.DIED if len(struck) == 3 else None
        return None

    execute(toy.recipe(source), str(tmp_path / "run"), with_strikes(strike), print)
    opened = space()
    count = {c.stage: c for c in stage_counts(opened.plan, opened.store)}["square"]
    assert count.metrics == {"audio_s": float(count.rows_in), "padded_s": 2.0 * count.rows_in}


def test_pools_of_other_phases_make_room_for_a_new_one(source, tmp_path):
    """Idle workers sit on cores; a pool that is new in this phase could wait for them for ever."""
    held, seen = set(), []

    class Watched(LocalExecutor):
        def open(self, pool):
            held.add(pool.name)
            seen.append(frozenset(held))
            super().open(pool)

        def close(self, pool):
            held.discard(pool)
            super().close(pool)

    recipe = toy.recipe(source, fit={"resources": {"workers": 1}})
    execute(recipe, str(tmp_path / "run"), Options(progress="none", executor=Watched), print)
    assert any("fit" in names for names in seen)
    assert all(len(names) == 1 for names in seen if "fit" in names)
