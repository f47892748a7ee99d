"""What a run will take before it has ever run: barriers that know it, and stages that ask a language model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from datagen.llm import estimate, typical
from datagen.llm.estimate import Rate
from datagen.llm.rehearsal import rehearse
from datagen.llm.settings import LlmConfig
from datagen.plan import Progress
from datagen.stage import Forecast, Stage
from datagen.store import Unit
from datagen.tables import ID
from datagen.workspace import Workspace

#: Seconds of a clip where nothing has been cut yet: about what corpora of single sentences have.
USUAL_CLIP_S = 5.0
#: Rows of the run that a rehearsal is given, where there are any.
_REHEARSED = 64


class Foreseen(NamedTuple):
    stage: str
    clips: int
    cost: Forecast


class Asking(NamedTuple):
    """What a stage will ask a model. ``cost``: of all ``rows``; None where its rehearsal failed."""

    stage: str
    settings: LlmConfig
    rows: int
    cost: Rate | None


def forecasts(
    space: Workspace, overview: Mapping[str, Progress], recordings: int, audio_s: float, clips: int | None
) -> list[Foreseen]:
    """For every barrier that can tell: for ``clips``, or for what is left to do of this input."""
    workers = 1 if space.recipe.executor.kind == "local" else int(space.recipe.executor.cpus or os.cpu_count() or 1)
    found = []
    for name, stage in space.pipeline.stages.items():
        progress = overview[name]
        if clips is None and not progress.left:
            continue
        count = clips or _known(progress) or _usual(recordings, audio_s)
        cost = stage.forecast(count, count * USUAL_CLIP_S if clips else audio_s, workers)
        if cost is not None:
            found.append(Foreseen(name, count, cost))
    return found


def askings(
    space: Workspace, overview: Mapping[str, Progress], recordings: int, audio_s: float, clips: int | None
) -> list[Asking]:
    """For every stage that asks a model: for ``clips``, or for what is left to do of this input.

    Clips that condensation will take away are counted as long as it has not taken them.
    """
    found = []
    for name, stage in space.pipeline.stages.items():
        settings = stage.asks()
        if settings is None or (clips is None and not overview[name].left):
            continue
        known = None if clips else _known(overview[name])
        rows = known if known is not None else clips or _usual(recordings, audio_s)
        try:
            if known is None and stage.table == "samples":
                maker = space.pipeline.creator["samples"]
                before = None if clips else _known(overview[maker])
                written = _written(space, _clips(space, maker))
                rows = round((before or rows) * written.num_rows / max(1, _clips(space, maker).num_rows))
            cost = _rate(space, name, stage).times(rows)
        except Exception:  # a stage of a third party, unusual rows: a plan is worth more than one figure in it
            cost = None
        found.append(Asking(name, settings, rows, cost))
    return found


def _known(progress: Progress) -> int | None:
    return progress.rows if progress.rows and not progress.unknown else None


def _usual(recordings: int, audio_s: float) -> int:
    return max(recordings, round(audio_s / USUAL_CLIP_S))


def _rate(space: Workspace, name: str, stage: Stage) -> Rate:
    found = estimate.measured(*spent(space, name))
    if found is not None:
        return found
    rows = _clips(space, name) if stage.table == "clips" else _samples(space, name)
    return estimate.rehearsed(rehearse(stage, rows), retries=bool(getattr(stage.config, "retries", 0)))


def spent(space: Workspace, name: str) -> tuple[dict[str, float], int]:
    """Sums of a stage's metrics over all its units, whatever the settings were, and the rows they are about."""
    total: dict[str, float] = {}
    rows = 0
    for shard in [None] if space.pipeline.whole(name) else space.plan.shards:
        for key in space.store.keys(name, shard):
            record = space.store.record(Unit(name, shard, key)) or {}
            rows += record.get("counts", {}).get("in", 0)
            for metric, value in record.get("metrics", {}).items():
                total[metric] = total.get(metric, 0.0) + value
    return total, rows


def _clips(space: Workspace, name: str) -> pa.Table:
    """Rows for a stage on clips: the run's own, or typical ones while it has none."""
    own = _own(space, name)
    return own if own is not None else typical.table(typical.clips(), _schema(space, name))


def _samples(space: Workspace, name: str) -> pa.Table:
    """Rows for a stage on samples: the run's own, or what templates write about the clips."""
    own = _own(space, name)
    if own is not None:
        return own
    maker = space.pipeline.creator["samples"]
    clips = {row["clip_id"]: row for row in [*typical.clips(), *_clips(space, maker).to_pylist()]}
    rows = [clips[row["clip_id"]] | row for row in _written(space, _clips(space, maker)).to_pylist()]
    return typical.table(rows, _schema(space, name))


def _written(space: Workspace, clips: pa.Table) -> pa.Table:
    """What the writer of templates makes of ``clips`` with the recipe's tasks, modes and counts."""
    stage = space.pipeline.stages[space.pipeline.creator["samples"]]
    writer = type(stage)(stage.config.model_copy(update={"writer": "template", "prompts": None}), seed=stage.seed)
    writer.setup()
    return writer.process(clips).created["samples"]


def _own(space: Workspace, name: str) -> pa.Table | None:
    for shard in space.plan.shards:
        if space.plan.wanted(name, shard) is not None:
            rows = space.store.read(space.plan.read_plan(name, shard))
            if rows.num_rows:
                return rows.slice(0, _REHEARSED)
    return None


def _schema(space: Workspace, name: str) -> pa.Schema:
    """Of the table that a stage is given."""
    table = space.pipeline.stages[name].table
    columns = {column.name: column.type for column in space.pipeline.inputs[name]}
    return pa.schema([(ID[table], pa.string()), *((n, kind) for n, kind in columns.items() if n != ID[table])])
