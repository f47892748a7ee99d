"""judge: a language model rates replies and accounts by criteria, each asked for on its own, and compares pairs.

A criterion gets ``votes`` votes: the first at temperature 0, and every other one with the material the other way round.
What each may see, and how votes become scores, is in ``quality/judging.py``. The judge may be another model than the
writer's (``stages.judge.llm.model``), and is never told who wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from datagen import digest, tables
from datagen.llm import instructions
from datagen.llm.request import Request, Sampling
from datagen.llm.settings import LlmConfig
from datagen.llm.survey import Survey
from datagen.quality import facts, judging
from datagen.quality.judging import CRITERIA, Votes
from datagen.quality.luck import luck
from datagen.stage import Kind, Output, StageConfig
from datagen.stages.asking import AskingStage

Criterion = Literal["content", "paralinguistic", "empathy", "fluency"]
NOT_THIS_TASK, NOT_DRAWN, NOTHING = "the task is not judged", "not in the share that is judged", "nothing to judge"


class JudgeConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"llm", "prompts"})  # what decides of them is in semantics()

    llm: LlmConfig = LlmConfig()
    tasks: tuple[Literal["qa", "reasoning", "response", "caption"], ...] = Field(
        ("reasoning", "response", "caption"), min_length=1
    )
    criteria: tuple[Criterion, ...] = Field(
        ("content", "paralinguistic", "empathy", "fluency"), min_length=1, description="empathy is about replies only"
    )
    weights: dict[Criterion, float] = Field(default_factory=dict, description="in judge_score; 1 unless said")
    votes: int = Field(2, ge=1, le=32, description="per criterion; with two or more their spread is known")
    share: float = Field(1.0, ge=0, le=1, description="share of the samples that is judged, by hash of sample_id")
    temperature: float = Field(0.7, ge=0, description="of all votes but the first, which has 0")
    retries: int = Field(1, ge=0, description="further attempts where an answer cannot be read")
    max_tokens: int = Field(300, ge=32, description="of an answer; more for a model that thinks first")
    prompts: str | None = Field(None, description="folder with your own prompts instead of the shipped ones")

    @field_validator("weights")
    @classmethod
    def _weigh(cls, weights: dict[Criterion, float]) -> dict[Criterion, float]:
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("weights must be above 0; leave a criterion out of 'criteria' not to ask for it")
        return weights


@dataclass
class _Asked:
    """Names of the answers that a row waits for."""

    text: dict[str, list[str]]  #: criterion -> its votes
    candidates: list[dict[str, list[str]] | None] | None = None
    pair: tuple[str, str] | None = None
    names: set[str] = field(default_factory=set)  #: all of them, each once


class Judge(AskingStage):
    name, version, table, kind = "judge", "1", "samples", Kind.MAP
    Config = JudgeConfig
    reads = (*judging.COLUMNS, "clip_id", *facts.REQUIRED_COLUMNS)
    optional_reads = facts.OPTIONAL_COLUMNS
    writes = tables.JUDGE
    seeded = True
    batch_rows = 512

    def setup(self) -> None:
        self.prompts = instructions.load(self._folder())
        self.prompts_hash = digest.of_value({name: prompt.hash for name, prompt in self.prompts.items()})
        self.weights = {name: self.config.weights.get(name, 1.0) for name in CRITERIA}

    def process(self, batch: pa.Table) -> Output:
        assert self.asker is not None, "the engine sets it"
        survey = Survey(self.asker, self.config.retries)
        rows = [self._ask(row, survey) for row in batch.to_pylist()]
        answers = survey.ask()
        found = [self._scores(row, answers) if isinstance(row, _Asked) else {"judge_reason": row} for row in rows]
        metrics = {
            "judge_rows": float(sum(isinstance(row, _Asked) for row in rows)),
            "judge_questions": float(survey.added),
            "judge_asked": float(len(answers)),
            "judge_unread": float(sum(answer is None for answer in answers.values())),
        }
        return Output(tables.from_rows(found, tables.JUDGE), metrics=metrics | self.asker.metrics())

    # -- asking ------------------------------------------------------------------------------------------------

    def _ask(self, row: Mapping[str, Any], survey: Survey) -> _Asked | str:
        """What is asked about a row, or why nothing is."""
        if row["task"] not in self.config.tasks:
            return NOT_THIS_TASK
        if luck(self.seed, row["sample_id"]) >= self.config.share * 2.0**64:
            return NOT_DRAWN
        record = facts.from_row(row)
        if (votes := self._votes(row, None, record, survey)) is None:
            return NOTHING
        asked = _Asked(votes)
        if row["candidates"] is not None:
            asked.candidates = [
                self._votes(row, each, record, survey) if each["finding"] is None else None
                for each in row["candidates"]
            ]
        if (pair := judging.pair(row, record)) is not None:
            first, second = pair["replies"]
            asked.pair = (
                survey.add(self._request("preference", pair, 0)),
                survey.add(self._request("preference", {**pair, "replies": [second, first]}, 0)),
            )
        given = [asked.text, *(each for each in asked.candidates or () if each is not None)]
        asked.names = {name for votes in given for names in votes.values() for name in names} | {*(asked.pair or ())}
        return asked

    def _votes(
        self, row: Mapping[str, Any], candidate: Mapping[str, Any] | None, record: facts.Record, survey: Survey
    ) -> dict[str, list[str]] | None:
        rated = judging.rated(row, candidate)
        if rated is None:
            return None
        views = judging.views(rated, record, row["scenario"])
        return {
            criterion: [survey.add(request) for request in self._ballots(*views[criterion])]
            for criterion in self.config.criteria
            if criterion in views
        } or None

    def _ballots(self, prompt: str, variables: Mapping[str, Any]) -> Iterator[Request]:
        for vote in range(self.config.votes):
            yield self._request(prompt, {**variables, "swapped": vote % 2 == 1}, vote)

    def _request(self, name: str, variables: Mapping[str, Any], vote: int) -> Request:
        assert self.asker is not None
        prompt, config = self.prompts[name], self.config
        temperature = config.temperature if vote else 0.0
        return self.asker.request(
            prompt.instruction,
            prompt.question(**variables),
            prompt.schema,
            Sampling(temperature, max_tokens=config.max_tokens, seed=self.seed),
            candidate=vote,
        )

    # -- reading -----------------------------------------------------------------------------------------------

    def _scores(self, asked: _Asked, answers: Mapping[str, Any]) -> dict[str, Any]:
        votes = _read(asked.text, answers)
        score = judging.score(votes, self.weights)
        missing = judging.unread(votes)
        read = sum(answers[name] is not None for name in asked.names)
        scores: dict[str, Any] = {f"judge_{name}": mean for name, mean in judging.means(votes).items()}
        scores |= {
            "judge_score": score,
            "judge_spread": judging.spread(votes),
            "judge_votes": read,
            "judge_failures": len(asked.names) - read,
            "judge_reason": f"no vote on {', '.join(missing)} could be read" if missing else None,
            "judge_model": self.config.llm.model,
            "judge_prompt_hash": self.prompts_hash,
        }
        if asked.candidates is not None:
            scores["judge_candidates"] = [
                judging.score(_read(each, answers), self.weights) if each is not None else None
                for each in asked.candidates
            ]
        if asked.pair is not None:
            said = [answers[name] and answers[name]["better"] for name in asked.pair]
            scores["judge_preference"], scores["judge_consistent"] = judging.preference(*said)
        return scores


def _read(votes: Mapping[str, list[str]], answers: Mapping[str, Any]) -> Votes:
    return {name: [answers[each] and answers[each]["score"] for each in given] for name, given in votes.items()}
