"""events: non-verbal vocal sounds in a clip (laughter, crying, a sigh, a cough, ...), with times.

``auto`` takes the events that the corpus marks in a clip, and asks a tagger about the clips in which it marks none;
``ast`` asks the tagger about all of them; ``reference`` takes the corpus's only and needs no model. Somebody who
listened is believed before a model: the two are never mixed in one clip, and a corpus's event has no score.

An empty list says that a tagger listened and heard nothing above its thresholds; null, that nobody listened.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from datagen import tables
from datagen.models import device, manifest, tagger
from datagen.models.batching import Batcher
from datagen.registry import did_you_mean
from datagen.stage import Output, Provenance, Resources, Stage, StageConfig

Row = dict[str, Any]


class EventsConfig(device.ModelConfig):
    backend: Literal["auto", "ast", "reference"] = "auto"
    window_s: float = Field(2.0, ge=0.1, le=tagger.WINDOW_COST_S, description="seconds heard at a time")
    hop_s: float = Field(1.0, ge=0.05, description="seconds from one window to the next; each costs the model 10.24 s")
    threshold: float = Field(0.3, gt=0, lt=1, description="score from which on an event is heard")
    thresholds: dict[str, float] = Field(default_factory=dict, description="the same for single events, by name")

    @field_validator("thresholds")
    @classmethod
    def _known(cls, given: dict[str, float]) -> dict[str, float]:
        events = tagger.vocabulary().events
        for name, value in given.items():
            if name not in events:
                raise ValueError(f"unknown event '{name}'{did_you_mean(name, events)}")
            if not 0 < value < 1:
                raise ValueError(f"{name}: {value} is no score between 0 and 1")
        return given

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        if self.hop_s > self.window_s:
            raise ValueError(
                f"hop_s {self.hop_s} is more than window_s {self.window_s}: what lies between is not heard"
            )
        return self


class Events(Stage):
    name: ClassVar[str] = "events"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[StageConfig]] = EventsConfig

    reads = ("labels", "duration", "audio")
    writes = tables.EVENTS
    batch_rows = 256
    batch_seconds = 600.0

    @classmethod
    def wants(cls, config: EventsConfig) -> Resources:
        return cls.resources if config.backend == "reference" else device.wants(config)

    @property
    def _tags(self) -> bool:
        return bool(self.config.backend != "reference")

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, tagger.LIKE),) if self._tags else ()

    def semantics(self) -> dict[str, Any]:
        used = [[model.entry.name, model.revision] for model in self.models()]
        return {"event_labels": tagger.vocabulary().version, "models": used}

    def provenance(self) -> tuple[Provenance, ...]:
        names = Provenance(
            "event_labels", tagger.vocabulary().version, "Apache-2.0", ("events",),
            "names through schemas/event_labels.yaml; events without a score are the corpus's",
        )  # fmt: skip
        return (names, *(manifest.provenance(model, "events") for model in self.models()))

    def check(self) -> str | None:
        if not self._tags:
            return None
        for package in ("transformers", "torchaudio"):
            if find_spec(package) is None:
                return f"the package {package} is not here: install the main environment: make setup-main"
        return manifest.missing(self.models()[0])

    def setup(self) -> None:
        if not self._tags:
            return
        device.offline()
        config, where = self.config, device.resolve(self.config.device)
        self._tagger = tagger.Tagger(self.models()[0].folder, where, device.batch_seconds(config.batch_seconds, where))
        self._batcher = Batcher(tagger.LIKE, config.batch_seconds)
        self._thresholds = tagger.thresholds(config.threshold, config.thresholds)

    def process(self, batch: pa.Table) -> Output:
        given: list[list[Row] | None] = [None] * batch.num_rows
        if self.config.backend != "ast":
            given = [reference(labels or []) for labels in batch["labels"].to_pylist()]
        if not self._tags:
            return Output(tables.from_rows([{"events": events} for events in given], self.writes))
        config, durations = self.config, batch["duration"].to_pylist()
        answers = self._batcher.run(
            batch["audio"],
            durations,
            lambda sounds: self._tagger(sounds, config.window_s, config.hop_s, self._thresholds),
            [row for row, events in enumerate(given) if events is None],
        )
        # The model hears 10.24 s for every window, whatever its length: that, and not the clips' padding, is the work.
        work = sum(
            self._cost(seconds) for seconds, heard in zip(durations, answers.values, strict=True) if heard is not None
        )
        rows = [
            {"events": events if events is not None else [event._asdict() for event in heard or []]}
            for events, heard in zip(given, answers.values, strict=True)
        ]
        return Output(
            tables.from_rows(rows, self.writes), answers.rejects, metrics=answers.metrics | {"padded_s": work}
        )

    def _cost(self, seconds: float | None) -> float:
        samples = round((seconds or 0.0) * tables.SAMPLE_RATE)
        return len(tagger.windows(samples, self.config.window_s, self.config.hop_s)) * tagger.WINDOW_COST_S


def reference(labels: Sequence[Row]) -> list[Row] | None:
    """The events that the corpus marks in a clip, under the names of the vocabulary; None when it marks none.

    Args:
        labels: of the clip; field ``event`` holds a JSON list of ``{event, start, end}``, times relative to the clip,
            null where the corpus gives none.
    """
    said = next((label["value"] for label in labels if label["field"] == "event" and label["value"]), None)
    if said is None:
        return None
    name = tagger.vocabulary().lookup
    return [
        {"event": name(event["event"]), "start": event["start"], "end": event["end"], "score": None}
        for event in json.loads(said)
        if name(event["event"])
    ] or None
