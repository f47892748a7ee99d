"""Situations for contrast groups: what a group's clips share, what is wrong with a text, what verdicts come to.

Pure functions. A model is asked about *wordings*: the bare words of a clip (no case, no punctuation), their language,
and the emotions that were met in the clip's contrast group. Nothing else of a clip gets into a prompt, so clips of one
group that say the same words make the same request and get the same text. Words without punctuation, because an
exclamation mark is a transcriber's reading of one of the voices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datagen.quality import facts, leak, prose
from datagen.quality.claims import extract, split_quotes
from datagen.quality.facts import ANSWERABLE, GROUP, Record
from datagen.quality.lexicon import Lexicon
from datagen.quality.texts import normalised

#: Clip columns that ``wording`` looks at besides those of the contrast group.
COLUMNS = ("transcript", "transcript_source", "asr_confidence", "asr_flags", "text_lang", "speech_lang")
#: Criterion -> the column of its mean.
VERDICTS = {"plausible": "scenario_plausible", "relevant": "scenario_relevant", "neutral": "text_neutral"}
_DECIMALS = 4


@dataclass(frozen=True, slots=True, order=True)
class Wording:
    """What is asked about. ``voices``: the group's emotions, sorted."""

    words: str
    language: str
    voices: tuple[str, ...]

    def pairs(self) -> list[tuple[str, str]]:
        return list(itertools.combinations(self.voices, 2))


def wording(clip: Mapping[str, Any]) -> Wording | str | None:
    """Of a clip row: what to ask about, a reason why nothing can be asked, or None outside contrast groups."""
    if clip["contrast_group_id"] is None:
        return None
    voices = tuple(sorted(set(clip["contrast_emotions"] or ()) & set(ANSWERABLE)))
    if len(voices) < 2:
        return "fewer than two emotions in its contrast group"
    record = facts.from_row(clip)
    words = normalised(record.transcript or "")
    return Wording(words, record.language or "", voices) if words else "its words are not known for sure"


def text_faults(text: str, lexicon: Lexicon) -> list[tuple[str, str]]:
    """(error class, message) of everything that a text for all voices may not hold.

    Words for any emotion or sentiment, quoted ones too, and claims about a voice, a sex or an age: what is true of one
    clip of a group is false of another.
    """
    found = []
    for label, pattern in (*lexicon.labels.items(), *lexicon.sentiments.items()):
        if match := pattern.search(text):
            found.append(("LabelLeak", f"it holds '{match[0]}', a word for '{label}'"))
    masked, _, _ = split_quotes(text)
    for claim in extract(masked, lexicon):
        if claim.kind != "emotion":
            about = sorted({GROUP.get(name, name) for name in claim.fields}) or ["age"]
            found.append(
                (
                    "UnsupportedClaim",
                    f"it says '{claim.text}' ({', '.join(about)}), which is not true of every recording",
                )
            )
    found += [("Boilerplate", message) for message in prose.boilerplate(masked, lexicon)]
    found += [("WrongLanguage", message) for message in prose.language(masked, lexicon)]
    return found


def scenario_faults(answer: Mapping[str, Any], asked: Wording, lexicon: Lexicon) -> list[tuple[str, str]]:
    """(error class, message) for an answer of the shape ``schemas/llm/scenario/scenario.json``."""
    found = _named("the scenario", _situation(answer["scenario"], lexicon))
    question = str(answer["question"]).strip()
    own = [*text_faults(question, lexicon)]
    record = Record("", {"transcript": asked.words}, language=asked.language or None)
    own += [
        ("LabelLeak", message)
        for message in leak.question(question, None, "emotion", record, lexicon)
        if "a word for" not in message  # said above
    ]
    if not question.endswith("?"):
        own.append(("WrongQuestion", "it does not end with a question mark"))
    return found + _named("the question", own)


def query_faults(
    answer: Mapping[str, Any], asked: Wording, lexicon: Lexicon, own: Lexicon | None
) -> list[tuple[str, str]]:
    """The same for ``query.json``; ``own``: the lexicon of the query's language, None if there is none."""
    found = _named("the scenario", _situation(answer["scenario"], lexicon))
    query = str(answer["query"])
    if own is None:
        return [*found, ("UncheckedLanguage", f"there is no lexicon to check words in '{asked.language}' with")]
    labels = (*own.labels.items(), *own.sentiments.items())
    told = [("LabelLeak", f"it holds '{match[0]}', a word for '{name}'") for name, pattern in labels
            if (match := pattern.search(query))]  # fmt: skip
    if normalised(query) in ("", asked.words):
        told.append(("NothingNew", "it says the words of the example"))
    return found + _named("the query", told)


def _situation(text: str, lexicon: Lexicon) -> list[tuple[str, str]]:
    masked, quotes, pair = split_quotes(text)
    cut = [("Truncated", message) for message in prose.truncation(masked, quotes, pair)]
    return text_faults(text, lexicon) + cut


def _named(what: str, found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(error_class, f"{what}: {message}") for error_class, message in found]


def mean(votes: Sequence[int]) -> float | None:
    """Of the votes that could be read; None if there are none."""
    return round(sum(votes) / len(votes), _DECIMALS) if votes else None


def shortcoming(scores: Mapping[str, float | None], least: float) -> str | None:
    """Why the verdicts (column -> mean) do not suffice; None if they do."""
    for column, score in scores.items():
        if score is None:
            return f"no verdict for {column} could be read"
        if score < least:
            return f"{column} is below {least:g}"
    return None
