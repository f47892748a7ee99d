"""What ``transcribe`` with whisperx needs and lacks, who makes its columns, and what a person should know of a run.

``transcribe_whisperx`` does the work; here nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from datagen.errors import UsageError
from datagen.models import aligner, manifest
from datagen.models.whisperx import lacking, vad
from datagen.speech import hallucination
from datagen.stage import Provenance
from datagen.stages.transcribe_config import TranscribeConfig

MODEL = "whisper-large-v3"
#: A metric: clips that got no words because the aligner of the language that follows was not pulled.
NOT_HERE = "aligner_not_here:"


def model(config: TranscribeConfig) -> manifest.Model:
    return manifest.find(config.model, MODEL)


def aligners(config: TranscribeConfig) -> dict[str, manifest.Model]:
    """Language -> the aligner it would get, there or not; those of ``languages`` and ``aligners`` only, where languages
    are named: what else is pulled then changes nothing. Empty with ``align`` off."""
    if not config.align:
        return {}
    built_in = {language: entry for entry in _aligner_entries() for language in manifest.entries()[entry].languages}
    chosen = {**built_in, **config.aligners}
    wanted = {*config.languages, *config.aligners} if config.languages else chosen.keys()
    return {language: manifest.find(chosen[language], _like(language)) for language in sorted(chosen.keys() & wanted)}


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
    of_folder = {found.folder: found for found in aligners(config).values() if not manifest.missing(found)}
    makers += [manifest.provenance(found, "words") for found in of_folder.values()]
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
        problems = [manifest.nowhere(whisper) or lacking(whisper), *map(manifest.missing, laying)]
    except UsageError as error:
        return str(error)
    return next((problem for problem in problems if problem), None)


def notes(config: TranscribeConfig, metrics: Mapping[str, float]) -> list[str]:
    """What could not be known before the run: languages of clips whose aligners are not here."""
    found = aligners(config)
    return [
        f"{clips:,.0f} clips in '{lang}' have a text but no word times: {manifest.missing(found[lang]) or 'run again'}"
        for key, clips in sorted(metrics.items())
        if key.startswith(NOT_HERE) and (lang := key.removeprefix(NOT_HERE)) in found
    ]
