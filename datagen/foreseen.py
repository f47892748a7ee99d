"""What a run will not be able to have, said before it starts."""

from __future__ import annotations

import pyarrow as pa

from datagen import asked
from datagen.forecast import askings
from datagen.ledger import BYTES_PER_SECOND
from datagen.quality import licences as licensing
from datagen.workspace import Workspace

#: Beyond this the selection is not tried beforehand: it is about to be made anyway, and takes seconds per million.
_MOST_CLIPS = 2_000_000


def foreseen(space: Workspace) -> list[str]:
    """What a person should know before it is paid for, a sentence each."""
    return [*_selection(space), *_licences(space), *_caps(space)]


def _licences(space: Workspace) -> list[str]:
    """Language models of which nobody has said what is permitted with their texts."""
    licences = licensing.published(getattr(space.recipe.configs.get("export"), "licences", None))
    asked: dict[tuple[str, str], list[str]] = {}
    for name, stage in space.pipeline.stages.items():
        settings = stage.asks()
        if settings is not None and licences.find(settings.licence) is None:
            asked.setdefault((settings.model, settings.licence or ""), []).append(name)
    return [
        f"{model}: {f'its licence ({licence}) is not known here' if licence else 'nobody says its licence'}, so "
        f"nothing is permitted with what it makes ({', '.join(names)}): set llm.licence to one of "
        "schemas/licences.yaml; that can be done later, no model runs again"
        for (model, licence), names in asked.items()
    ]


def _caps(space: Workspace) -> list[str]:
    """Caps on tokens and GPU hours that what is left to ask will go over."""
    settings = [found for stage in space.pipeline.stages.values() if (found := stage.asks()) is not None]
    if all(found.most_tokens is None and found.most_gpu_hours is None for found in settings):
        return []
    recordings, audio_s = size_of_input(space)
    return asked.beyond(askings(space, space.plan.overview(), recordings, audio_s, None), asked.spent_in(space))


def size_of_input(space: Workspace) -> tuple[int, float]:
    """Recordings, and their seconds as far as their headers or sizes tell."""
    live = space.ledger.live
    hints, sizes = live["seconds_hint"].to_pylist(), live["size_bytes"].to_pylist()
    seconds = sum(h if h is not None else (s or 0) / BYTES_PER_SECOND for h, s in zip(hints, sizes, strict=True))
    return len(live), seconds


def _selection(space: Workspace) -> list[str]:
    """What the selection will lack; nothing where it is done or the recipe has none."""
    stage = space.pipeline.stages.get("condense")
    if stage is None or not space.plan.shards or space.plan.done("condense", None) is not None:
        return []
    from datagen.quality import feasible

    config = stage.config.select
    if not feasible.demanding(config):
        return []
    clips = _clips(space)
    if clips is not None:
        return feasible.try_out(clips, config, stage.seed)
    return feasible.foresee(feasible.look_at(space.ledger.live, BYTES_PER_SECOND, config.exempt), config)


def _clips(space: Workspace) -> pa.Table | None:
    """What ``condense`` would see; None while the stages before it are not done, or when that is too much."""
    if space.plan.wanted("condense", None) is None:
        return None
    reads = [space.plan.read_plan("condense", shard) for shard in space.plan.shards]
    if sum(space.store.row_count(read) for read in reads) > _MOST_CLIPS:
        return None
    return pa.concat_tables([space.store.read(read) for read in reads])
