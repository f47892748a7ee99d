"""route: each sample to SFT, RL or nowhere (``quality/routing.py``), with what a trainer wants to know of it.

Works with whatever there is: without blind solving and judging by the contrast of labels alone.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.quality import routing, trainer_columns
from datagen.stage import Kind, Output, Stage, StageConfig

_OWN = ("clip_id", "task", "mode", "options", "answer_label", "candidates", *trainer_columns.TEXTS)


class RouteConfig(StageConfig):
    rl_share: float = Field(0.5, ge=0, le=1, description="share of units that serve RL; the rest serve SFT")
    least_judge: float = Field(3.0, ge=1, le=5, description="samples with a lower judge_score are dropped")
    least_candidates: int = Field(2, ge=1, description="scored candidates that a response needs for RL")


class Route(Stage):
    name, version, table, kind = "route", "2", "samples", Kind.MAP
    Config = RouteConfig
    reads = tuple(dict.fromkeys((*_OWN, "speaker", "duration")))
    optional_reads = (
        *(name for name in routing.COLUMNS if name not in (*_OWN, "speaker")),
        "label_source", "emotion_margin", "affect_agreement_score",
    )  # fmt: skip
    writes = tables.ROUTE
    seeded = True
    batch_rows = 1 << 20  # the whole shard: SFT and RL are disjoint by clip

    def process(self, batch: pa.Table) -> Output:
        settings = self.config
        rule = routing.Rule(settings.rl_share, settings.least_judge, settings.least_candidates)
        routes, reasons = routing.route(batch, rule, self.seed)
        columns = {
            "route": pa.array(routes, pa.string()),
            "route_reason": pa.array(reasons, pa.string()),
            "pass_rate": trainer_columns.pass_rate(batch),
            "reward_weight": trainer_columns.reward_weight(batch),
            "text_tokens": trainer_columns.text_tokens(batch),
            "audio_seconds": batch["duration"],
        }
        return Output(tables.cast(pa.table(columns), self.writes))
