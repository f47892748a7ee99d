"""Word lists per language, compiled. A language without a file here is *unchecked*, which is not the same as clean.

``lexicons/<ISO 639-1>.yaml`` are package data. Every list needs ``labels`` and ``sentiments`` (leaks); a language
in which texts are written also needs the sections that ``claims.py`` and ``scope.py`` read.
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
_TOKEN = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_][\w'-]*|\S")
_APOSTROPHES = str.maketrans("’ʼ", "''")
#: Stands for a quotation in masked text; no word, and a sentence may end with it.
QUOTE_MARK = "\N{LOW LINE}"
_OWN = "POSS"  # in an entry: any word of the section ``possessives``
_VALENCE = {"negative": "low", "positive": "high"}  # neutral is no level: a voice may be surprised at medium valence
_MOST_WORDS = 65_536  # words whose entries are kept at hand

#: Kinds of items that say something of a voice; the rest steer how these are read.
CLAIM_KINDS = frozenset(
    {"direct", "emotion", "feeling", "sex", "pronoun", "age", "event", "relation", "cue", "unmeasured", "coloured",
     "scene", "degree"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """What a word or phrase means.

    ``kind``: one of ``CLAIM_KINDS``; noun, voice, level (claims in pairs); negation, plain, ask, joiner, break; about,
    generic, suppose, doubt (what follows or stands around them is no claim). ``means`` maps every field the item may
    speak of to the values it allows; a level word means something only beside a noun of that field.
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

    @property
    def kind(self) -> str:
        return self.item.kind if self.item else "word"


class Words:
    """A set of words; an entry that ends in ``*`` holds every word that begins so."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        listed = list(entries)
        self._whole = frozenset(entry for entry in listed if not entry.endswith("*"))
        self._stems = tuple(sorted(entry[:-1] for entry in listed if entry.endswith("*")))

    def __contains__(self, word: str) -> bool:
        return word in self._whole or (bool(self._stems) and word.startswith(self._stems))


@dataclass(frozen=True, slots=True)
class _Phrase:
    tokens: tuple[str, ...]
    open_ended: tuple[bool, ...]  # which tokens may go on
    item: Item

    def fits(self, folded: Sequence[str], index: int) -> bool:
        if index + len(self.tokens) > len(folded):
            return False
        return all(
            word.startswith(wanted) if goes_on else word == wanted
            for word, wanted, goes_on in zip(folded[index:], self.tokens, self.open_ended, strict=False)
        )


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
    speaking: Words  # who speaks, and what one calls a voice and the parts of speech: a claim beside them is about it
    persons: Words  # the speaker of the clip
    audible: Words  # beside which a coloured word is about the voice
    scenery: Words  # beside which a word of the surroundings is about the recording
    adjectives: Words  # claims that may stand before a noun, and are about that noun then
    adverbs: Words  # plain words that are no noun, though they may follow an adjective
    copulas: Words
    senses: Words  # "sounds", "feels"
    articles: Words  # "the", "her": what they stand before is known
    indefinite: Words  # "a"
    that: Words
    openers: Words  # a comma before one of these ends a clause
    manner: Words  # "in" a loud voice, "at" a fast pace
    of: Words  # "of" and its kin
    apart: Words  # part a noun from a level word before it
    address: Words  # "you": what a reply says to the speaker
    beside: Words  # words for a pause, beside which a number of seconds is a measurement
    deciding: Words  # change what a question asks, however alike it is to another
    aged: Words  # after "six years": an age
    adverb_endings: tuple[str, ...]
    verb_endings: tuple[str, ...]  # of somebody who speaks
    phrases: tuple[_Phrase, ...]  # longest first
    _found: dict[str, tuple[_Phrase, ...]] = field(default_factory=dict, repr=False)  # by first word, filled on use
    _starts: Mapping[str, tuple[_Phrase, ...]] = field(default_factory=dict, repr=False)  # by the first two letters

    @property
    def can_read_claims(self) -> bool:
        return bool(self.phrases)

    def tokens(self, text: str) -> Iterator[Token]:
        """``text`` cut into known phrases (the longest that fits) and plain words."""
        found = list(_TOKEN.finditer(text))
        folded = [match[0] for match in _TOKEN.finditer(text.lower().translate(_APOSTROPHES))]
        if len(folded) != len(found):  # lower case may be longer than upper ("İ")
            folded = [match[0].lower() for match in found]
        index = 0
        while index < len(found):
            phrase = next((p for p in self._beginning(folded[index]) if p.fits(folded, index)), None)
            last = index + (len(phrase.tokens) if phrase else 1) - 1
            yield Token(
                " ".join(folded[index : last + 1]),
                found[index].start(),
                found[last].end(),
                phrase.item if phrase else None,
            )
            index = last + 1

    def _beginning(self, word: str) -> tuple[_Phrase, ...]:
        """Phrases whose first word this may be, longest first."""
        if (known := self._found.get(word)) is None:
            if len(self._found) >= _MOST_WORDS:
                self._found.clear()
            known = tuple(
                phrase for phrase in self._starts.get(word[:2], ())
                if (word.startswith(phrase.tokens[0]) if phrase.open_ended[0] else word == phrase.tokens[0])
            )  # fmt: skip
            self._found[word] = known
        return known


def languages() -> tuple[str, ...]:
    """Languages with a lexicon, sorted."""
    return _languages()


@lru_cache(maxsize=1)
def _languages() -> tuple[str, ...]:
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


def _compile(raw: Mapping[str, Any]) -> Lexicon:
    merged: dict[str, Item] = {}
    for entry, item in _entries(raw) if "nouns" in raw else ():
        for text in _owned(entry, raw.get("possessives", ())):
            merged[text] = _merge(merged[text], item) if text in merged else item
    open_ended = [text for text in merged if text.endswith("*")]
    for text in sorted(set(merged) - set(open_ended)):  # "rapid" is found before "rapid*" and must mean as much
        for wide in open_ended:
            if text.startswith(wide[:-1]) and text.count(" ") == wide.count(" "):
                merged[text] = _merge(merged[text], merged[wide])
    phrases = sorted((_phrase(text, item) for text, item in merged.items()), key=_longest_first)
    starts: dict[str, list[_Phrase]] = {}
    for phrase in phrases:
        starts.setdefault(phrase.tokens[0][:2], []).append(phrase)
    units = [
        (word, tuple(unit["fields"]), float(unit.get("scale", 1)))
        for unit in raw.get("units", ())
        for word in unit["words"]
    ]
    return Lexicon(
        language=raw["language"],
        labels={
            label: words(text for entry in entries for text in _owned(entry, raw.get("possessives", ())))
            for label, entries in raw["labels"].items()
        },
        sentiments={label: words(entries) for label, entries in raw["sentiments"].items()},
        function_words=frozenset(raw.get("function_words", ())),
        pronouns={sex: words(entries) for sex, entries in raw.get("pronouns", {}).items()},
        styles=tuple((words(style["words"]), frozenset(style["fits"])) for style in raw.get("styles", ())),
        units=tuple(sorted(units, key=lambda unit: (-len(unit[0]), unit[0]))),
        number_words=frozenset(raw.get("number_words", ())),
        refusals=words(raw["refusals"]) if "refusals" in raw else None,
        speaking=Words(raw.get("speaking", ())),
        persons=Words(raw.get("persons", ())),
        audible=Words(raw.get("audible", ())),
        scenery=Words(raw.get("scenery", ())),
        adjectives=Words(raw.get("adjectives", ())),
        adverbs=Words(raw.get("adverbs", ())),
        copulas=Words(raw.get("copulas", ())),
        senses=Words(raw.get("senses", ())),
        articles=Words(raw.get("articles", ())),
        indefinite=Words(raw.get("indefinite", ())),
        that=Words(raw.get("that", ())),
        openers=Words(raw.get("openers", ())),
        manner=Words(raw.get("manner", ())),
        of=Words(raw.get("of", ())),
        apart=Words(raw.get("apart", ())),
        address=Words(raw.get("address", ())),
        beside=Words(raw.get("beside", ())),
        deciding=Words(raw.get("deciding", ())),
        aged=Words(raw.get("aged", ())),
        adverb_endings=tuple(raw.get("adverb_endings", ())),
        verb_endings=tuple(raw.get("verb_endings", ())),
        phrases=tuple(phrases),
        _starts={start: tuple(found) for start, found in starts.items()},
    )  # fmt: skip


def _owned(entry: str, possessives: Iterable[str]) -> Iterable[str]:
    return (entry.replace(_OWN, own) for own in possessives) if _OWN in entry else (entry,)


def _phrase(text: str, item: Item) -> _Phrase:
    parts = text.split()
    tokens, goes_on = [], []
    for part in parts:
        found = [match[0].lower() for match in _TOKEN.finditer(part.removesuffix("*"))]
        tokens += found
        goes_on += [False] * (len(found) - 1) + [part.endswith("*")]
    return _Phrase(tuple(tokens), tuple(goes_on), item)


def _longest_first(phrase: _Phrase) -> tuple[Any, ...]:
    return (-len(phrase.tokens), phrase.open_ended, -len(phrase.tokens[-1]), phrase.tokens)


def _entries(raw: Mapping[str, Any]) -> Iterable[tuple[str, Item]]:
    simple = (
        ("emotion", "emotion", raw["labels"]),
        ("feeling", "emotion", raw.get("feelings", {})),
        ("sex", "sex", raw["sex"]),
        ("pronoun", "sex", raw["pronouns"]),
        ("event", "events", raw["events"]),
        ("relation", "cue_relation", raw["relations"]),
    )
    for kind, name, section in simple:
        for value, texts in section.items():
            yield from ((text, Item(kind, {name: frozenset([value])})) for text in texts)
    for value, texts in raw["sentiments"].items():
        either = {"sentiment": frozenset([value])}
        if value in _VALENCE:
            either["valence_level"] = frozenset([_VALENCE[value]])
        yield from ((text, Item("emotion", either)) for text in texts)
    for kind in ("unmeasured", "coloured", "scene", "degree"):
        yield from ((text, Item(kind, {"unmeasured": frozenset()})) for text in raw.get(kind, ()))
    for cue in raw["response_cues"]:
        yield from ((text, Item("cue", {"emotion": frozenset(cue["labels"])})) for text in cue["phrases"])
    for age in raw["ages"]:
        years = (float(age["years"][0]), float(age["years"][1]))
        yield from ((text, Item("age", {"age_years": frozenset()}, years)) for text in age["phrases"])
    for kind in ("nouns", "voice"):
        for fields, texts in raw.get(kind, {}).items():
            item = Item(kind.removesuffix("s"), {name: frozenset() for name in fields.split("|")})
            yield from ((text, item) for text in texts)
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
    for kind, section in (("plain", "not_claims"), ("ask", "interrogatives"), ("joiner", "joiners"),
                          ("break", "breaks"), ("about", "about"), ("generic", "generic"), ("suppose", "suppose"),
                          ("doubt", "doubt")):  # fmt: skip
        yield from ((text, Item(kind)) for text in raw.get(section, ()))


def _merge(one: Item, other: Item) -> Item:
    """The same word in two lists: it allows what either allows; "no" is a level of pauses and a negation."""
    kind = next(kind for kind in ("direct", "level", one.kind) if kind in (one.kind, other.kind))
    means = {
        name: one.means.get(name, frozenset()) | other.means.get(name, frozenset())
        for name in sorted({*one.means, *other.means})
    }
    return Item(kind, means, one.years or other.years, one.negates or other.negates)
