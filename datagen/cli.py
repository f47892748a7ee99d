"""The command line: parsing and printing only. Exit codes: 0 fine, 1 a run could not finish, 2 wrong usage."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from datagen.cli_models import app as models_app
from datagen.errors import DatagenError

app = typer.Typer(
    name="datagen",
    help="Training data for speech LLMs that hear [bold]how[/bold] something is said, not only what.\n\n"
    "Start with:  datagen run cpqa --profile offline --input FOLDER --output RUN",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
recipes_app = typer.Typer(help="Recipes that come with the package.", no_args_is_help=True)
rejects_app = typer.Typer(help="Rows that were refused, and a second chance for them.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")
app.add_typer(rejects_app, name="rejects")
app.add_typer(models_app, name="models")

RecipeArg = Annotated[str, typer.Argument(help="Name of a shipped recipe (see `datagen recipes list`) or a YAML file.")]
RunArg = Annotated[str, typer.Argument(help="A run directory: a path or an fsspec URL.", metavar="RUN")]
Profile = Annotated[
    list[str] | None, typer.Option(help="Settings laid over the recipe, e.g. offline (repeatable, later ones win).")
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override one setting: path.to.key=value (repeatable).")]
Input = Annotated[str | None, typer.Option(help="Folder, manifest, tar or URL to read; default: the recipe's.")]
Output = Annotated[str, typer.Option(help="Run directory: a path or an fsspec URL.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Pilot: take at most N recordings; more join later.")]


def main() -> None:
    """Entry point: turns our own errors into one line on stderr and an exit code."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except DatagenError as error:
        _err(str(error))
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _err("interrupted; what was committed stays, the same command continues")
        sys.exit(1)
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the parser, whose classes typer keeps to itself
        if show is None or not hasattr(error, "exit_code"):
            raise
        show()
        sys.exit(2)


def _err(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from datagen.redact import hidden

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error ", "bold red"), hidden(message)))


def _version(wanted: bool) -> None:
    if wanted:
        from datagen import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def _recipe(
    reference: str, profile: list[str] | None, sets: list[str] | None, source: str | None, extra: dict[str, Any]
) -> Any:
    from datagen.config import load

    overrides = {"stages.ingest.input": source} if source is not None else {}
    return load(reference, profile=profile or [], sets=sets or [], overrides=overrides | extra)


@app.command()
def run(
    recipe: RecipeArg,
    output: Output = "run",
    input: Input = None,
    profile: Profile = None,
    set: Sets = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Do this stage and all after it again; leave it away to continue.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    limit: Limit = None,
    refit: Annotated[bool, typer.Option("--refit", help="Calibrate and select anew from all there is now.")] = False,
    executor: Annotated[str | None, typer.Option(help="ray or local (in this process, for debugging).")] = None,
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster, or auto; default: our own.")] = None,
    max_reject_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fail a stage above this share.")
    ] = None,
    progress: Annotated[str, typer.Option(help="auto, bars, lines or none.")] = "auto",
) -> None:
    """Run a recipe. The same command continues a run that was stopped, and takes in what is new."""
    from datagen import report
    from datagen.run import Options, execute

    extra: dict[str, Any] = {}
    if executor is not None:
        extra["executor.kind"] = executor
    if ray_address is not None:
        extra["executor.address"] = ray_address
    if max_reject_fraction is not None:
        extra["max_reject_fraction"] = max_reject_fraction
    resolved = _recipe(recipe, profile, set, input, extra)
    space, outcome = execute(resolved, output, Options(start, until, limit, refit, progress), say=print)
    report.finished(space, outcome)


@app.command()
def plan(
    recipe: RecipeArg,
    output: Output = "run",
    input: Input = None,
    profile: Profile = None,
    set: Sets = None,
    limit: Limit = None,
    clips: Annotated[
        int | None, typer.Option("--clips", min=1, help="Forecast for so many clips instead: time, memory, tokens.")
    ] = None,
) -> None:
    """Show the stages of a recipe, what is done, stale or to do, and how much work that is. Starts nothing."""
    from datagen import report
    from datagen.foreseen import foreseen
    from datagen.run import look_at_input, obstacles, open_run, taken_for

    space = open_run(output, _recipe(recipe, profile, set, input, {}))
    _, refused = look_at_input(space, limit, save=False)
    for line in [*taken_for(space), *foreseen(space)]:
        print(line)
    report.plan(space, refused, clips)
    for line in obstacles(space, space.pipeline.order):
        print(f"a run would be refused here: {line}")


@app.command()
def status(run: RunArg) -> None:
    """What became of every row, stage by stage, and whether conservation holds."""
    from datagen import report
    from datagen.run import open_run

    if not report.status(open_run(run)):
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """What is installed here, which backends can run, GPUs, Ray, disk."""
    from datagen import doctor as examine

    examine.show()


@app.command()
def gc(
    run: RunArg,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Delete results that the run's present recipe and input no longer lead to."""
    from datagen import report
    from datagen.run import collect

    units, size = collect(run, dry_run=dry_run)
    report.collected(units, size, dry_run)


@recipes_app.command("list")
def recipes_list() -> None:
    """Shipped recipes and profiles."""
    from datagen import report

    report.recipes()


@recipes_app.command("show")
def recipes_show(recipe: RecipeArg, profile: Profile = None, set: Sets = None) -> None:
    """A recipe with every default filled in."""
    print(_recipe(recipe, profile, set, None, {}).yaml(), end="")


@rejects_app.command("list")
def rejects_list(
    run: RunArg,
    stage: Annotated[str | None, typer.Option(help="Only this stage's.")] = None,
) -> None:
    """Every refused row with its reason."""
    from datagen import report
    from datagen.run import open_run

    report.rejects(open_run(run), stage)


@rejects_app.command("retry")
def rejects_retry(
    run: RunArg,
    stage: Annotated[str | None, typer.Option(help="Only this stage's.")] = None,
) -> None:
    """Forget the units that hold rejects, so that the next `datagen run` tries their rows again."""
    from datagen import report
    from datagen.run import retry

    report.to_retry(retry(run, stage), run)


if __name__ == "__main__":
    main()
