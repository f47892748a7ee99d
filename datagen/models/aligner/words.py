"""From a text to the characters an aligner can place, and from placed characters back to words with times.

The rules are those of ``whisperx.align``: characters in lower case, spaces as "|", what the dictionary lacks takes the
best of all characters (a wildcard), words parted by spaces, or character by character in languages without spaces.
Only its division into sentences is left out (it needs NLTK's data). It would cut a word in two where sentences meet
without a space and repeat a character ("Yes?(no)" becomes "Yes?(" and "(no)"), and take times for a word that has none
from its own sentence only; otherwise it changes nothing about words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagen.models.aligner.trellis import Path

#: Languages whose words are single characters here.
WITHOUT_SPACES = frozenset({"ja", "zh"})
#: In place of a code: the best of all characters but the blank.
WILDCARD = -1

Word = dict[str, Any]


@dataclass(frozen=True)
class Characters:
    """What of a text is aligned: ``codes`` in the dictionary, and the index in the text that each belongs to."""

    text: str
    codes: list[int]
    places: list[int]


def characters(text: str, language: str, dictionary: Mapping[str, int]) -> Characters | None:
    """The characters to align; None when there are none."""
    inner = range(len(text) - len(text.lstrip()), len(text.rstrip()))
    kept: list[str] = []
    places = []
    for at in inner:
        character = text[at].lower()
        if language not in WITHOUT_SPACES:
            character = character.replace(" ", "|")
        if character in dictionary or character not in (" ", "|"):
            kept.append(character)
            places.append(at)
    # "İ" is two characters in lower case: as in whisperx, all that follow are placed one character early.
    codes = [dictionary.get(character, WILDCARD) for character in "".join(kept)]
    return Characters(text, codes, places) if codes else None


def words(found: Characters, path: Path, language: str, start: float, seconds_per_frame: float) -> list[Word]:
    """Words with times in seconds (to the millisecond), ``score`` (0..1) and ``flag``.

    ``flag`` is null when every letter was placed, "wildcard" when the dictionary lacks some of them, "interpolated"
    when the times are those of the nearest word, "unaligned" when there are none (times and score are null then).

    Args:
        path: of ``found.codes``.
        start: of the segment, seconds.
    """
    placed = {
        place: (
            round(path.starts[at] * seconds_per_frame + start, 3),
            round(path.ends[at] * seconds_per_frame + start, 3),
            round(path.scores[at], 3),
            found.codes[at],
        )
        for at, place in enumerate(found.places)
    }
    listed = [word for piece in _pieces(found.text, language) if (word := _word(found.text, piece, placed))]
    _interpolate(listed)
    return listed


def _pieces(text: str, language: str) -> list[range]:
    if language in WITHOUT_SPACES:
        return [range(at, at + 1) for at in range(len(text))]
    pieces, at = [], 0
    for piece in text.split(" "):
        pieces.append(range(at, at + len(piece)))
        at += len(piece) + 1
    return pieces


def _word(text: str, piece: range, placed: Mapping[int, tuple[float, float, float, int]]) -> Word | None:
    spelt = text[piece.start : piece.stop].strip()
    if not spelt:
        return None
    inside = [placed[at] for at in piece if at in placed]
    if not inside:
        return {"word": spelt, "start": None, "end": None, "score": None, "flag": "unaligned"}
    # numpy's sum and its rounding, which pandas uses: Python's decide a half differently.
    scores = np.array([placed[at][2] if at in placed else 0.0 for at in piece if text[at] != " "])
    return {
        "word": spelt,
        "start": min(item[0] for item in inside),
        "end": max(item[1] for item in inside),
        "score": float(round(scores.sum() / len(inside), 3)),
        "flag": "wildcard" if any(item[3] == WILDCARD for item in inside) else None,
    }


def _interpolate(listed: Sequence[Word]) -> None:
    """Words without times get those of the nearest word that has some, the earlier of two equally near."""
    known = [at for at, word in enumerate(listed) if word["start"] is not None]
    for at, word in enumerate(listed):
        if known and word["start"] is None:
            near = listed[min(known, key=lambda other: (abs(other - at), other))]
            word |= {"start": near["start"], "end": near["end"], "flag": "interpolated"}
