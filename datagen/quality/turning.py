"""Words that must agree before two texts may count as near-same (``schemas/turning_words.yaml``)."""

from __future__ import annotations

from functools import lru_cache

import yaml

from datagen.resources import folder


@lru_cache(maxsize=1)
def _words() -> dict[str, frozenset[str]]:
    listed = yaml.safe_load((folder("schemas") / "turning_words.yaml").read_text(encoding="utf-8"))
    return {language: frozenset(words.split()) for language, words in listed.items()}


def languages() -> frozenset[str]:
    """Languages whose near-same texts can be told."""
    return frozenset(_words())


def words(language: str) -> frozenset[str]:
    """The listed words of a language; none where there is no list."""
    return _words().get(language, frozenset())


def turning(key: str) -> tuple[str, ...] | None:
    """Numbers, negations, persons and days of a text (``quality.texts.text_key``), in alphabetical order.

    None for a language without a list: nobody could tell a text from its opposite, so only equal words are the same.
    """
    language, text = key.split("|", 1)
    listed = _words().get(language)
    if listed is None:
        return None
    return tuple(sorted(word for word in text.split() if word in listed or any(char.isdigit() for char in word)))
