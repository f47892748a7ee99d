"""One run from recipe to dataset: ties recipe, ledger, plan, driver and export together for the CLI and for tests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

import datagen
from datagen import condense_report, serving, sink
from datagen.config import ExecutorConfig, Recipe
from datagen.driver import Driver, Outcome
from datagen.errors import RunError, UsageError
from datagen.executors.base import Executor
from datagen.foreseen import foreseen
from datagen.ledger import Changes
from datagen.llm import preflight
from datagen.lock import RunLock
from datagen.models import manifest
from datagen.pipeline import Pipeline
from datagen.plan import Plan
from datagen.progress import VIEWS, EventLog, view
from datagen.registry import did_you_mean
from datagen.stage import Kind
from datagen.status import InputLook
from datagen.store import Store, Unit
from datagen.workspace import LAYOUT, Workspace, open_run


@dataclass
class Options:
    """What a ``datagen run`` may ask for besides the recipe."""

    start: str | None = None  #: ``--from``: do this stage and what follows it again
    until: str | None = None
    limit: int | None = None
    refit: bool = False
    progress: str = "auto"
    executor: Callable[[], Executor] | None = None  #: for tests


def look_at_input(space: Workspace, limit: int | None, *, save: bool) -> tuple[Changes, pa.Table]:
    """Scan the input, bring the ledger up to date (on disk only with ``save``); also the input rows refused."""
    reader = next((s for s in space.pipeline.stages.values() if s.table == "sources"), None)
    if reader is None:
        raise UsageError(f"{space.recipe.source}: no stage reads an input (ingest is left out)")
    found, refused = reader.scan()  # type: ignore[attr-defined]
    if save:  # only now: an input that cannot be read leaves the run as it was
        about = {"layout": LAYOUT, "datagen": datagen.__version__, "recipe": space.recipe.name}
        space.files.write_json("run.json", about)
        space.files.write("recipe.yaml", space.recipe.yaml().encode())
    changes = space.ledger.update(found, space.recipe.shards, limit, save=save)
    if save:
        space.files.write_table("refused.parquet", refused)
        look = InputLook(len(found) + len(refused), changes.left_for_later, space.ledger.segments)
        space.files.write_json("input.json", vars(look))
    pilot = bool(changes.left_for_later)
    space.plan = Plan(space.pipeline, space.store, space.ledger, refit=space.plan.refit, pilot=pilot)
    space.changes = changes
    return changes, refused


def taken_for(space: Workspace) -> list[str]:
    """What each input was read as and why, a sentence each."""
    return [line for s in space.pipeline.stages.values() if hasattr(s, "taken_for") for line in s.taken_for()]


def execute(recipe: Recipe, url: str, options: Options, say: Callable[[str], None]) -> tuple[Workspace, Outcome]:
    """Run what is left of a recipe into ``url``; see ``datagen run --help``."""
    started = time.monotonic()
    space = open_run(url, recipe, refit=options.refit)
    for stage in (options.start, options.until):
        if stage is not None and stage not in space.pipeline.stages:
            raise UsageError(f"no stage '{stage}' in this recipe{did_you_mean(stage, space.pipeline.order)}")
    wanted = until(space.pipeline, options.until)
    if options.start and options.start not in wanted:
        raise UsageError(f"--from {options.start} is not on the way to --until {options.until}: nothing would be done")
    if options.progress not in VIEWS:
        raise UsageError(f"--progress {options.progress}: unknown{did_you_mean(options.progress, VIEWS)}")
    _preflight(space, wanted)
    with RunLock(space.files, say) as lock:
        space = open_run(url, recipe, refit=options.refit)  # what the last holder committed
        changes, refused = look_at_input(space, options.limit, save=True)
        if not space.plan.shards:
            raise UsageError(_nothing(recipe, refused))
        _refused(recipe, refused, len(space.ledger.live))
        if options.start:
            forget(space, options.start)
        if changes.added:
            for line in taken_for(space):
                say(line)
        for line in foreseen(space):
            say(line)
        for line in _servers(space, wanted):
            say(line)
        events = EventLog(space.files)
        events.add("started", recipe=recipe.name, **vars(changes))
        try:
            driver = Driver(
                space.plan, space.store, options.executor or (lambda: make_executor(recipe.executor)),
                recipe.resources, events=events, view=view(options.progress),
                sink_job=lambda name: sink.job(space, name), max_reject_fraction=recipe.max_reject_fraction,
                until=wanted, still_ours=lambda: not lock.lost,
            )  # fmt: skip
            outcome = driver.run()
            _report_condensation(space, say)
            outcome.seconds = time.monotonic() - started
            events.add("finished", seconds=round(outcome.seconds, 3))
        finally:
            events.close()
    return space, outcome


def _report_condensation(space: Workspace, say: Callable[[str], None]) -> None:
    """Draw what ``condense`` did, unless that is drawn already."""
    if "condense" in space.pipeline.stages and (unit := space.plan.done("condense", None)) is not None:
        condense_report.refresh(space.files, space.store.artifact(unit), say)


def make_executor(config: ExecutorConfig) -> Executor:
    if config.kind == "local":
        from datagen.executors.local import LocalExecutor

        return LocalExecutor()
    from datagen.executors.ray import RayExecutor

    own = config.address is None  # on our own machine stages take turns on the cores; a cluster is not ours to crowd
    return RayExecutor(config.address, config.cpus, start_timeout_s=config.start_timeout_s, share_cpus=own)


def forget(space: Workspace, start: str) -> int:
    """Drop the committed units of a stage and of everything after it.

    Barriers further down keep theirs: calibrations stay frozen, splits stay pinned. They run again by themselves when
    what they read has changed.
    """
    count = 0
    kept = {name for name, stage in space.pipeline.stages.items() if stage.kind is Kind.BARRIER and name != start}
    names = set(space.pipeline.followers(start)) - kept
    for unit in space.store.units():
        if unit.stage in names:
            space.store.forget(unit)
            count += 1
    plan = space.plan
    space.plan = Plan(space.pipeline, space.store, space.ledger, refit=plan.refit, pilot=plan.pilot)
    return count


def garbage(space: Workspace) -> list[Unit]:
    """Units that the present recipe and input do not lead to.

    What cannot be told yet, because something before it is not done, is kept: it may turn out to be of use. So is what
    a stage made that cannot run here: without its models and libraries nobody knows what its present key would be.
    """
    plan = space.plan
    unknown = {name for name, stage in space.pipeline.stages.items() if stage.check()}
    keep = {plan.sources(shard) for shard in plan.shards}
    open_spots: set[tuple[str, int | None]] = set()
    settings: dict[str, str] = {}
    for name in space.pipeline.order:
        for shard in [None] if space.pipeline.whole(name) else plan.shards:
            wanted = plan.wanted(name, shard)
            if wanted is None or (name in unknown and not wanted.done):
                open_spots.add((name, shard))
                continue
            keep.add(wanted.unit)
            settings[name] = wanted.config_hash
    return [
        unit
        for unit in space.store.units()
        if unit not in keep
        and (unit.stage, unit.shard) not in open_spots
        and not (unit.shard is None and _same_settings(space.store, unit, settings))
    ]


def _same_settings(store: Store, unit: Unit, settings: Mapping[str, str]) -> bool:
    """Whether this is an earlier decision of a barrier; the next one keeps to what was decided."""
    return (store.record(unit) or {}).get("config_hash") == settings.get(unit.stage, "")


def collect(url: str, *, dry_run: bool = False) -> tuple[list[Unit], int]:
    """Delete the garbage of a run; what went (or would go), and its bytes."""
    space = open_run(url)
    with RunLock(space.files):
        space = open_run(url)  # what the last holder committed
        units = garbage(space)
        going = {unit.scratch for unit in units}
        leftovers = [folder for folder in space.store.leftovers() if folder not in going]
        size = sum(space.store.size(unit) for unit in units) + sum(map(space.files.size, leftovers))
        if not dry_run:
            for folder in leftovers:
                space.files.delete(folder)
            for unit in units:
                space.store.forget(unit)
            size += space.files.sweep()
    return units, size


def retry(url: str, stage: str | None = None) -> int:
    """Forget the units that hold rejects (of one stage, or all), so that the next run tries their rows again."""
    space = open_run(url)
    if stage is not None and stage not in space.pipeline.stages:
        raise UsageError(f"no stage '{stage}' in this run{did_you_mean(stage, space.pipeline.order)}")
    with RunLock(space.files):
        space = open_run(url)
        spots = [
            (name, shard)
            for name in ([stage] if stage else space.pipeline.order)
            for shard in ([None] if space.pipeline.whole(name) else space.plan.shards)
        ]
        units = [unit for spot in spots if (unit := space.plan.done(*spot)) and len(space.store.rejects(unit))]
        for unit in units:
            space.store.forget(unit)
        for name in {unit.stage for unit in units if space.pipeline.stages[unit.stage].asks() is not None}:
            serving.ask_again(space.files, name)
    return len(units)


def until(pipeline: Pipeline, last: str | None) -> list[str]:
    """The stage and what it needs; other stages of the recipe stay undone. All stages for None."""
    if last is None:
        return pipeline.order
    wanted = {last}
    for name in reversed(pipeline.order):
        if name in wanted:
            wanted |= set(pipeline.needs[name])
    return [name for name in pipeline.order if name in wanted]


def obstacles(space: Workspace, names: list[str]) -> list[str]:
    """Why stages cannot run here, a sentence with the mend for each."""
    stages = {name: space.pipeline.stages[name] for name in names}
    problems = [f"stage {name}: {why}" for name, stage in stages.items() if (why := stage.check())]
    if space.recipe.executor.address is None:  # of a cluster's machines this one knows nothing
        asked = {name: settings for name, stage in stages.items() if (settings := stage.asks()) is not None}
        problems += [f"stage {name}: {why}" for name, settings in asked.items() if (why := serving.problem(settings))]
    if problems:
        absent = manifest.absent(model for stage in stages.values() for model in stage.models())
        if len(absent) > 1:
            problems.append(f"all of these models: {manifest.command(absent)}")
    return problems


def _preflight(space: Workspace, names: list[str]) -> None:
    """Ask every stage whether it can run here, and report all that cannot at once."""
    if problems := obstacles(space, names):
        raise UsageError("\n".join(problems))


def _servers(space: Workspace, names: list[str]) -> list[str]:
    """What is amiss with servers that stages with work left will ask, see ``llm.preflight``."""
    stages, plan = space.pipeline.stages, space.plan
    asked = [
        settings
        for name in names
        if (settings := stages[name].asks()) is not None
        and any(plan.done(name, shard) is None for shard in ([None] if space.pipeline.whole(name) else plan.shards))
    ]
    return preflight.look(asked, from_here=space.recipe.executor.address is None)


def _refused(recipe: Recipe, refused: pa.Table, live: int) -> None:
    share = len(refused) / (len(refused) + live)
    if share > recipe.max_reject_fraction:
        why, count = Counter(refused["error_class"].to_pylist()).most_common(1)[0]
        raise RunError(
            f"{len(refused)} of {len(refused) + live} entries of the input cannot be used, mostly {why} ({count}); see "
            f"`datagen rejects list`. If that is expected, raise --max-reject-fraction (now "
            f"{recipe.max_reject_fraction:g})"
        )


def _nothing(recipe: Recipe, refused: pa.Table) -> str:
    where = getattr(recipe.configs["ingest"], "input", None)
    if len(refused):
        first = refused.slice(0, 1).to_pylist()[0]
        return f"{where}: none of its {len(refused)} entries can be used; first: {first['id']}: {first['message']}"
    return f"{where}: no audio found there; see `datagen run --help` for the input formats"


__all__ = [
    "Options", "Workspace", "collect", "execute", "forget", "garbage", "look_at_input", "make_executor", "obstacles",
    "open_run", "retry", "taken_for",
]  # fmt: skip
