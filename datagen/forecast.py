"""What barriers that know their cost will take, before they have ever run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from datagen.plan import Progress
from datagen.stage import Forecast
from datagen.workspace import Workspace

#: Seconds of a clip where nothing has been cut yet: about what corpora of single sentences have.
USUAL_CLIP_S = 5.0


class Foreseen(NamedTuple):
    stage: str
    clips: int
    cost: Forecast


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
        known = progress.rows if progress.rows and not progress.unknown else None
        count = clips or known or max(recordings, round(audio_s / USUAL_CLIP_S))
        cost = stage.forecast(count, count * USUAL_CLIP_S if clips else audio_s, workers)
        if cost is not None:
            found.append(Foreseen(name, count, cost))
    return found
