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
    """The words that answer ``question``, or None when its form is not known or it has no single answer."""
    spoken = transcript.split()
    if match := _EDGE.search(question):
        count = _COUNT[match[2].lower()]
        chosen = spoken[:count] if match[1].lower() == "first" else spoken[-count:]
        return bare(" ".join(chosen)) if len(spoken) >= count else None
    if (match := _BESIDE.search(question)) and len(quotes) == 1:
        places = [index for index, word in enumerate(spoken) if bare(word).lower() == quotes[0].lower()]
        step = 1 if match[1].lower() == "after" else -1
        if len(places) == 1 and 0 <= places[0] + step < len(spoken):
            return bare(spoken[places[0] + step])
    return None
