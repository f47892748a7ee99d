"""transcribe: what is said in a clip, and when each word is said.

``reference`` takes the corpus's text. Word times are the corpus's own where it has them; English words are laid over
the sound by forced alignment; for other languages there is no aligner here and the times stay null. A clip cut from a
longer recording whose text is known gets the part of the text that is heard in it, if it is heard well enough.
``pocketsphinx`` recognises English. ``auto`` is reference where there is a text, else pocketsphinx.

Everything that cannot be known stays null, and ``transcript_reason`` says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.errors import RowError
from datagen.models import pocketsphinx
from datagen.models.pocketsphinx import Pcm, PocketSphinx, Word
from datagen.speech import text
from datagen.speech.audio import decode_flac
from datagen.speech.labels import CONTEXT
from datagen.stage import Output, Provenance, Reject, Stage, StageConfig

Row = dict[str, Any]


class TranscribeConfig(StageConfig):
    """The defaults are measured; see ``docs/transcription.md``."""

    backend: Literal["auto", "reference", "pocketsphinx"] = "auto"
    align: bool = Field(True, description="find the word times of English reference texts")
    min_fit: float = Field(0.02, ge=0, le=1, description="a reference text that fits the sound less gets no word times")
    min_agreement: float = Field(
        0.7, ge=0, le=1, description="share of words heard in place, below which a clip gets no part of a longer text"
    )
    min_words: int = Field(3, ge=1, description="fewer words, recognised or found in a longer text, prove nothing")
    min_confidence: float = Field(0.6, ge=0, le=1, description="English recognised with less is null")
    min_confidence_unknown: float = Field(
        0.7, ge=0, le=1, description="the same where the language is unknown: the rest is not confidently English"
    )


class Transcribe(Stage):
    name: ClassVar[str] = "transcribe"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[StageConfig]] = TranscribeConfig

    reads = ("labels", "speech_lang", "duration", "audio")
    writes = tables.TRANSCRIBE
    batch_rows = 64
    batch_seconds = 300.0

    def semantics(self) -> dict[str, Any]:
        return {"pocketsphinx": pocketsphinx.provenance().revision}

    def provenance(self) -> tuple[Provenance, ...]:
        heard = () if self.config.backend == "reference" else ("transcript", "text_lang")
        return (pocketsphinx.provenance(*heard, "words", "asr_confidence"),)

    def setup(self) -> None:
        self.model = PocketSphinx()

    def process(self, batch: pa.Table) -> Output:
        rows: list[Row] = []
        rejects = []
        labels = batch["labels"].to_pylist()
        langs = batch["speech_lang"].to_pylist()
        for at in range(batch.num_rows):
            try:
                rows.append(self._transcribe(labels[at] or [], langs[at], _Sound(batch["audio"][at])))
            except RowError as error:
                rejects.append(Reject(at, error.error_class, error.message))
                rows.append({})
        return Output(tables.from_rows(rows, self.writes), rejects)

    def _transcribe(self, labels: Sequence[Row], lang: str | None, sound: _Sound) -> Row:
        said = {label["field"]: label for label in labels}
        if self.config.backend != "pocketsphinx":
            value = {field: label["value"] for field, label in said.items()}
            words = _given_words(value.get("words"))
            transcript = value.get("transcript") or " ".join(word.word for word in words)
            if text.words(transcript):
                return self._reference(transcript.strip(), words, lang, sound)
            if value.get(CONTEXT):
                return self._part(value[CONTEXT], lang, sound)
            if self.config.backend == "reference":
                why = said.get("transcript", {}).get("reason")
                return _null(why or "the corpus gives no text")
        return self._recognise(lang, sound)

    # --- Three ways to a text -------------------------------------------------------------------------------

    def _reference(self, transcript: str, given: list[Word], lang: str | None, sound: _Sound) -> Row:
        row: Row = {
            "transcript": transcript,
            "text_lang": lang,
            "asr_confidence": 1.0,
            "transcript_source": "gold",
            "words": _rows(given),
        }
        if given:
            return row
        if lang != pocketsphinx.LANGUAGE or not self.config.align:
            why = "alignment is off" if lang == pocketsphinx.LANGUAGE else f"no aligner for {_name(lang)}"
            return row | {"words": None, "transcript_reason": f"no word times: {why}"}
        words = self.model.align(sound.pcm, text.words(transcript))
        fit = _fit(words) if words else None
        if words is None or fit is None:
            return row | {"words": None, "transcript_reason": "no word times: the text cannot be laid over the sound"}
        if fit < self.config.min_fit:
            why = (
                f"no word times: the text does not fit the sound ({fit:.3f}, at least {self.config.min_fit} is needed)"
            )
            return row | {"words": None, "transcript_reason": why}
        return row | {"words": _rows(words)}

    def _part(self, whole: str, lang: str | None, sound: _Sound) -> Row:
        """A clip of a longer recording: the part of its text that is heard here."""
        if lang != pocketsphinx.LANGUAGE:
            return _null(f"the text is that of a longer recording, and there is no aligner for {_name(lang)}")
        found = self.model.locate(sound.pcm, text.words(whole))
        fit = _fit(found.words) if found else None
        if found is None or fit is None:
            return _null("the text of the longer recording is not heard here")
        if len(found.words) < self.config.min_words:
            return _null(f"too few words ({len(found.words)}) to tell which part of the longer text they are")
        if found.agreement < self.config.min_agreement or fit < self.config.min_fit:
            return _null(
                "the text of the longer recording is not heard here: "
                f"{max(found.agreement, 0):.0%} of the words agree, at least {self.config.min_agreement:.0%} must"
            )
        return {
            "transcript": text.stretch(whole, found.first, found.first + len(found.words)),
            "words": _rows(found.words),
            "text_lang": lang,
            "asr_confidence": found.agreement,
            "transcript_source": "gold",
        }

    def _recognise(self, lang: str | None, sound: _Sound) -> Row:
        if lang not in (pocketsphinx.LANGUAGE, None):
            return _null(f"no recogniser for {_name(lang)}")
        words = self.model.recognise(sound.pcm)
        if len(words) < self.config.min_words:
            return _null(f"too few words recognised ({len(words)})")
        confidence = round(float(np.mean([word.score for word in words])), 6)
        least = self.config.min_confidence if lang else self.config.min_confidence_unknown
        if confidence < least:
            why = "not recognised with confidence" if lang else "not confident that this is English"
            return _null(f"{why} ({confidence:.2f}, at least {least} is needed)") | {"asr_confidence": confidence}
        return {
            "transcript": " ".join(word.word for word in words),
            "words": _rows(words),
            "text_lang": pocketsphinx.LANGUAGE,
            "asr_confidence": confidence,
            "transcript_source": "pseudo",
        }


class _Sound:
    """A clip's audio, decoded only if somebody needs it."""

    def __init__(self, encoded: pa.Scalar) -> None:
        self._encoded = encoded

    @property
    def pcm(self) -> Pcm:
        samples = decode_flac(self._encoded.as_py())
        return np.round(samples * 32768).clip(-32768, 32767).astype(np.int16)


def _null(reason: str) -> Row:
    return {"transcript_reason": reason}


def _name(lang: str | None) -> str:
    return f"'{lang}'" if lang else "an unknown language"


def _given_words(listed: str | None) -> list[Word]:
    """The corpus's own word times, as ``segment`` passed them on."""
    if not listed:
        return []
    return [Word(word["word"], word["start"], word["end"], None) for word in json.loads(listed)]


def _rows(words: Sequence[Word]) -> list[Row]:
    return [word._asdict() for word in words]


def _fit(words: Sequence[Word]) -> float | None:
    """How well the words lie over the sound: geometric mean of their scores; None when none of them has any."""
    scores = [word.score for word in words if word.score is not None]
    return math.exp(sum(math.log(max(score, 1e-9)) for score in scores) / len(scores)) if scores else None
