"""embed: what a clip says, as a key for equal words, a vector for near-same ones, and a count of them.

``minilm`` is the embedded English model. ``sentence-transformers`` runs any model of that library: one of the manifest,
or a folder of one's own. ``none`` makes no vectors and loads no torch. See ``docs/text.md``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.errors import EnvironmentFault
from datagen.models import device, manifest, sentences, text_model
from datagen.quality.texts import language, text_key
from datagen.quality.wording import without_tags, word_count, word_coverage
from datagen.speech.transcripts import wordless
from datagen.stage import Output, Provenance, Reject, Resources, Stage

_REMEMBERED = 20_000  #: texts whose vectors a worker keeps (30 MB at 384 dimensions)
Vector = npt.NDArray[np.float32]


class EmbedConfig(text_model.TextModelConfig):
    backend: Literal["minilm", "sentence-transformers", "none"] = "minilm"
    prompt: str | None = Field(
        None, description='put before every text, e.g. "query: "; unset = as the manifest says of the model'
    )

    def idle(self) -> frozenset[str]:
        return frozenset() if self.backend == "sentence-transformers" else frozenset({"languages", "prompt"})


class Embed(Stage):
    """A text in a language that the model does not know gets a null vector and is compared by its exact key."""

    name: ClassVar[str] = "embed"
    version: ClassVar[str] = "2"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[EmbedConfig]] = EmbedConfig

    reads = ("transcript", "speech_lang")
    optional_reads = ("text_lang", "transcript_reason", "words")
    writes = tables.EMBED
    batch_rows = 1024  # a batch of one shape fills up sooner

    _model: sentences.Sentences | None = None

    def __init__(self, config: EmbedConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        self._known: dict[str, Vector] = {}

    @property
    def modelled(self) -> bool:
        return bool(self.config.backend == "sentence-transformers")

    @classmethod
    def wants(cls, config: EmbedConfig) -> Resources:
        return text_model.wants(config) if config.backend == "sentence-transformers" else cls.resources

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, sentences.LIKE),) if self.modelled else ()

    @property
    def languages(self) -> text_model.Languages:
        """Of the texts that get a vector."""
        for model in self.models():
            return text_model.languages(model, self.config.languages)
        return sentences.LANGUAGES

    @property
    def prompt(self) -> str:
        if self.config.prompt is not None:
            return str(self.config.prompt)
        return next((model.entry.prompt for model in self.models() if not model.own), "")

    def semantics(self) -> dict[str, Any]:
        if self.config.backend == "none":
            return {}
        if not self.modelled:
            return {"model": sentences.MODEL, "revision": sentences.revision(), "decimals": sentences.DECIMALS}
        return {
            "models": [[model.entry.name, model.revision] for model in self.models()],
            "languages": list(self.languages),
            "prompt": self.prompt,
            "decimals": sentences.DECIMALS,
        }

    def provenance(self) -> tuple[Provenance, ...]:
        if self.config.backend == "none":
            return ()
        if not self.modelled:
            return (Provenance(sentences.MODEL, sentences.revision(), sentences.LICENCE, ("text_embedding",)),)
        return tuple(manifest.provenance(model, "text_embedding") for model in self.models())

    def check(self) -> str | None:
        if self.config.backend == "minilm":
            return sentences.missing()
        needed = ("sentence_transformers", "safetensors")
        missing = (text_model.missing(self.name, model, needed, self.config.languages) for model in self.models())
        return next(filter(None, missing), None)

    def setup(self) -> None:
        if self.config.backend == "none":
            return
        if problem := self.check():
            raise EnvironmentFault(problem)
        device.offline()
        if not self.modelled:
            self._model = sentences.Sentences(sentences.embedded())
            return
        (model,) = self.models()
        self._model = sentences.Sentences(model.folder, device.resolve(self.config.device), self.prompt)

    def teardown(self) -> None:
        self._model = None
        self._known.clear()

    def process(self, batch: pa.Table) -> Output:
        names = ("transcript", "text_lang", "speech_lang", "transcript_reason")
        texts, given, heard, reasons = (batch[name].to_pylist() for name in names)
        keys = [text_key(without_tags(text), *tags) for text, *tags in zip(texts, given, heard, strict=True)]
        counts = [
            0 if text is None and wordless(reason) else word_count(text)
            for text, reason in zip(texts, reasons, strict=True)
        ]
        vectors: list[Vector | None] = [None] * len(keys)
        rejects: list[Reject] = []
        if self._model is not None:
            known = self.languages
            # The key's words, not the transcript's: one key, one vector, however it was punctuated.
            wanted = {
                row: key.split("|", 1)[1]
                for row, key in enumerate(keys)
                if key is not None and known.know(language(given[row], heard[row]))
            }
            self._embed(set(wanted.values()))
            for row, words in wanted.items():
                vectors[row] = self._known[words]
                if not np.isfinite(self._known[words]).all():
                    rejects.append(Reject(row, "NotFinite", "the model's vector of this text is not a direction"))
        columns = {
            "text_embedding": pa.array(vectors, self.writes.field("text_embedding").type),
            "text_key": pa.array(keys, pa.string()),
            "word_count": pa.array(counts, pa.int64()),
            "word_coverage": word_coverage(batch["words"]),
        }
        return Output(tables.cast(pa.table(columns), self.writes), rejects)

    def _embed(self, texts: set[str]) -> None:
        """Make sure that ``_known`` holds the vectors of these."""
        assert self._model is not None
        if len(self._known) + len(texts) > _REMEMBERED:
            self._known = {text: self._known[text] for text in texts & self._known.keys()}
        new = sorted(texts - self._known.keys())
        if new:
            self._known.update(zip(new, self._model.embed(new), strict=True))
