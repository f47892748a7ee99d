"""What the corpus says is said in a clip, and rows of ``tables.TRANSCRIBE``: shared by the recognisers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datagen.speech import text
from datagen.speech.labels import CONTEXT

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """``transcript`` and its ``words`` with times, or the text of a longer recording (``context``), or neither."""

    transcript: str | None = None
    words: list[Row] = field(default_factory=list)
    context: str | None = None
    reason: str | None = None  #: why there is no transcript


def given(labels: Sequence[Mapping[str, Any]] | None) -> Given:
    """From a clip's labels. A text without a word in it (an empty one, a tag) is none."""
    said = {label["field"]: label for label in labels or ()}
    value = {name: label["value"] for name, label in said.items()}
    listed = json.loads(value["words"]) if value.get("words") else []
    words = [{"word": word["word"], "start": word["start"], "end": word["end"]} for word in listed]
    transcript = value.get("transcript") or " ".join(word["word"] for word in words)
    if text.words(transcript):
        return Given(transcript.strip(), words)
    return Given(context=value.get(CONTEXT) or None, reason=said.get("transcript", {}).get("reason"))


def gold(transcript: str, lang: str | None, words: list[Row] | None) -> Row:
    """The corpus's own text."""
    return {
        "transcript": transcript,
        "text_lang": lang,
        "asr_confidence": 1.0,
        "transcript_source": "gold",
        "words": words,
    }


def null(reason: str) -> Row:
    return {"transcript_reason": reason}


#: Beginnings of the reasons for a null text where somebody listened and heard that nobody says a word.
NOBODY_SPEAKS, NO_WORDS, NO_SOUND = "nobody speaks", "Whisper heard no words", "there is no sound"


def wordless(reason: str | None) -> bool:
    """Whether a ``transcript_reason`` says that there are no words, rather than that nobody knows them."""
    return reason is not None and reason.startswith((NOBODY_SPEAKS, NO_WORDS, NO_SOUND))


def name(lang: str | None) -> str:
    """A language in a sentence."""
    return f"'{lang}'" if lang else "an unknown language"
