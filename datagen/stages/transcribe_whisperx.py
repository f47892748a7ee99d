"""The ``whisperx`` way to a transcript: the corpus's own text, else Whisper's; words laid over the sound either way.

Many clips are heard together, then aligned together, language by language, while the next ones are decoded; all of it
is planned from the rows of the call, not clip by clip. A clip that breaks a model is rejected alone.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen import tables
from datagen.errors import DatagenError, EnvironmentFault, RowError, UsageError
from datagen.models import aligner, device, manifest
from datagen.models.batching import ahead, halving
from datagen.models.pocketsphinx import fit
from datagen.models.whisperx import Heard, Recognised, WhisperX, vad
from datagen.speech import hallucination, text, transcripts
from datagen.speech.transcripts import NO_SOUND, NO_WORDS, NOBODY_SPEAKS, Row, name, null
from datagen.stage import Drop, Output, Reject
from datagen.stages.transcribe_config import TranscribeConfig
from datagen.stages.transcribe_models import NOT_HERE, aligners, model
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

#: What a flagged text is worth at most: below every threshold from which on words count as known.
DOUBTFUL = 0.5

_log = logging.getLogger(__name__)


@dataclass
class _Call:
    """The rows of one ``process`` call, and what is known of them so far."""

    langs: Sequence[str | None]
    given: Sequence[transcripts.Given]
    rows: list[Row]
    failed: dict[int, Exception] = field(default_factory=dict)
    #: By step: rows that went through it, and those that broke it.
    tried: Counter[str] = field(default_factory=Counter)
    broke: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    metrics: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def attempt(self, step: str, rows: Sequence[int], work: Callable[[Sequence[int]], None]) -> None:
        """``work`` on all rows; what fails is halved down to the rows that fail alone."""

        def failed(some: Sequence[int], error: Exception) -> None:
            if isinstance(error, DatagenError) and not isinstance(error, RowError):
                raise error
            if len(some) == 1:
                self.failed[some[0]] = error
                self.broke[step].append(some[0])

        self.tried[step] += len(rows)
        halving([rows] if rows else [], work, failed)

    def blame(self) -> None:
        """Raise what every single row of a step failed with: then it is not the rows' fault."""
        for step, broken in self.broke.items():
            errors = [self.failed[at] for at in broken if not isinstance(self.failed[at], RowError)]
            if errors and len(broken) == self.tried[step]:
                raise errors[0]


class WhisperXTranscriber:
    """Whisper is loaded when the first clip needs it: a corpus that has its texts needs the aligners only."""

    def __init__(self, config: TranscribeConfig) -> None:
        device.offline()
        self.config = config
        self.device = device.resolve(config.device)
        self._models = aligners(config)
        self._aligners: dict[str, aligner.Aligner] = {}
        self._why: dict[str | None, str | None] = {}

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
        call = _Call(langs, [transcripts.given(labels) for labels in batch["labels"].to_pylist()], [{} for _ in langs])
        lay, hear = self._to_do(call)
        for sounds in self._decoded(call, batch, sorted({*lay, *hear})):
            parts = {at: [aligner.Segment(sounds[at], call.rows[at]["transcript"], 0.0, len(sounds[at]) / SAMPLE_RATE)]
                     for at in lay if at in sounds}  # fmt: skip
            for at, one in self._hear(call, {at: sounds[at] for at in hear if at in sounds}).items():
                call.rows[at] = self._recognised(one, call.given[at].context)
                if call.rows[at].get("transcript") and self._can_lay(call, at):
                    parts[at] = _segments(sounds[at], one, call.rows[at])
            self._align(call, parts)
        call.blame()

        rejects = [_reject(at, error) for at, error in sorted(call.failed.items())]
        for reject in rejects:
            call.rows[reject.row] = {}
        drops = []
        if self.config.hallucination == "drop":
            drops = [Drop(at, f"perhaps invented text: {', '.join(row['asr_flags'])}")
                     for at, row in enumerate(call.rows) if row.get("asr_flags")]  # fmt: skip
        metrics = {"audio_s": 0.0, "fed_s": 0.0, "padded_s": 0.0} | call.metrics
        return Output(tables.from_rows(call.rows, tables.TRANSCRIBE), rejects, drops, metrics=metrics)

    def _to_do(self, call: _Call) -> tuple[list[int], list[int]]:
        """Rows whose own text is to be aligned, and rows to hear; the others have their answer."""
        lay, hear = [], []
        for at, (known, lang) in enumerate(zip(call.given, call.langs, strict=True)):
            if self.config.prefer_reference and known.transcript:
                call.rows[at] = transcripts.gold(known.transcript, lang, known.words or None)
                if not known.words and self._can_lay(call, at):
                    lay.append(at)
            elif lang and self.config.languages and lang not in self.config.languages:
                call.rows[at] = null(f"the corpus says it is in '{lang}', not in {', '.join(self.config.languages)}")
            else:
                hear.append(at)
        return lay, hear

    def _decoded(self, call: _Call, batch: pa.Table, rows: Sequence[int]) -> Iterator[dict[int, Floats]]:
        """Sounds of ``rows``, longest first, some at a time; the next ones are decoded meanwhile. The first are few, so
        that the models need not wait for long."""
        seconds = batch["duration"].to_pylist()
        order = sorted(rows, key=lambda at: (-(seconds[at] or 0.0), at))
        few = max(int(self.config.batch_seconds // vad.WINDOW_S), 1)
        chunks = [order[:few], *(order[at : at + 4 * few] for at in range(few, len(order), 4 * few))]
        for _, loaded in ahead([chunk for chunk in chunks if chunk], batch["audio"]):
            sounds = {}
            for at, sound in loaded.items():
                if isinstance(sound, RowError):
                    call.failed[at] = sound
                else:
                    sounds[at] = sound
            # A clip that is heard and then aligned counts once as audio, and twice in what the models were fed.
            call.metrics["audio_s"] += sum(map(len, sounds.values())) / SAMPLE_RATE
            yield sounds

    # --- Hearing --------------------------------------------------------------------------------------------

    def _hear(self, call: _Call, sounds: Mapping[int, Floats]) -> dict[int, Recognised]:
        found: dict[int, Recognised] = {}
        if not sounds:
            return found
        whisper, forced = self.whisper, self.config.languages if len(self.config.languages) == 1 else None
        known = [at for at in sounds if not call.langs[at] or call.langs[at] in whisper.languages]
        for at in sounds.keys() - known:
            call.rows[at] = null(f"{whisper.name} does not know the language '{call.langs[at]}'")

        def hear(some: Sequence[int]) -> None:
            told = [forced[0] if forced else call.langs[at] for at in some]
            found.update(zip(some, whisper([sounds[at] for at in some], told, self.config.languages), strict=True))

        before = whisper.windows
        call.attempt("hear", known, hear)
        call.metrics["fed_s"] += sum(len(sounds[at]) for at in known) / SAMPLE_RATE
        call.metrics["padded_s"] += (whisper.windows - before) * vad.WINDOW_S
        return found

    def _recognised(self, one: Recognised, context: str | None) -> Row:
        """The row of a clip that Whisper has heard."""
        told = [heard for heard in one.heard if heard.text.strip()]
        if not one.heard:
            silent = f"{NOBODY_SPEAKS}, says {self.config.vad}"
            return null(silent if self.config.vad != "none" else NO_SOUND)
        avg_logprob, no_speech = _doubts(one.heard)
        said = " ".join(heard.text.strip() for heard in told)
        row: Row = {
            "text_lang": one.language,
            "text_lang_score": _rounded(one.language_score),
            "asr_avg_logprob": _rounded(avg_logprob),
            "asr_no_speech": _rounded(no_speech),
        }
        if not text.words(said):
            return row | null(NO_WORDS)
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

    def _can_lay(self, call: _Call, at: int) -> bool:
        """Whether the row's text can be aligned; says in the row why not."""
        lang = call.rows[at]["text_lang"]
        if lang not in self._why:
            self._why[lang] = self._unaligned(lang)
        if self._why[lang]:
            call.rows[at]["transcript_reason"] = f"no word times: {self._why[lang]}"
            if lang in self._models:
                call.metrics[f"{NOT_HERE}{lang}"] += 1
        return self._why[lang] is None

    def _unaligned(self, lang: str | None) -> str | None:
        if not self.config.align:
            return "alignment is off"
        if lang is None or lang not in self._models:
            known = lang and aligner.for_language(lang)
            return f"'{lang}' is not among transcribe.languages" if known else f"no aligner for {name(lang)}"
        why = manifest.missing(self._models[lang])
        if why and lang in {*self.config.languages, *self.config.aligners}:
            raise EnvironmentFault(f"this worker lacks what was there when the run began: {why}")
        if why:
            _log.warning("no word times in '%s': %s", lang, why)
        return why

    def _align(self, call: _Call, parts: Mapping[int, list[aligner.Segment]]) -> None:
        by_language: dict[str, list[int]] = defaultdict(list)
        for at in parts:
            by_language[call.rows[at]["text_lang"]].append(at)
        for lang, members in sorted(by_language.items()):
            if lang not in self._aligners:
                found = self._models[lang]
                self._aligners[lang] = aligner.Aligner(found, lang, self.device, self.config.batch_seconds / 3)
            laying = self._aligners[lang]
            before = dict(laying.metrics)
            call.attempt(f"align {lang}", members, partial(_lay, laying, parts, call.rows))
            for key, of_aligner in (("fed_s", "audio_s"), ("padded_s", "padded_s")):
                call.metrics[key] += laying.metrics[of_aligner] - before[of_aligner]


def _lay(
    laying: aligner.Aligner, parts: Mapping[int, list[aligner.Segment]], rows: list[Row], some: Sequence[int]
) -> None:
    """Words of some clips."""
    answers = iter(laying.align([segment for at in some for segment in parts[at]]))
    for at in some:
        found = [(segment, next(answers)) for segment in parts[at]]
        if all(words is None for _, words in found):
            rows[at]["transcript_reason"] = "no word times: the text cannot be laid over the sound"
        else:
            rows[at]["words"] = [
                word for segment, words in found for word in (words if words is not None else _untimed(segment))
            ]


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


def _untimed(segment: aligner.Segment) -> list[Row]:
    return [{"word": word, "flag": "unaligned"} for word in segment.text.split()]


def _doubts(heard: Sequence[Heard]) -> tuple[float, float]:
    """Mean log-probability per token over all stretches, and the largest probability that nobody speaks."""
    tokens = sum(one.tokens + 1 for one in heard)
    return sum(one.avg_logprob * (one.tokens + 1) for one in heard) / tokens, max(one.no_speech for one in heard)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _reject(at: int, error: Exception) -> Reject:
    return Reject(at, error.error_class if isinstance(error, RowError) else type(error).__name__, str(error))
