"""A run directory opened with a recipe: what every command begins with."""

from __future__ import annotations

from dataclasses import dataclass, field

from datagen.config import Recipe, parse
from datagen.errors import UsageError
from datagen.files import Files
from datagen.ledger import Changes, Ledger
from datagen.pipeline import Pipeline
from datagen.plan import Plan
from datagen.store import Store

#: Layout version of a run directory; raised when old runs can no longer be read.
LAYOUT = 1


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
    try:
        begun = files.exists("run.json")
        held = [] if begun else files.names("")
    except Exception as error:  # whatever a store's library raises: no network, no credentials, no bucket
        raise UsageError(f"{url}: cannot be reached: {type(error).__name__}: {error}") from error
    if begun:
        layout = files.read_json("run.json").get("layout")
        if layout != LAYOUT:
            raise UsageError(f"{url}: this run has layout {layout}, this datagen reads {LAYOUT}; use another --output")
    elif recipe is None:
        raise UsageError(
            f"{url}: no run here (there is no run.json); start one with `datagen run RECIPE --output {url}`"
        )
    elif set(held) - {"lock"}:
        raise UsageError(f"{url}: the folder is not empty and holds no run; choose another --output")
    if recipe is None:
        import yaml

        if not files.exists("recipe.yaml"):
            raise UsageError(f"{url}: this run was stopped before it began; `datagen run` it again")
        recipe = parse(yaml.safe_load(files.read("recipe.yaml")), f"{url}/recipe.yaml")
    store, ledger = Store(files), Ledger(files)
    pipeline = Pipeline(recipe.stages())
    return Workspace(recipe, files, store, ledger, pipeline, Plan(pipeline, store, ledger, refit=refit))
