"""Words of a transcript: splitting, spelling out numbers, counting syllables, naming languages.

A word here is what is spoken between two blanks: lower case, Unicode NFC, no punctuation but the apostrophe inside
it, digits kept as they stand. Nothing is translated or corrected; the stored transcript stays as the corpus gave it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# --- Languages ----------------------------------------------------------------------------------------------

_ISO_639 = {
    # ISO 639-1: ISO 639-2/T or /B codes, English name, own name
    "ar": "ara arabic العربية",
    "bn": "ben bengali",
    "ca": "cat catalan català",
    "cs": "ces cze czech čeština",
    "cy": "cym wel welsh",
    "da": "dan danish dansk",
    "de": "deu ger german deutsch",
    "el": "ell gre greek",
    "en": "eng english",
    "es": "spa spanish español castilian",
    "et": "est estonian",
    "eu": "eus baq basque",
    "fa": "fas per persian farsi",
    "fi": "fin finnish suomi",
    "fr": "fra fre french français",
    "gl": "glg galician",
    "he": "heb hebrew",
    "hi": "hin hindi",
    "hu": "hun hungarian magyar",
    "id": "ind indonesian",
    "it": "ita italian italiano",
    "ja": "jpn japanese 日本語",
    "ko": "kor korean 한국어",
    "lt": "lit lithuanian",
    "lv": "lav latvian",
    "ms": "msa may malay",
    "nb": "nob bokmål",
    "nl": "nld dut dutch nederlands",
    "no": "nor norwegian",
    "pl": "pol polish polski",
    "pt": "por portuguese português",
    "ro": "ron rum romanian",
    "ru": "rus russian русский",
    "sk": "slk slo slovak",
    "sl": "slv slovenian",
    "sv": "swe swedish svenska",
    "ta": "tam tamil",
    "te": "tel telugu",
    "th": "tha thai",
    "tr": "tur turkish türkçe",
    "uk": "ukr ukrainian",
    "ur": "urd urdu",
    "vi": "vie vietnamese",
    "zh": "zho chi cmn yue chinese mandarin cantonese 中文",
}
_LANGUAGE = {name: code for code, names in _ISO_639.items() for name in (code, *names.split())}


def language(tag: str | None) -> str | None:
    """ISO 639-1 code of a language tag or name, or None when it names none we know.

    >>> language("en-US"), language("German"), language("deu"), language("en_GB.UTF-8"), language("klingon")
    ('en', 'de', 'de', 'en', None)
    """
    if not tag:
        return None
    first = re.split(r"[-_/.,;()\s]+", unicodedata.normalize("NFC", tag).strip().casefold())[0]
    return _LANGUAGE.get(first)


# --- Words --------------------------------------------------------------------------------------------------

_APOSTROPHES = str.maketrans(dict.fromkeys("’ʼ‘`´＇", "'"))
# Letters with their marks, or digits with decimal and thousands signs inside; apostrophes inside or before a word.
# Tags such as [laughter] or <noise> are matched first and left out: they are sounds, not words.
_WORD = re.compile(
    r"\[[^\[\]]{0,60}\]|<[^<>]{0,60}>"
    r"|'?[^\W\d_](?:[^\W\d_]|[\u0300-\u036f]|'(?=[^\W\d_]))*'?|\d+(?:[.,:]\d+)*(?:[^\W\d_]+)?"
)
#: Elisions that are words with an apostrophe in front; any other leading apostrophe is an opening quote.
_LEADING = frozenset({"'tis", "'twas", "'twere", "'twill", "'em", "'til", "'cause", "'bout", "'n", "'s"})


class Token(NamedTuple):
    """A word, and where its letters stand in the NFC form of the text it was taken from."""

    word: str
    begin: int
    end: int


def tokens(text: str | None) -> list[Token]:
    """Words of ``text`` in order, with their places. Hyphenated words are split.

    Scripts without blanks between words (Chinese, Japanese, Thai) come out as runs of letters, not as words.
    """
    found = []
    for match in _WORD.finditer(unicodedata.normalize("NFC", text or "").translate(_APOSTROPHES)):
        word, begin, end = match.group().lower(), match.start(), match.end()
        if word[0] in "[<":
            continue
        if word[0] == "'" and word not in _LEADING:
            word, begin = word[1:], begin + 1
        if word.endswith("'") and not word.endswith("in'"):  # a closing quote, or walkin'
            word, end = word[:-1], end - 1
        if word:
            found.append(Token(word, begin, end))
    return found


def words(text: str | None) -> list[str]:
    """Words of ``text`` in order, as ``tokens`` finds them.

    >>> words("Rose's owner's — don’t STOP, it’s 1961! [laughs]")
    ["rose's", "owner's", "don't", 'stop', "it's", '1961']
    """
    return [token.word for token in tokens(text)]


def stretch(text: str, first: int, last: int) -> str:
    """The passage of ``text`` from word ``first`` up to word ``last`` (exclusive), with its punctuation.

    >>> stretch("Then, being asked (where?), reply.", 2, 4)
    'asked (where?),'
    """
    found = tokens(text)[first:last]
    if not found:
        return ""
    whole = unicodedata.normalize("NFC", text)
    begin, end = found[0].begin, found[-1].end
    while begin and not whole[begin - 1].isspace() and not whole[begin - 1].isalnum() and whole[begin - 1] not in "-–—":
        begin -= 1
    while end < len(whole) and not whole[end].isspace() and not whole[end].isalnum():
        end += 1
    return " ".join(whole[begin:end].split())


def normalise(text: str | None) -> str:
    """``words`` joined by blanks: the form in which two transcripts are compared."""
    return " ".join(words(text))


# --- English numbers ----------------------------------------------------------------------------------------

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINAL = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINAL |= {"twelve": "twelfth"}


def _cardinal(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        return [_TENS[number // 10], *([_ONES[number % 10]] if number % 10 else [])]
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            return [*_cardinal(number // size), name, *(_cardinal(rest) if rest else [])]
    raise AssertionError("unreachable")


def _year(number: int) -> list[str]:
    """Four digits as English speakers read years: 1961 -> nineteen sixty one, 1905 -> nineteen oh five."""
    high, low = divmod(number, 100)
    if number % 1000 < 10:
        return _cardinal(number)
    if low == 0:
        return [*_cardinal(high), "hundred"]
    return [*_cardinal(high), *(["oh", _ONES[low]] if low < 10 else _cardinal(low))]


def spoken(word: str, lang: str | None) -> list[str] | None:
    """How a word of digits is said, one word per item; the word itself if it has no digits; None if not known.

    Only English numbers are spelt out, one reading each (1961 as a year). Nothing is guessed for other languages.

    >>> spoken("1961", "en"), spoken("21st", "en"), spoken("3.5", "en"), spoken("12", "de")
    (['nineteen', 'sixty', 'one'], ['twenty', 'first'], ['three', 'point', 'five'], None)
    """
    if not any(char.isdigit() for char in word):
        return [word]
    if lang != "en":
        return None
    match = re.fullmatch(r"(\d[\d,]*)(?:\.(\d+))?(st|nd|rd|th|s)?", word, re.ASCII)
    if not match or len(match[1].replace(",", "")) > 12:
        return None
    digits = match[1].replace(",", "")
    number = int(digits)
    is_year = len(digits) == 4 and "," not in match[1] and 1100 <= number < 2100 and not match[2]
    said = _year(number) if is_year else _cardinal(number)
    if match[2]:
        return None if match[3] else [*said, "point", *(_ONES[int(digit)] for digit in match[2])]
    if match[3] == "s":
        said[-1] = said[-1][:-1] + "ies" if said[-1].endswith("y") else said[-1] + "s"
    elif match[3]:
        last = said[-1]
        said[-1] = _ORDINAL.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return said


# --- Syllables ----------------------------------------------------------------------------------------------


def syllables(words: Iterable[str], lang: str | None) -> int | None:
    """Syllables in ``words`` as spoken in full, or None when the language or one of the words cannot be counted.

    English words are looked up in the CMU dictionary (inside the pocketsphinx wheel; spelling rules count the rest,
    right for 90 % of the dictionary's words). German, Polish and Spanish are counted by spelling: vowel letters less
    the diphthongs and silent letters of the language. Other languages wait for a rule somebody has checked.
    """
    rule = _RULES.get(lang or "")
    if rule is None:
        return None
    total = 0
    for word in words:
        said = spoken(word, lang)
        if said is None or any(not re.search(r"[^\W\d_]", part) for part in said):
            return None
        total += sum(rule(part) for part in said)
    return total


@lru_cache(maxsize=1)
def _cmu_syllables() -> dict[str, int]:
    """Syllables of each word in CMUdict's first pronunciation: the vowels are the two-letter phones below."""
    spec = find_spec("pocketsphinx")
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(spec.submodule_search_locations[0]) / "model" / "en-us" / "cmudict-en-us.dict"
    vowels = frozenset(["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])
    counts = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        if not word.endswith(")"):
            counts[word] = sum(phone in vowels for phone in phones.split())
    return counts


def _english(word: str) -> int:
    known = _cmu_syllables().get(word)
    if known:
        return known
    if word.endswith("'s") and (base := _cmu_syllables().get(word[:-2])):
        return base + bool(re.search(r"(?:s|z|x|[sc]h|ce|ge|se)'s$", word))
    bare = word.replace("'", "")
    count = len(re.findall(r"[aeiouy]+", bare))
    count += len(re.findall(r"i[ao](?!us)|[eiu]ing$|[^cgt]ious$|eo|ua(?!r)|[aeiou]y(?=[aeiou])", bare))
    count -= len(re.findall(r"[tcsg]i[ao]|gious$|[gq]ua|[^aeiouylr]es$(?<![sxzcg]es)|[^aeioutd]ed$", bare))
    if re.search(r"[^aeiouy]e$", bare) and not re.search(r"[^aeiouylrw]le$", bare):
        count -= 1
    return max(count, 1)


def _vowel_rule(nucleus: str, *, silent: str = "") -> Callable[[str], int]:
    """Count matches of ``nucleus`` after taking ``silent`` away; a word without any counts as one."""
    pattern, mute = re.compile(nucleus), re.compile(silent) if silent else None

    def count(word: str) -> int:
        return max(len(pattern.findall(mute.sub("", word) if mute else word)), 1)

    return count


_RULES: dict[str, Callable[[str], int]] = {
    "en": _english,
    # Two vowel letters are one syllable only in the listed pairs.
    "de": _vowel_rule(r"ei|ai|ey|ay|au|äu|eu|ie(?!n$)|aa|ee|oo|ui(?=$)|[aeiouäöüéy]", silent=r"(?<=q)u"),
    # Weak i and u join a neighbouring vowel unless accented.
    "es": _vowel_rule(r"[iuü]?[aeoáéó](?:[iu](?![aeoáéó])|y$)?|[íú]|[iuü]+|y$", silent=r"(?<=[gq])u(?=[eéií])|h"),
    # i before a vowel only softens the consonant; au and eu are diphthongs in loan words.
    "pl": _vowel_rule(r"[ae]u|[aąeęioóuy]", silent=r"i(?=[aąeęoóuy])"),
}
