"""transcribe: what is said in a clip, and when each word is said.

``reference`` takes the corpus's text. ``pocketsphinx`` recognises English. ``auto`` is reference where there is a text,
else pocketsphinx; all three need nothing beyond the package (``transcribe_pocketsphinx``). ``whisperx`` recognises a
hundred languages and aligns forty, with models to be pulled first (``transcribe_models``, ``transcribe_whisperx``).

Everything that cannot be known stays null, and ``transcript_reason`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from datagen import tables
from datagen.models import device, pocketsphinx
from datagen.models.manifest import Model
from datagen.stage import Output, Provenance, Resources, Stage, StageConfig
from datagen.stages import transcribe_models as whisperx
from datagen.stages.transcribe_config import TranscribeConfig


class Transcriber(Protocol):
    def process(self, batch: pa.Table) -> Output: ...


class Transcribe(Stage):
    name: ClassVar[str] = "transcribe"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[StageConfig]] = TranscribeConfig

    reads = ("labels", "speech_lang", "duration", "audio")
    writes = tables.TRANSCRIBE
    batch_rows = 64
    batch_seconds = 300.0

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        if self.config.backend == "whisperx":
            self.batch_rows, self.batch_seconds = 256, 1800.0

    @classmethod
    def wants(cls, config: Any) -> Resources:
        return device.wants(config) if config.backend == "whisperx" else cls.resources

    def semantics(self) -> dict[str, Any]:
        if self.config.backend == "whisperx":
            return whisperx.semantics(self.config)
        return {"pocketsphinx": pocketsphinx.provenance().revision}

    def models(self) -> tuple[Model, ...]:
        return whisperx.models(self.config) if self.config.backend == "whisperx" else ()

    def provenance(self) -> tuple[Provenance, ...]:
        if self.config.backend == "whisperx":
            return whisperx.provenance(self.config)
        heard = () if self.config.backend == "reference" else ("transcript", "text_lang")
        return (pocketsphinx.provenance(*heard, "words", "asr_confidence"),)

    def check(self) -> str | None:
        return whisperx.check(self.config) if self.config.backend == "whisperx" else None

    def notes(self, metrics: Mapping[str, float]) -> list[str]:
        return whisperx.notes(self.config, metrics) if self.config.backend == "whisperx" else []

    def setup(self) -> None:
        if self.config.backend == "whisperx":
            from datagen.stages.transcribe_whisperx import WhisperXTranscriber

            self.transcriber: Transcriber = WhisperXTranscriber(self.config)
        else:
            from datagen.stages.transcribe_pocketsphinx import PocketSphinxTranscriber

            self.transcriber = PocketSphinxTranscriber(self.config)

    def process(self, batch: pa.Table) -> Output:
        return self.transcriber.process(batch)

    def teardown(self) -> None:
        del self.transcriber
