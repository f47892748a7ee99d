"""agreement: does the emotion fit arousal and valence, and does the model say what the corpus says?

Needs no model and no sound; ``quality/agreement.py`` has the definitions. Clips on which the annotators contradict
each other are either mislabelled or the most interesting ones: whoever selects decides.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datagen import tables
from datagen.quality.agreement import affect_agreement, gold_agreement, quadrants
from datagen.quality.emotions import emotion_table
from datagen.stage import Kind, Output, Provenance, Stage


class Agreement(Stage):
    name = "agreement"
    version = "2"
    table = "clips"
    kind = Kind.MAP
    reads = (
        "emotion", "label_source", "emotion_predicted", "arousal_level", "arousal_pct", "valence_level", "valence_pct"
    )  # fmt: skip
    writes = tables.AGREEMENT
    batch_rows = 1 << 16

    def semantics(self) -> dict[str, Any]:
        return {"emotion_quadrants": quadrants().version, "emotion_labels": emotion_table().version}

    def provenance(self) -> tuple[Provenance, ...]:
        note = "ranks of arousal and valence held against schemas/emotion_quadrants.yaml"
        return (Provenance("emotion_quadrants", quadrants().version, "Apache-2.0", tuple(self.writes.names), note),)

    def process(self, batch: pa.Table) -> Output:
        columns = affect_agreement(batch).append_column("gold_agreement", gold_agreement(batch))
        return Output(tables.cast(columns, self.writes))
