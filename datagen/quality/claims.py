"""What a free text claims about a voice, read with word lists and a few rules of English word order.

``split_quotes`` takes quotations out (their words are the speaker's, not the writer's); ``extract`` reads the rest;
``judge`` holds one claim against the record. A claim that the record neither supports nor contradicts is
*unsupported*: nobody measured it, so nobody may say it (law 2).

Precision matters as much as recall: a level word counts only beside a noun it can describe, "how loud" is a
question and no claim, pronouns count only where the clip's own words hold none, and what is said of something else
than the voice is no claim (``scope.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from datagen.quality.facts import GROUP, Record
from datagen.quality.lexicon import CLAIM_KINDS, QUOTE_MARK, Lexicon, Token
from datagen.quality.scope import elsewhere

_QUOTE = re.compile(r'"([^"]*)"|“([^”“]*)”')
_NOUNS = frozenset({"noun", "voice"})
_ANYWHERE = frozenset({"cue", "relation"})
_PARTS = frozenset(",:–—(")
_SENTENCE_END = frozenset(".!?;")
_NEGATED = 4  # words before a claim in which a negation counts
_LOOK_RIGHT = 12  # tokens after a noun in which its level may follow


@dataclass(frozen=True, slots=True)
class Claim:
    """Any of ``alternatives`` (field -> allowed values) would make it true; ``years`` bound an age instead."""

    alternatives: Mapping[str, frozenset[str]]
    text: str
    start: int
    negated: bool = False
    years: tuple[float, float] | None = None
    kind: str = "direct"

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.alternatives)


def split_quotes(text: str) -> tuple[str, list[str], bool]:
    """-> (text with every quotation replaced by a mark, the quotations, whether all quotation marks pair up)."""
    quotes = [match[1] if match[1] is not None else match[2] for match in _QUOTE.finditer(text)]
    masked = _QUOTE.sub(QUOTE_MARK, text)
    return masked, quotes, not any(mark in masked for mark in '"“”')


def extract(masked: str, lexicon: Lexicon, *, pronouns: bool = True, cues: bool = False) -> list[Claim]:
    """Claims in a text without quotations, in order of appearance.

    ``pronouns``: read "she" and "his" as claims about the speaker's sex. ``cues``: read what a reply presupposes
    ("sorry to hear") as a claim about the emotion.
    """
    return list(_extract(masked, lexicon, pronouns, cues))


@lru_cache(maxsize=8_192)  # several checks ask for the same text, and texts without their quotations recur
def _extract(masked: str, lexicon: Lexicon, pronouns: bool, cues: bool) -> tuple[Claim, ...]:
    claims: list[Claim] = []
    for sentence in _sentences(list(lexicon.tokens(masked))):
        if not any(token.kind in CLAIM_KINDS or token.kind in _NOUNS for token in sentence):
            continue
        off = elsewhere(sentence, lexicon)
        claims += _levels(sentence, off, lexicon)
        for index, token in enumerate(sentence):
            item = token.item
            if item is None or item.kind not in CLAIM_KINDS or (off[index] and item.kind not in _ANYWHERE):
                continue
            if (item.kind == "pronoun" and not pronouns) or (item.kind == "cue" and not cues):
                continue
            if item.kind == "direct" and _asked(sentence, index):
                continue
            claims.append(Claim(item.means, token.text, token.start, _negated(sentence, index), item.years, item.kind))
    return tuple(sorted(claims, key=lambda claim: (claim.start, claim.text)))


def judge(claim: Claim, record: Record) -> str | None:
    """None when the record bears the claim out, else ``"unsupported"`` or ``"contradicted"``."""
    if claim.years is not None:
        age = record.get("age_years")
        if age is None:
            return "unsupported"
        inside = claim.years[0] <= age < claim.years[1]
        return None if inside is not claim.negated else "contradicted"
    known = [name for name in claim.fields if record.has(name)]
    if not known:
        return "unsupported"
    true = any(_bears_out(claim, name, record) for name in known)
    if "events" in known and not true:
        return "unsupported"  # what was not heard may still be there; nobody measured its absence
    return None if true is not claim.negated else "contradicted"


def rests_on(claim: Claim, record: Record) -> list[str]:
    """Fields of the record that a claim needs: of several that would do, one that bears it out."""
    known = [name for name in claim.fields if record.has(name)]
    bearing = [name for name in known if not claim.negated and _bears_out(claim, name, record)]
    return bearing[:1] or known


def _bears_out(claim: Claim, name: str, record: Record) -> bool:
    return bool(_values(record, name) & claim.alternatives[name])


def topics(masked: str, lexicon: Lexicon) -> frozenset[str]:
    """Groups of facts that the nouns and adjectives of a text speak of ("pitch", "rate", ...)."""
    return frozenset(
        GROUP[name]
        for token in lexicon.tokens(masked)
        if token.item is not None and token.item.kind in ("noun", "direct")
        for name in token.item.means
    )


def _values(record: Record, name: str) -> frozenset[str]:
    if name == "events":
        return frozenset(span.text for span in record.events)
    value = record.get(name)
    return frozenset() if value is None else frozenset([value])


def _sentences(tokens: Sequence[Token]) -> Iterable[list[Token]]:
    sentence: list[Token] = []
    for token in tokens:
        if token.text in _SENTENCE_END:
            yield sentence
            sentence = []
        else:
            sentence.append(token)
    yield sentence


def _asked(sentence: Sequence[Token], index: int) -> bool:
    return any(token.kind == "ask" for token in sentence[max(0, index - 2) : index])


def _negated(sentence: Sequence[Token], index: int) -> bool:
    """A negation up to four words before in the same phrase, or one that begins it ("nothing in the voice is ...")."""
    for step, token in enumerate(reversed(sentence[:index])):
        first = step == index - 1
        if token.item is not None and token.item.negates and (step < _NEGATED or first):
            return True
        if token.kind in ("joiner", "break") or token.text in _PARTS or (token.kind == "noun" and step < _NEGATED):
            return False
    return False


def _levels(sentence: Sequence[Token], off: Sequence[bool], lexicon: Lexicon) -> Iterable[Claim]:
    """Claims made of a noun and a level word: "a high pitch", "the pace is rather slow", "pitch and energy are low"."""
    groups = [group for group in _noun_groups(sentence, lexicon) if not off[group[0]]]
    level_of = {group[0]: left for group in groups if (left := _left(sentence, group[0], lexicon)) is not None}
    for kind in ("noun", "voice"):  # "the pitch of the voice is high" is about the pitch
        for number, group in enumerate(groups):
            if group[0] in level_of or sentence[group[0]].kind != kind:
                continue
            later = (other[0] for other in groups[number + 1 :] if kind == "voice" or sentence[other[0]].kind == kind)
            right = _right(sentence, group, next(later, len(sentence)), frozenset(level_of.values()))
            if right is not None:
                level_of[group[0]] = right
    for group in groups:
        if group[0] in level_of and off[level_of[group[0]]]:
            continue
        if group[0] in level_of:
            yield from _pair(sentence, group, level_of[group[0]])
        else:
            yield from _misfit(sentence, group[-1], lexicon)


def _noun_groups(sentence: Sequence[Token], lexicon: Lexicon) -> list[list[int]]:
    """Nouns joined by a comma or "and" share a level word."""
    groups: list[list[int]] = []
    for index, token in enumerate(sentence):
        if token.kind not in _NOUNS:
            continue
        if groups and _joined(sentence, groups[-1][-1], index, lexicon):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _joined(sentence: Sequence[Token], left: int, right: int, lexicon: Lexicon) -> bool:
    between = [token for token in sentence[left + 1 : right] if token.text not in lexicon.articles]
    joiners = sum(token.kind == "joiner" for token in between)
    commas = sum(token.text == "," for token in between)
    if not between or joiners + commas != len(between):
        return False
    return joiners > 0 or right - left == 2


def _left(sentence: Sequence[Token], noun: int, lexicon: Lexicon) -> int | None:
    """The level word directly before a noun, or with one plain word between ("a high median pitch")."""
    for index in (noun - 1, noun - 2):
        if index < 0:
            return None
        token = sentence[index]
        if _accepts(sentence[noun], token):
            return index
        if token.item is not None or not token.text.isalpha() or token.text in lexicon.apart:
            return None
    return None


def _right(sentence: Sequence[Token], group: Sequence[int], stop: int, taken: frozenset[int]) -> int | None:
    """The first level word after a noun ("the pitch, at 212 Hz, is high"), up to the next noun or a "but"."""
    for index in range(group[-1] + 1, min(stop, group[-1] + 1 + _LOOK_RIGHT)):
        if sentence[index].kind == "break":
            return None
        if index not in taken and _accepts(sentence[group[0]], sentence[index]):
            return index
    return None


def _misfit(sentence: Sequence[Token], noun: int, lexicon: Lexicon) -> Iterable[Claim]:
    """ "The pace is wide": a level of something else, which no value of the noun's fields can make true."""
    item = sentence[noun].item
    words = sentence[noun + 1 : noun + 3]
    if (
        item is None
        or item.kind == "voice"
        or len(words) < 2
        or words[0].text not in lexicon.copulas
        or words[1].kind != "level"
    ):
        return
    text = f"{sentence[noun].text}: {words[1].text}"
    yield Claim({name: frozenset() for name in item.means}, text, sentence[noun].start, kind="level")


def _accepts(noun: Token, level: Token) -> bool:
    if noun.item is None or level.item is None or level.item.kind not in ("level", "direct"):
        return False
    return any(name in level.item.means for name in noun.item.means)


def _pair(sentence: Sequence[Token], group: Sequence[int], level: int) -> Iterable[Claim]:
    item = sentence[level].item
    if item is None or _asked(sentence, level):
        return
    for index in group:
        noun = sentence[index].item
        if noun is None:
            continue
        means = {name: item.means[name] for name in noun.means if name in item.means}
        if means and not (item.kind == "direct" and means == dict(item.means)):  # "a fast pace": already claimed
            text = f"{sentence[index].text}: {sentence[level].text}"
            yield Claim(means, text, sentence[index].start, _negated(sentence, level), kind="level")
