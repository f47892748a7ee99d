"""Which questions ask nearly the same, within a clip and over a whole set, and where the right option stands. Pure.

Two questions of one clip are the same when they quote the same words and have nearly the same words otherwise, none of
those that differ being one that changes what is asked ("pitch" for "tempo", "first" for "last"). Over a set, questions
are put together by a key, because every pair of a million cannot be compared.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.claims import split_quotes
from datagen.quality.lexicon import Lexicon, load

#: Share of their words (Jaccard index) from which on two questions of a clip are one.
NEARLY = 0.7
#: Expected answers per place below which the chi-square test says nothing.
LEAST_EXPECTED = 5.0

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
#: A list of at least three single words: the options, whose order and number say nothing of what is asked.
_LIST = re.compile(
    r"[^\W\d_]+(?:, ?[^\W\d_]+)+,? (?:or|and|oder|und|o|y|ou|et) [^\W\d_]+|[^\W\d_]+(?:, ?[^\W\d_]+){2,}"
)
_OFFER = re.compile(r"\b(?:choose one|options|answer with one of|pick from this list)\s*:", re.IGNORECASE)
_ENDINGS = ("ing", "ed", "es", "s", "e", "ly")
#: As RE2 writes it: quotations, and everything that is no letter or digit.
_QUOTATION, _NO_WORD = r'"[^"]*"|“[^”“]*”', r"[^\p{L}\p{N}']+"


@dataclass(frozen=True, slots=True)
class _Asked:
    words: frozenset[str]
    quotes: tuple[str, ...]


def same(one: str, other: str, language: str = "en") -> bool:
    """Whether two questions about one clip ask nearly the same.

    >>> same("Which emotion do you hear in this voice?", "What emotion do you hear in the voice?")
    True
    >>> same("Is the pitch of the voice low, normal or high?", "Is the pace of the voice high, low or normal?")
    False
    >>> same('When is "door" said?', 'When is "kids" said?')
    False
    """
    a, b = _asked(one, language), _asked(other, language)
    if a.quotes != b.quotes:
        return False
    differing = a.words ^ b.words
    if not differing:
        return True
    if len(differing) > (1 - NEARLY) * len(a.words | b.words):
        return False
    return not any(_decides(word, language) for word in differing)


@lru_cache(maxsize=65_536)
def _asked(question: str, language: str) -> _Asked:
    masked, quotes, _ = split_quotes(question)
    masked = _LIST.sub(" ", _OFFER.sub(" ", masked.lower().replace("’", "'")))
    return _Asked(_content(masked, language), tuple(sorted(quote.lower() for quote in quotes)))


def _content(masked: str, language: str) -> frozenset[str]:
    """Stems of the words that carry what is asked; all of them where nothing else is left."""
    lexicon = load(language)
    words = [word.removesuffix("'s") for word in _WORD.findall(masked)]
    telling = [word for word in words if lexicon is None or word in lexicon.deciding or not _filler(word, lexicon)]
    return frozenset(map(_stem, telling or words))


def _filler(word: str, lexicon: Lexicon) -> bool:
    return word in lexicon.function_words


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """Without an inflection, roughly: enough to hold "express" and "expressed" together."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4 and not (ending == "s" and word.endswith("ss")):
            return word.removesuffix(ending)
    return word


@lru_cache(maxsize=65_536)
def _decides(stem: str, language: str) -> bool:
    """Whether a word changes what is asked: a measured side of the voice, a label, a place, a number."""
    lexicon = load(language)
    if lexicon is None or stem.isdigit() or stem in lexicon.number_words:
        return True
    forms = (stem, *(stem + ending for ending in _ENDINGS))
    if any(form in lexicon.deciding for form in forms):
        return True
    items = [token.item for form in forms for token in lexicon.tokens(form)]
    return any(item is not None and (item.means or item.years or item.negates) for item in items)


def repeats(
    questions: pa.Array | pa.ChunkedArray, clips: pa.Array | pa.ChunkedArray, language: str = "en"
) -> npt.NDArray[np.int64]:
    """How many other clips are asked nearly the same, per question.

    The same are questions whose telling words are the same, whatever their order, their inflections, what they quote
    and in which order they list their options. A million different questions take 10 s on one core.

    Args:
        questions: text; null = nothing is asked, which repeats nothing.
        clips: clip of each question.
    """
    asked = questions.combine_chunks() if isinstance(questions, pa.ChunkedArray) else questions
    plain = pc.replace_substring_regex(pc.utf8_lower(asked), _QUOTATION, " ")
    plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, _NO_WORD, " "))
    coded = pc.dictionary_encode(plain)
    names = coded.dictionary.to_pylist()
    keys: dict[frozenset[str], int] = {}
    of_name = np.array([keys.setdefault(_content(name, language), len(keys)) for name in names], np.int64)
    found = np.zeros(len(asked), np.int64)
    rows = np.flatnonzero(pc.is_valid(asked).to_numpy(zero_copy_only=False))
    if not len(rows):
        return found
    key = of_name[coded.indices.take(pa.array(rows)).to_numpy(zero_copy_only=False)]
    clip = _codes(clips)[rows]
    width = int(clip.max()) + 1
    pairs = np.unique(key * width + clip)
    found[rows] = np.bincount(pairs // width, minlength=len(keys))[key] - 1
    return found


def _codes(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    indices = pc.dictionary_encode(whole).indices
    return np.asarray(pc.fill_null(indices, -1).to_numpy(zero_copy_only=False), np.int64) + 1


def positions(
    options: pa.Array | pa.ChunkedArray, labels: pa.Array | pa.ChunkedArray
) -> tuple[dict[int, npt.NDArray[np.int64]], float | None]:
    """At which place among its options the right one stands.

    Args:
        options: list of text per sample; null = no closed list.
        labels: the right one.

    Returns:
        Number of options -> samples per place; and the p-value of Pearson's chi-square test that all places are
        equally frequent, over all numbers of options together. None where no number of options has at least five
        samples per place.
    """
    lists = options.combine_chunks() if isinstance(options, pa.ChunkedArray) else options
    right = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    size = np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), np.int64)
    of_row = np.repeat(np.arange(len(lists)), size)
    place = np.arange(len(of_row)) - np.repeat(np.cumsum(size) - size, size)
    equal = pc.equal(pc.list_flatten(lists), right.take(pa.array(of_row)))
    hit = np.asarray(pc.fill_null(equal, False).to_numpy(zero_copy_only=False), bool)
    counts = {
        int(number): np.bincount(place[hit & (size[of_row] == number)], minlength=number).astype(np.int64)
        for number in np.unique(size[of_row[hit]])
        if number > 1
    }
    statistic, freedom = 0.0, 0
    for found in counts.values():
        expected = found.sum() / len(found)
        if expected >= LEAST_EXPECTED:
            statistic += float(((found - expected) ** 2).sum() / expected)
            freedom += len(found) - 1
    return counts, chi_square_p(statistic, freedom) if freedom else None


def chi_square_p(statistic: float, freedom: int) -> float:
    """Chance of at least ``statistic`` under a chi-square distribution with ``freedom`` (>= 1) degrees.

    The finite series for whole degrees (Abramowitz & Stegun 26.4.4 and 26.4.5).

    >>> round(chi_square_p(5.991, 2), 3), round(chi_square_p(7.815, 3), 3)
    (0.05, 0.05)
    """
    half = statistic / 2
    if freedom % 2:
        total, term = math.erfc(math.sqrt(half)), math.sqrt(half) / math.gamma(1.5)
        start = 1.5
    else:
        total, term, start = 0.0, 1.0, 1.0
    for step in range((freedom - freedom % 2) // 2):
        total += term * math.exp(-half)
        term *= half / (start + step)
    return min(1.0, total)
