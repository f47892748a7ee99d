"""write: clips -> samples. A writer turns each clip's record into questions, answers, reasoning and responses.

The ``template`` writer is embedded and deterministic; ``llm`` asks the language model of the recipe's ``llm`` section.
Every item is held to its JSON Schema and to the checks of ``verify`` before it leaves; a clip from whose facts nothing
can be asked is dropped with that reason, one of whose items none was sound is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from datagen import tables
from datagen.errors import UsageError
from datagen.llm import instructions, prompts
from datagen.llm.settings import LlmConfig
from datagen.quality import checks, facts
from datagen.stage import Drop, Kind, Output, Provenance, Reject, Stage, StageConfig
from datagen.writing import contrast, template
from datagen.writing.language_model import LanguageModelWriter, Manner

Task = Literal["classification", "qa", "reasoning", "response", "caption"]
Mode = Literal["explicit", "implicit"]

#: Items per clip and mode: five QA are one of each type.
DEFAULT_COUNTS: dict[str, int] = {"classification": 2, "qa": 5, "reasoning": 1, "response": 1, "caption": 1}
#: About twice what a long answer of the task takes.
DEFAULT_MAX_TOKENS: dict[str, int] = {
    "classification": 160, "qa": 700, "reasoning": 1_400, "response": 700, "caption": 1_000,
}  # fmt: skip

#: What a person can do something about when nothing can be asked, few words on purpose: drops are counted by reason.
_NEEDED = {"words": ("transcript",), "emotion": ("emotion",), "levels of the voice": tuple(facts.LEVEL_FIELDS)}
_OF_A_MODEL = ("candidates", "retries", "withheld_share", "temperature", "max_tokens")


class WriteConfig(StageConfig):
    #: Where prompts lie; their text is in semantics(), and so is what of ``llm`` decides the text.
    non_semantic: ClassVar[frozenset[str]] = frozenset({"prompts", "llm"})

    writer: Literal["template", "llm"] = "template"
    llm: LlmConfig = LlmConfig()
    tasks: tuple[Task, ...] = Field(("classification", "qa", "reasoning", "response", "caption"), min_length=1)
    modes: tuple[Mode, ...] = Field(("explicit", "implicit"), min_length=1)
    counts: dict[Task, int] = Field(default_factory=dict, description="most items per clip, mode and task")
    languages: tuple[str, ...] | None = Field(None, description="clips to write about, by ISO 639-1; None = all")
    prompts: str | None = Field(None, description="folder with your own prompts instead of the shipped ones")
    candidates: int = Field(1, ge=1, le=64, description="answers per prompt for response and reasoning")
    retries: int = Field(2, ge=0, description="of an answer that the checks refuse, with their reasons")
    withheld_share: float = Field(0.25, ge=0, le=1, description="of reasoning whose writer is not told the label")
    temperature: float = Field(0.7, ge=0, le=2)
    max_tokens: dict[Task, int] = Field(default_factory=dict, description="longest answer, per task")

    @field_validator("counts", "max_tokens")
    @classmethod
    def _positive(cls, counts: dict[str, int]) -> dict[str, int]:
        if any(count < 1 for count in counts.values()):
            raise ValueError("must be at least 1 each; leave a task out of 'tasks' to write none of it")
        return counts

    def idle(self) -> frozenset[str]:
        return frozenset(_OF_A_MODEL) if self.writer == "template" else frozenset()


class Write(Stage):
    name, version, table, kind = "write", "2", "clips", Kind.EXPAND
    Config = WriteConfig
    reads = facts.REQUIRED_COLUMNS
    optional_reads = (*facts.OPTIONAL_COLUMNS, "scenario")
    creates = {"samples": tables.SAMPLES}
    seeded = True

    def asks(self) -> LlmConfig | None:
        return self.config.llm if self.config.writer == "llm" else None

    def check(self) -> str | None:
        if self.config.writer == "llm" and self.config.llm.server is None:
            return (
                "writer 'llm' has no server to ask: set llm.server to vllm or endpoint (see docs/operations.md), or "
                "stages.write.writer to template"
            )
        return None

    def semantics(self) -> dict[str, Any]:
        if self.config.writer == "template":
            return {"prompts": prompts.sources(self._folder()), **checks.contents()}
        texts = instructions.sources(self._folder())
        return {"prompts": texts, "llm": self.config.llm.semantics(), **checks.contents()}

    def provenance(self) -> tuple[Provenance, ...]:
        columns = tuple(tables.SAMPLES.names)
        if self.config.writer == "template":
            return (Provenance("template", self.version, "Apache-2.0", columns),)
        llm = self.config.llm
        return (Provenance(llm.model, llm.revision, llm.licence or "unknown", columns),)

    def notes(self, metrics: Mapping[str, float]) -> list[str]:
        return regenerated(metrics)

    def setup(self) -> None:
        config = self.config
        self.counts = {task: config.counts.get(task, DEFAULT_COUNTS[task]) for task in config.tasks}
        loaded: Mapping[str, Any] = (prompts if config.writer == "template" else instructions).load(self._folder())
        wanted = [*self.counts, *(["reasoning_withheld"] if config.writer == "llm" and config.withheld_share else [])]
        if absent := [task for task in wanted if task not in loaded]:
            raise UsageError(f"prompts folder {self._folder()} has no prompt for task '{absent[0]}'")
        self.prompts = loaded
        self.manner = Manner(
            counts=self.counts,
            modes=config.modes,
            max_tokens=DEFAULT_MAX_TOKENS | config.max_tokens,
            candidates=config.candidates,
            retries=config.retries,
            withheld_share=config.withheld_share,
            temperature=config.temperature,
            seed=self.seed,
        )

    def process(self, batch: pa.Table) -> Output:
        out = Output()
        rows, records = [], []
        for index, row in enumerate(batch.to_pylist()):
            record = contrast.fit(facts.from_row(row))
            if self.config.languages is not None and record.language not in self.config.languages:
                out.drops.append(Drop(index, f"language {record.language or 'unknown'} is not asked for"))
                continue
            rows.append(index)
            records.append(record)
        samples: list[dict[str, Any]] = []
        for index, record, (written, refused) in zip(rows, records, self._written(records, out), strict=True):
            samples += written
            if not written and refused:
                out.rejects.append(Reject(index, refused[0].error_class, refused[0].message))
            elif not written:
                unknown = [what for what, names in _NEEDED.items() if not any(map(record.has, names))]
                out.drops.append(Drop(index, f"nothing to ask: {', '.join(unknown) or 'too little'} unknown"))
        out.created["samples"] = tables.from_rows(samples, tables.SAMPLES)
        return out

    def _written(
        self, records: Sequence[facts.Record], out: Output
    ) -> list[tuple[list[dict[str, Any]], list[checks.Finding]]]:
        """Per record its samples and what was refused; what it cost goes into ``out``."""
        if self.config.writer == "template":
            given = self.prompts, self.counts, self.config.modes, self.seed
            return [template.write(record, *given) for record in records]
        if self.asker is None:
            raise RuntimeError("no asker was set before setup")
        manner = replace(self.manner, retries=self.asker.retries(self.manner.retries))
        writer = LanguageModelWriter(self.asker, self.prompts, manner)
        found = writer.write(records)
        out.metrics = {**self.asker.metrics(), **{name: float(count) for name, count in writer.metrics.items()}}
        return found

    def _folder(self) -> Path:
        if self.config.writer == "template":
            return prompts.folder("template", self.config.prompts)
        return instructions.folder("write", self.config.prompts)


def regenerated(metrics: Mapping[str, float]) -> list[str]:
    """How often the first answer of a language model was not the one that was kept, and why slots were given up."""
    if not (slots := metrics.get("write_slots")):
        return []
    start = "write_given_up_"
    classes = {name.removeprefix(start): count for name, count in metrics.items() if name.startswith(start)}
    again = metrics.get("write_retried", 0.0) + sum(classes.values())
    said = f"{again / slots:.1%} of {slots:,.0f} slots were not written at the first try"
    if not classes:
        return [said]
    most = sorted(classes.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    named = ", ".join(f"{name} {count:,.0f}" for name, count in most)
    return [f"{said}; {sum(classes.values()) / slots:.1%} were given up ({named})"]
