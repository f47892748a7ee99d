"""The ``auto``, ``reference`` and ``pocketsphinx`` ways to a transcript: nothing but what is in the wheels.

Word times are the corpus's own where it has them; English words are laid over the sound by forced alignment; for other
languages there is no aligner here and the times stay null. A clip cut from a longer recording whose text is known gets
the part of the text that is heard in it, if it is heard well enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from datagen import tables
from datagen.errors import RowError
from datagen.models import pocketsphinx
from datagen.models.pocketsphinx import Pcm, PocketSphinx, Word
from datagen.speech import text, transcripts
from datagen.speech.audio import decode_flac
from datagen.speech.transcripts import Row, name, null
from datagen.stage import Output, Reject
from datagen.stages.transcribe_config import TranscribeConfig


class PocketSphinxTranscriber:
    def __init__(self, config: TranscribeConfig) -> None:
        self.config = config
        self.model = PocketSphinx()

    def process(self, batch: pa.Table) -> Output:
        """Rows of ``tables.TRANSCRIBE``, one clip after the other."""
        rows: list[Row] = []
        rejects = []
        labels = batch["labels"].to_pylist()
        langs = batch["speech_lang"].to_pylist()
        for at in range(batch.num_rows):
            try:
                rows.append(self._transcribe(labels[at], langs[at], _Sound(batch["audio"][at])))
            except RowError as error:
                rejects.append(Reject(at, error.error_class, error.message))
                rows.append({})
        return Output(tables.from_rows(rows, tables.TRANSCRIBE), rejects)

    def _transcribe(self, labels: Sequence[Mapping[str, Any]] | None, lang: str | None, sound: _Sound) -> Row:
        if self.config.backend != "pocketsphinx":
            given = transcripts.given(labels)
            if given.transcript:
                return self._reference(given.transcript, given.words, lang, sound)
            if given.context:
                return self._part(given.context, lang, sound)
            if self.config.backend == "reference":
                return null(given.reason or "the corpus gives no text")
        return self._recognise(lang, sound)

    # --- Three ways to a text -------------------------------------------------------------------------------

    def _reference(self, transcript: str, words: list[Row], lang: str | None, sound: _Sound) -> Row:
        row = transcripts.gold(transcript, lang, words or None)
        if words:
            return row
        if lang != pocketsphinx.LANGUAGE or not self.config.align:
            why = "alignment is off" if lang == pocketsphinx.LANGUAGE else f"no aligner for {name(lang)}"
            return row | {"transcript_reason": f"no word times: {why}"}
        found = self.model.align(sound.pcm, text.words(transcript))
        fit = _fit(found) if found else None
        if found is None or fit is None:
            return row | {"transcript_reason": "no word times: the text cannot be laid over the sound"}
        if fit < self.config.min_fit:
            why = (
                f"no word times: the text does not fit the sound ({fit:.3f}, at least {self.config.min_fit} is needed)"
            )
            return row | {"transcript_reason": why}
        return row | {"words": _rows(found)}

    def _part(self, whole: str, lang: str | None, sound: _Sound) -> Row:
        """A clip of a longer recording: the part of its text that is heard here."""
        if lang != pocketsphinx.LANGUAGE:
            return null(f"the text is that of a longer recording, and there is no aligner for {name(lang)}")
        found = self.model.locate(sound.pcm, text.words(whole))
        fit = _fit(found.words) if found else None
        if found is None or fit is None:
            return null("the text of the longer recording is not heard here")
        if len(found.words) < self.config.min_words:
            return null(f"too few words ({len(found.words)}) to tell which part of the longer text they are")
        if found.agreement < self.config.min_agreement or fit < self.config.min_fit:
            return null(
                "the text of the longer recording is not heard here: "
                f"{max(found.agreement, 0):.0%} of the words agree, at least {self.config.min_agreement:.0%} must"
            )
        said = text.stretch(whole, found.first, found.first + len(found.words))
        return transcripts.gold(said, lang, _rows(found.words)) | {"asr_confidence": found.agreement}

    def _recognise(self, lang: str | None, sound: _Sound) -> Row:
        if lang not in (pocketsphinx.LANGUAGE, None):
            return null(f"no recogniser for {name(lang)}")
        words = self.model.recognise(sound.pcm)
        if len(words) < self.config.min_words:
            return null(f"too few words recognised ({len(words)})")
        confidence = round(float(np.mean([word.score for word in words])), 6)
        least = self.config.min_confidence if lang else self.config.min_confidence_unknown
        if confidence < least:
            why = "not recognised with confidence" if lang else "not confident that this is English"
            return null(f"{why} ({confidence:.2f}, at least {least} is needed)") | {"asr_confidence": confidence}
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


def _rows(words: Sequence[Word]) -> list[Row]:
    return [word._asdict() for word in words]


def _fit(words: Sequence[Word]) -> float | None:
    """How well the words lie over the sound: geometric mean of their scores; None when none of them has any."""
    scores = [word.score for word in words if word.score is not None]
    return math.exp(sum(math.log(max(score, 1e-9)) for score in scores) / len(scores)) if scores else None
