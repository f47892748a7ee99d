"""Writing the finished run elsewhere: an export, in a worker's process, so that the driver stays small."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.config import Recipe
from datagen.executors.base import Worker
from datagen.export.swap import MARK
from datagen.files import Files
from datagen.plan import Plan
from datagen.reader import RunView
from datagen.workspace import Workspace, open_run


@dataclass(frozen=True)
class SinkJob:
    """What a worker needs to open the run as the driver sees it."""

    url: str
    recipe: Recipe
    stage: str
    refit: bool
    pilot: bool


def job(space: Workspace, stage: str) -> SinkJob:
    return SinkJob(space.files.url, space.recipe, stage, space.plan.refit, space.plan.pilot)


def present(files: Files) -> bool:
    """Whether an export is there, and whole: its mark is written last."""
    return files.exists(f"dataset/{MARK}")


def make_worker() -> Worker:
    """What an executor's pool calls in the worker's process."""
    return SinkWorker()


class SinkWorker:
    """Answers ``SinkJob``s with the export's own summary.

    A local run gets its dataset beside it. For a run on an object store the folder is written here and sent there,
    its mark last, so that a dataset without a mark is known to be unfinished.
    """

    def run(self, wanted: SinkJob) -> dict[str, Any]:
        space = open_run(wanted.url, wanted.recipe)
        plan = Plan(space.pipeline, space.store, space.ledger, refit=wanted.refit, pilot=wanted.pilot)
        stage, run = space.pipeline.stages[wanted.stage], RunView(plan, space.store, space.recipe)
        if space.files.local:
            return dict(stage.write(run, Path(space.dataset())))  # type: ignore[attr-defined]
        with tempfile.TemporaryDirectory(prefix="datagen-export-") as scratch:
            out = Path(scratch) / "dataset"
            summary = dict(stage.write(run, out))  # type: ignore[attr-defined]
            files = sorted((p for p in out.rglob("*") if p.is_file()), key=lambda p: (p.name == MARK, str(p)))
            space.files.delete("dataset")
            for path in files:
                space.files.put(f"dataset/{path.relative_to(out).as_posix()}", path)
        return summary | {"output": space.dataset()}

    def close(self) -> None: ...
