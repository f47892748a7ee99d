"""Word lists per language, compiled. A language without a file here is *unchecked*, which is not the same as clean.

``lexicons/<ISO 639-1>.yaml`` are package data. Every list needs ``labels`` and ``sentiments`` (leaks); a language
in which texts are written also needs the sections that ``claims.py`` reads, which English has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent / "lexicons"
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_][\w'-]*|\S")


@dataclass(frozen=True, slots=True)
class Item:
    """What a word or phrase means.

    ``kind``: noun, level, direct, emotion, cue, sex, pronoun, age, event, relation, unmeasured, negation, plain,
    ask, joiner, break. ``means`` maps every field the item may speak of to the values it allows; a level word
    means something only beside a noun of that field.
    """

    kind: str
    means: Mapping[str, frozenset[str]] = field(default_factory=dict)
    years: tuple[float, float] | None = None
    negates: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A run of text: a known phrase (``item``) or a single plain word or sign."""

    text: str
    start: int
    end: int
    item: Item | None


@dataclass(frozen=True, slots=True)
class _Phrase:
    tokens: tuple[str, ...]
    open_ended: bool  # the last token may go on
    item: Item


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: ``load`` makes one per language
class Lexicon:
    language: str
    labels: Mapping[str, re.Pattern[str]]  # label -> pattern of its words and synonyms
    sentiments: Mapping[str, re.Pattern[str]]
    function_words: frozenset[str]
    pronouns: Mapping[str, re.Pattern[str]]
    styles: tuple[tuple[re.Pattern[str], frozenset[str]], ...]
    units: tuple[tuple[str, tuple[str, ...], float], ...]  # (unit word, fields, scale), longest first
    number_words: frozenset[str]
    refusals: re.Pattern[str] | None
    phrases: Mapping[str, tuple[_Phrase, ...]]  # by the first two letters; longest first

    @property
    def can_read_claims(self) -> bool:
        return bool(self.phrases)

    def tokens(self, text: str) -> Iterator[Token]:
        """``text`` cut into known phrases (the longest that fits) and plain words."""
        found = list(_TOKEN.finditer(text))
        folded = [match[0].lower() for match in found]
        index = 0
        while index < len(found):
            phrase = next((p for p in self.phrases.get(folded[index][:2], ()) if _fits(p, folded, index)), None)
            last = index + (len(phrase.tokens) if phrase else 1) - 1
            start, end = found[index].start(), found[last].end()
            yield Token(text[start:end].lower(), start, end, phrase.item if phrase else None)
            index = last + 1


def languages() -> tuple[str, ...]:
    """Languages with a lexicon, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@lru_cache(maxsize=32)
def load(language: str | None) -> Lexicon | None:
    """The lexicon of ``language`` (ISO 639-1), or None: nothing in that language can be checked."""
    if language is None or language not in languages():
        return None
    return _compile(yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8")))


def contents() -> dict[str, str]:
    """The text of every lexicon: part of the key of the stages that use them."""
    return {name: (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8") for name in languages()}


def words(entries: Iterable[str]) -> re.Pattern[str]:
    """Any of the entries, as whole words, longest first, whatever the case. ``*`` at an end is any ending."""
    body = "|".join(_regex(entry) for entry in sorted(entries, key=lambda entry: (-len(entry), entry)))
    return re.compile(rf"(?<![\w'])(?:{body})(?!\w)", re.IGNORECASE)


def _regex(entry: str) -> str:
    stem = entry.removesuffix("*")
    return r"\s+".join(re.escape(part) for part in stem.split()) + (r"[\w'-]*" if entry.endswith("*") else "")


def _fits(phrase: _Phrase, folded: Sequence[str], index: int) -> bool:
    size = len(phrase.tokens)
    if index + size > len(folded) or tuple(folded[index : index + size - 1]) != phrase.tokens[:-1]:
        return False
    last, wanted = folded[index + size - 1], phrase.tokens[-1]
    return last.startswith(wanted) if phrase.open_ended else last == wanted


def _compile(raw: Mapping[str, Any]) -> Lexicon:
    merged: dict[str, Item] = {}
    for text, item in _entries(raw) if "nouns" in raw else ():
        merged[text] = _merge(merged[text], item) if text in merged else item
    open_ended = [text for text in merged if text.endswith("*")]
    for text in sorted(set(merged) - set(open_ended)):  # "rapid" is found before "rapid*" and must mean as much
        for wide in open_ended:
            if text.startswith(wide[:-1]) and text.count(" ") == wide.count(" "):
                merged[text] = _merge(merged[text], merged[wide])
    by_start: dict[str, list[_Phrase]] = {}
    for text, item in merged.items():
        tokens = tuple(match[0].lower() for match in _TOKEN.finditer(text.removesuffix("*")))
        by_start.setdefault(tokens[0][:2], []).append(_Phrase(tokens, text.endswith("*"), item))
    units = [
        (word, tuple(unit["fields"]), float(unit.get("scale", 1)))
        for unit in raw.get("units", ())
        for word in unit["words"]
    ]
    return Lexicon(
        language=raw["language"],
        labels={label: words(entries) for label, entries in raw["labels"].items()},
        sentiments={label: words(entries) for label, entries in raw["sentiments"].items()},
        function_words=frozenset(raw.get("function_words", ())),
        pronouns={sex: words(entries) for sex, entries in raw.get("pronouns", {}).items()},
        styles=tuple((words(style["words"]), frozenset(style["fits"])) for style in raw.get("styles", ())),
        units=tuple(sorted(units, key=lambda unit: (-len(unit[0]), unit[0]))),
        number_words=frozenset(raw.get("number_words", ())),
        refusals=words(raw["refusals"]) if "refusals" in raw else None,
        phrases={
            start: tuple(sorted(found, key=lambda p: (-len(p.tokens), p.open_ended, -len(p.tokens[-1]), p.tokens)))
            for start, found in by_start.items()
        },
    )


def _entries(raw: Mapping[str, Any]) -> Iterable[tuple[str, Item]]:
    simple = (
        ("emotion", "emotion", raw["labels"]),
        ("emotion", "sentiment", raw["sentiments"]),
        ("sex", "sex", raw["sex"]),
        ("pronoun", "sex", raw["pronouns"]),
        ("event", "events", raw["events"]),
        ("relation", "cue_relation", raw["relations"]),
    )
    for kind, name, section in simple:
        for value, texts in section.items():
            yield from ((text, Item(kind, {name: frozenset([value])})) for text in texts)
    yield from ((text, Item("unmeasured", {"unmeasured": frozenset()})) for text in raw["unmeasured"])
    for cue in raw["response_cues"]:
        yield from ((text, Item("cue", {"emotion": frozenset(cue["labels"])})) for text in cue["phrases"])
    for age in raw["ages"]:
        years = (float(age["years"][0]), float(age["years"][1]))
        yield from ((text, Item("age", {"age_years": frozenset()}, years)) for text in age["phrases"])
    for fields, texts in raw["nouns"].items():
        yield from ((text, Item("noun", {name: frozenset() for name in fields.split("|")})) for text in texts)
    topics = sorted({name for fields in raw["nouns"] for name in fields.split("|")})
    for level, texts in raw["generic_levels"].items():
        for text in texts:
            yield text, Item("level", {name: frozenset([level]) for name in topics})
    for name, by_level in raw["levels"].items():
        for level, texts in by_level.items():
            yield from ((text, Item("level", {name: frozenset([level])})) for text in texts)
    for fields, by_level in raw["direct"].items():
        names, _, allowed = fields.partition(":")
        for level, texts in by_level.items():
            values = frozenset(allowed.split(",") if allowed else [level])
            yield from ((text, Item("direct", dict.fromkeys(names.split("|"), values))) for text in texts)
    yield from ((text, Item("negation", negates=True)) for text in raw["negations"])
    for kind, section in (("plain", "not_negations"), ("ask", "interrogatives"), ("joiner", "joiners"),
                          ("break", "breaks")):  # fmt: skip
        yield from ((text, Item(kind)) for text in raw[section])


def _merge(one: Item, other: Item) -> Item:
    """The same word in two lists: it allows what either allows; "no" is a level of pauses and a negation."""
    kind = next(kind for kind in ("direct", "level", one.kind) if kind in (one.kind, other.kind))
    means = {
        name: one.means.get(name, frozenset()) | other.means.get(name, frozenset())
        for name in sorted({*one.means, *other.means})
    }
    return Item(kind, means, one.years or other.years, one.negates or other.negates)
