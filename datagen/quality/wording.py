"""The words of a transcript as such: how many there are, how many have times, and their plain form for text models."""

from __future__ import annotations

import math
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.texts import normalised

#: Tags such as [laughter] or <noise> are sounds, not words.
_TAG = re.compile(r"\[[^\[\]]{0,60}\]|<[^<>]{0,60}>")
_APOSTROPHES = str.maketrans("’ʼ`´", "''''")
_KANA, _HAN = r"\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f", r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SOUTH_EAST = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
#: Scripts written without blanks -> letters to a word, roughly (vowel signs above and below are not letters). A
#: dictionary would be exact and is not part of the embedded environment; for gates and shares of words this will do.
_LETTERS_PER_WORD = (
    (re.compile(f"[{_HAN}\U00020000-\U0003134f]"), 1.5),
    (re.compile(f"[{_KANA}]"), 2.0),
    (re.compile(f"[{_SOUTH_EAST}]"), 3.0),  # Thai, Lao, Burmese, Khmer
)
_UNBROKEN = re.compile(f"[{_HAN}{_KANA}{_SOUTH_EAST}\U00020000-\U0003134f]+")


def without_tags(text: str | None) -> str | None:
    """The text less what stands in square or angle brackets. Null stays null."""
    return None if text is None else _TAG.sub(" ", text)


def word_count(text: str | None) -> int | None:
    """Words as ``texts.normalised`` parts them, tags left out; 0 = there is no word in it, null = there is no text.

    In scripts without blanks between words, letters are counted and divided: Chinese characters by 1.5, kana by 2,
    Thai, Lao, Burmese and Khmer letters by 3, each run of them rounded and at least one word.

    >>> word_count("Well, don't! [laughs]"), word_count("我今天很高兴"), word_count("[sighs]"), word_count(None)
    (2, 4, 0, None)
    """
    if text is None:
        return None
    plain = normalised(without_tags(text) or "")
    runs = _UNBROKEN.findall(plain)
    return len(_UNBROKEN.sub(" ", plain).split()) + sum(map(_words_in, runs))


def _words_in(run: str) -> int:
    letters = "".join(char for char in run if unicodedata.category(char)[0] in "LN")
    words = sum(len(script.findall(letters)) / size for script, size in _LETTERS_PER_WORD)
    return max(1, math.floor(words + 0.5))


def word_coverage(words: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Share of a clip's words that have a start and an end, 0..1, 6 decimals; null without words.

    Args:
        words: list of ``tables.WORD`` per clip.
    """
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    count = pc.fill_null(pc.list_value_length(words), 0).to_numpy(zero_copy_only=False)
    each = pc.list_flatten(words)
    timed = pc.and_(pc.is_valid(pc.struct_field(each, "start")), pc.is_valid(pc.struct_field(each, "end")))
    of_clip = np.repeat(np.arange(len(words)), count)
    found = np.bincount(of_clip, timed.to_numpy(zero_copy_only=False), minlength=len(words))
    share = np.round(found / np.maximum(count, 1), 6)
    return pa.array(share, pa.float64(), mask=count == 0)


def plain(text: str | None) -> str:
    """What was said and nothing of how: lower case, no punctuation but the apostrophe inside a word, no tags.

    A recogniser writes an exclamation mark because it *heard* one. A model of the words alone must not see it, and
    must say the same of the same words.

    >>> plain("I’m FINE!!! [sobs] Really -- 'fine'...")
    "i'm fine really fine"
    """
    lower = unicodedata.normalize("NFC", without_tags(text) or "").translate(_APOSTROPHES).lower()
    kept = "".join(char if char == "'" or unicodedata.category(char)[0] in "LNM" else " " for char in lower)
    return " ".join(word for part in kept.split() if (word := part.strip("'")))
