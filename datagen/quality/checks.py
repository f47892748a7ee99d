"""Every mechanical check of one sample against the record of its clip. ``write`` and ``verify`` call the same.

A sample is a mapping with the columns of ``tables.SAMPLES``; a record comes from ``quality/facts.py``. Nothing here
asks a model, reads a file per row or depends on other rows, except ``duplicates``, which looks at one clip's questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from datagen import resources, tables
from datagen.quality import answers, facts, grounding, leak, lexicon, prose, question_likeness, variants
from datagen.quality.claims import Claim, extract, judge, rests_on, split_quotes
from datagen.quality.facts import GROUP, Record

Sample = Mapping[str, Any]

#: What a writer returns for one slot, in the order of the schemas; the rest of a row is bookkeeping.
ITEM_FIELDS = (
    "question_type", "question", "options", "reasoning", "answer", "answer_label", "response", "response_style",
    "evidence",
)  # fmt: skip
_PROSE = ("reasoning", "answer", "response")
_BESIDE = ("scenario", *variants.REJECTED)


@dataclass(frozen=True, slots=True)
class Finding:
    check: str  #: name of the check, one of CHECKS
    error_class: str
    message: str


@dataclass(frozen=True)
class _Text:
    """One text of a sample, quotations taken out."""

    name: str
    masked: str
    quotes: tuple[str, ...]
    quotes_pair: bool


@dataclass(frozen=True)
class _Case:
    """A sample with what several checks need of it."""

    sample: Sample
    record: Record
    words: lexicon.Lexicon
    texts: tuple[_Text, ...]

    def prose(self) -> Iterable[_Text]:
        """Reasoning, answer and response, if they are sentences; a bare label is not."""
        label = self.sample["answer_label"]
        return (
            text for text in self.texts
            if text.name != "question" and not (text.name == "answer" and text.masked.rstrip(".").lower() == label)
        )  # fmt: skip


def item_of(sample: Sample) -> dict[str, Any]:
    return {name: sample[name] for name in ITEM_FIELDS}


def sample_hash(sample: Sample) -> str:
    """blake2b-128 of all texts of a sample: what is asked, answered, told and shown. Candidates are other answers to
    the same; they are found by the sample's hash and their place."""
    beside = {name: sample.get(name) for name in _BESIDE}
    texts = {**item_of(sample), "metadata_context": sample["metadata_context"]}
    texts |= {name: text for name, text in beside.items() if text is not None}
    data = json.dumps(texts, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def sample_id(clip_id: str, task: str, mode: str, index: int) -> str:
    return f"{clip_id}:{task}:{mode}:{index}"


@lru_cache(maxsize=len(tables.TASKS))
def validator(task: str) -> Draft202012Validator:
    """The JSON Schema of what a writer returns for ``task``."""
    text = (resources.folder("schemas") / f"{task}.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def contents() -> dict[str, Any]:
    """Schemas and lexicons: what besides code decides the outcome of the checks. Part of a stage's key."""
    return {"schemas": {task: validator(task).schema for task in tables.TASKS}, "lexicons": lexicon.contents()}


def check(sample: Sample, record: Record, language: str = "en") -> list[Finding]:
    """All findings; an empty list means the sample may leave. ``language``: the one the texts are written in.

    A sample of the wrong shape gets no further than its shape; a language without a lexicon is a finding.
    """
    if findings := [Finding("schema", "SchemaMismatch", message) for message in _schema(sample)]:
        return findings
    words = lexicon.load(language)
    if words is None or not words.can_read_claims:
        return [Finding("language", "UncheckedLanguage", f"there is no lexicon to check texts in '{language}' with")]
    return list(_findings(_case(sample, record, words), CHECKS))


def question(text: str, asked: str, record: Record, language: str = "en") -> list[Finding]:
    """What speaks against a question about the field ``asked``, whatever is answered."""
    words = lexicon.load(language)
    if words is None or not words.can_read_claims:
        return [Finding("language", "UncheckedLanguage", f"there is no lexicon to check texts in '{language}' with")]
    sample = {
        **dict.fromkeys((*ITEM_FIELDS, *_BESIDE)),
        "task": "classification",
        "question": text,
        "evidence": [{"field": asked, "value": None, "quote": None}],
    }
    return list(_findings(_case(sample, record, words), _OF_QUESTIONS))


def _case(sample: Sample, record: Record, words: lexicon.Lexicon) -> _Case:
    texts = []
    for name in ("question", *_PROSE):
        if sample[name] is not None:
            masked, quotes, pair = split_quotes(sample[name])
            texts.append(_Text(name, masked, tuple(quotes), pair))
    return _Case(sample, record, words, tuple(texts))


def _findings(case: _Case, names: Iterable[str]) -> Iterable[Finding]:
    for name in names:
        error_class, run = CHECKS[name]
        if run is not None:
            yield from (Finding(name, error_class, message) for message in run(case))


def required_columns(sample: Sample, record: Record, language: str = "en") -> list[str]:
    """Clip columns that the texts of a sample rest on: its evidence, its claims, its quotations, its metadata."""
    words = lexicon.load(language)
    columns = _of_texts(sample, record, words)
    for other in variants.sound_candidates(sample):
        columns |= _of_texts(other, record, words)
    if (turned := variants.to_another_voice(sample, record)) is not None:
        columns |= _of_texts(*turned, words)
    if sample["metadata_context"] is not None:
        shown = [column for key in _keys(sample["metadata_context"]) for column in facts.CONTEXT_COLUMNS.get(key, ())]
        given = {column for column in shown if record.has(column)}
        columns |= given | {column for column in shown if column in ("text_lang", "speech_lang")}
    if "emotion" in columns and record.label_source is not None:
        columns.add("label_source")
    return sorted(record.sex_column if name == "sex" else name for name in columns)


def _of_texts(sample: Sample, record: Record, words: lexicon.Lexicon | None) -> set[str]:
    """The columns behind evidence, quotations and claims."""
    columns = {item["field"] for item in sample["evidence"] if item["field"] in GROUP}
    for name in ("question", *_PROSE):
        if sample[name] is None:
            continue
        text = leak.without_options(sample[name], sample["options"])[0] if name == "question" else sample[name]
        masked, quotes, _ = split_quotes(text)
        if quotes:
            columns.add("transcript")
        if words is not None and words.can_read_claims:
            columns |= {field for claim in claims_in(name, masked, record, words) for field in rests_on(claim, record)}
    return columns


def duplicates(samples: Sequence[tuple[str, str, str, str]]) -> list[int]:
    """Rows of (clip, mode, task, question) that ask nearly what an earlier row of the clip and mode asked.

    Requests for a response or a caption are alike by nature; they count per task.
    """
    seen: dict[tuple[str, ...], list[str]] = {}
    again = []
    for row, (clip, mode, task, text) in enumerate(samples):
        before = seen.setdefault((clip, mode, task if task in ("response", "caption") else ""), [])
        if any(question_likeness.same(text, earlier) for earlier in before):
            again.append(row)
        before.append(text)
    return again


# --- The checks ---------------------------------------------------------------------------------------------


def _schema(sample: Sample) -> Iterable[str]:
    if sample["task"] not in tables.TASKS or sample["mode"] not in tables.MODES:
        yield f"unknown task '{sample['task']}' or mode '{sample['mode']}'"
        return
    for error in sorted(validator(sample["task"]).iter_errors(item_of(sample)), key=lambda error: error.json_path):
        yield f"{error.json_path}: {error.message[:200]}"


def _identity(case: _Case) -> Iterable[str]:
    sample = case.sample
    if sample["clip_id"] != case.record.clip_id:
        yield "the sample stands beside the wrong clip"
    if sample["sample_id"] != sample_id(sample["clip_id"], sample["task"], sample["mode"], sample["index"]):
        yield "sample_id does not name its slot"
    if sample["sample_hash"] != sample_hash(sample):
        yield "sample_hash is not the hash of the texts"


def _language(case: _Case) -> Iterable[str]:
    if reason := leak.unchecked_language(case.sample["question"], answers.asked(case.sample), case.record):
        yield reason


def _leak(case: _Case) -> Iterable[str]:
    sample = case.sample
    return leak.question(sample["question"], sample["options"], answers.asked(sample), case.record, case.words)


def _quotes(case: _Case) -> Iterable[str]:
    for text in case.texts:
        yield from grounding.quotations(text.quotes, case.record)


def _numbers(case: _Case) -> Iterable[str]:
    for text in case.texts:
        yield from grounding.numbers(text.masked, case.sample["evidence"], case.words)


def claims_in(name: str, masked: str, record: Record, words: lexicon.Lexicon) -> list[Claim]:
    """Claims of one text of a sample, by the name of its column.

    What is said *to* the speaker claims something only where it says "you" or speaks of a voice.
    """
    pronouns = not leak.speaks_of_others(record, words)
    if name != "response":
        return extract(masked, words, pronouns=pronouns)
    found: list[Claim] = []
    for sentence in prose.sentences(masked):
        cues = [claim for claim in extract(sentence, words, pronouns=False, cues=True) if claim.kind == "cue"]
        spoken = prose.words(sentence)
        addressed = any(word in words.address for word in spoken)
        found += cues + (extract(sentence, words, pronouns=False) if addressed else [])
    return found


def _judged(case: _Case, verdict: str) -> Iterable[str]:
    for text in case.texts:
        if text.name == "question":
            continue  # what a question takes for granted is the leak check's business
        for claim in claims_in(text.name, text.masked, case.record, case.words):
            if judge(claim, case.record) == verdict:
                says = "denies" if claim.negated else "says"
                why = "is not in the record" if verdict == "unsupported" else "is not what the record says"
                yield f"the {text.name} {says} '{claim.text}', which {why}"


def _boilerplate(case: _Case) -> Iterable[str]:
    for text in case.texts:
        yield from prose.boilerplate(text.masked, case.words)
    if case.sample["response_style"] is not None:
        yield from prose.boilerplate(case.sample["response_style"], case.words)


def _markup(case: _Case) -> Iterable[str]:
    for name in ("question", *_PROSE, "response_style", "scenario"):
        if case.sample.get(name) is not None:
            yield from prose.markup(case.sample[name])


def _truncation(case: _Case) -> Iterable[str]:
    for text in case.prose():
        yield from prose.truncation(text.masked, text.quotes, text.quotes_pair)


def _repetition(case: _Case) -> Iterable[str]:
    for text in case.prose():
        yield from prose.repetition(text.masked)


def _foreign(case: _Case) -> Iterable[str]:
    for text in case.texts:
        yield from prose.language(text.masked, case.words)
    if case.sample["response_style"] is not None:
        yield from prose.letters(case.sample["response_style"], case.words)


def _withheld(case: _Case) -> frozenset[str]:
    return facts.withheld_groups(case.sample["task"], [item["field"] for item in case.sample["evidence"]])


def _metadata(case: _Case) -> Iterable[str]:
    shown = case.sample["metadata_context"]
    if case.sample["mode"] == "implicit":
        if shown is not None:
            yield "an implicit sample shows metadata"
    elif shown is None:
        yield "an explicit sample shows no metadata"
    elif shown != facts.context(case.record, _withheld(case)):
        yield "the metadata is not the record without what decides the answer"


def _metadata_leak(case: _Case) -> Iterable[str]:
    return leak.metadata(case.sample["metadata_context"], _withheld(case), case.record, case.words)


def _other_voice(case: _Case) -> Iterable[str]:
    found = list(variants.pair(case.sample, case.record))
    yield from found
    if not found and (turned := variants.to_another_voice(case.sample, case.record)) is not None:
        sample, record = turned
        for finding in _findings(_case(sample, record, case.words), _OF_REPLIES):
            yield f"the rejected reply: {finding.message}"
        if case.record.has("emotion") and not list(answers.style(sample, case.record, case.words)):
            yield "the style of the rejected reply suits this voice too, so nothing tells which of the two is better"


def _candidates(case: _Case) -> Iterable[str]:
    yield from variants.candidates(case.sample)
    for place, sample in enumerate(variants.sound_candidates(case.sample)):
        if any(sample[name] != case.sample[name] for name in variants.CANDIDATE_TEXTS):
            if message := next(iter(_schema(sample)), None):
                yield f"sound candidate {place}: {message}"
                continue
            for finding in _findings(_case(sample, case.record, case.words), _OF_TEXTS):
                yield f"sound candidate {place}: {finding.message}"


def _columns(case: _Case) -> Iterable[str]:
    used = set(case.sample["used_columns"] or ())
    if missing := sorted(set(required_columns(case.sample, case.record, case.words.language)) - used):
        yield f"used_columns leaves out {', '.join(missing)}"
    if unknown := sorted(used - {*facts.REQUIRED_COLUMNS, *facts.OPTIONAL_COLUMNS}):
        yield f"used_columns names {', '.join(unknown)}, which no writer sees"


def _keys(shown: str) -> list[str]:
    try:
        parsed = json.loads(shown)
    except ValueError:
        return []
    return list(parsed) if isinstance(parsed, dict) else []


#: Name -> (error class, the check). In this order; the first finding names a reject.
CHECKS: dict[str, tuple[str, Callable[[_Case], Iterable[str]] | None]] = {
    "schema": ("SchemaMismatch", None),  # runs first, on its own: the others need the shape
    "identity": ("WrongIdentity", _identity),
    "question_language": ("UncheckedLanguage", _language),
    "options": ("WrongOptions", lambda case: answers.options(case.sample)),
    "leak": ("LabelLeak", _leak),
    "evidence": ("UngroundedEvidence", lambda case: grounding.evidence(case.sample["evidence"], case.record)),
    "quotes": ("AlteredQuote", _quotes),
    "numbers": ("UngroundedNumber", _numbers),
    "contradicted": ("ContradictedClaim", lambda case: _judged(case, "contradicted")),
    "unsupported": ("UnsupportedClaim", lambda case: _judged(case, "unsupported")),
    "label": ("WrongLabel", lambda case: answers.label(case.sample, case.record)),
    "answer": ("WrongAnswer", lambda case: answers.answer(case.sample, case.record, case.words)),
    "reasoning": ("PoorReasoning", lambda case: answers.reasoning(case.sample, case.words)),
    "style": ("WrongStyle", lambda case: answers.style(case.sample, case.record, case.words)),
    "boilerplate": ("Boilerplate", _boilerplate),
    "markup": ("Markup", _markup),
    "truncation": ("Truncated", _truncation),
    "repetition": ("Repetition", _repetition),
    "language": ("WrongLanguage", _foreign),
    "metadata": ("WrongMetadata", _metadata),
    "metadata_leak": ("MetadataLeak", _metadata_leak),
    "rejected_reply": ("WrongPair", _other_voice),
    "candidates": ("WrongCandidates", _candidates),
    "scenario": ("WrongScenario", lambda case: variants.scenario(case.sample, case.words)),
    "used_columns": ("WrongColumns", _columns),
}
#: Checks of the texts that a candidate or the reply to another voice has of its own.
_OF_TEXTS = ("quotes", "numbers", "contradicted", "unsupported", "answer", "label", "reasoning", "style", "boilerplate",
             "markup", "truncation", "repetition", "language")  # fmt: skip
_OF_QUESTIONS = ("question_language", "leak", "quotes", "numbers", "boilerplate", "markup", "language")
_OF_REPLIES = tuple(name for name in _OF_TEXTS if name not in ("answer", "label", "reasoning"))
DUPLICATE = ("duplicate", "DuplicateQuestion")

#: Checks that look at one task only.
_ONLY = {"answer": ("qa",), "reasoning": ("reasoning",), "style": ("response",), "rejected_reply": ("response",),
         "candidates": ("reasoning", "response"), "scenario": ("response",)}  # fmt: skip


def applicable(task: str) -> tuple[list[str], list[str]]:
    """Names of the checks that look at samples of ``task``, and of those that have nothing to look at there."""
    skipped = [name for name, only in _ONLY.items() if task not in only]
    return [name for name in (*CHECKS, DUPLICATE[0]) if name not in skipped], skipped
