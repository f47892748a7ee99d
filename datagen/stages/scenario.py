"""scenario: for contrast groups, a situation in which the same words, said otherwise, call for another reply.

After ParaS2S: a model invents the situation and a question whose right answer differs from voice to voice; then it is
asked, each criterion on its own, whether the words are neutral, the situation plausible, and the voice relevant. What
falls short is not used. What may be in the texts: ``quality/scenarios.py``.

One text per wording, not per clip: a model is told only what the clips of a group share, so their requests are equal.
Within a batch each is asked once, and later ones (another batch, another shard, a run that was killed) find it in the
journal. Therefore there is one worker; it keeps many requests under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.errors import UsageError
from datagen.llm import instructions
from datagen.llm.answers import Answer, Outcome
from datagen.llm.request import Request, Sampling
from datagen.llm.settings import LlmConfig
from datagen.quality import lexicon, scenarios
from datagen.quality.scenarios import VERDICTS, Wording
from datagen.quality.untrusted import neutralise
from datagen.stage import Kind, Output, Resources, StageConfig
from datagen.stages.asking import AskingStage

LANGUAGE = "en"  #: of what is written, whatever the clips' language
_PROMPTS = ("scenario", "query", *VERDICTS)
_TEXT_TOKENS, _VERDICT_TOKENS = 700, 300  # of answers at the schemas' longest, and to spare

Columns = dict[str, Any]
#: (key of the first request, outcome) -> (error class, message) of what is wrong with it.
Faults = Callable[[str, Outcome], Sequence[tuple[str, str]]]


class ScenarioConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"prompts", "llm"})  # what of them matters is in semantics()

    llm: LlmConfig = LlmConfig()
    least: float = Field(3.0, ge=1, le=5, description="least mean of each verdict, 1..5")
    votes: int = Field(2, ge=1, le=9, description="verdicts per criterion; the first at temperature 0")
    retries: int = Field(2, ge=0, description="further attempts for a text that may not be used, or is unreadable")
    temperature: float = Field(0.7, ge=0)
    thoughts: int = Field(0, ge=0, description="tokens for a model that thinks before it answers")
    synthesis: int = Field(0, ge=0, le=50, description="queries to be spoken by a synthesiser, per wording")
    prompts: str | None = Field(None, description="folder with your own prompts instead of the shipped ones")


class Scenario(AskingStage):
    name, version, table, kind = "scenario", "1", "clips", Kind.MAP
    Config = ScenarioConfig
    reads = ("contrast_group_id", "contrast_emotions")
    optional_reads = scenarios.COLUMNS
    writes = tables.SCENARIO
    seeded = True
    batch_rows = 1 << 14  # clips of a group lie together in no batch; the more there are in one, the less to replay

    @classmethod
    def wants(cls, config: Any) -> Resources:
        return Resources(workers=1)  # two could ask the same at the same time, and get two texts

    def semantics(self) -> dict[str, Any]:
        return super().semantics() | {"lexicons": lexicon.contents()}

    def notes(self, metrics: Mapping[str, float]) -> list[str]:
        asked, kept = int(metrics.get("scenario_wordings", 0)), int(metrics.get("scenario_kept", 0))
        if not asked or 2 * kept >= asked:
            return []
        return [
            f"{kept} of {asked} wordings of contrast groups got a scenario; the column scenario_reason says why not. "
            "Where texts are refused, a larger model helps; where verdicts are low, the words tell the mood themselves"
        ]

    def setup(self) -> None:
        self._prompts = instructions.load(self._folder())
        if absent := [name for name in _PROMPTS if name not in self._prompts]:
            raise UsageError(f"prompts folder {self._folder()} has no {absent[0]}.j2")
        words = lexicon.load(LANGUAGE)
        assert words is not None
        self._words = words

    def process(self, batch: pa.Table) -> Output:
        asked = [scenarios.wording(clip) for clip in batch.to_pylist()]
        wanted = sorted({each for each in asked if isinstance(each, Wording)})
        found = self._scenarios(wanted)
        empty: Columns = dict.fromkeys(tables.SCENARIO.names)
        rows = [found[each] if isinstance(each, Wording) else {**empty, "scenario_reason": each} for each in asked]
        kept = sum(found[each]["scenario"] is not None for each in wanted)
        metrics = {"scenario_wordings": float(len(wanted)), "scenario_kept": float(kept)}
        spent = self.asker.metrics() if self.asker is not None else {}
        return Output(tables.from_rows(rows, tables.SCENARIO), metrics=metrics | spent)

    # -- what is asked -----------------------------------------------------------------------------------------

    def _scenarios(self, wanted: Iterable[Wording]) -> dict[Wording, Columns]:
        """The columns of every wording. Neutral words first: what they tell themselves needs no scenario."""
        rows: dict[Wording, Columns] = {each: dict.fromkeys(tables.SCENARIO.names) for each in wanted}
        neutral = self._judged({each: each for each in rows}, {}, rows, ("neutral",))
        written = self._written("scenario", {each: (each, 0) for each in neutral}, rows)
        texts = {each: (neutralise(answer["scenario"]), neutralise(answer["question"]))
                 for each, answer in written.items()}  # fmt: skip
        situations = {each: scenario for each, (scenario, _) in texts.items()}
        for each in self._judged({each: each for each in texts}, situations, rows, ("plausible", "relevant")):
            rows[each]["scenario"], rows[each]["contrast_question"] = texts[each]
        if self.config.synthesis:
            self._to_be_spoken([each for each in rows if rows[each]["scenario"] is not None], rows)
        return rows

    def _to_be_spoken(self, wordings: Iterable[Wording], rows: Mapping[Wording, Columns]) -> None:
        """Fill ``synthesis_requests``: sentences of the model's own for pairs of the group's voices."""
        slots: dict[Any, tuple[Wording, int]] = {}
        for each in wordings:
            pairs = each.pairs()
            for number in range(self.config.synthesis):
                voices = pairs[number % len(pairs)]
                slots[each, number] = (Wording(each.words, each.language, voices), number)
        answers = self._written("query", slots, None)
        spoken = {
            slot: Wording(neutralise(answer["query"]), slots[slot][0].language, slots[slot][0].voices)
            for slot, answer in answers.items()
        }
        situations = {slot: neutralise(answer["scenario"]) for slot, answer in answers.items()}
        passed = set(self._judged(spoken, situations, None, ("neutral", "plausible", "relevant")))
        for each in wordings:
            queries: dict[str, list[Columns]] = {}
            for slot in ((each, number) for number in range(self.config.synthesis)):
                if slot in passed:
                    query = {"query": spoken[slot].words, "scenario": situations[slot]}
                    requests = [{**query, "emotion": voice} for voice in spoken[slot].voices]
                    queries.setdefault(spoken[slot].words.casefold(), requests)
            rows[each]["synthesis_requests"] = [request for requests in queries.values() for request in requests]

    def _written(
        self, name: str, slots: Mapping[Any, tuple[Wording, int]], rows: Mapping[Any, Columns] | None
    ) -> dict[Any, Mapping[str, Any]]:
        """Slot -> an answer without faults. Why there is none goes into the slot's row, where there are rows."""
        sampling = Sampling(self.config.temperature, max_tokens=_TEXT_TOKENS + self.config.thoughts, seed=self.seed)
        asked, of = {}, {}
        for slot, (wording, candidate) in slots.items():
            request = self._request(name, sampling, candidate, self._variables(wording))
            asked[slot], of[request.key] = request, wording

        def faults(first: str, outcome: Outcome) -> Sequence[tuple[str, str]]:
            if not isinstance(outcome, Answer):
                return [(outcome.error_class, outcome.message)]
            wording = of[first]
            if name == "query":
                own = lexicon.load(wording.language or LANGUAGE)
                return scenarios.query_faults(outcome.value, wording, self._words, own)
            return scenarios.scenario_faults(outcome.value, wording, self._words)

        outcomes = self._ask(asked.values(), faults)
        good = {}
        for slot, request in asked.items():
            outcome = outcomes[request.key]
            if found := faults(request.key, outcome):
                if rows is not None:
                    rows[slot]["scenario_reason"] = f"none could be used: {found[0][0]}"
            elif isinstance(outcome, Answer):
                good[slot] = outcome.value
        return good

    def _judged(
        self,
        slots: Mapping[Any, Wording],
        situations: Mapping[Any, str],
        rows: Mapping[Any, Columns] | None,
        criteria: Iterable[str],
    ) -> list[Any]:
        """Slots whose verdicts suffice. Scores and reasons go into their rows, where there are rows."""
        votes: dict[tuple[Any, str], list[Request]] = {}
        for slot, wording in slots.items():
            for criterion in criteria:
                votes[slot, criterion] = [
                    self._vote(criterion, wording, situations.get(slot), number) for number in range(self.config.votes)
                ]
        outcomes = self._ask((request for requests in votes.values() for request in requests), _unread)
        passed = []
        for slot in slots:
            scores = {}
            for criterion in criteria:
                answers = [outcomes[request.key] for request in votes[slot, criterion]]
                read = [answer.value["score"] for answer in answers if isinstance(answer, Answer)]
                scores[VERDICTS[criterion]] = scenarios.mean(read)
            why = scenarios.shortcoming(scores, self.config.least)
            if rows is not None:
                rows[slot].update(scores, scenario_reason=why)
            if why is None:
                passed.append(slot)
        return passed

    def _vote(self, criterion: str, wording: Wording, scenario: str | None, number: int) -> Request:
        """One verdict; every other one sees the voices in the opposite order."""
        temperature = self.config.temperature if number else 0.0
        sampling = Sampling(temperature, max_tokens=_VERDICT_TOKENS + self.config.thoughts, seed=self.seed)
        variables = self._variables(wording) | {"scenario": scenario}
        if number % 2:
            variables["voices"] = variables["voices"][::-1]
        return self._request(criterion, sampling, number, variables)

    def _variables(self, wording: Wording) -> Columns:
        return {"words": wording.words, "language": wording.language, "voices": list(wording.voices)}

    def _request(self, name: str, sampling: Sampling, candidate: int, variables: Mapping[str, Any]) -> Request:
        prompt = self._prompts[name]
        question = prompt.question(**variables)
        assert self.asker is not None
        return self.asker.request(prompt.instruction, question, prompt.schema, sampling, candidate=candidate)

    def _ask(self, requests: Iterable[Request], faults: Faults) -> dict[str, Outcome]:
        """Key of the request -> its outcome, or that of the last further attempt. Equal requests are asked once."""
        unique = {request.key: request for request in requests}
        first = {key: key for key in unique}
        assert self.asker is not None
        retries = self.asker.retries(self.config.retries)
        if not unique:
            return {}

        def again(request: Request, outcome: Outcome) -> Request | None:
            origin = first[request.key]
            if request.attempt >= retries or not (found := faults(origin, outcome)):
                return None
            if not isinstance(outcome, Answer) and not outcome.worth_another_attempt:
                return None
            following = _instead(request, unique[origin], outcome, found, self.config.temperature)
            first[following.key] = origin
            return following

        return {first[request.key]: outcome for request, outcome in self.asker.ask(unique.values(), again)}


def _unread(first: str, outcome: Outcome) -> Sequence[tuple[str, str]]:
    """A verdict is right or wrong for nobody to say; all that can be amiss is that there is none."""
    return [] if isinstance(outcome, Answer) else [(outcome.error_class, outcome.message)]


def _instead(
    request: Request, origin: Request, outcome: Outcome, found: Sequence[tuple[str, str]], temperature: float
) -> Request:
    """The next attempt: the question, what was answered, and what is wrong with it."""
    more: list[dict[str, str]] = []
    if isinstance(outcome, Answer):
        told = "\n".join(f"- {neutralise(message)}" for _, message in found)
        again = f"This cannot be used:\n{told}\nReturn the whole JSON anew, without these faults."
        more = [{"role": "assistant", "content": outcome.text}, {"role": "user", "content": again}]
    return replace(
        request,
        messages=[*origin.messages, *more],
        sampling=replace(request.sampling, temperature=temperature),  # at 0 it would say the same again
        attempt=request.attempt + 1,
    )
