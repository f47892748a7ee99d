"""Does a question, or the metadata shown with it, give its own answer away? Pure functions; each yields messages.

A question may state its closed list of options; everything else in it must be free of emotion words and of claims
about the fact it asks for. Quotations count too: quoting "I am so angry" in an emotion question is a leak, and a
quotation in a language without a lexicon cannot be checked, so it is refused (never assumed to be clean).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from datagen.quality.claims import extract, judge, split_quotes
from datagen.quality.facts import GROUP, Record
from datagen.quality.lexicon import Lexicon, load

_MARKER = r"(?:\(?\b[A-Ha-h1-8][).:]\s*)?"


def without_options(question: str, options: Sequence[str] | None) -> tuple[str, bool]:
    """-> (the question without the list of its options, whether it states all of them in one list, in their order)."""
    if not options:
        return question, True
    separator = r"[\s,;/|•*-]*(?:\b(?:or|and)\b)?[\s,;/|•*-]*"
    body = separator.join(_MARKER + r"[\"']?" + rf"\b{re.escape(option)}\b" + r"[\"']?" for option in options)
    match = re.search(body, question, re.IGNORECASE)
    if match is None:
        return question, False
    return question[: match.start()] + "…" + question[match.end() :], True


def question(
    text: str, options: Sequence[str] | None, asked: str | None, record: Record, lexicon: Lexicon
) -> Iterable[str]:
    """Leaks in a question about the field ``asked`` (None: nothing that has a label)."""
    rest, _ = without_options(text, options)
    masked, quotes, _ = split_quotes(rest)
    for label, pattern in (*lexicon.labels.items(), *lexicon.sentiments.items()):
        if match := pattern.search(masked):
            yield f"the question holds '{match[0]}', a word for '{label}'"
    group = GROUP.get(asked or "")
    for claim in extract(masked, lexicon, pronouns=not speaks_of_others(record, lexicon)):
        if claim.kind == "emotion":
            continue  # reported above
        if group is not None and group in {GROUP.get(name) for name in claim.fields}:
            yield f"the question says '{claim.text}', which is what it asks for"
        elif judge(claim, record) is not None:
            yield f"the question takes '{claim.text}' for granted, which the record does not bear out"
    if group == "emotion" and quotes:
        own = load(record.language)
        for pattern in (own.labels[str(record.get("emotion"))],) if own and record.has("emotion") else ():
            for quote in quotes:
                if match := pattern.search(quote):
                    yield f"the question quotes '{match[0]}', a word for its answer"


def unchecked_language(text: str, asked: str | None, record: Record) -> str | None:
    """Why leaks in this question cannot be checked, or None."""
    _, quotes, _ = split_quotes(text)
    if quotes and GROUP.get(asked or "") == "emotion" and load(record.language) is None:
        language = record.language or "an unknown language"
        return f"the question quotes words in {language}, for which there is no lexicon"
    return None


def metadata(context: str | None, withheld: frozenset[str], record: Record, lexicon: Lexicon) -> Iterable[str]:
    """Values in the shown metadata that give a withheld label away, whatever key they stand under."""
    if context is None or "emotion" not in withheld or not record.has("emotion"):
        return
    try:
        shown = json.loads(context)
    except ValueError:
        yield "the metadata is not JSON"
        return
    if not isinstance(shown, dict):
        yield "the metadata is not a JSON object"
        return
    values = {key: value for key, value in shown.items() if key not in ("transcript", "words")}
    rest = json.dumps(values, ensure_ascii=False).replace("_", " ")  # "sad_whisper" holds "sad"
    for name in ("emotion", "sentiment"):
        label = record.get(name)
        patterns = lexicon.labels if name == "emotion" else lexicon.sentiments
        if label is not None and (match := patterns[label].search(rest)):
            yield f"the metadata holds '{match[0]}', which gives the answer away"


def speaks_of_others(record: Record, lexicon: Lexicon) -> bool:
    """Whether the clip's words hold a he or a she: a pronoun in a text may then mean somebody else.

    In another language than the lexicon's this cannot be told; pronouns then count as claims about the speaker.
    """
    text = record.transcript or ""
    return any(pattern.search(text) for pattern in lexicon.pronouns.values())
