"""Questions about the wording whose answer can be worked out: the first words, the last words, the word after.

``expected`` reads a few English forms of such questions; any other form is left to the other checks.
"""

from __future__ import annotations

import re

from datagen.quality.grounding import bare

_COUNT = {"two": 2, "three": 3, "four": 4, "five": 5}
_EDGE = re.compile(r"\b(first|last) (two|three|four|five) words\b", re.IGNORECASE)
_BESIDE = re.compile(r"\b(?:immediately|directly|right|just) (after|before)\b", re.IGNORECASE)


def expected(question: str, quotes: list[str], transcript: str) -> str | None:
    """The words that answer ``question``; empty when nothing does; None when the form of the question is not known."""
    spoken = transcript.split()
    if match := _EDGE.search(question):
        count = _COUNT[match[2].lower()]
        chosen = spoken[:count] if match[1].lower() == "first" else spoken[-count:]
        return bare(" ".join(chosen)) if len(spoken) >= count else ""
    if (match := _BESIDE.search(question)) and len(quotes) == 1:
        places = [index for index, word in enumerate(spoken) if bare(word).lower() == quotes[0].lower()]
        wanted = places[0] + (1 if match[1].lower() == "after" else -1) if len(places) == 1 else -1
        return bare(spoken[wanted]) if 0 <= wanted < len(spoken) else ""
    return None
