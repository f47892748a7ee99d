"""Which stages share workers, and what each pool asks for: decided from the plan and from what there is.

CPU stages with like needs share one pool; a stage with a GPU, a model or settings of its own has its own, so that it
can be closed when its phase is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from datagen.errors import UsageError
from datagen.executors.base import PoolSpec
from datagen.models import manifest
from datagen.pipeline import Pipeline
from datagen.stage import Resources, Stage
from datagen.worker import factory

#: Workers of a stage that asks a language model: each keeps many requests under way, and one begins while the other
#: waits for its last. More would only queue at the servers, where requests time out.
ASKERS = 2


def specs(
    pipeline: Pipeline, resources: Mapping[str, Resources], names: Sequence[str], gpus: Callable[[], float], url: str
) -> dict[str, PoolSpec]:
    """Stage -> its pool.

    Args:
        names: stages that will run.
        gpus: how many there are; asked only where a stage leaves its share to us.
        url: of the run directory, for the workers.
    """
    there = gpus() if any(resources[name].gpus == "auto" for name in names) else 0.0
    settled = {name: _settled(name, pipeline, resources, names, there) for name in names}
    found: dict[str, PoolSpec] = {}
    for name, asked in settled.items():
        if name in found:
            continue
        own = asked.fixed_gpus > 0 or any(
            value is not None for value in (asked.workers, asked.python, asked.recycle_hours)
        )
        members = [name] if own else [other for other in names if settled[other] == asked]
        label = name if own else f"cpu{asked.cpus:g}" + (f"-{asked.memory_gb:g}GB" if asked.memory_gb else "")
        classes = {member: type(pipeline.stages[member]) for member in members}
        expected = 0.0 if asked.fixed_gpus else max(expected_gb(pipeline.stages[member]) for member in members)
        found |= dict.fromkeys(members, PoolSpec(label, factory(url, classes), asked, expected))
    return found


def _settled(
    name: str, pipeline: Pipeline, resources: Mapping[str, Resources], names: Sequence[str], there: float
) -> Resources:
    """What a pool is told: ``gpus: auto`` decided, deadlines left to the driver.

    The stages of a phase that leave it to us share what the others leave them, so that all fit side by side, and have
    one worker per GPU: a second one there would hold the model twice, and batches fill a GPU without it.
    """
    asked = resources[name].model_copy(update={"batch_timeout_s": None})
    if asked.workers is None and pipeline.stages[name].asks() is not None:
        asked = asked.model_copy(update={"workers": ASKERS})
    if asked.gpus != "auto":
        return asked
    if not there:
        if getattr(pipeline.stages[name].config, "device", "auto") == "cuda":
            raise UsageError(
                f"stages.{name}.device: cuda is asked for, and there is no GPU here; set it to auto, or use a machine "
                "that has one"
            )
        return asked.model_copy(update={"gpus": 0.0})
    beside = [resources[other].gpus for other in names if pipeline.phase[other] == pipeline.phase[name]]
    left = there - sum(share for share in beside if share != "auto")
    share = pipeline.stages[name].gpu_share
    if left > 0:  # else admission says what to change
        share = min(share, math.floor(left / beside.count("auto") * 10_000) / 10_000)
    return asked.model_copy(update={"gpus": share, "workers": asked.workers or max(1, int(there))})


def expected_gb(stage: Stage) -> float:
    """Memory of a worker that runs the stage and its models on a CPU, roughly; 0 = next to none.

    Of several models for one task (aligners of many languages) the largest counts: they are loaded as they are needed.
    """
    largest: dict[str, float] = {}
    for model in stage.models():
        largest[model.entry.task] = max(largest.get(model.entry.task, 0.0), manifest.memory_gb(model))
    return stage.holds_gb + sum(largest.values())
