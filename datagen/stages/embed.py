"""embed: what a clip says, as a key for equal words and a vector for near-same ones."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pyarrow as pa

from datagen import tables
from datagen.models import minilm
from datagen.quality.texts import language, text_key
from datagen.stage import Output, Provenance, Stage, StageConfig

_REMEMBERED = 20_000  #: texts whose vectors a worker keeps (30 MB)


class EmbedConfig(StageConfig):
    backend: Literal["minilm", "none"] = "minilm"
    """``minilm``: English vectors from the embedded model. ``none``: exact keys only, no torch."""


class Embed(Stage):
    """A text in a language the model does not know gets a null vector and is compared by its exact key."""

    name: ClassVar[str] = "embed"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[StageConfig]] = EmbedConfig

    reads = ("transcript", "speech_lang")
    optional_reads = ("text_lang",)
    writes = tables.EMBED

    _model: minilm.MiniLM | None = None

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        self._known: dict[str, Any] = {}

    def semantics(self) -> dict[str, Any]:
        if self.config.backend == "none":
            return {}
        return {"model": minilm.MODEL, "revision": minilm.revision(), "decimals": minilm.DECIMALS}

    def provenance(self) -> tuple[Provenance, ...]:
        if self.config.backend == "none":
            return ()
        return (Provenance(minilm.MODEL, minilm.revision(), minilm.LICENCE, ("text_embedding",)),)

    def check(self) -> str | None:
        return None if self.config.backend == "none" else minilm.missing()

    def setup(self) -> None:
        if self.config.backend == "minilm":
            self._model = minilm.MiniLM()

    def teardown(self) -> None:
        self._model = None
        self._known.clear()

    def process(self, batch: pa.Table) -> Output:
        texts, given, heard = (batch[name].to_pylist() for name in ("transcript", "text_lang", "speech_lang"))
        keys = [text_key(*row) for row in zip(texts, given, heard, strict=True)]
        vectors: list[Any] = [None] * len(keys)
        if self._model is not None:
            spoken = [language(*row) for row in zip(given, heard, strict=True)]
            for row, key in enumerate(keys):
                if key is None or spoken[row] not in minilm.LANGUAGES:
                    continue
                # The key's words, not the transcript's: one key, one vector, however it was punctuated.
                words = key.split("|", 1)[1]
                if words not in self._known:
                    if len(self._known) >= _REMEMBERED:
                        self._known.clear()
                    self._known[words] = self._model.embed([words])[0]
                vectors[row] = self._known[words]
        columns = {
            "text_embedding": pa.array(vectors, self.writes.field("text_embedding").type),
            "text_key": pa.array(keys, pa.string()),
        }
        return Output(tables.cast(pa.table(columns), self.writes))
