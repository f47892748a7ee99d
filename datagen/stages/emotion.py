"""emotion: what is felt, as one of eight names. ``reference`` takes the corpus's own labels."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pyarrow as pa

from datagen import tables
from datagen.quality.emotions import emotion_table, gold_emotions, sentiments
from datagen.stage import Output, Provenance, Stage, StageConfig


class EmotionConfig(StageConfig):
    backend: Literal["reference"] = "reference"


class Emotion(Stage):
    """Gold labels through the published table. They have no scores, hence no margin: both stay null."""

    name: ClassVar[str] = "emotion"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[StageConfig]] = EmotionConfig

    reads = ("corpus", "labels")
    writes = tables.EMOTION

    def semantics(self) -> dict[str, Any]:
        return {"emotion_labels": emotion_table().version}

    def provenance(self) -> tuple[Provenance, ...]:
        # The labels are the corpus's: its own licence rules them; the table only renames.
        version = emotion_table().version
        return (
            Provenance(
                model="emotion_labels",
                revision=version,
                licence="Apache-2.0",
                columns=("emotion", "sentiment"),
                note="the corpus's labels, renamed through schemas/emotion_labels.yaml",
            ),
        )

    def process(self, batch: pa.Table) -> Output:
        gold = gold_emotions(batch["labels"], batch["corpus"])
        columns = gold.append_column("sentiment", sentiments(gold["emotion"]))
        for name in ("emotion_scores", "emotion_margin"):
            columns = columns.append_column(name, pa.nulls(batch.num_rows, self.writes.field(name).type))
        return Output(tables.cast(columns, self.writes))
