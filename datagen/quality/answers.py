"""Is the answer right, given the record? Pure functions on one sample; each yields messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datagen import tables
from datagen.quality.claims import extract, judge, split_quotes, topics
from datagen.quality.content import expected
from datagen.quality.cues import ARGUABLE, weigh
from datagen.quality.facts import ANSWERABLE, GROUP, NUMBER_FIELDS, Record
from datagen.quality.grounding import bare
from datagen.quality.leak import without_options
from datagen.quality.lexicon import Lexicon
from datagen.quality.prose import words

Sample = Mapping[str, Any]

#: Groups that one hears in the voice. Valence is no witness: speech models read it off the words.
ACOUSTIC = frozenset({"pitch", "pitch_range", "loudness", "rate", "pauses", "arousal", "dominance", "events"})
_VOICE = ACOUSTIC | {"sex", "age"}
_TARGETS: dict[str, frozenset[str]] = {
    "content": frozenset({"text"}),
    "emotion": frozenset({"emotion"}),
    "voice": _VOICE,
    "content+emotion": frozenset({"emotion"}),
    "content+voice": _VOICE,
}
_WHEN = re.compile(r"\b(when|time|how long)\b", re.IGNORECASE)
_UNANSWERED = frozenset({"angry", "disgusted", "fearful"})  # feelings that no reply shares
_MAX_STYLE = 12  # words: two or three adjectives, and what links them
MIN_REASONING, MAX_REASONING = 50, 200  # words; a quotation counts as one


def asked(sample: Sample) -> str | None:
    """The field that decides the answer: the first evidence item's; None where nothing is asked."""
    return str(sample["evidence"][0]["field"]) if sample["task"] in ("classification", "qa", "reasoning") else None


def options(sample: Sample) -> Iterable[str]:
    """The closed list is stated in the question, fits what is asked, and holds the answer."""
    listed: Sequence[str] | None = sample["options"]
    if listed is None:
        return
    if not without_options(sample["question"], listed)[1]:
        yield "the question does not state its options as one list in their order"
    if sample["answer_label"] not in listed:
        yield f"the answer '{sample['answer_label']}' is not among the options"
    kinds = {"emotion": ANSWERABLE, "sentiment": tables.SENTIMENTS, "sex": ("female", "male")}
    field = asked(sample)
    allowed = kinds.get(field or "", tables.LEVELS if (field or "").endswith("_level") else None)
    if allowed is not None and not set(listed) <= set(allowed):
        yield f"the options {', '.join(sorted(set(listed) - set(allowed)))} are no values of {field}"


def label(sample: Sample, record: Record) -> Iterable[str]:
    """The label is the record's value of the field that decides the answer."""
    field, given = asked(sample), sample["answer_label"]
    if sample.get("label_withheld") and sample["task"] != "reasoning":
        yield f"a {sample['task']} sample is not reasoned towards a label that was withheld"
    if field is None:
        return
    if sample["task"] in ("classification", "reasoning"):
        if field not in (ARGUABLE if sample["task"] == "reasoning" else ("emotion", "sentiment")):
            yield f"a {sample['task']} sample rests on '{field}', not on the emotion"
        if sample["answer"] != given:
            yield f"the answer '{sample['answer']}' is not its label '{given}'"
    else:
        group = GROUP.get(field)
        if group not in _TARGETS[sample["question_type"]]:
            yield f"a question of type '{sample['question_type']}' rests on '{field}'"
        if sample["question_type"].startswith("content") and "text" not in _groups(sample):
            yield "a question about the content has no evidence from the words"
    if _has_label(field):
        if given is None or given != record.get(field):
            yield f"the label is '{given}'; the record says {field} is {record.get(field)}"
    elif field == "events":
        if given is not None and given not in {span.text for span in record.events}:
            yield f"the label is '{given}', a sound that was not measured"
    elif given is not None:
        yield f"'{field}' has no labels, the sample gives '{given}'"


def answer(sample: Sample, record: Record, lexicon: Lexicon) -> Iterable[str]:
    """The answer of a QA sample says what its label and its evidence say, to the question that was asked."""
    if sample["task"] != "qa":
        return
    field = asked(sample) or ""
    masked, quotes, _ = split_quotes(sample["answer"])
    question, asked_quotes, _ = split_quotes(without_options(sample["question"], sample["options"])[0])
    if (_has_label(field) or field == "events") and sample["answer"].rstrip(".").lower() != sample["answer_label"]:
        group = GROUP[field]
        said = [claim for claim in extract(masked, lexicon) if group in {GROUP.get(name) for name in claim.fields}]
        if not any(not claim.negated and judge(claim, record) is None for claim in said):
            yield f"the answer does not say what {field} is"
    if sample["options"] and sample["answer_label"] not in words(masked):
        yield f"the answer does not name its option '{sample['answer_label']}'"
    spoken_of = topics(question, lexicon) & ACOUSTIC
    if GROUP.get(field) in ACOUSTIC and spoken_of and GROUP[field] not in spoken_of:
        yield f"the question is about {', '.join(sorted(spoken_of))}, the answer about {GROUP[field]}"
    if sample["question_type"].startswith("content"):
        known = [str(item["quote"]) for item in sample["evidence"] if item["quote"]]
        if not any(quote in (*quotes, *asked_quotes) for quote in known):
            yield "neither the question nor the answer holds the words of the evidence"
        wanted = expected(question, asked_quotes, record.transcript or "")
        if wanted is not None and wanted not in [bare(quote) for quote in quotes]:
            yield f"the question asks for '{wanted[:80]}', which is not what the answer says"
        if missing := [quote for quote in quotes if quote not in known]:
            yield f"the answer quotes '{missing[0][:80]}' without evidence"
    if sample["question_type"] == "content":
        first = sample["evidence"][0]
        if str(first["quote"]) not in (*quotes, *asked_quotes):
            yield "the answer does not hold the words of its first evidence item"
        if first["field"] == "words" and first["value"] and (_WHEN.search(question) or not quotes):
            start, _, end = str(first["value"]).partition("-")  # no two times: the check of the evidence says so
            if not 0 <= masked.find(start) <= masked.rfind(end):
                yield "the answer does not give the times of its evidence, the start before the end"
            if asked_quotes and str(first["quote"]) not in asked_quotes:
                yield f"the question asks for the time of '{asked_quotes[0][:80]}', the answer is about other words"


def reasoning(sample: Sample, lexicon: Lexicon) -> Iterable[str]:
    """The voice first, then the words, then the label; at least two things heard; 50 to 200 words."""
    if sample["task"] != "reasoning":
        return
    masked, _, _ = split_quotes(sample["reasoning"])
    count = len(words(masked)) + masked.count("_")
    if not MIN_REASONING <= count <= MAX_REASONING:
        yield f"the reasoning has {count} words; {MIN_REASONING} to {MAX_REASONING} are asked for"
    field = asked(sample) or ""
    witnessing = ACOUSTIC - {GROUP.get(field)}
    claims = extract(masked, lexicon)
    heard = [claim.start for claim in claims if {GROUP.get(name) for name in claim.fields} & witnessing]
    labels = [claim for claim in claims if field in claim.fields and not claim.negated]
    if not heard:
        yield "the reasoning names nothing that was heard"
    else:
        if 0 <= masked.find("_") < heard[0]:
            yield "the reasoning quotes the words before it names what was heard"
        if labels and labels[0].start < heard[0]:
            yield "the reasoning opens with the label"
    if not any(sample["answer_label"] in claim.alternatives[field] for claim in labels):
        yield f"the reasoning does not arrive at '{sample['answer_label']}'"
    witnesses = {item["field"]: str(item["value"]) for item in sample["evidence"]
                 if GROUP.get(item["field"]) in witnessing}  # fmt: skip
    if len(witnesses) < 2:
        yield "the reasoning rests on fewer than two things heard"
    speaks_for, against = weigh(field, str(sample["answer_label"]), witnesses)
    if len(against) > len(speaks_for):
        yield f"more of the evidence speaks against '{sample['answer_label']}' than for it: {', '.join(against)}"
    if any(item["field"].startswith("valence") for item in sample["evidence"]):
        yield "valence is no evidence for an emotion: models read it off the words"


def style(sample: Sample, record: Record, lexicon: Lexicon) -> Iterable[str]:
    """The style of a response fits the speaker's emotion; only known style words are judged, one at least is needed."""
    if sample["task"] != "response":
        return
    mood = record.get("emotion") or "none"
    hits = ((pattern.search(sample["response_style"]), fits) for pattern, fits in lexicon.styles)
    found = [(match[0], fits) for match, fits in hits if match]
    if not found:
        yield f"no word of the style '{sample['response_style']}' is known"
    for word, fits in found:
        if mood not in fits:
            yield f"the style '{word}' does not fit a speaker whose emotion is {record.get('emotion') or 'not known'}"
    yield from _other_manners(sample["response_style"], mood, lexicon)


def _other_manners(text: str, mood: str, lexicon: Lexicon) -> Iterable[str]:
    """A style is what the voice is, not what it is not; and no voice replies in a feeling that the speaker does not
    have, nor in anger, disgust or fear."""
    rest = text
    for pattern, _ in lexicon.styles:
        rest = pattern.sub(" ", rest)
    for token in lexicon.tokens(rest):
        felt = token.item.means.get("emotion") if token.kind in ("emotion", "feeling") and token.item else None
        if felt is not None and (mood not in felt or mood in _UNANSWERED):
            yield f"the style names the feeling '{token.text}', in which one does not reply to this speaker"
    if any(token.item is not None and token.item.negates for token in lexicon.tokens(text)):
        yield f"the style '{text}' says how the voice is not"
    if len(words(text)) > _MAX_STYLE:
        yield f"the style has more than {_MAX_STYLE} words"


def _has_label(field: str) -> bool:
    return field not in NUMBER_FIELDS and field not in ("transcript", "words", "events", "style", "cue_relation")


def _groups(sample: Sample) -> set[str | None]:
    return {GROUP.get(item["field"]) for item in sample["evidence"]}
