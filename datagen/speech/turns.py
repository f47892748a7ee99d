"""A diarizer's turns beside what the corpus says of its speakers: which of them holds.

- Where the corpus says itself who speaks when (speakers with times), the diarizer is not asked.
- One voice: the channel is known to be one person's. Its name is the corpus's where it names one speaker for all of
  the channel, else the diarizer's; clips are cut as if nothing had been said, since there is nothing to keep apart.
- Several voices: each turn has the diarizer's name. A speaker that the corpus names for the whole, and that speaker's
  sex and age, are then somebody's, but nobody knows which voice's: they hold for none of the clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from datagen.speech.labels import Note

SOURCE = "diarizer"  #: ``source`` of a diarizer's annotations
_OF_ONE_PERSON = frozenset({"speaker", "sex", "age_years"})


class Settled(NamedTuple):
    """``notes``: what holds for the channel's clips. ``voices``: how many a diarizer found, 0 where none was asked.

    ``turns``: speakers with times, of the corpus or of the diarizer, never of both.
    """

    notes: list[Note]
    turns: list[Note]
    voices: int


def given(notes: Sequence[Note]) -> bool:
    """Whether the corpus itself says who speaks when."""
    return any(n["field"] == "speaker" and n["source"] != SOURCE and n["start"] is not None for n in notes)


def named(notes: Sequence[Note]) -> bool:
    """Whether the corpus names one speaker for all of it."""
    return len({n["value"] for n in notes if _whole(n, "speaker")}) == 1


def settle(notes: Sequence[Note]) -> Settled:
    """Notes about one channel, of the corpus and of a diarizer, made to agree. Nothing changes without a diarizer's."""
    heard = [n for n in notes if n["source"] == SOURCE and n["field"] == "speaker"]
    said = [n for n in notes if not (n["source"] == SOURCE and n["field"] == "speaker")]
    if not heard or given(said):
        return Settled(said, [n for n in said if n["field"] == "speaker" and n["start"] is not None], 0)
    voices = len({n["value"] for n in heard})
    if voices > 1:
        kept = [n for n in said if not any(_whole(n, field) for field in _OF_ONE_PERSON)]
        return Settled([*kept, *heard], heard, voices)
    if not any(_whole(n, "speaker") for n in said):
        said.append({**heard[0], "start": None, "end": None})
    return Settled(said, heard, voices)


def _whole(note: Note, field: str) -> bool:
    return bool(note["field"] == field and note["source"] != SOURCE and note["start"] is None)
