"""What the commands print: tables and short sentences for people."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from datagen import asked, condense_report
from datagen.driver import Outcome
from datagen.errors import UsageError
from datagen.export.preview import preview
from datagen.forecast import Foreseen, askings, forecasts
from datagen.foreseen import size_of_input
from datagen.layers import available, read_yaml
from datagen.plan import Progress, State
from datagen.progress import duration
from datagen.reader import RunView, all_rejects
from datagen.registry import did_you_mean
from datagen.stage import Kind
from datagen.status import StageCount, scan_count, stage_counts
from datagen.store import Unit
from datagen.workspace import Workspace

console = Console(highlight=False)

#: How many samples are looked through for the few that are shown.
ENOUGH_SAMPLES = 2000
#: Reasons named per stage; the rest is counted.
SHOWN_REASONS = 6
#: Population stability index above which a distribution is commonly said to have moved.
DRIFTED = 0.2


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    return table


def finished(space: Workspace, outcome: Outcome) -> None:
    """The end of ``datagen run``: counts per stage, where the dataset is, three rows of it, what to try next."""
    counts = _counts(space)
    _print_counts(counts)
    _print_speeds(counts)
    _print_asked(space, counts)
    _print_conservation(counts)
    done = sum(outcome.committed.values())
    change = space.changes
    news = [f"{n} {word}" for word in ("added", "changed", "removed") if (n := getattr(change, word))]
    if change.left_for_later:
        news.append(f"{change.left_for_later} left for later (--limit)")
    console.print(
        f"[bold]{done}[/bold] {_plural('unit', done)} of work in {duration(outcome.seconds)}"
        + ("" if done else " - everything was done already")
        + (f"; input: {', '.join(news)}" if news else "")
    )
    _print_condensation(space)
    _print_notes(space, counts)
    _print_rejects_hint(space)
    if any(s.kind is Kind.SINK for s in space.pipeline.stages.values()) and _exported(space):
        samples = _some_samples(space)
        for text in preview(samples) if samples is not None else ():
            console.print()
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        path = space.dataset()
        console.print(
            f"\n[bold green]dataset[/bold green]  {escape(path)}  (README.md is its data card)", soft_wrap=True
        )
        console.print("[bold]next[/bold]     " + escape(_next(path, samples)), soft_wrap=True)


def _counts(space: Workspace) -> list[StageCount]:
    scanned = scan_count(space.files, space.ledger)
    return ([scanned] if scanned else []) + stage_counts(space.plan, space.store, verify=True)


def _exported(space: Workspace) -> bool:
    return all(
        space.plan.done(name, None) is not None
        for name, stage in space.pipeline.stages.items()
        if stage.kind is Kind.SINK
    )


def _next(path: str, samples: pa.Table | None) -> str:
    tasks = [task for task in samples["task"].to_pylist() if task] if samples is not None else []
    name = min(tasks, default="clips")
    return f"{_here('python')} -c \"import datasets; print(datasets.load_dataset('{path}', '{name}'))\""


def _here(program: str) -> str:
    """How to call a program of this environment from this folder: by name only if that is what the shell finds."""
    path = Path(sys.executable).parent / program
    if shutil.which(program) == str(path):
        return program
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def _some_samples(space: Workspace) -> pa.Table | None:
    """Enough samples to choose a few to show; not all of a large run."""
    if "samples" not in space.pipeline.creator:
        return None
    view = RunView(space.plan, space.store, space.recipe)
    columns = ["sample_id", "task", "mode", "question", "options", "reasoning", "answer", "response", "response_style",
               "metadata_context", "transcript", "speaker", "route"]  # fmt: skip
    parts: list[pa.Table] = []
    for shard in view.shards:
        parts.append(view.read("samples", shard, columns))
        if sum(map(len, parts)) >= ENOUGH_SAMPLES:
            break
    return pa.concat_tables(parts)


def _print_counts(counts: list[StageCount]) -> None:
    """One line per stage; below it, dimmed, why rows were dropped or rejected."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for column in ("stage", "shards", "in", "ok", "rejected", "dropped", "seconds", "made"):
        left = column in {"stage", "made"}
        table.add_column(
            column, justify="left" if left else "right", no_wrap=column != "made", min_width=0 if left else len(column)
        )
    for c in counts:
        shown = ["", "", "", ""] if c.table == "run" else [f"{n:,}" for n in (c.rows_in, c.ok, c.rejected, c.dropped)]
        made = ", ".join(f"{n:,} {name}" for name, n in sorted(c.made.items()) if name != "annotations")
        shards = "" if c.table == "input" else f"{c.shards_done}/{c.shards}"
        table.add_row(c.stage, shards, *shown, f"{c.seconds:,.1f}", made)
    console.print(table)
    for c in counts:
        for verb, why in (("rejected", c.rejected_why), ("dropped", c.dropped_why)):
            if why:
                reasons = ", ".join(f"{escape(reason)} {n}" for reason, n in Counter(why).most_common(SHOWN_REASONS))
                more = f", and {len(why) - SHOWN_REASONS} more" if len(why) > SHOWN_REASONS else ""
                console.print(f"[dim]  {c.stage} {verb}: {reasons}{more}[/dim]", soft_wrap=True)


def _print_speeds(counts: list[StageCount]) -> None:
    """How fast the speech models went through the audio, and how much of what they were given was padding."""
    modelled = [count for count in counts if count.metrics.get("audio_s") and count.seconds]
    if not modelled:
        return
    table = _table("model stage", "audio", "x real time", "padding")
    for count in modelled:
        heard, given = count.metrics["audio_s"], count.metrics.get("padded_s", 0.0)
        waste = max(0.0, 1 - count.metrics.get("fed_s", heard) / given) if given else None
        table.add_row(
            count.stage, duration(heard), f"{heard / count.seconds:,.1f}", "" if waste is None else f"{waste:.0%}"
        )
    console.print(table)
    console.print("[dim]x real time: of one worker; padding: share of what its model was given[/dim]")


def _print_asked(space: Workspace, counts: list[StageCount]) -> None:
    """What was asked of language models, and what that took."""
    settings = {name: found for name, stage in space.pipeline.stages.items() if (found := stage.asks()) is not None}
    _print_shown(asked.behind(counts, settings, asked.spent_in(space)))


def _print_shown(shown: asked.Shown | None) -> None:
    if shown is None:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for index, column in enumerate(shown.header):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in shown.rows:
        table.add_row(*map(escape, row))
    console.print(table)
    for note in shown.notes:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)


def _print_conservation(counts: list[StageCount]) -> bool:
    problems = [f"{c.stage}: {p}" for c in counts for p in c.problems]
    if problems:
        console.print("[bold red]conservation is broken[/bold red]: " + escape("; ".join(problems)))
        return False
    console.print("conservation holds: at every stage rows in = ok + rejected + dropped")
    return True


def _print_condensation(space: Workspace) -> None:
    """How much better balanced the set has become, and where that is told in full."""
    if "condense" not in space.pipeline.stages or (unit := space.plan.done("condense", None)) is None:
        return
    lines = condense_report.summary(space.store.artifact(unit))
    if lines and space.files.exists(condense_report.PAGE):
        page = condense_report.PAGE
        lines.append(f"report: {space.files.path(page) if space.files.local else f'{space.files.url}/{page}'}")
    for number, line in enumerate(lines):
        console.print(f"{'[bold]condensed[/bold]' if not number else '         '}  {escape(line)}", soft_wrap=True)


def _print_notes(space: Workspace, counts: list[StageCount]) -> None:
    """What a stage that saw all rows wants a person to know, or one that could not do all it was meant to."""
    metrics = {count.stage: count.metrics for count in counts}
    for name, stage in space.pipeline.stages.items():
        notes = stage.notes(metrics.get(name, {}))
        if stage.kind is Kind.BARRIER and (unit := space.plan.done(name, None)) is not None:
            notes += space.store.artifact(unit).get("notes", ())
        for note in notes:
            console.print(f"[bold yellow]note[/bold yellow]  {name}: {escape(note)}", soft_wrap=True)


def _print_rejects_hint(space: Workspace) -> None:
    rejects = all_rejects(space.plan, space.store)
    if len(rejects):
        told = f"{_here('datagen')} rejects list {space.files.url}"
        console.print(f"{len(rejects)} rejected, with reasons: {escape(told)}", soft_wrap=True)


def status(space: Workspace) -> bool:
    """Print the run's counts; False when conservation is broken."""
    console.print(f"[bold]{escape(space.recipe.name)}[/bold] in {escape(space.files.url)}, "
                  f"{len(space.ledger.live):,} recordings in {len(space.plan.shards)} "
                  f"{_plural('shard', len(space.plan.shards))}")  # fmt: skip
    counts = _counts(space)
    _print_counts(counts)
    _print_speeds(counts)
    _print_asked(space, counts)
    holds = _print_conservation(counts)
    _print_drift(space)
    _print_hindrances(space)
    _print_condensation(space)
    _print_notes(space, counts)
    _print_rejects_hint(space)
    return holds


def _print_hindrances(space: Workspace) -> None:
    """Why stages that are not done could not go on here: a model that has moved changes what counts as done."""
    for name, stage in space.pipeline.stages.items():
        shards = [None] if space.pipeline.whole(name) else space.plan.shards
        if any(space.plan.done(name, shard) is None for shard in shards) and (why := stage.check()):
            console.print(f"[bold yellow]note[/bold yellow]  {name} cannot run here: {escape(why)}", soft_wrap=True)


def _print_drift(space: Workspace) -> None:
    """How far the clips there are now lie from those the calibration was fitted to."""
    if "calibrate" not in space.pipeline.stages or space.plan.done("calibrate", None) is None:
        return
    from datagen.speech.calibration import drift

    stage = space.pipeline.stages["calibrate"]
    columns = [*stage.reads, *stage.optional_reads]
    try:
        plans = [space.plan.table_plan("clips", s, columns, live=False) for s in space.plan.shards]
    except LookupError:
        return  # the stages it reads are not done for all shards
    rows = pa.concat_tables([space.store.read(plan) for plan in plans])
    unit = space.plan.done("calibrate", None)
    if unit is None:
        return
    found = drift(space.store.artifact(unit), rows)
    psi = {f"{feature} ({_group(g)})": v["psi"] for feature, groups in found.items() for g, v in groups.items()}
    if not psi:
        console.print("calibration: too few clips to tell whether they have drifted")
        return
    moved = {name: value for name, value in psi.items() if value is not None and value > DRIFTED}
    if moved:
        worst = sorted(moved.items(), key=lambda item: -item[1])[:5]
        words = ", ".join(f"{escape(name)} {value:.2f}" for name, value in worst)
        console.print(f"[yellow]drift[/yellow] since calibration (PSI > {DRIFTED}): {words} - consider --refit")
    else:
        console.print("calibration: no drift")


def _group(name: str) -> str:
    """A calibration group as a person reads it; its name is a JSON list or a plain word."""
    try:
        parts = json.loads(name)
    except json.JSONDecodeError:
        return name
    return ", ".join(map(str, parts)) if isinstance(parts, list) else name


def plan(space: Workspace, refused: pa.Table, clips: int | None = None) -> None:
    """Print the stages with what is done, stale and to do; forecasts for ``clips``, or for what the input has."""
    recordings, seconds = size_of_input(space)
    c = space.changes
    console.print(
        f"[bold]{escape(space.recipe.name)}[/bold]  {recordings:,} recordings, about {seconds / 3600:.2f} h, "
        f"{len(space.plan.shards)} {_plural('shard', len(space.plan.shards))}\n"
        f"input: {c.added} added, {c.changed} changed, {c.removed} removed, {len(refused)} refused"
    )
    table = _table("stage", "takes", "after", "done", "stale", "to do", "rows", "about", left=3)
    overview = space.plan.overview()
    for name, progress in overview.items():
        after = ", ".join(space.pipeline.nearest(name))
        kind = space.pipeline.stages[name].kind
        takes = space.pipeline.stages[name].table if kind is not Kind.SINK else "run"
        numbers = [progress.units[s] for s in (State.DONE, State.STALE, State.TODO)]
        table.add_row(name, takes + (" (all)" if kind is Kind.BARRIER else ""), after,
                      *(f"{n:,}" if n else "·" for n in numbers), *_left(progress))  # fmt: skip
    words = [word for cell in table.columns[2].cells for word in str(cell).split()]
    table.padding = (0, 0, 0, 1)
    table.columns[2].min_width = max(map(len, words), default=0)  # names of stages stay whole on a narrow terminal
    console.print(table)
    console.print("done, stale, to do: units of work, which are a stage on one shard or on all of them at once")
    console.print("rows, about: what is left; ? until the stages before are done, or until it has run once")
    _print_forecasts(forecasts(space, overview, recordings, seconds, clips))
    to_come = askings(space, overview, recordings, seconds, clips)
    _print_shown(asked.ahead(to_come, asked.spent_in(space)))


def _print_forecasts(found: list[Foreseen]) -> None:
    if not found:
        return
    table = _table("forecast", "clips", "about", "memory", "scratch", "how")
    table.columns[-1].justify = "left"
    for name, clips, cost in found:
        sizes = (f"{cost.memory_gb:,.1f} GB", f"{cost.disk_gb:,.1f} GB" if cost.disk_gb else "·")
        table.add_row(name, f"{clips:,}", duration(cost.seconds), *sizes, escape(cost.how))
    console.print(table)
    console.print("forecast: of one task's memory and of all workers' time, from constants measured on one kind of CPU")


def _left(progress: Progress) -> tuple[str, str]:
    """Rows that are left, as far as they can be known, and how long such rows took before."""
    if not progress.left:
        return "·", "·"
    rows = " + ".join(filter(None, (f"{progress.rows:,}" if progress.rows else "", "?" if progress.unknown else "")))
    seconds = progress.seconds_per_row
    return rows or "0", "?" if seconds is None or progress.unknown else duration(seconds * progress.rows)


def recipes() -> None:
    table = _table("recipe", "what it makes", left=2)
    for name, path in available("recipe").items():
        table.add_row(name, escape(str(read_yaml(path).get("description", ""))))
    console.print(table)
    table = _table("profile", "what it changes", left=2)
    for name, path in available("profile").items():  # a profile's own `description` would overlay the recipe's
        comment = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        table.add_row(name, escape(comment))
    console.print(table)


def rejects(space: Workspace, stage: str | None) -> None:
    """One refused row after the other: what it was, who refused it, why."""
    if stage not in {None, "scan", *space.pipeline.stages}:
        raise UsageError(f"no stage '{stage}' in this run{did_you_mean(str(stage), space.pipeline.order)}")
    names = dict(
        zip(space.ledger.live["recording_id"].to_pylist(), space.ledger.live["source_uri"].to_pylist(), strict=True)
    )
    found = [row for row in all_rejects(space.plan, space.store).to_pylist() if stage in {None, row["stage"]}]
    for row in found:
        recording = re.split("[-:]", row["id"])[0]
        tries = f" (tried {row['attempt']} times)" if row["attempt"] > 1 else ""
        console.print(f"[bold]{escape(names.get(recording, row['id']))}[/bold]", highlight=False, soft_wrap=True)
        told = f"{row['stage']}: {row['error_class']}: {row['message']}{tries}"
        console.print(f"  {escape(told)}", highlight=False, soft_wrap=True)
        if row["table"] not in {"sources", "recordings"}:
            console.print(f"  [dim]{row['table']} {escape(row['id'])}[/dim]", highlight=False, soft_wrap=True)
    console.print(f"{len(found)} rejects")


def to_retry(count: int, run: str) -> None:
    if count:
        console.print(f"{count} units forgotten; run the recipe into {escape(run)} again to retry their rows")
    else:
        console.print("no rejects to retry; rows refused before they were read are looked at on every run anyway")


def collected(units: list[Unit], size: int, dry_run: bool) -> None:
    verb = "would go" if dry_run else "deleted"
    console.print(f"{len(units)} units {verb}, {size / 1e6:,.1f} MB")
