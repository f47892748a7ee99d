"""The writer that asks a language model: all slots of a batch at once, each answer checked, retried with the reasons.

What comes back depends on the answers alone: slots are settled in their own order, whatever the order of arrival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from datagen.llm.answers import Answer, Failure, Outcome
from datagen.llm.asking import Asker
from datagen.llm.instructions import Instructed, data
from datagen.llm.request import Request, Sampling
from datagen.quality import checks
from datagen.quality.checks import Finding
from datagen.quality.dice import Dice
from datagen.quality.facts import Record
from datagen.writing import contrast, rows
from datagen.writing.drafts import Row, draft, plain, question_given
from datagen.writing.shown import facts_of, slot_of
from datagen.writing.slots import Slot, plan_clip

#: Tasks of which several answers to one prompt are worth having: their texts are rewarded, not only their labels.
CANDIDATE_TASKS = ("reasoning", "response")


@dataclass(frozen=True)
class Manner:
    """How is asked. ``retries``: answers beyond the first that a text may take; ``max_tokens`` per task."""

    counts: Mapping[str, int]
    modes: Sequence[str]
    max_tokens: Mapping[str, int]
    candidates: int = 1
    retries: int = 2
    withheld_share: float = 0.25
    temperature: float = 0.7
    seed: int = 0


@dataclass(eq=False)
class _Call:
    """One text to be had, and how far it has come."""

    slot: Slot
    record: Record
    prompt: Instructed
    question: str | None
    candidate: int = 0
    part: str = ""
    unfit: str | None = None  #: emotion of the voice that this must not be a reply to
    attempts: int = 0
    said: Mapping[str, Any] | None = None
    row: Row | None = None
    findings: list[Finding] = field(default_factory=list)
    asked: Request | None = None

    @property
    def sound(self) -> bool:
        return self.row is not None and not self.findings


@dataclass(eq=False)
class _Item:
    """A slot of a clip with the calls made for it."""

    slot: Slot
    record: Record
    calls: list[_Call]
    other: _Call | None = None  #: the reply to another voice of the group

    @property
    def chosen(self) -> _Call | None:
        """The first sound candidate."""
        return next((call for call in self.calls if call.sound), None)


class LanguageModelWriter:
    """``metrics``: slots asked for, written at once, written at another attempt, given up by class; they add up."""

    def __init__(self, asker: Asker, prompts: Mapping[str, Instructed], manner: Manner) -> None:
        self._asker, self._prompts, self._manner = asker, prompts, manner
        self._name = asker.settings.model
        self.metrics: Counter[str] = Counter()

    def write(self, records: Iterable[Record]) -> list[tuple[list[Row], list[Finding]]]:
        """Per record: its samples in canonical order, and the first finding of each slot that was given up."""
        manner = self._manner
        plans = [
            [self._item(record, slot) for slot in
             plan_clip(record, manner.counts, manner.modes, manner.seed, manner.withheld_share)]
            for record in records
        ]  # fmt: skip
        items = [item for plan in plans for item in plan]
        calls = [call for item in items for call in item.calls if call.row is None]
        others = [item.other for item in items if item.other is not None]
        several = {id(call) for item in items if len(item.calls) > 1 for call in item.calls}
        self._ask([*calls, *others], 1 + manner.retries, unmended=several)
        # Of several candidates none is mended while one is sound: their share of sound ones says how hard the slot is.
        unsound = [item.calls[0] for item in items if len(item.calls) > 1 and item.chosen is None]
        self._ask(unsound, manner.retries)
        self._part_pairs(items)
        self._part_questions(plans)
        return [self._settled(plan) for plan in plans]

    # --- Asking -------------------------------------------------------------------------------------------------

    def _item(self, record: Record, slot: Slot) -> _Item:
        seed = self._manner.seed
        prompt = self._prompts[slot.prompt]
        question = question_given(slot, record, prompt, seed)
        if slot.task == "classification" and question is not None:  # a label: there is nothing left to write
            call = _Call(slot, record, prompt, question)
            call.row, call.findings = self._draft(call, {}, record)
            return _Item(slot, record, [call])
        count = self._manner.candidates if slot.task in CANDIDATE_TASKS else 1
        calls = [_Call(slot, record, prompt, question, candidate) for candidate in range(count)]
        if slot.other is None:
            return _Item(slot, record, calls)
        voiced = contrast.in_voice(record, slot.other)
        item = {"field": "emotion", "value": slot.other, "quote": None}
        turned = replace(slot, mode="implicit", decides=(item,), label=slot.other, other=None)
        part, own = f"{slot.mode} other", record.get("emotion")
        return _Item(slot, record, calls, _Call(turned, voiced, prompt, question, part=part, unfit=own))

    def _ask(self, calls: Sequence[_Call], answers: int, unmended: Collection[int] = ()) -> None:
        """Ask until each call is sound, has had so many ``answers``, or no other answer is to be hoped for.
        ``unmended``: ids of calls that are asked again only where there was no answer to look at."""
        most = {id(call): call.attempts + answers for call in calls}
        waiting: dict[int, _Call] = {}

        def begin(call: _Call) -> Request:
            call.asked = self._request(call)  # kept, so that the id of the request is nobody else's
            waiting[id(call.asked)] = call
            return call.asked

        def follow(request: Request, outcome: Outcome) -> Request | None:
            call = waiting.pop(id(request))
            self._take(call, outcome)
            again = outcome.worth_another_attempt if isinstance(outcome, Failure) else id(call) not in unmended
            return begin(call) if again and not call.sound and call.attempts < most[id(call)] else None

        if calls and answers:
            for _ in self._asker.ask(map(begin, calls), follow):
                pass

    def _request(self, call: _Call) -> Request:
        slot, prompt = call.slot, call.prompt
        sampling = Sampling(
            temperature=self._manner.temperature,
            max_tokens=self._manner.max_tokens[slot.task],
            seed=Dice(self._manner.seed, call.record.clip_id, slot.task, slot.mode, slot.index, call.part).below(2**31),
        )
        situation = call.record.scenario if slot.task == "response" else None
        told = slot_of(slot, call.question, situation)
        asked = prompt.question(facts=facts_of(call.record, slot), slot=told, styles=_styles(call))
        return self._asker.request(
            prompt.instruction,
            asked,
            prompt.schema,
            sampling,
            candidate=call.candidate,
            attempt=call.attempts,
            more=_refused(call),
        )

    def _take(self, call: _Call, outcome: Outcome) -> None:
        call.attempts += 1
        if isinstance(outcome, Answer):
            call.said = outcome.value
            call.row, call.findings = self._draft(call, outcome.value, call.record)
        else:
            call.said, call.row = None, None
            call.findings = [Finding("answer", outcome.error_class, outcome.message)]

    def _draft(self, call: _Call, said: Mapping[str, Any], record: Record) -> tuple[Row, list[Finding]]:
        return draft(call.slot, record, call.prompt, said, call.question, self._name, self._manner.seed)

    # --- Settling, in the order of slots ------------------------------------------------------------------------

    def _part_pairs(self, items: Sequence[_Item]) -> None:
        """Replies to two voices that would do for either: the one to the other voice is asked for anew."""
        again = []
        for item in items:
            if (other := item.other) is not None and (pair := _paired(item)) is not None:
                other.findings = [finding for finding in checks.check(pair, item.record, rows.LANGUAGE)
                                  if finding.check == "rejected_reply"]  # fmt: skip
                again += [other] if other.findings else []
        self._ask(again, max(1, self._manner.retries))

    def _part_questions(self, plans: Sequence[Sequence[_Item]]) -> None:
        """Of two questions of a clip that ask nearly the same the later one is asked for anew, then given up."""
        again: list[_Call] = []
        for asking in (True, False):
            for plan in plans:
                written = [(item, call) for item in plan if (call := item.chosen)]
                for place in checks.duplicates([_key(call) for _, call in written]):
                    item, call = written[place]
                    asked = call.row["question"] if call.row else ""
                    call.findings = [Finding(*checks.DUPLICATE, f"the clip was asked this before: {asked}")]
                    item.calls = [call]  # the other candidates answer a question that is not asked
                    if call.question is None:
                        again.append(call)
            if asking:
                self._ask(again, max(1, self._manner.retries))

    def _settled(self, plan: Sequence[_Item]) -> tuple[list[Row], list[Finding]]:
        made: list[Row] = []
        given_up: list[Finding] = []
        for item in plan:
            row, findings = self._finished(item)
            self.metrics["write_slots"] += 1
            if findings:
                self.metrics[f"write_given_up_{findings[0].error_class}"] += 1
                given_up.append(findings[0])
            else:
                self.metrics["write_first_try" if row["attempts"] == 1 else "write_retried"] += 1
                made.append(row)
        return made, given_up

    def _finished(self, item: _Item) -> tuple[Row, list[Finding]]:
        """The row with its candidates and the reply to the other voice, or why there is none."""
        call = item.chosen
        if call is None or call.row is None:
            return {}, item.calls[0].findings
        row: Row = {**call.row, "attempts": max(1, call.attempts)}
        if len(item.calls) > 1:
            row["candidates"] = [_candidate(each, call, item.record) for each in item.calls]
        if (pair := _paired(item, row)) is not None and not checks.check(pair, item.record, rows.LANGUAGE):
            return pair, []
        if item.other is not None:
            self.metrics["write_pairs_given_up"] += 1
        if row["candidates"]:
            row = rows.seal(row, item.record, row["used_columns"])
            return row, checks.check(row, item.record, rows.LANGUAGE)
        return row, []


def _key(call: _Call) -> tuple[str, str, str, str]:
    """What ``checks.duplicates`` compares; the list of options would hide that two questions are one."""
    asked = call.question if call.question is not None else plain(str((call.said or {})["question"]))
    return call.record.clip_id, call.slot.mode, call.slot.task, asked


def _styles(call: _Call) -> list[str]:
    """Words for the manner of a reply, of which one at least is to be used."""
    if call.slot.task != "response":
        return []
    module: Any = call.prompt.template.module
    return contrast.manners(module.STYLES[call.slot.label or "none"], call.unfit)


def _paired(item: _Item, row: Row | None = None) -> Row | None:
    """The item's row with the reply to the other voice; None where there are not both."""
    if item.chosen is None or item.other is None or not item.other.sound:
        return None
    row, other = row or item.chosen.row or {}, item.other.row or {}
    rejected = {
        "rejected_response": other["response"],
        "rejected_style": other["response_style"],
        "rejected_emotion": item.other.slot.label,
    }
    return rows.seal({**row, **rejected}, item.record, row["used_columns"])


def _candidate(call: _Call, chosen: _Call, record: Record) -> dict[str, Any]:
    """A candidate as the row holds it; ``finding`` is what speaks against it beside the chosen one's question and
    evidence, which the row has only once."""
    texts = {name: (call.row or {}).get(name) for name in ("reasoning", "answer", "response", "response_style")}
    found = call.findings
    if any(finding.check == "markup" for finding in found):  # what could steer a reader is not passed on at all
        texts = dict.fromkeys(texts)
    if call.sound and call is not chosen:
        found = checks.check(rows.seal({**(chosen.row or {}), **texts}, record), record, rows.LANGUAGE)
    return {**texts, "finding": found[0].error_class if found else None}


def _refused(call: _Call) -> list[dict[str, str]]:
    """The answer before and what was wrong with it, as messages. Where the label is withheld, nothing that names it:
    such an answer is drawn anew without a word."""
    reasons = [finding.message for finding in call.findings]
    if call.slot.withheld:
        label = (call.slot.label or "").lower()
        reasons = [] if any(label in reason.lower() for reason in reasons) else reasons
    if call.said is None or not reasons:
        return []
    module: Any = call.prompt.template.make_module({"reasons": reasons})
    return [
        {"role": "assistant", "content": data(call.said)},
        {"role": "user", "content": str(module.again()).strip()},
    ]
