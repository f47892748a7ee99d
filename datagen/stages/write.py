"""write: clips -> samples. A writer turns each clip's record into questions, answers, reasoning and responses.

The ``template`` writer is embedded and deterministic. Every item is held to its JSON Schema and to the checks of
``verify`` before it leaves; a clip from whose facts nothing can be asked is dropped with that reason.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from datagen import tables
from datagen.errors import UsageError
from datagen.llm import prompts, template
from datagen.quality import checks, facts
from datagen.stage import Drop, Kind, Output, Provenance, Reject, Stage, StageConfig

Task = Literal["classification", "qa", "reasoning", "response", "caption"]
Mode = Literal["explicit", "implicit"]

#: Items per clip and mode; five to eight QA per clip over both modes and all types (RECIPES' published systems).
DEFAULT_COUNTS: dict[str, int] = {"classification": 2, "qa": 5, "reasoning": 1, "response": 1, "caption": 1}


#: What a person can do something about when nothing can be asked, few words on purpose: drops are counted by reason.
_NEEDED = {"words": ("transcript",), "emotion": ("emotion",), "levels of the voice": tuple(facts.LEVEL_FIELDS)}


class WriteConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"prompts"})  # where they lie; their text is in semantics()

    writer: Literal["template"] = "template"
    tasks: tuple[Task, ...] = Field(("classification", "qa", "reasoning", "response", "caption"), min_length=1)
    modes: tuple[Mode, ...] = Field(("explicit", "implicit"), min_length=1)
    counts: dict[Task, int] = Field(default_factory=dict, description="most items per clip, mode and task")
    languages: tuple[str, ...] | None = Field(None, description="clips to write about, by ISO 639-1; None = all")
    prompts: str | None = Field(None, description="folder with your own prompts instead of the shipped ones")

    @field_validator("counts")
    @classmethod
    def _positive(cls, counts: dict[str, int]) -> dict[str, int]:
        if any(count < 1 for count in counts.values()):
            raise ValueError("counts must be at least 1; leave a task out of 'tasks' to write none of it")
        return counts


class Write(Stage):
    name, version, table, kind = "write", "1", "clips", Kind.EXPAND
    Config = WriteConfig
    reads = facts.REQUIRED_COLUMNS
    optional_reads = facts.OPTIONAL_COLUMNS
    creates = {"samples": tables.SAMPLES}
    seeded = True

    def semantics(self) -> dict[str, Any]:
        return {"prompts": prompts.sources(self._folder()), **checks.contents()}

    def provenance(self) -> tuple[Provenance, ...]:
        return (Provenance("template", self.version, "Apache-2.0", tuple(tables.SAMPLES.names)),)

    def setup(self) -> None:
        self.prompts = prompts.load(self._folder())
        self.counts = {task: self.config.counts.get(task, DEFAULT_COUNTS[task]) for task in self.config.tasks}
        if absent := [task for task in self.counts if task not in self.prompts]:
            raise UsageError(f"prompts folder {self._folder()} has no prompt for task '{absent[0]}'")

    def process(self, batch: pa.Table) -> Output:
        samples: list[dict[str, Any]] = []
        out = Output()
        for index, row in enumerate(batch.to_pylist()):
            record = facts.from_row(row)
            if self.config.languages is not None and record.language not in self.config.languages:
                out.drops.append(Drop(index, f"language {record.language or 'unknown'} is not asked for"))
                continue
            written, refused = template.write(record, self.prompts, self.counts, self.config.modes, self.seed)
            samples += written
            if not written and refused:
                out.rejects.append(Reject(index, refused[0].error_class, refused[0].message))
            elif not written:
                unknown = [what for what, names in _NEEDED.items() if not any(map(record.has, names))]
                out.drops.append(Drop(index, f"nothing to ask: {', '.join(unknown) or 'too little'} unknown"))
        out.created["samples"] = tables.from_rows(samples, tables.SAMPLES)
        return out

    def _folder(self) -> Any:
        return prompts.folder(self.config.writer, self.config.prompts)
