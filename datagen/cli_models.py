"""``datagen models``: what is needed, fetched once, checked again. Parsing and printing only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.errors import DatagenError, RunError, UsageError

if TYPE_CHECKING:
    from datagen.models.manifest import Entry, Model
    from datagen.models.pull import Watch

app = typer.Typer(help="Files of the speech models: what is needed, here, fetched, intact.", no_args_is_help=True)

Words = Annotated[
    list[str], typer.Argument(help="Names of models, or a recipe for all that it needs.", metavar="NAME...|RECIPE")
]
Profile = Annotated[
    list[str] | None, typer.Option(help="Settings laid over the recipe, e.g. offline (repeatable, later ones win).")
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override one setting: path.to.key=value (repeatable).")]


@app.command("list")
def list_(
    recipe: Annotated[str | None, typer.Argument(help="Only the models that this recipe needs.")] = None,
    profile: Profile = None,
    set: Sets = None,
) -> None:
    """Models of the manifest, or those a recipe needs: task, licence, size, and whether they are here."""
    from datagen.models import manifest
    from datagen.quality import licences
    from datagen.report import console

    if recipe is None:
        if profile or set:
            raise UsageError("--profile and --set change a recipe; name one: datagen models list RECIPE")
        models = [manifest.cached(entry) for entry in manifest.entries().values()]
    else:
        models = _of_recipe(recipe, profile, set)
    if not models:
        console.print(f"{recipe} needs no model files")
        return
    known = licences.published()
    rows = [("model", "task", "licence", "commercial", "size", "where")]
    for model in models:
        entry = model.entry
        commercial = "yes" if known.permissions(model.licence).commercial else "no"
        name, licence = ("your own", "yours to say") if model.own else (entry.name, entry.licence)
        rows.append((name, entry.task, licence, "?" if model.own else commercial, _size(model), _where(model)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # whole lines, however narrow the terminal: names are there to be copied
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    console.print(f"cache: {manifest.cache_folder()}  (another: {manifest.CACHE_VARIABLE})", soft_wrap=True)
    absent = manifest.absent(models)
    if absent and recipe is not None:
        console.print(f"to fetch what is not here: {manifest.command(absent)}", soft_wrap=True)


@app.command()
def pull(
    names: Words,
    profile: Profile = None,
    set: Sets = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch also what is here already.")] = False,
) -> None:
    """Fetch models into the cache folder, whole and checked; an interrupted pull goes on where it stopped."""
    from datagen.models import pull as pulling
    from datagen.report import console

    failures: list[str] = []
    code = 0
    for entry in _entries(names, profile, set):
        try:
            with _progress(entry.name) as watch:
                record = pulling.pull(entry, again=again, watch=watch)
        except DatagenError as error:  # the others may well be had
            failures.append(str(error))
            code = max(code, error.exit_code)
            continue
        size = sum(file.size for file in record.files.values())
        console.print(f"{entry.name}: here, {_gb(size)}, revision {record.revision}", soft_wrap=True)
    _end(failures, code)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names of models; default: all that are here.")] = None,
) -> None:
    """Hash the files of pulled models again and compare with what was pulled and with the manifest."""
    from datagen.models import manifest
    from datagen.models import pull as pulling
    from datagen.report import console

    chosen = [manifest.known(name) for name in names or ()] or [
        entry for entry in manifest.entries().values() if manifest.home(entry).is_dir()
    ]
    if not chosen:
        console.print(f"no model is here ({manifest.cache_folder()})", soft_wrap=True)
    failures: list[str] = []
    for entry in chosen:
        try:
            record = pulling.verify(entry)
        except RunError as error:
            failures.append(str(error))
            continue
        console.print(f"{entry.name}: intact, {len(record.files)} files, revision {record.revision}", soft_wrap=True)
    _end(failures, 1)


def _end(failures: list[str], code: int) -> None:
    if len(failures) == 1 and code == 2:
        raise UsageError(failures[0])
    if failures:
        raise RunError("\n".join(failures))


def _entries(names: list[str], profile: list[str] | None, sets: list[str] | None) -> list[Entry]:
    """What the words of ``pull`` mean: models by name, or one recipe."""
    from datagen.layers import available
    from datagen.models import manifest
    from datagen.registry import did_you_mean

    listed = manifest.entries()
    if len(names) == 1 and names[0] not in listed:
        word = names[0]
        if word not in available("recipe") and not word.endswith((".yaml", ".yml")):
            raise UsageError(f"'{word}': no model and no recipe{did_you_mean(word, [*listed, *available('recipe')])}")
        models = [model for model in _of_recipe(word, profile, sets) if not model.own]
        if not models:
            from datagen.report import console

            console.print(f"{word} needs no model files")
        return list({model.entry.name: model.entry for model in models}.values())
    if profile or sets:
        raise UsageError("--profile and --set change a recipe, not a model; name one recipe and no model")
    return [manifest.known(name) for name in dict.fromkeys(names)]


def _of_recipe(recipe: str, profile: list[str] | None, sets: list[str] | None) -> list[Model]:
    """The models that a recipe's stages load, each once, in the order data flows."""
    from datagen.config import load

    found: dict[str, Model] = {}
    for stage in load(recipe, profile=profile or [], sets=sets or []).stages().values():
        for model in stage.models():
            found.setdefault(str(model.folder), model)
    return list(found.values())


def _size(model: Model) -> str:
    from datagen.models import manifest

    if model.own:
        return _gb(sum(path.stat().st_size for path in model.folder.rglob("*") if path.is_file()))
    record = manifest.record(model.folder)
    if record is not None:
        return _gb(sum(file.size for file in record.files.values()))
    sizes = [file.size for file in model.entry.files if not file.optional]
    return _gb(sum(size or 0 for size in sizes)) if all(sizes) else "?"


def _where(model: Model) -> str:
    from datagen.models import manifest

    problem = manifest.missing(model)
    if model.own:
        return problem or str(model.folder)
    if problem is None:
        return f"here, {model.revision[:12]}"
    return "gated, not here" if model.entry.gated else "not here"


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


@contextmanager
def _progress(name: str) -> Iterator[Watch]:
    """A live bar with rate and ETA on a terminal, a line every few seconds elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        columns = (TextColumn("{task.description}"), BarColumn(28), DownloadColumn(), Speed(), TimeRemainingColumn())
        with Progress(*columns, transient=True) as bars:
            task = bars.add_task(name, total=None)
            yield lambda here, total: bars.update(task, completed=_most(here, total), total=total)
        return
    lines = Lines(name)
    yield lines.watch


class Lines:
    """Bytes, rate and time left as plain lines, for logs and pipes. The rate is that of this call alone."""

    def __init__(self, name: str, every_s: float = 5.0) -> None:
        self._name, self._every = name, every_s
        self._began = self._next = time.monotonic()
        self._first: int | None = None

    def watch(self, here: int, total: int | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._next = here, now + self._every
        elif now >= self._next:
            self._next = now + self._every
            print(line(self._name, _most(here, total), total, here - self._first, now - self._began), flush=True)


def line(name: str, here: int, total: int | None, fetched: int, seconds: float) -> str:
    """``name  120.0 MB of 1.20 GB  10 %  8.0 MB/s  ETA 2 min 15 s``."""
    from datagen.progress import duration

    parts = [f"{_gb(here)} of {_gb(total)}" if total else _gb(here)]
    if total:
        parts.append(f"{100 * here / total:.0f} %")
    if fetched > 0 and seconds > 0:
        rate = fetched / seconds
        parts.append(f"{rate / 1e6:.1f} MB/s")
        if total:
            parts.append(f"ETA {duration((total - here) / rate)}")
    return "  ".join((name, *parts))


def _most(here: int, total: int | None) -> int:
    """What the clients keep beside the files themselves does not count beyond the whole."""
    return here if total is None else min(here, total)
