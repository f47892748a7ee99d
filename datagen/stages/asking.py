"""What stages have in common that do nothing but ask a language model: ``scenario``, ``blind``, ``judge``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datagen.llm import instructions
from datagen.llm.settings import LlmConfig
from datagen.stage import Provenance, Stage


class AskingStage(Stage):
    """Its Config has ``llm`` and ``prompts``; all columns it writes come from the model."""

    def asks(self) -> LlmConfig:
        llm: LlmConfig = self.config.llm
        return llm

    def semantics(self) -> dict[str, Any]:
        return {"llm": self.config.llm.semantics(), "prompts": instructions.sources(self._folder())}

    def provenance(self) -> tuple[Provenance, ...]:
        llm = self.config.llm
        return (Provenance(llm.model, llm.revision, llm.licence or "unknown", tuple(self.writes.names)),)

    def check(self) -> str | None:
        if self.config.llm.server is not None:
            return None
        return "no language model to ask: set llm.server to vllm or endpoint and llm.model, or leave the stage out"

    def _folder(self) -> Path:
        return instructions.folder(self.name, self.config.prompts)
