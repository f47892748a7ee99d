"""Questions about the wording whose answer can be worked out: all words, the first, the last, the next.

``expected`` reads a few English forms of such questions; any other form is left to the other checks.
"""

from __future__ import annotations

import re

from datagen.quality.grounding import bare

_COUNT = {"two": 2, "three": 3, "four": 4, "five": 5}
_PLACE = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
_NTH = re.compile(r"\b(first|second|third|fourth|fifth|last) word\b", re.IGNORECASE)
_NEXT = re.compile(r"\bword (?:that )?(follows|precedes)\b", re.IGNORECASE)
_WHOLE = re.compile(
    r"\b(what is said|(which|what are the|the) words (are|is) spoken|what does the speaker say|what the speaker says|"
    r"transcribe|write down what is said)\b",
    re.IGNORECASE,
)
_COUNTING = re.compile(r"\bhow (many|often)\b", re.IGNORECASE)
_EDGE = re.compile(r"\b(first|last) (two|three|four|five) words\b", re.IGNORECASE)
_BESIDE = re.compile(r"\b(?:immediately|directly|right|just) (after|before)\b", re.IGNORECASE)


def expected(question: str, quotes: list[str], transcript: str) -> str | None:
    """The words that answer ``question``; empty when nothing does; None when the form of the question is not known."""
    spoken = transcript.split()
    if match := _EDGE.search(question):
        count = _COUNT[match[2].lower()]
        chosen = spoken[:count] if match[1].lower() == "first" else spoken[-count:]
        return bare(" ".join(chosen)) if len(spoken) >= count else ""
    if match := _NTH.search(question):
        place = _PLACE[match[1].lower()]
        return bare(spoken[place]) if place < len(spoken) else ""
    if _COUNTING.search(question):
        return ""  # an answer in numbers, which nothing here can check
    if _WHOLE.search(question):
        return bare(transcript)
    if (match := _BESIDE.search(question) or _NEXT.search(question)) and len(quotes) == 1:
        places = [index for index, word in enumerate(spoken) if bare(word).lower() == quotes[0].lower()]
        wanted = places[0] + (1 if match[1].lower() in ("after", "follows") else -1) if len(places) == 1 else -1
        return bare(spoken[wanted]) if 0 <= wanted < len(spoken) else ""
    return None
