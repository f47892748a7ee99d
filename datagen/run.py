"""One run from recipe to dataset: ties recipe, ledger, plan, driver and export together for the CLI and for tests."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

import datagen
from datagen.config import ExecutorConfig, Recipe, parse
from datagen.driver import Driver, Outcome
from datagen.errors import UsageError
from datagen.executors.base import Executor
from datagen.export.swap import MARK
from datagen.files import Files
from datagen.ledger import Changes, Ledger
from datagen.lock import RunLock
from datagen.pipeline import Pipeline
from datagen.plan import Plan
from datagen.progress import EventLog, view
from datagen.reader import RunView
from datagen.registry import did_you_mean
from datagen.store import Store, Unit
from datagen.tables import REJECTS

#: Layout version of a run directory; raised when old runs can no longer be read.
LAYOUT = 1


@dataclass
class Options:
    """What a ``datagen run`` may ask for besides the recipe."""

    start: str | None = None  #: ``--from``: do this stage and what follows it again
    until: str | None = None
    limit: int | None = None
    refit: bool = False
    progress: str = "auto"
    executor: Callable[[], Executor] | None = None  #: for tests


@dataclass
class Workspace:
    """A run directory, opened with a recipe."""

    recipe: Recipe
    files: Files
    store: Store
    ledger: Ledger
    pipeline: Pipeline
    plan: Plan
    changes: Changes = field(default_factory=Changes)

    def dataset(self) -> str:
        """Where the export lies (a local path or URL)."""
        return self.files.path("dataset") if self.files.local else f"{self.files.url}/dataset"


def open_run(url: str, recipe: Recipe | None = None, *, refit: bool = False) -> Workspace:
    """Open a run directory with a recipe, or with the one it was last run with.

    Raises:
        UsageError: there is no run, or it was written by an incompatible version.
    """
    files = Files(url)
    if files.exists("run.json"):
        layout = files.read_json("run.json").get("layout")
        if layout != LAYOUT:
            raise UsageError(f"{url}: this run has layout {layout}, this datagen reads {LAYOUT}; use another --output")
    elif recipe is None:
        raise UsageError(
            f"{url}: no run here (there is no run.json); start one with `datagen run RECIPE --output {url}`"
        )
    elif set(files.names("")) - {"lock"}:
        raise UsageError(f"{url}: the folder is not empty and holds no run; choose another --output")
    if recipe is None:
        import yaml

        recipe = parse(yaml.safe_load(files.read("recipe.yaml")), f"{url}/recipe.yaml")
    store, ledger = Store(files), Ledger(files)
    pipeline = Pipeline(recipe.stages())
    return Workspace(recipe, files, store, ledger, pipeline, Plan(pipeline, store, ledger, refit=refit))


def look_at_input(space: Workspace, limit: int | None, *, save: bool) -> tuple[Changes, pa.Table]:
    """Scan the input, bring the ledger up to date (on disk only with ``save``); also the input rows refused."""
    reader = next((s for s in space.pipeline.stages.values() if s.table == "sources"), None)
    if reader is None:
        raise UsageError(f"{space.recipe.source}: no stage reads an input (ingest is left out)")
    found, refused = reader.scan()  # type: ignore[attr-defined]
    changes = space.ledger.update(found, space.recipe.shards, limit, save=save)
    if save:
        space.files.write_table("refused.parquet", refused)
    space.plan = Plan(space.pipeline, space.store, space.ledger, refit=space.plan.refit)
    space.changes = changes
    return changes, refused


def execute(recipe: Recipe, url: str, options: Options, say: Callable[[str], None]) -> tuple[Workspace, Outcome]:
    """Run what is left of a recipe into ``url``; see ``datagen run --help``."""
    started = time.monotonic()
    space = open_run(url, recipe, refit=options.refit)
    for stage in (options.start, options.until):
        if stage is not None and stage not in space.pipeline.stages:
            raise UsageError(f"no stage '{stage}' in this recipe{did_you_mean(stage, space.pipeline.order)}")
    _preflight(space)
    with RunLock(space.files, say):
        space = open_run(url, recipe, refit=options.refit)  # what the last holder committed
        space.files.write_json("run.json", {"layout": LAYOUT, "datagen": datagen.__version__, "recipe": recipe.name})
        space.files.write("recipe.yaml", recipe.yaml().encode())
        changes, refused = look_at_input(space, options.limit, save=True)
        if not space.plan.shards:
            raise UsageError(_nothing(recipe, refused))
        if options.start:
            forget(space, options.start)
        events = EventLog(space.files)
        events.add("started", recipe=recipe.name, **vars(changes))
        try:
            driver = Driver(
                space.plan, space.store, options.executor or (lambda: make_executor(recipe.executor)),
                recipe.resources, events=events, view=view(options.progress), sink=lambda name: SinkRun(space, name),
                max_reject_fraction=recipe.max_reject_fraction, until=_until(space.pipeline, options.until),
            )  # fmt: skip
            outcome = driver.run()
            outcome.seconds = time.monotonic() - started
            events.add("finished", seconds=round(outcome.seconds, 3))
        finally:
            events.close()
    return space, outcome


def make_executor(config: ExecutorConfig) -> Executor:
    if config.kind == "local":
        from datagen.executors.local import LocalExecutor

        return LocalExecutor()
    from datagen.executors.ray import RayExecutor

    own = config.address is None  # on our own machine stages take turns on the cores; a cluster is not ours to crowd
    return RayExecutor(config.address, config.cpus, start_timeout_s=config.start_timeout_s, share_cpus=own)


def forget(space: Workspace, start: str) -> int:
    """Drop the committed units of a stage and of everything after it."""
    count = 0
    names = set(space.pipeline.followers(start))
    for unit in space.store.units():
        if unit.stage in names:
            space.store.forget(unit)
            count += 1
    space.plan = Plan(space.pipeline, space.store, space.ledger, refit=space.plan.refit)
    return count


def garbage(space: Workspace) -> list[Unit]:
    """Units that the present recipe and input do not lead to."""
    plan = space.plan
    keep = {plan.sources(shard) for shard in plan.shards}
    for name in space.pipeline.order:
        if space.pipeline.whole(name):  # their history says what was decided before
            keep |= {u for u in space.store.units() if u.stage == name and _same_settings(plan, space.store, u)}
            continue
        keep |= {unit for shard in plan.shards if (unit := plan.done(name, shard))}
    return [unit for unit in space.store.units() if unit not in keep]


def _same_settings(plan: Plan, store: Store, unit: Unit) -> bool:
    wanted = plan.wanted(unit.stage, None)
    record = store.record(unit)
    return bool(wanted and record and record.get("config_hash") == wanted.config_hash)


def _until(pipeline: Pipeline, until: str | None) -> list[str] | None:
    """The stage and what it needs; other stages of the recipe stay undone."""
    if until is None:
        return None
    wanted = {until}
    for name in reversed(pipeline.order):
        if name in wanted:
            wanted |= set(pipeline.needs[name])
    return [name for name in pipeline.order if name in wanted]


def _preflight(space: Workspace) -> None:
    """Ask every stage whether it can run here, and report all that cannot at once."""
    problems = [f"stage {n}: {why}" for n, stage in space.pipeline.stages.items() if (why := stage.check())]
    if problems:
        raise UsageError("\n".join(problems))


def _nothing(recipe: Recipe, refused: pa.Table) -> str:
    where = getattr(recipe.configs["ingest"], "input", None)
    if len(refused):
        first = refused.slice(0, 1).to_pylist()[0]
        return f"{where}: none of its {len(refused)} entries can be used; first: {first['id']}: {first['message']}"
    return f"{where}: no audio found there; see `datagen run --help` for the input formats"


class SinkRun:
    """Lets the driver run an export without knowing what it is.

    A local run gets its dataset beside it. For a run on an object store the folder is written here and sent there,
    its mark last, so that a dataset without a mark is known to be unfinished.
    """

    def __init__(self, space: Workspace, name: str) -> None:
        self.space, self.stage = space, space.pipeline.stages[name]

    def present(self) -> bool:
        return self.space.files.exists(f"dataset/{MARK}")

    def write(self) -> dict[str, Any]:
        space = self.space
        run = RunView(space.plan, space.store, space.recipe)
        if space.files.local:
            return self._export(run, Path(space.dataset()))
        with tempfile.TemporaryDirectory(prefix="datagen-export-") as scratch:
            out = Path(scratch) / "dataset"
            summary = self._export(run, out)
            files = sorted((p for p in out.rglob("*") if p.is_file()), key=lambda p: (p.name == MARK, str(p)))
            space.files.delete("dataset")
            for path in files:
                space.files.put(f"dataset/{path.relative_to(out).as_posix()}", path)
        return summary | {"output": space.dataset()}

    def _export(self, run: RunView, out: Path) -> dict[str, Any]:
        summary: dict[str, Any] = self.stage.write(run, out)  # type: ignore[attr-defined]
        return summary


__all__ = [
    "REJECTS", "Options", "Workspace", "execute", "forget", "garbage", "look_at_input", "make_executor", "open_run",
]  # fmt: skip
