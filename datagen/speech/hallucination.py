"""Signs that a recogniser made a text up: pure functions on the text and on what the recogniser says of it.

Whisper writes even where nobody speaks. Its inventions loop, or are the boilerplate of subtitles, or hold more words
than the sound has room for. Each sign has a name; none proves anything, so they are flags and not verdicts.

=============  =====================================================================================================
boilerplate    closing words of subtitles and videos (``schemas/hallucinations.yaml``)
compression    the text compresses too well: it repeats itself
logprob        the recogniser itself hardly believes it
no_speech      the recogniser itself thinks that nobody speaks
repetition     the same words several times in a row
script         letters that the language is not written in
too_fast       more syllables than anybody can say in the time in which somebody speaks
undecodable    tokens that are no letters: signs cut in the middle, U+FFFD
=============  =====================================================================================================

The limits on compression, log-probability and no-speech are those of Whisper's own decoder (Radford et al. 2022, 4.5),
which the batched call of WhisperX does not apply.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import cache

import yaml
from pydantic import BaseModel, ConfigDict, Field

from datagen.digest import revision
from datagen.resources import folder
from datagen.speech import text

#: What decoders put in place of bytes that are no text.
UNDECODABLE = "\ufffd"

FLAGS = ("boilerplate", "compression", "logprob", "no_speech", "repetition", "script", "too_fast", "undecodable")


class Limits(BaseModel):
    """From where on a value is a sign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compression: float = Field(2.4, gt=1, description="length of the text over its compressed length, more is flagged")
    avg_logprob: float = Field(-1.0, le=0, description="mean log-probability per token, less is flagged")
    no_speech: float = Field(0.6, ge=0, le=1, description="probability that nobody speaks, more is flagged")
    syllables_per_second: float = Field(12.0, gt=0, description="of speech; the fastest speakers reach 9")


def flags(
    transcript: str,
    lang: str | None,
    speech_s: float,
    avg_logprob: float,
    no_speech: float,
    limits: Limits | None = None,
) -> list[str]:
    """Signs in one text, sorted; see the table above.

    Args:
        lang: ISO 639-1 of the text, None = unknown.
        speech_s: seconds in which somebody speaks, pauses left out.
        avg_logprob, no_speech: the recogniser's.
    """
    limits = limits or Limits()
    spoken = syllables(transcript, lang)
    signs = {
        "boilerplate": boilerplate(transcript),
        "compression": compression(transcript) > limits.compression,
        "logprob": avg_logprob < limits.avg_logprob,
        "no_speech": no_speech > limits.no_speech,
        "repetition": repeats(units(transcript)),
        "script": foreign(transcript, lang),
        # Half a second is spared: detectors cut the edges of short calls.
        "too_fast": spoken > limits.syllables_per_second * (speech_s + 0.5),
        "undecodable": UNDECODABLE in transcript,
    }
    return [name for name in FLAGS if signs[name]]


def compression(transcript: str) -> float:
    """Bytes of the text over those of its zlib-compressed form; below 1 for short texts, above 2.4 for loops."""
    encoded = transcript.encode()
    return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0


# --- Repetition ---------------------------------------------------------------------------------------------

#: Longest block looked for, fewest times in a row, and fewest units in all: "no, no, no" is speech.
_BLOCK, _TIMES, _UNITS = 20, 3, 8


def repeats(items: Sequence[str]) -> bool:
    """Whether a block of 1 to 20 items comes at least 3 times in a row and makes up at least 8 items so.

    >>> repeats("no no no".split()), repeats("and then he said and then he said and then he said".split())
    (False, True)
    """
    for size in range(1, min(_BLOCK, len(items) // _TIMES) + 1):
        equal = 0  # items in a row that are the same as the one a block before
        for before, item in zip(items, items[size:], strict=False):
            equal = equal + 1 if item == before else 0
            whole = equal // size + 1
            if whole >= _TIMES and whole * size >= _UNITS:
                return True
    return False


#: Scripts without blanks between words: kana, Chinese characters; Thai, Lao, Burmese, Khmer.
_UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)


def units(transcript: str) -> list[str]:
    """Words; single signs where the script has no blanks between words."""
    found: list[str] = []
    for word in text.words(transcript):
        found += list(word) if _UNSPACED.search(word) else [word]
    return found


# --- Speed --------------------------------------------------------------------------------------------------

_ONE_SYLLABLE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
#: Letters per syllable where there is no rule for the language; English, with many for few sounds, has 3.
_LETTERS = 3.0


def syllables(transcript: str, lang: str | None) -> float:
    """Syllables in a text: counted where ``speech.text`` can, else one for each sign of a syllabic script and one for
    every three other letters, which rather counts too few. A digit is one."""
    spoken = text.words(transcript)
    counted = text.syllables(spoken, lang)
    if counted is not None and not any(_ONE_SYLLABLE.search(word) for word in spoken):
        return float(counted)
    letters = "".join(spoken)
    signs = len(_ONE_SYLLABLE.findall(letters))
    digits = sum(char.isdigit() for char in letters)
    others = sum(char.isalpha() for char in letters) - signs
    return signs + digits + others / _LETTERS


# --- Script -------------------------------------------------------------------------------------------------

#: Languages that are written in other letters than Latin ones, by the first word of these letters' Unicode names.
_WRITTEN = {
    "ARABIC": "ar fa ps sd ur", "ARMENIAN": "hy", "BENGALI": "as bn", "CJK": "ja ko yue zh",
    "CYRILLIC": "az ba be bg bs kk mk mn ru sr tg tk tt uk uz", "DEVANAGARI": "hi mr ne sa", "ETHIOPIC": "am",
    "GEORGIAN": "ka", "GREEK": "el", "GUJARATI": "gu", "GURMUKHI": "pa", "HANGUL": "ko", "HEBREW": "he yi",
    "HIRAGANA": "ja", "KANNADA": "kn", "KATAKANA": "ja", "KHMER": "km", "LAO": "lo", "LATIN": "az bs sr tk uz",
    "MALAYALAM": "ml", "MYANMAR": "my", "SINHALA": "si", "TAMIL": "ta", "TELUGU": "te", "THAI": "th", "TIBETAN": "bo",
}  # fmt: skip
_SCRIPTS = {
    lang: {script for script, langs in _WRITTEN.items() if lang in langs.split()}
    for lang in " ".join(_WRITTEN.values()).split()
}


def foreign(transcript: str, lang: str | None) -> bool:
    """Whether letters stand in the text that nobody writes the language in. Latin ones are names and borrowed words
    everywhere, until they are more than three quarters of all letters.

    >>> foreign("Привет", "en"), foreign("iPhone を買った", "ja"), foreign("I bought it.", "ja"), foreign("?", "ja")
    (True, False, True, False)
    """
    if lang is None:
        return False
    own = _SCRIPTS.get(lang, {"LATIN"})
    scripts = [script for char in transcript if (script := _script(char))]
    latin = scripts.count("LATIN")
    return bool(set(scripts) - own - {"LATIN"}) or ("LATIN" not in own and 4 * latin > 3 * len(scripts))


def _script(char: str) -> str | None:
    """Of a letter or a vowel sign; None for all else, and for letters of no script in particular."""
    if unicodedata.category(char)[0] not in "LM":
        return None
    name = re.sub(r"^(HALF|FULL)WIDTH ", "", unicodedata.name(char, "")).split(" ")[0]
    return name if name in _WRITTEN else None


# --- Boilerplate --------------------------------------------------------------------------------------------


def boilerplate(transcript: str) -> bool:
    """Whether credits stand anywhere in the text, or a farewell to viewers is one of its sentences."""
    credits, farewells = _phrases()
    whole = _bare(transcript)
    if any(phrase in whole for phrase in credits):
        return True
    sentences = [_bare(sentence) for sentence in re.split(r"[.!?…。！？؟।]+(?:\s|$)|[。！？]|\n", transcript)]
    return whole in farewells or any(sentence in farewells for sentence in sentences)


def version() -> str:
    """Of the phrases: part of the key of what was flagged with them."""
    return revision(_data())


def _bare(phrase: str) -> str:
    return "".join(text.words(phrase))


@cache
def _data() -> dict:
    loaded: dict = yaml.safe_load((folder("schemas") / "hallucinations.yaml").read_text("utf-8"))
    return loaded


@cache
def _phrases() -> tuple[frozenset[str], frozenset[str]]:
    data = _data()
    credits, farewells = (
        frozenset(_bare(phrase) for listed in data[kind].values() for phrase in listed)
        for kind in ("credits", "farewells")
    )
    return credits, farewells
