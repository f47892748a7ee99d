"""text_emotion: what the words alone would make one think, never the voice.

``vader`` is a lexicon of English that tells sentiments. ``transformers`` runs a text classifier: one of the manifest,
or a folder of one's own. Both are given plain words (``quality.wording.plain``), so equal words get equal answers and
a recogniser's exclamation marks, which are heard, tell nothing. See ``docs/text.md``.

Null where there is no word, where the language is unknown or not the model's, and where ``asr_flags`` say that the
recogniser may have made the text up.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from datagen import tables
from datagen.errors import EnvironmentFault
from datagen.models import device, manifest, text_emotion, text_model
from datagen.models.text_emotion import Judgement, Meaning
from datagen.quality.texts import language
from datagen.quality.wording import plain
from datagen.stage import Output, Provenance, Reject, Resources, Stage


class TextEmotionConfig(text_model.TextModelConfig):
    backend: Literal["vader", "transformers", "none"] = "vader"
    min_score: float = Field(
        0.5, ge=0, le=1, description="an emotion or sentiment of a classifier that scores less is null"
    )
    labels: dict[str, Meaning] = Field(
        default_factory=dict, description="what the labels of a model of your own mean: {emotion: ..., sentiment: ...}"
    )

    @field_validator("labels")
    @classmethod
    def _known(cls, given: dict[str, Meaning]) -> dict[str, Meaning]:
        for label, meaning in given.items():
            if problem := meaning.problem():
                raise ValueError(f"{label}: {problem}")
        return given

    def idle(self) -> frozenset[str]:
        return frozenset() if self.backend == "transformers" else frozenset({"languages", "min_score", "labels"})


class TextEmotion(Stage):
    name: ClassVar[str] = "text_emotion"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[TextEmotionConfig]] = TextEmotionConfig

    reads = ("transcript", "speech_lang")
    optional_reads = ("text_lang", "asr_flags")
    writes = tables.TEXT_EMOTION
    batch_rows = 1024

    _judge: text_emotion.Vader | text_emotion.Classifier | None = None

    @property
    def modelled(self) -> bool:
        return bool(self.config.backend == "transformers")

    @classmethod
    def wants(cls, config: TextEmotionConfig) -> Resources:
        return text_model.wants(config) if config.backend == "transformers" else cls.resources

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, text_emotion.LIKE),) if self.modelled else ()

    @property
    def languages(self) -> text_model.Languages:
        for model in self.models():
            return text_model.languages(model, self.config.languages)
        return text_emotion.VADER_LANGUAGES

    def semantics(self) -> dict[str, Any]:
        if self.config.backend == "none":
            return {}
        if not self.modelled:
            return {"vader": text_emotion.vader_revision()}
        return {
            "models": [[model.entry.name, model.revision] for model in self.models()],
            "languages": list(self.languages),
            "text_emotions": text_emotion.table().version,
        }

    def provenance(self) -> tuple[Provenance, ...]:
        wrote = tuple(self.writes.names)
        if self.config.backend == "vader":
            note = "lexicon and rules of Hutto & Gilbert 2014, on the transcript"
            return (
                Provenance(
                    text_emotion.VADER, text_emotion.vader_revision(), text_emotion.VADER_LICENCE, wrote[1:], note
                ),
            )
        return tuple(manifest.provenance(model, *wrote) for model in self.models())

    def check(self) -> str | None:
        if self.config.backend == "vader":
            return text_emotion.vader_missing()
        needed = ("torch", "transformers", "safetensors")
        missing = (text_model.missing(self.name, model, needed, self.config.languages) for model in self.models())
        return next(filter(None, missing), None)

    def setup(self) -> None:
        if problem := self.check():
            raise EnvironmentFault(problem)
        if self.config.backend == "vader":
            self._judge = text_emotion.Vader()
        for model in self.models():
            device.offline()
            where, config = device.resolve(self.config.device), self.config
            self._judge = text_emotion.Classifier(model.folder, where, config.labels, config.min_score)

    def teardown(self) -> None:
        self._judge = None

    def process(self, batch: pa.Table) -> Output:
        names = ("transcript", "text_lang", "speech_lang", "asr_flags")
        wanted: dict[int, str] = {}
        if self._judge is not None:
            known = self.languages
            for row, (text, *tags, flags) in enumerate(zip(*(batch[name].to_pylist() for name in names), strict=True)):
                words = plain(text)
                if words and not flags and known.know(language(*tags)):
                    wanted[row] = words
        texts = sorted(set(wanted.values()))
        found = dict(zip(texts, self._judge(texts), strict=True)) if self._judge is not None and texts else {}
        rows, rejects = [], []
        for row in range(batch.num_rows):
            judged = found[wanted[row]] if row in wanted else Judgement()
            if judged.score is not None and math.isnan(judged.score):
                rejects.append(Reject(row, "NotFinite", "the text classifier's scores are not numbers"))
                judged = Judgement()
            rows.append(dict(zip(self.writes.names, judged, strict=True)))
        return Output(tables.from_rows(rows, self.writes), rejects)
