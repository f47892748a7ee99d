"""What a row may hold beside its own text: a reply to another voice, further candidates, a situation. Pure functions.

Each gives the rows that the same checks are to be run on, and yields what is wrong with how they stand together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datagen.quality import contrast_replies, prose, scenarios
from datagen.quality.claims import split_quotes
from datagen.quality.facts import ANSWERABLE, Record
from datagen.quality.lexicon import Lexicon

Sample = Mapping[str, Any]

REJECTED = ("rejected_response", "rejected_style", "rejected_emotion")
CANDIDATE_TEXTS = ("reasoning", "answer", "response", "response_style")
#: Tasks that are asked for several times: their texts are rewarded, not only their labels.
_SEVERAL = ("reasoning", "response")


def to_another_voice(sample: Sample, record: Record) -> tuple[dict[str, Any], Record] | None:
    """The row with the rejected reply in place of its own, and what is known of that voice: its words and its emotion,
    for the rest was measured on this one. None where there is no such reply."""
    if any(sample.get(name) is None for name in REJECTED):
        return None
    turned = {
        **sample,
        **dict.fromkeys((*REJECTED, "candidates", "scenario")),
        "response": sample["rejected_response"],
        "response_style": sample["rejected_style"],
        "evidence": [{"field": "emotion", "value": sample["rejected_emotion"], "quote": None}],
    }
    known = {name: record.get(name) for name in ("transcript",) if record.has(name)}
    facts = {**known, "emotion": sample["rejected_emotion"]}
    return turned, Record(record.clip_id, facts, record.words, language=record.language)


def pair(sample: Sample, record: Record) -> Iterable[str]:
    """The three columns of the other reply are given together; it answers another voice of the group, and differs."""
    given = [name for name in REJECTED if sample.get(name) is not None]
    if not given:
        return
    if len(given) < len(REJECTED) or sample["task"] != "response":
        yield "a rejected reply has its text, its style and its emotion, and stands beside a reply"
        return
    emotion = sample["rejected_emotion"]
    if emotion not in ANSWERABLE or emotion == record.get("emotion"):
        yield f"the rejected reply is for '{emotion}', which is no other emotion than the clip's"
    elif record.contrast is None or emotion not in record.contrast.emotions:
        yield f"nobody in the clip's contrast group says these words in the emotion '{emotion}'"
    yield from contrast_replies.contrast(sample)


def sound_candidates(sample: Sample) -> list[dict[str, Any]]:
    """The row with each candidate that nothing was found against in place of its own texts, in their order."""
    bare = {**sample, **dict.fromkeys((*REJECTED, "candidates", "scenario"))}
    return [
        {**bare, **{name: each[name] for name in CANDIDATE_TEXTS}}
        for each in sample.get("candidates") or ()
        if each is not None and each["finding"] is None
    ]


def candidates(sample: Sample) -> Iterable[str]:
    """The row's own text is the first candidate that nothing was found against; a finding has a name."""
    listed = sample.get("candidates")
    if listed is None:
        return
    if sample["task"] not in _SEVERAL:
        yield f"a {sample['task']} sample has one answer, not several"
    if any(each is None or each["finding"] == "" for each in listed):
        yield "a candidate is empty, or its finding has no name"
    first = next((each for each in listed if each is not None and each["finding"] is None), None)
    if first is None:
        yield "no candidate is sound, so none can be the row's own text"
    elif any(first[name] != sample[name] for name in CANDIDATE_TEXTS):
        yield "the row's own text is not its first sound candidate"


def scenario(sample: Sample, words: Lexicon) -> Iterable[str]:
    """A situation names no emotion, no side of a voice, no speaker's sex or age, and is whole."""
    text = sample.get("scenario")
    if text is None:
        return
    if sample["task"] != "response":
        yield f"a {sample['task']} sample is told of no situation"
    masked, quotes, quotes_pair = split_quotes(text)
    yield from (message for _, message in scenarios.text_faults(text, words))
    yield from prose.truncation(masked, quotes, quotes_pair)
    yield from prose.repetition(masked)
