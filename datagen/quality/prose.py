"""Is a text whole, in the expected language, and free of a model's habits? Pure functions; each yields messages.

All of them look at *masked* text: quotations are the speaker's words and may repeat, break off or be in any language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from datagen.quality.lexicon import QUOTE_MARK, Lexicon
from datagen.quality.untrusted import neutralise

MIN_FUNCTION_WORDS = 1 / 7  # share; English prose has about a half, other languages hardly any
_MIN_WORDS = 8  # shorter texts say little about their language,
_FEW = 5  # and from so many on something
_NGRAM, _MAX_SAME = 4, 2
_WORD = re.compile(r"[^\W\d_][\w'-]*")
#: Straight quotation marks are our own; ``neutralise`` is for data, where they may not be.
_QUOTATION_MARKS = str.maketrans(dict.fromkeys('"“”', "'"))
_ROLE = re.compile(r"(?:^|[.!?\n]\s*)(?:assistant|user|human|system)\s*:", re.IGNORECASE)
_LINK = re.compile(r"https?://\S*|\bwww\.\S*", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?;]+")


def words(masked: str) -> list[str]:
    return [match.lower() for match in _WORD.findall(masked)]


def sentences(masked: str) -> list[str]:
    return _SENTENCE.findall(masked)


def boilerplate(masked: str, lexicon: Lexicon) -> Iterable[str]:
    if lexicon.refusals and (match := lexicon.refusals.search(masked)):
        yield f"the text holds the stock phrase '{match[0]}'"


def markup(text: str) -> Iterable[str]:
    """Signs of markup, of a chat template or of a template engine: nobody speaks them, and they may steer a reader."""
    straight = unicodedata.normalize("NFC", text).translate(_QUOTATION_MARKS)
    if (harmless := neutralise(straight)) != " ".join(straight.split()):
        sign = next((a for a, b in zip(straight, harmless, strict=False) if a != b), "")
        yield f"the text holds '{sign}', a sign of markup"
    if match := _LINK.search(text):
        yield f"the text holds '{match[0]}', where a reader would be led"
    if match := _ROLE.search(text):
        yield f"the text holds '{match[0].strip()}', as a transcript of a chat does"


def truncation(masked: str, quotes: Sequence[str], quotes_pair: bool) -> Iterable[str]:
    """A text that does not end like a sentence was cut off; a quotation at its end must bring its own full stop."""
    if not quotes_pair:
        yield "a quotation mark has no partner"
    text = masked.rstrip()
    if text.endswith(QUOTE_MARK) and quotes:
        text = quotes[-1].rstrip()
    if not text.endswith((".", "!", "?")) or text.endswith(".."):
        yield f"the text breaks off: '{text[-30:]}'"


def repetition(masked: str) -> Iterable[str]:
    """The same sentence twice, or the same four words more than twice."""
    counted = Counter(" ".join(re.findall(r"[\w'-]+", sentence.lower())) for sentence in sentences(masked))
    for sentence, count in counted.items():
        if count > 1 and len(sentence.split()) > 2:
            yield f"the sentence '{sentence[:60]}' stands there {count} times"
    tokens = words(masked)
    grams = Counter(tuple(tokens[index : index + _NGRAM]) for index in range(len(tokens) - _NGRAM + 1))
    for gram, count in grams.items():
        if count > _MAX_SAME:
            yield f"the words '{' '.join(gram)}' stand there {count} times"


def letters(masked: str, lexicon: Lexicon) -> Iterable[str]:
    """Every letter is Latin, as in all languages with word lists: a look-alike would hide a word from them."""
    if strange := next((char for char in masked if not char.isascii() and _is_foreign(char)), None):
        yield f"the text holds '{strange}', which is no letter of language '{lexicon.language}'"


def language(masked: str, lexicon: Lexicon) -> Iterable[str]:
    """As many function words as prose has; in a few words, one."""
    yield from letters(masked, lexicon)
    tokens = words(masked)
    known = sum(token in lexicon.function_words for token in tokens)
    if (len(tokens) >= _MIN_WORDS and known < MIN_FUNCTION_WORDS * len(tokens)) or (len(tokens) >= _FEW and not known):
        yield f"the text does not read like language '{lexicon.language}'"


def _is_foreign(char: str) -> bool:
    """A letter of another script, or a picture."""
    return (char > "\u2000" and unicodedata.category(char) == "So") or (
        char.isalpha() and not unicodedata.name(char, "").startswith("LATIN")
    )
