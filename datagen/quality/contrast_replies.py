"""Two replies to the same words in different voices: they must differ in what they say and in how. Pure functions.

A pair of which both say the same would teach a preference for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datagen.quality.claims import split_quotes
from datagen.quality.prose import words

#: Share of the words of two replies that they have in common, from which on they say the same. Of the embedded
#: writer's replies to different emotions, no two share more than a third.
SAME_WORDS = 0.6
_LINKS = frozenset({"and", "a", "an", "the", "very", "quite", "rather", "in", "with", "voice", "tone"})


def same_reply(a: str, b: str) -> bool:
    """Whether two replies say the same, their quotations left aside (Jaccard index of their words).

    >>> same_reply('I hear you. What happened?', 'What happened? I hear you!')
    True
    >>> same_reply('That is great to hear!', 'I am sorry, take your time.')
    False
    """
    one, other = (set(words(split_quotes(text)[0])) for text in (a, b))
    return not (one and other) or len(one & other) >= SAME_WORDS * len(one | other)


def same_style(a: str, b: str) -> bool:
    """Whether two styles name the same manners, in whatever order.

    >>> same_style("calm and steady", "steady, calm")
    True
    """
    one, other = (set(words(text)) - _LINKS for text in (a, b))
    return one == other


def contrast(sample: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with the pair of a sample's response and its rejected one; nothing where there is none."""
    response, style = sample["rejected_response"], sample["rejected_style"]
    if response is None or sample["response"] is None:
        return
    if same_reply(sample["response"], response):
        yield "the reply to the other voice says the same as the reply to this one"
    if style is not None and same_style(sample["response_style"], style):
        yield f"both replies have the style '{style}'"
