"""Prosody: F0, speaking rate, pauses. What cannot be measured reliably is null, ``prosody_reason`` says why.

The F0 of every frame is kept (``f0_track``): tracking costs ten times all the rest, and ``affect`` needs it too.

How each value is made, and how good it is: ``docs/prosody.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from datagen import tables
from datagen.errors import RowError
from datagen.speech import prosody, text
from datagen.speech.audio import decode_flac
from datagen.speech.prosody import Measured
from datagen.stage import Kind, Output, Provenance, Reject, Stage

_COLUMNS = ("f0_median_hz", "f0_range_st", "voiced_ratio", "f0_track")


class Prosody(Stage):
    """Nothing to set: thresholds belong to the definitions of the columns."""

    name = "prosody"
    version = "1"
    table = "clips"
    kind = Kind.MAP
    reads = ("audio",)
    optional_reads = ("words", "text_lang", "speech_lang", "duration")
    writes = tables.PROSODY
    batch_rows = 64
    batch_seconds = 600.0

    def semantics(self) -> dict[str, Any]:
        from datagen.models import f0

        return {"f0": f"{f0.NAME} {f0.revision()}"}

    def provenance(self) -> tuple[Provenance, ...]:
        from datagen.models import f0

        return (Provenance(f0.NAME, f0.revision(), f0.LICENCE, _COLUMNS),)

    def check(self) -> str | None:
        from datagen.models import f0

        return f0.missing()

    def setup(self) -> None:
        from datagen.models.f0 import F0Tracker

        self._tracker: prosody.Tracker = F0Tracker()

    def process(self, batch: pa.Table) -> Output:
        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        words, languages = batch["words"].to_pylist(), _languages(batch)
        for row, data in enumerate(batch["audio"]):  # one blob at a time, not all decoded at once
            try:
                samples = decode_flac(data.as_py())
            except RowError as error:
                rejects.append(Reject(row, error.error_class, error.message))
                rows.append({})
                continue
            track = prosody.track_f0(samples, self._tracker)
            measured = prosody.measure(samples, track)
            rows.append({"f0_track": track, **describe(measured, words[row], languages[row])})
        return Output(tables.from_rows(rows, tables.PROSODY), rejects)


def describe(measured: Measured, words: list[dict[str, Any]] | None, language: str | None) -> dict[str, Any]:
    """One row of ``tables.PROSODY``, but for the track, from a clip's measurements and, if known, its timed words."""
    reasons = {}
    row: dict[str, Any] = {}
    if measured.f0_reason:
        reasons["f0"] = measured.f0_reason
    else:
        row["f0_median_hz"] = float(np.median(measured.f0))
        row["f0_range_st"] = prosody.range_semitones(measured.f0)
    if measured.f0_reason not in ("no speech", "noisy"):
        row["voiced_ratio"] = measured.voiced_ratio

    rate = rate_from_words(words, language)
    if rate is not None:
        row["rate_syl_s"], row["rate_source"] = rate, "words"
    elif measured.pauses_reason or measured.f0_reason:
        reasons["rate"] = measured.pauses_reason or measured.f0_reason or ""
    elif (nuclei := prosody.syllable_nuclei(measured.frames, measured.voiced)) < prosody.MIN_NUCLEI:
        reasons["rate"] = "too short"
    else:
        row["rate_syl_s"], row["rate_source"] = nuclei / measured.speech.seconds, "nuclei"

    if measured.pauses_reason:
        reasons["pauses"] = measured.pauses_reason
    else:
        pauses = measured.speech.pauses
        row["pause_ratio"] = float(pauses.sum()) / measured.speech.span_s
        row["longest_pause_s"] = float(pauses.max(initial=0.0))
    row = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
    row["prosody_reason"] = "; ".join(f"{what}: {why}" for what, why in reasons.items()) or None
    return row


def rate_from_words(words: list[dict[str, Any]] | None, language: str | None) -> float | None:
    """Syllables per second of speech from word times (seconds); gaps shorter than a pause count as speech.

    None when there are too few syllables, a word has no times of its own or is written in figures or symbols (nobody
    knows how "12%" was read), or nobody can count this language's syllables.
    """
    if not words or any(word["start"] is None or word["end"] is None or word.get("flag") for word in words):
        return None
    count = text.syllables(text.words(" ".join(word["word"] or "" for word in words)), language)
    if count is None or count < prosody.MIN_NUCLEI:
        return None
    starts, ends = (np.array([word[key] for word in words], np.float64) for key in ("start", "end"))
    gaps = starts[1:] - ends[:-1]
    seconds = float(ends[-1] - starts[0] - gaps[gaps >= prosody.MIN_PAUSE_S].sum())
    return count / seconds if seconds > 0 else None


def _languages(batch: pa.Table) -> list[str | None]:
    """The transcript's language, else that of the speech."""
    pairs = zip(batch["text_lang"].to_pylist(), batch["speech_lang"].to_pylist(), strict=True)
    return [text.language(written or spoken) for written, spoken in pairs]
