"""route: each sample to SFT, RL or nowhere. Without blind solving only the offline rule of ``quality/routing.py``."""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.quality import routing
from datagen.stage import Kind, Output, Stage, StageConfig


class RouteConfig(StageConfig):
    rl_share: float = Field(0.5, ge=0, le=1, description="share of contrast units that serve RL; the rest serve SFT")


class Route(Stage):
    name, version, table, kind = "route", "1", "samples", Kind.MAP
    Config = RouteConfig
    reads = ("clip_id", "options", "answer_label", "speaker")
    optional_reads = ("contrast_group_id", "contrast_type", "contrast_emotions")
    writes = tables.ROUTE
    seeded = True
    batch_rows = 1 << 20  # the whole shard: SFT and RL are disjoint by clip

    def process(self, batch: pa.Table) -> Output:
        routes, reasons = routing.route(batch, self.config.rl_share, self.seed)
        empty = tables.nulls(tables.ROUTE, batch.num_rows)  # weights and counts are still to come
        columns = {"route": pa.array(routes, pa.string()), "route_reason": pa.array(reasons, pa.string())}
        arrays = [columns.get(name, empty[name]) for name in tables.ROUTE.names]
        return Output(pa.table(arrays, schema=tables.ROUTE))
