"""blind: the language model answers each question without the recording. What it can answer so needs no ears.

For every sample with a label, ``shuffles`` times each: from the question alone, from question and words (and, in
explicit mode, the metadata that the trainee is shown), and for reasoning from the evidence without what names the
label.
What is shown and how answers are counted is in ``quality/blindness.py``.

Rows that lead to the same prompt (a question in both modes, a question of a contrast group) share its answers: orders
and seeds come from what is asked, so it does not matter which rows are in a batch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from datagen import tables
from datagen.llm import instructions
from datagen.llm.request import Request, Sampling
from datagen.llm.settings import LlmConfig
from datagen.llm.survey import Survey
from datagen.models.tagger import vocabulary
from datagen.quality import blindness, facts
from datagen.quality.blindness import Puzzle, Tally
from datagen.stage import Kind, Output, StageConfig
from datagen.stages.asking import AskingStage


class BlindConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"llm", "prompts"})  # what decides of them is in semantics()

    llm: LlmConfig = LlmConfig()
    shuffles: int = Field(5, ge=1, le=100, description="answers per prompt, each with the options in another order")
    significance: float = Field(
        0.05, gt=0, lt=1, description="answered = a guesser would be right so often in at most this share of cases"
    )
    temperature: float = Field(1.0, ge=0, description="at 0 equal orders give equal answers, and five are not five")
    retries: int = Field(1, ge=0, description="further attempts where an answer cannot be read")
    max_tokens: int = Field(64, ge=8, description="of an answer; more for a model that thinks first")
    prompts: str | None = Field(None, description="folder with your own prompts instead of the shipped ones")

    @model_validator(mode="after")
    def _tellable(self) -> BlindConfig:
        if 0.5**self.shuffles > self.significance:
            raise ValueError(
                f"with {self.shuffles} shuffles a guesser between two options is right every time in "
                f"{0.5**self.shuffles:.0%} of cases: raise shuffles, or significance ({self.significance:g})"
            )
        return self


class Blind(AskingStage):
    name, version, table, kind = "blind", "1", "samples", Kind.MAP
    Config = BlindConfig
    reads = (*blindness.COLUMNS, "clip_id", *facts.REQUIRED_COLUMNS)
    optional_reads = facts.OPTIONAL_COLUMNS
    writes = tables.BLIND
    seeded = True
    batch_rows = 512

    def semantics(self) -> dict[str, Any]:
        return super().semantics() | {"event_labels": vocabulary().version}

    def setup(self) -> None:
        self.prompts = instructions.load(self._folder())
        self.schema = lru_cache(maxsize=None)(self._schema)

    def process(self, batch: pa.Table) -> Output:
        assert self.asker is not None, "the engine sets it"
        survey = Survey(self.asker, self.config.retries)
        rows = [self._ask(row, survey) for row in batch.to_pylist()]
        answers = survey.ask()
        found = [self._verdict(*row, answers) if row else blindness.unanswerable() for row in rows]
        metrics = {
            "blind_rows": float(sum(row is not None for row in rows)),
            "blind_questions": float(survey.added),
            "blind_asked": float(len(answers)),
            "blind_unread": float(sum(answer is None for answer in answers.values())),
        }
        return Output(tables.from_rows(found, tables.BLIND), metrics=metrics | self.asker.metrics())

    def _ask(self, row: Mapping[str, Any], survey: Survey) -> tuple[Puzzle, dict[str, list[tuple[str, str]]]] | None:
        """-> what is asked, and per prompt (name of the answer, letter that would be right)."""
        puzzle = blindness.puzzle(row, facts.from_row(row), vocabulary().events)
        if puzzle is None:
            return None
        asked: dict[str, list[tuple[str, str]]] = {}
        for name, shown in puzzle.shown.items():
            topic = json.dumps([shown, puzzle.options], sort_keys=True, ensure_ascii=False)
            for turn, order in enumerate(
                blindness.orders(puzzle.options, self.config.shuffles, self.seed, name, topic)
            ):
                mine = survey.add(self._request(name, {**shown, "options": order}, turn))
                asked.setdefault(name, []).append((mine, chr(ord("A") + order.index(puzzle.label))))
        return puzzle, asked

    def _request(self, name: str, variables: Mapping[str, Any], turn: int) -> Request:
        assert self.asker is not None
        prompt, config = self.prompts[name], self.config
        return self.asker.request(
            prompt.instruction,
            prompt.question(**variables),
            self.schema(name, len(variables["options"])),
            Sampling(config.temperature, max_tokens=config.max_tokens, seed=self.seed),
            candidate=turn,
        )

    def _verdict(
        self, puzzle: Puzzle, asked: Mapping[str, list[tuple[str, str]]], answers: Mapping[str, Any]
    ) -> dict[str, Any]:
        tallies = {}
        for name, votes in asked.items():
            read = [(answers[mine]["answer"], right) for mine, right in votes if answers[mine] is not None]
            tallies[name] = Tally(sum(said == right for said, right in read), len(read))
        return blindness.verdict(tallies, 1 / len(puzzle.options), self.config.significance)

    def _schema(self, name: str, count: int) -> dict[str, Any]:
        """With as many letters as there are options: a letter without an option cannot be written."""
        schema: dict[str, Any] = copy.deepcopy(dict(self.prompts[name].schema))
        letters = schema["properties"]["answer"]["enum"]
        schema["properties"]["answer"]["enum"] = letters[:count]
        return schema
