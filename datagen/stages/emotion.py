"""emotion: what is felt, as one of eight names.

``reference`` takes the corpus's own labels through the published table. ``emotion2vec`` adds what a model hears: nine
scores by name, how sure they are, and how they change along longer clips. See ``docs/emotion.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.errors import EnvironmentFault
from datagen.models import device, emotion2vec, manifest
from datagen.models.batching import Batcher, Floats, plan
from datagen.models.emotion2vec import Prediction
from datagen.models.emotion2vec.loading import Label
from datagen.quality.emotions import emotion_table, gold_emotions, sentiments
from datagen.stage import Output, Provenance, Resources, Stage

MODEL = "emotion2vec_plus_large"
Row = dict[str, Any]


class EmotionConfig(device.ModelConfig):
    backend: Literal["reference", "emotion2vec"] = "reference"
    prefer_gold: bool = Field(
        True, description="where the corpus names one emotion, that is the clip's, not the model's"
    )
    min_margin: float = Field(
        0.1, ge=0, le=1, description="a model's first choice that leads by less is null: it is a tie, not an answer"
    )
    embedding: bool = Field(False, description="keep the model's utterance vector as well")
    timeline: bool = Field(True, description="hear longer clips in windows, too")
    window_s: float = Field(4.0, ge=0.5, description="seconds of a window; shorter clips are one window, so have none")
    hop_s: float = Field(2.0, gt=0, description="most seconds between the starts of two windows")


@dataclass(frozen=True)
class Heard:
    """What the model says of a clip, and of its windows: (first sample, prediction), none for a clip of one."""

    whole: Prediction
    windows: tuple[tuple[int, Prediction], ...]


class Emotion(Stage):
    """Gold labels have no scores, hence no margin: without a model those stay null."""

    name: ClassVar[str] = "emotion"
    version: ClassVar[str] = "2"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[EmotionConfig]] = EmotionConfig

    reads: tuple[str, ...] = ("corpus", "labels")
    writes = tables.EMOTION

    def __init__(self, config: EmotionConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        if self.modelled:
            self.reads = ("corpus", "labels", "duration", "audio")
            self.batch_rows, self.batch_seconds = 512, 600.0

    @property
    def modelled(self) -> bool:
        return bool(self.config.backend == "emotion2vec")

    @classmethod
    def wants(cls, config: EmotionConfig) -> Resources:
        return device.wants(config) if config.backend == "emotion2vec" else cls.resources

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, MODEL),) if self.modelled else ()

    def semantics(self) -> dict[str, Any]:
        found: dict[str, Any] = {"emotion_labels": emotion_table().version}
        if self.modelled:
            found["models"] = [[model.entry.name, model.revision] for model in self.models()]
        return found

    def provenance(self) -> tuple[Provenance, ...]:
        # The labels are the corpus's: its own licence rules them; the table only renames.
        table = Provenance(
            model="emotion_labels",
            revision=emotion_table().version,
            licence="Apache-2.0",
            columns=("emotion", "sentiment"),
            note="labels renamed through schemas/emotion_labels.yaml",
        )
        by_model = ("emotion_scores", "emotion_margin", "emotion_entropy", "emotion_predicted", "emotion_timeline",
                    "emotion_embedding")  # fmt: skip
        made = [
            maker
            for model in self.models()
            for maker in (
                manifest.provenance(model, *by_model),
                manifest.provenance(model, "emotion", "emotion_raw", "sentiment", where=("label_source", "pseudo")),
            )
        ]
        return (table, *made)

    def check(self) -> str | None:
        return next(filter(None, map(emotion2vec.missing, self.models())), None)

    def setup(self) -> None:
        if not self.modelled:
            return
        device.offline()
        (model,) = self.models()
        if lacking := emotion2vec.missing(model):
            raise EnvironmentFault(lacking)
        where = device.resolve(self.config.device)
        self.model = emotion2vec.Emotion2vec(model.folder, where, device.THREADS)
        self.batcher = Batcher(model.entry.name, device.batch_seconds(self.config.batch_seconds, where))

    def process(self, batch: pa.Table) -> Output:
        gold = gold_emotions(batch["labels"], batch["corpus"])
        if not self.modelled:
            columns = gold.append_column("sentiment", sentiments(gold["emotion"]))
            for name in self.writes.names:
                if name not in columns.column_names:
                    columns = columns.append_column(name, pa.nulls(batch.num_rows, self.writes.field(name).type))
            return Output(tables.cast(columns, self.writes))
        answers = self.batcher.run(batch["audio"], batch["duration"].to_pylist(), self._hear)
        rows = [
            {} if heard is None else self._row(heard, given)
            for heard, given in zip(answers.values, gold.to_pylist(), strict=True)
        ]
        made = tables.from_rows(rows, self.writes)
        at = made.schema.get_field_index("sentiment")
        made = made.set_column(at, self.writes.field(at), sentiments(made["emotion"]))
        return Output(made, answers.rejects, metrics=answers.metrics)

    def _hear(self, sounds: list[Floats]) -> list[Heard]:
        """Clips and their windows, which share batches that are no larger than the clips' own."""
        window, hop = (round(seconds * tables.SAMPLE_RATE) for seconds in (self.config.window_s, self.config.hop_s))
        starts = [window_starts(len(sound), window, hop) if self.config.timeline else [] for sound in sounds]
        pieces = list(sounds)
        for sound, begins in zip(sounds, starts, strict=True):
            pieces += [sound[begin : begin + window] for begin in begins]
        lengths = [len(piece) for piece in pieces]
        found: dict[int, Prediction] = {}
        for group in plan(lengths, len(sounds) * max(lengths)):
            found |= dict(zip(group, self.model([pieces[at] for at in group]), strict=True))
        heard, at = [], len(sounds)
        for clip, begins in enumerate(starts):
            spans = tuple((begin, found[at + step]) for step, begin in enumerate(begins))
            heard.append(Heard(found[clip], spans))
            at += len(begins)
        return heard

    def _row(self, heard: Heard, gold: Row) -> Row:
        row = describe(heard.whole, self.model.labels)
        first = self.model.labels[int(np.argmax(np.round(heard.whole.scores, 6)))]
        row["emotion_timeline"] = timeline(heard.windows, self.model.labels, self.config.window_s)
        if self.config.embedding:
            row["emotion_embedding"] = np.round(heard.whole.embedding, 6)
        if self.config.prefer_gold and gold["emotion"] is not None:
            return row | gold
        emotion = emotion_table().lookup(first.raw)[1] if row["emotion_margin"] >= self.config.min_margin else None
        source = "pseudo" if emotion is not None else None
        return row | {"emotion": emotion, "emotion_raw": first.raw, "label_source": source}


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """First samples of windows that cover a clip, as far apart as ``hop`` allows; none where one would do.

    All windows are equally long, the first begins with the clip and the last ends with it: nothing is padded.
    """
    if length <= window:
        return []
    count = math.ceil((length - window) / hop) + 1
    return [round(at) for at in np.linspace(0, length - window, count)]


def describe(prediction: Prediction, labels: Sequence[Label]) -> Row:
    """Scores by name, and what follows from them. All from the rounded scores, so that what is stored agrees."""
    scores = np.round(prediction.scores, 6)
    best, second = np.sort(scores)[::-1][:2]
    some = scores[scores > 0]
    return {
        "emotion_scores": [
            {"label": label.name, "score": float(score)} for label, score in zip(labels, scores, strict=True)
        ],
        "emotion_margin": round(float(best - second), 6),
        "emotion_entropy": round(float(-(some * np.log(some)).sum()), 6),
        "emotion_predicted": labels[int(np.argmax(scores))].name,
    }


def timeline(windows: Sequence[tuple[int, Prediction]], labels: Sequence[Label], window_s: float) -> list[Row] | None:
    """First choice per window, times in seconds of the clip; None without windows."""
    spans = []
    for begin, prediction in windows:
        start = begin / tables.SAMPLE_RATE
        scores = np.round(prediction.scores, 6)
        at = int(np.argmax(scores))
        end = round(start + window_s, 3)
        spans.append({"start": round(start, 3), "end": end, "label": labels[at].name, "score": float(scores[at])})
    return spans or None
