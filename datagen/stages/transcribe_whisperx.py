"""The ``whisperx`` way to a transcript: the corpus's own text, else Whisper's; words laid over the sound either way.

Clips of one call are decoded, then heard together, then aligned together, language by language; batches are planned
from what there is to hear, not clip by clip. A clip that breaks a model is rejected alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen import tables
from datagen.errors import DatagenError, RowError, UsageError
from datagen.models import aligner, device, manifest
from datagen.models.batching import Batcher
from datagen.models.pocketsphinx import fit
from datagen.models.whisperx import Heard, Recognised, WhisperX, lacking, vad
from datagen.speech import hallucination, text, transcripts
from datagen.speech.transcripts import Row, name, null
from datagen.stage import Drop, Output, Provenance, Reject
from datagen.tables import SAMPLE_RATE

if TYPE_CHECKING:
    from datagen.stages.transcribe import TranscribeConfig

Floats = npt.NDArray[np.float32]

MODEL = "whisper-large-v3"
#: What a flagged text is worth at most: below every threshold from which on words count as known.
DOUBTFUL = 0.5


# --- What a recipe is told before it runs -------------------------------------------------------------------


def model(config: TranscribeConfig) -> manifest.Model:
    return manifest.find(config.model, MODEL)


def aligners(config: TranscribeConfig) -> dict[str, manifest.Model]:
    """Language -> the aligner it would get, there or not; empty with ``align`` off."""
    if not config.align:
        return {}
    built_in = {language: entry for entry in _aligner_entries() for language in manifest.entries()[entry].languages}
    chosen = {**built_in, **config.aligners}
    return {language: manifest.find(chosen[language], _like(language)) for language in sorted(chosen)}


def _aligner_entries() -> list[str]:
    return [entry.name for entry in manifest.entries().values() if entry.task == "align"]


def _like(language: str) -> str:
    return aligner.for_language(language) or "align-en"


def semantics(config: TranscribeConfig) -> dict[str, Any]:
    there = {language: found.revision for language, found in aligners(config).items() if not manifest.missing(found)}
    return {
        "model": model(config).revision,
        "vad": vad.revision(config.vad),
        "aligners": there,
        "phrases": hallucination.version(),
    }


def provenance(config: TranscribeConfig) -> tuple[Provenance, ...]:
    """Whisper and the voice detector made the recognised texts only; the aligners the words of all of them."""
    heard = ("transcript", "text_lang", "text_lang_score", "asr_confidence", "asr_avg_logprob", "asr_no_speech")
    pseudo = ("transcript_source", "pseudo")
    makers = [manifest.provenance(model(config), *heard, "asr_compression", "asr_flags", where=pseudo)]
    detector = vad.provenance(config.vad, "transcript")
    makers += [detector] if detector else []
    of_model = {found.entry.name: found for found in aligners(config).values() if not manifest.missing(found)}
    makers += [manifest.provenance(found, "words") for found in of_model.values()]
    return tuple(makers)


def models(config: TranscribeConfig) -> tuple[manifest.Model, ...]:
    """Whisper, and the aligners of the languages that the recipe names; English's where it names none."""
    named = {*config.languages, *config.aligners} or {"en"}
    return (model(config), *(found for lang, found in aligners(config).items() if lang in named))


def check(config: TranscribeConfig) -> str | None:
    if find_spec("whisperx") is None:
        return "whisperx is not installed; install the main environment: make setup-main"
    try:
        whisper, *laying = models(config)
        problems = [lacking(whisper), *map(manifest.missing, laying)]
    except UsageError as error:
        return str(error)
    return next((problem for problem in problems if problem), None)


# --- At work ------------------------------------------------------------------------------------------------


class WhisperXTranscriber:
    """Whisper is loaded when the first clip needs it: a corpus that has its texts needs the aligners only."""

    def __init__(self, config: TranscribeConfig) -> None:
        device.offline()
        self.config = config
        self.device = device.resolve(config.device)
        self._models = aligners(config)
        self._aligners: dict[str, aligner.Aligner] = {}
        self._decoder = Batcher("flac", config.batch_seconds)

    @cached_property
    def whisper(self) -> WhisperX:
        config = self.config
        loaded = WhisperX(
            model(config),
            self.device,
            method=config.vad,
            compute_type=config.compute_type,
            beam_size=config.beam_size,
            batch_seconds=config.batch_seconds,
            max_tokens_per_second=config.max_tokens_per_second,
        )
        unknown = [language for language in config.languages if language not in loaded.languages]
        if unknown:
            raise UsageError(f"transcribe.languages: {loaded.name} does not know {', '.join(unknown)}")
        return loaded

    def process(self, batch: pa.Table) -> Output:
        """Rows of ``tables.TRANSCRIBE``."""
        device.settle_threads()
        langs = batch["speech_lang"].to_pylist()
        given = [transcripts.given(labels) for labels in batch["labels"].to_pylist()]
        rows: list[Row] = [{} for _ in langs]
        align, hear = [], []
        for at, (known, lang) in enumerate(zip(given, langs, strict=True)):
            if self.config.prefer_reference and known.transcript:
                rows[at] = transcripts.gold(known.transcript, lang, known.words or None)
                align += [] if known.words else [at]
            elif lang and self.config.languages and lang not in self.config.languages:
                rows[at] = null(f"the corpus says it is in '{lang}', not in {', '.join(self.config.languages)}")
            else:
                hear.append(at)
        if not self.config.align:
            for at in align:
                rows[at]["transcript_reason"] = "no word times: alignment is off"
            align = []
        needed = sorted({at for at in align if self._aligner_of(langs[at])} | set(hear))
        decoded = self._decoder.run(batch["audio"], batch["duration"].to_pylist(), lambda sounds: sounds, needed)
        sounds = {at: sound for at, sound in enumerate(decoded.values) if sound is not None}
        failed: dict[int, Exception] = {}
        metrics = {"audio_s": 0.0, "padded_s": 0.0}

        parts = {at: [aligner.Segment(sounds[at], rows[at]["transcript"], 0.0, len(sounds[at]) / SAMPLE_RATE)]
                 for at in align if at in sounds}  # fmt: skip
        heard = self._hear({at: sounds[at] for at in hear if at in sounds}, langs, rows, failed, metrics)
        for at, one in heard.items():
            rows[at] = self._recognised(one, given[at].context)
            if rows[at].get("transcript") and self.config.align:
                parts[at] = _segments(sounds[at], one, rows[at])
        waiting = {at: parts.get(at, []) for at in [*align, *(at for at in heard if at in parts)]}
        self._align(waiting, rows, failed, metrics)

        rejects = [*decoded.rejects, *(_reject(at, error) for at, error in failed.items())]
        for reject in rejects:
            rows[reject.row] = {}
        drops = []
        if self.config.hallucination == "drop":
            drops = [Drop(at, f"perhaps invented text: {', '.join(row['asr_flags'])}") for at, row in enumerate(rows)
                     if row.get("asr_flags")]  # fmt: skip
        rejects.sort(key=lambda reject: reject.row)
        return Output(tables.from_rows(rows, tables.TRANSCRIBE), rejects, drops, metrics=metrics)

    # --- Hearing --------------------------------------------------------------------------------------------

    def _hear(
        self, sounds: Mapping[int, Floats], langs: Sequence[str | None], rows: list[Row], failed: dict[int, Exception],
        metrics: dict[str, float],
    ) -> dict[int, Recognised]:  # fmt: skip
        found: dict[int, Recognised] = {}
        if not sounds:
            return found
        whisper, forced = self.whisper, self.config.languages if len(self.config.languages) == 1 else None
        known = [at for at in sounds if not langs[at] or langs[at] in whisper.languages]
        for at in sounds.keys() - known:
            rows[at] = null(f"{whisper.name} does not know the language '{langs[at]}'")

        def hear(some: Sequence[int]) -> None:
            told = [forced[0] if forced else langs[at] for at in some]
            found.update(zip(some, whisper([sounds[at] for at in some], told, self.config.languages), strict=True))

        before = whisper.windows
        failed |= _isolated(known, hear)
        metrics["audio_s"] += sum(len(sounds[at]) for at in known) / SAMPLE_RATE
        metrics["padded_s"] += (whisper.windows - before) * vad.WINDOW_S
        return found

    def _recognised(self, one: Recognised, context: str | None) -> Row:
        """The row of a clip that Whisper has heard."""
        told = [heard for heard in one.heard if heard.text.strip()]
        if not one.heard:
            return null(f"nobody speaks, says {self.config.vad}" if self.config.vad != "none" else "there is no sound")
        avg_logprob, no_speech = _doubts(one.heard)
        said = " ".join(heard.text.strip() for heard in told)
        row: Row = {
            "text_lang": one.language,
            "text_lang_score": _rounded(one.language_score),
            "asr_avg_logprob": _rounded(avg_logprob),
            "asr_no_speech": _rounded(no_speech),
        }
        if not text.words(said):
            return row | null("Whisper heard no words")
        speech_s = sum(heard.speech_s for heard in one.heard)
        # Rounded before they are judged: what is stored is what the flags follow from.
        signs = hallucination.flags(
            said, one.language, speech_s, row["asr_avg_logprob"], row["asr_no_speech"], self.config.limits
        )
        confidence = min(math.exp(avg_logprob), 1.0)
        row |= {
            "transcript": said,
            "transcript_source": "pseudo",
            "asr_compression": _rounded(hallucination.compression(said)),
            "asr_flags": signs,
            "asr_confidence": _rounded(min(confidence, DOUBTFUL) if signs else confidence),
        }
        return row | (self._part(said, context) if context else {})

    def _part(self, said: str, whole: str) -> Row:
        """The part of a longer recording's text that was heard, in the corpus's own spelling; nothing if it was not."""
        heard, there = text.words(said), text.words(whole)
        begin, end, errors = fit(heard, there)
        agreement = 1 - errors / max(len(heard), end - begin, 1)
        if end - begin < self.config.min_words or agreement < self.config.min_agreement:
            return {}
        said = text.stretch(whole, begin, end)
        own = dict.fromkeys(("asr_avg_logprob", "asr_no_speech", "asr_compression", "asr_flags"))  # another text's
        return own | {"transcript": said, "transcript_source": "gold", "asr_confidence": _rounded(agreement)}

    # --- Aligning -------------------------------------------------------------------------------------------

    def _aligner_of(self, lang: str | None) -> manifest.Model | None:
        found = self._models.get(lang or "")
        return found if found and not manifest.missing(found) else None

    def _align(
        self, waiting: Mapping[int, list[aligner.Segment]], rows: list[Row], failed: dict[int, Exception],
        metrics: dict[str, float],
    ) -> None:  # fmt: skip
        """Words of every clip that has a text, or why it has none."""
        by_language: dict[str | None, list[int]] = defaultdict(list)
        for at in waiting:
            by_language[rows[at]["text_lang"]].append(at)
        for lang, members in sorted(by_language.items(), key=lambda item: item[0] or ""):
            ready = self._aligner_of(lang)
            if ready is None or lang is None:
                found = self._models.get(lang or "")
                why = manifest.missing(found) if found else f"no aligner for {name(lang)}"
                for at in members:
                    rows[at]["transcript_reason"] = f"no word times: {why}"
                continue
            if lang not in self._aligners:
                self._aligners[lang] = aligner.Aligner(ready, lang, self.device, self.config.batch_seconds / 3)
            lay = partial(self._lay, lang=lang, waiting=waiting, rows=rows, metrics=metrics)
            failed |= _isolated([at for at in members if waiting[at]], lay)

    def _lay(
        self, some: Sequence[int], lang: str, waiting: Mapping[int, list[aligner.Segment]], rows: list[Row],
        metrics: dict[str, float],
    ) -> None:  # fmt: skip
        laying = self._aligners[lang]
        before = dict(laying.metrics)
        answers = iter(laying.align([segment for at in some for segment in waiting[at]]))
        for at in some:
            found = [(segment, next(answers)) for segment in waiting[at]]
            if all(words is None for _, words in found):
                rows[at]["transcript_reason"] = "no word times: the text cannot be laid over the sound"
            else:
                rows[at]["words"] = [
                    word for segment, words in found for word in (words if words is not None else _unaligned(segment))
                ]
        for key in metrics:
            metrics[key] += laying.metrics[key] - before[key]


def _segments(sound: Floats, one: Recognised, row: Row) -> list[aligner.Segment]:
    """What to align: each stretch with its own text, as WhisperX does; the corpus's text over all of them."""
    if row["transcript_source"] == "gold":
        spans = [(one.heard[0].start, one.heard[-1].end, row["transcript"])]
    else:
        spans = [(heard.start, heard.end, heard.text) for heard in one.heard if text.words(heard.text)]
    return [
        aligner.Segment(sound[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)], said, start, end)
        for start, end, said in spans
    ]


def _unaligned(segment: aligner.Segment) -> list[Row]:
    return [{"word": word, "flag": "unaligned"} for word in segment.text.split()]


def _doubts(heard: Sequence[Heard]) -> tuple[float, float]:
    """Mean log-probability per token over all stretches, and the largest probability that nobody speaks."""
    tokens = sum(one.tokens + 1 for one in heard)
    return sum(one.avg_logprob * (one.tokens + 1) for one in heard) / tokens, max(one.no_speech for one in heard)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _isolated(rows: Sequence[int], work: Callable[[Sequence[int]], None]) -> dict[int, Exception]:
    """``work`` on all rows; what fails is halved down to the rows that fail alone, which are returned with why.

    Raises:
        Whatever ``work`` raises when it is not the rows' fault: an error of the machine, or every single row fails.
    """
    failed: dict[int, Exception] = {}
    todo = [list(rows)] if rows else []
    while todo:
        some = todo.pop()
        try:
            work(some)
        except Exception as error:
            if isinstance(error, DatagenError) and not isinstance(error, RowError):
                raise
            if len(some) == 1:
                failed[some[0]] = error
            else:
                half = (len(some) + 1) // 2
                todo += [some[half:], some[:half]]
    blameless = [error for error in failed.values() if not isinstance(error, RowError)]
    if blameless and len(failed) == len(rows):
        raise blameless[0]
    return failed


def _reject(at: int, error: Exception) -> Reject:
    return Reject(at, error.error_class if isinstance(error, RowError) else type(error).__name__, str(error))
