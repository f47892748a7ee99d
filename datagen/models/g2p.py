"""Pronunciations of English words that no dictionary has, in the CMU phone set.

Good enough to find a word in time when its neighbours are known; not good enough to say it aloud. A word is tried as
a known word with an ending, as two known words, then letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_VOICELESS = {"P", "T", "K", "F", "TH"}
_SIBILANT = {"S", "Z", "SH", "ZH", "CH", "JH"}

#: Spelling of an ending -> what it adds; a callable decides by the last phone before it.
_Ending = str | Callable[[str], str]


def _s(last: str) -> str:
    return "IH Z" if last in _SIBILANT else "S" if last in _VOICELESS else "Z"


def _ed(last: str) -> str:
    return "IH D" if last in {"T", "D"} else "T" if last in _VOICELESS | {"S", "SH", "CH"} else "D"


_ENDINGS: tuple[tuple[str, _Ending], ...] = (
    ("'s", _s), ("'d", _ed), ("'st", "S T"), ("'ll", "AH L"), ("'ve", "V"), ("'re", "ER"), ("in'", "IH N"),
    ("nesses", "N AH S IH Z"), ("ness", "N AH S"), ("lessly", "L AH S L IY"), ("less", "L AH S"),
    ("fully", "F AH L IY"), ("ful", "F AH L"), ("ings", "IH NG Z"), ("ing", "IH NG"), ("edst", "IH D S T"),
    ("est", "AH S T"), ("eth", "AH TH"), ("ers", "ER Z"), ("er", "ER"), ("ed", _ed), ("es", _s), ("ly", "L IY"),
    ("st", "S T"), ("s", _s), ("d", _ed),
)  # fmt: skip
_PREFIXES = (("un", "AH N"), ("re", "R IY"), ("over", "OW V ER"), ("out", "AW T"), ("under", "AH N D ER"))

_LETTERS: tuple[tuple[str, str], ...] = (
    # first match wins; ^ and $ are the word's ends, C any consonant letter
    ("^kn", "N"), ("^wr", "R"), ("^gn", "N"), ("^ps", "S"), ("^x", "Z"), ("^y", "Y"), ("mb$", "M"), ("gue$", "G"),
    ("tion", "SH AH N"), ("sion", "ZH AH N"), ("cian", "SH AH N"), ("cious", "SH AH S"), ("tious", "SH AH S"),
    ("ture", "CH ER"), ("ough", "AO"), ("augh", "AO"), ("eigh", "EY"), ("igh", "AY"), ("tch", "CH"), ("sch", "SH"),
    ("chr", "K R"), ("ch", "CH"), ("sh", "SH"), ("th", "TH"), ("ph", "F"), ("wh", "W"), ("gh", "G"), ("ck", "K"),
    ("dge", "JH"), ("ng", "NG"), ("qu", "K W"), ("le$", "AH L"), ("ous$", "AH S"), ("ee", "IY"), ("ear", "IH R"),
    ("ea", "IY"), ("oo", "UW"), ("our", "AO R"), ("ou", "AW"), ("ow", "OW"), ("oi", "OY"), ("oy", "OY"),
    ("air", "EH R"), ("ai", "EY"), ("ay", "EY"), ("au", "AO"), ("aw", "AO"), ("ei", "IY"), ("ey", "IY"),
    ("ie", "IY"), ("eu", "UW"), ("ew", "UW"), ("ue", "UW"), ("ui", "UW"), ("oar", "AO R"), ("oa", "OW"),
    ("oe", "OW"), ("ar", "AA R"), ("er", "ER"), ("ir", "ER"), ("ur", "ER"), ("or", "AO R"), ("aCe$", "EY C"),
    ("iCe$", "AY C"), ("oCe$", "OW C"), ("uCe$", "UW C"), ("eCe$", "IY C"), ("e$", ""), ("y$", "IY"), ("a$", "AH"),
    ("o$", "OW"), ("ci", "S IH"), ("ce", "S EH"), ("cy", "S IY"), ("ge", "JH EH"), ("gi", "JH IH"), ("a", "AE"),
    ("b", "B"), ("c", "K"), ("d", "D"), ("e", "EH"), ("f", "F"), ("g", "G"), ("h", "HH"), ("i", "IH"), ("j", "JH"),
    ("k", "K"), ("l", "L"), ("m", "M"), ("n", "N"), ("o", "AA"), ("p", "P"), ("r", "R"), ("s", "S"), ("t", "T"),
    ("u", "AH"), ("v", "V"), ("w", "W"), ("x", "K S"), ("y", "IH"), ("z", "Z"),
)  # fmt: skip
_CONSONANTS = "bcdfghjklmnpqrstvwxz"


def pronounce(word: str, lookup: Callable[[str], str | None]) -> str | None:
    """Phones of ``word``, separated by blanks, or None when it has letters that are not Latin.

    Args:
        word: lower case, as ``text.words`` splits it.
        lookup: the dictionary: a word's phones, or None.
    """
    known = lookup(word)
    if known:
        return known
    plain = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
    plain = plain.replace("æ", "e").replace("œ", "e").replace("ø", "o").replace("ß", "ss").replace("ł", "l")
    if not re.fullmatch(r"[a-z']*[a-z][a-z']*", plain):
        return None
    return _inflected(plain, lookup) or _compound(plain, lookup) or _spelt(plain.replace("'", ""))


def _inflected(word: str, lookup: Callable[[str], str | None]) -> str | None:
    for ending, sound in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 2:
            continue
        undone = [stem, stem + "e", stem + "er"]
        if stem.endswith("i"):
            undone.append(stem[:-1] + "y")
        if stem[-1] == stem[-2]:
            undone.append(stem[:-1])
        for base in undone:
            phones = lookup(base)
            if phones:
                return f"{phones} {sound if isinstance(sound, str) else sound(phones.split()[-1])}"
    for prefix, sound in _PREFIXES:
        rest = word.removeprefix(prefix)
        if rest != word and len(rest) > 2 and (phones := lookup(rest) or _inflected(rest, lookup)):
            return f"{sound} {phones}"
    return None


def _compound(word: str, lookup: Callable[[str], str | None]) -> str | None:
    for cut in range(len(word) - 3, 2, -1):
        left, right = lookup(word[:cut]), lookup(word[cut:])
        if left and right:
            return f"{left} {right}"
    return None


def _spelt(word: str) -> str:
    """Letter by letter; doubled consonants sound once."""
    phones: list[str] = []
    at = 0
    while at < len(word):
        if at and word[at] == word[at - 1] and word[at] in _CONSONANTS:
            at += 1
            continue
        for pattern, sound in _LETTERS:
            body = pattern.strip("^$")
            taken = word[at : at + len(body)]
            if (
                len(taken) < len(body)
                or (pattern[0] == "^" and at)
                or (pattern[-1] == "$" and at + len(body) < len(word))
            ):
                continue
            if all(want == got or (want == "C" and got in _CONSONANTS) for want, got in zip(body, taken, strict=True)):
                if "C" in body:  # vowel, one consonant, silent e: the consonant keeps its own sound
                    consonant = {"c": "S", "g": "JH", "q": "K", "x": "K S", "h": ""}.get(taken[1])
                    single = dict(_LETTERS)[taken[1]] if consonant is None else consonant
                    sound = sound.replace("C", single)
                phones.extend(sound.split())
                at += len(body)
                break
        else:  # q without u, or a letter the table lacks
            phones.append("K")
            at += 1
    return " ".join(phones) or "AH"
