"""What a run will not be able to have, said before it starts."""

from __future__ import annotations

import pyarrow as pa

from datagen.ledger import BYTES_PER_SECOND
from datagen.workspace import Workspace

#: Beyond this the selection is not tried beforehand: it is about to be made anyway, and takes seconds per million.
_MOST_CLIPS = 2_000_000


def foreseen(space: Workspace) -> list[str]:
    """What the selection will lack, a sentence each; nothing where it is done or the recipe has none."""
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
