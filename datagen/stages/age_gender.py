"""age_gender: what age and sex a voice sounds like, for corpora that do not say.

The corpus's own ``sex`` is never touched; where it is null, ``calibrate`` settles it per speaker from
``sex_predicted``, and ``describe`` writes that as ``sex_heard``. ``age_predicted`` is off by 7 to 11 years on average
(arXiv 2306.16962) and becomes no fact. The model's licence forbids commercial use.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.models import audeering, device, manifest
from datagen.models.audeering import SEXES, Answer
from datagen.stage import Kind, Output, Provenance, Resources, Stage

MODEL = "audeering-age-gender-6"


class AgeGenderConfig(device.ModelConfig):
    min_confidence: float = Field(
        0.8, ge=0, le=1, description="least probability of the first choice; below it sex_predicted is null"
    )


class AgeGender(Stage):
    name = "age_gender"
    version = "1"
    table = "clips"
    kind = Kind.MAP
    Config = AgeGenderConfig
    reads = ("audio", "duration")
    writes = tables.AGE_GENDER
    batch_rows = 512
    batch_seconds = 600.0

    @classmethod
    def wants(cls, config: AgeGenderConfig) -> Resources:
        return device.wants(config)

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, MODEL),)

    def semantics(self) -> dict[str, Any]:
        return {"models": [[model.entry.name, model.revision] for model in self.models()]}

    def provenance(self) -> tuple[Provenance, ...]:
        return tuple(manifest.provenance(model, *self.writes.names) for model in self.models())

    def check(self) -> str | None:
        return next(filter(None, map(audeering.missing, self.models())), None)

    def setup(self) -> None:
        device.offline()
        (model,) = self.models()
        self.predict = audeering.AgeGender(model.folder, device.resolve(self.config.device))
        self.batcher = audeering.batcher(model.entry.name, self.predict.network, self.config.batch_seconds)

    def process(self, batch: pa.Table) -> Output:
        answers = self.batcher.run(batch["audio"], batch["duration"].to_pylist(), self.predict)
        rows = [_row(answer, self.config.min_confidence) for answer in answers.values]
        return Output(tables.from_rows(rows, self.writes), answers.rejects, metrics=answers.metrics)


def _row(answer: Answer | None, least: float) -> dict[str, Any]:
    """A rejected clip, and one too short for the model, has nulls."""
    found = {name: round(value, 6) for name, value in (answer or {}).items() if value is not None}
    if not found:
        return {}
    # On a tie the first in the model's own order: which is as good as any, and the same every time.
    best = max(SEXES, key=lambda name: found[name])
    return {
        "age_predicted": found["age"],
        "sex_predicted": best if best != "child" and found[best] >= least else None,
        "sex_scores": [{"label": name, "score": found[name]} for name in SEXES],
    }
