"""Whisper through WhisperX's pipeline objects, with stretches of many clips in one batch.

Stock ``pipeline.transcribe`` takes one file at a time, so that a corpus of 3-second clips goes through the model one by
one, and asks for the language of each file before. Here voice activity, language and text are each found for a whole
batch, with the same model, the same options and the same call of CTranslate2; text and log-probabilities are the same.
What the stock call leaves out and is had for nothing is kept: the probability that nobody speaks, the probabilities of
all languages. Languages may differ within a batch.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.errors import RunError
from datagen.models import batching, device, manifest
from datagen.models.whisperx import vad, windows
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

#: Whisper's codes that are not ISO 639's.
_ISO = {"jw": "jv"}
_WHISPER = {code: name for name, code in _ISO.items()} | {"nb": "no"}
#: Whisper's own limit: half of its text context of 448 tokens per window of 30 s.
MOST_TOKENS = 224
#: A cap on tokens is the same for all sounds of one length up to this step (seconds), so that they can share a batch.
_CAP_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One stretch of a clip as Whisper understood it.

    ``start``, ``end``: seconds in the clip, to the millisecond; ``avg_logprob``: mean log-probability per token, the
    end of the text counted as one; ``no_speech``: 0..1; ``tokens``: how many were decoded.
    """

    text: str
    start: float
    end: float
    speech_s: float
    avg_logprob: float
    no_speech: float
    tokens: int


@dataclass(slots=True)
class Recognised:
    """A clip. ``heard`` is empty, and ``language`` null, when nobody speaks.

    ``language``: ISO 639-1 (or -3 where there is no shorter code); ``language_score``: its probability among all
    languages, null when the language was given.
    """

    language: str | None = None
    language_score: float | None = None
    heard: list[Heard] = field(default_factory=list)


@dataclass(slots=True)
class _Job:
    """A stretch waiting to be heard. ``whole``: it is the window from which a language would be told."""

    clip: int
    stretch: vad.Stretch
    samples: Floats
    whole: bool

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


class WhisperX:
    """Loads the model and the voice detector; nothing is fetched.

    Args:
        model: a CTranslate2 Whisper with its tokenizer.
        where: ``"cpu"`` or ``"cuda"``.
        compute_type: of CTranslate2; ``default`` is float16 on a GPU, float32 on a CPU, as in WhisperX.
        beam_size: 1 = greedy.
        batch_seconds: 30 for each window in a batch; halved by itself where memory is short.
        max_tokens_per_second: of the stretch; None = Whisper's own limit of 224 per window.

    Raises:
        RunError: the model cannot be loaded.
    """

    def __init__(
        self, model: manifest.Model, where: str = "cpu", *, method: vad.Method = "pyannote",
        compute_type: str = "default", beam_size: int = 5, batch_seconds: float = 480.0,
        max_tokens_per_second: float | None = None,
    ) -> None:  # fmt: skip
        device.offline()
        with _quiet():
            from whisperx.asr import load_model

            try:
                # Any detector will do here but WhisperX's own, which would be loaded a second time.
                self.pipeline: Any = load_model(
                    str(model.folder), where, compute_type=compute_type, asr_options={"beam_size": beam_size},
                    vad_model=object(), local_files_only=True, threads=device.THREADS,
                )  # fmt: skip
            except (RuntimeError, ValueError, OSError) as error:
                raise RunError(
                    f"model {model.entry.name} in {model.folder} cannot be loaded: {error}; "
                    + (lacking(model) or "pull it again, or check compute_type")
                ) from error
            self.detector = vad.detector(method, where)
        self.name = model.entry.name
        self.room = batching.Room(self.name, batch_seconds)
        self.max_tokens_per_second = max_tokens_per_second
        self.windows = 0  #: heard since it was loaded
        self._whisper: Any = self.pipeline.model
        self._bands: int = self._whisper.model.n_mels
        self._tokenizers: dict[str, Any] = {}

    @property
    def languages(self) -> frozenset[str]:
        """ISO codes of the languages that the model knows."""
        known = {_ISO.get(name, name) for name in self._whisper.supported_languages}
        return frozenset(known | {code for code, name in _WHISPER.items() if name in known})

    def __call__(
        self, sounds: Sequence[Floats], languages: Sequence[str | None], among: Collection[str] = ()
    ) -> list[Recognised]:
        """What is said in each sound.

        Args:
            sounds: float32 [samples], 16 kHz, of any length.
            languages: of each, ISO 639-1; None = told from its first 30 s.
            among: languages that are told apart; empty = all that the model knows.
        """
        stretches = self.detector(sounds)
        found = [Recognised() for _ in sounds]
        jobs = []
        for clip, mine in enumerate(stretches):
            for stretch in mine:
                begin, end = int(stretch.start * SAMPLE_RATE), int(stretch.end * SAMPLE_RATE)
                whole = begin == 0 and min(end, windows.SAMPLES) >= min(len(sounds[clip]), windows.SAMPLES)
                jobs.append(_Job(clip, stretch, sounds[clip][begin:end], whole))
            if mine:
                found[clip].language = languages[clip]
        # A stretch that is the very window from which the language is told is encoded once for both.
        both = {job.clip for job in jobs if job.whole and languages[job.clip] is None and len(stretches[job.clip]) == 1}
        asked = [clip for clip, one in enumerate(found) if stretches[clip] and not one.language and clip not in both]
        self._tell([sounds[clip] for clip in asked], [found[clip] for clip in asked], among)
        for cap, alike in self._by_cap(jobs):
            self._hear(alike, found, among, cap)
        for one in found:
            one.heard.sort(key=lambda heard: heard.start)
        return found

    # --- In batches -----------------------------------------------------------------------------------------

    def _by_cap(self, jobs: Sequence[_Job]) -> Iterator[tuple[int, list[_Job]]]:
        """Jobs with the same cap on tokens, longest first: a cap changes a beam search, so nobody gets another's."""
        alike: dict[int, list[_Job]] = {}
        for job in sorted(jobs, key=lambda job: -len(job.samples)):
            alike.setdefault(self._cap(job.seconds), []).append(job)
        yield from alike.items()

    def _cap(self, seconds: float) -> int:
        if self.max_tokens_per_second is None:
            return MOST_TOKENS
        steps = int(np.ceil(seconds / _CAP_STEP_S))
        return int(np.clip(np.ceil(steps * _CAP_STEP_S * self.max_tokens_per_second), 4, MOST_TOKENS))

    def _tell(self, sounds: Sequence[Floats], found: Sequence[Recognised], among: Collection[str]) -> None:
        def tell(some: Sequence[int]) -> None:
            encoded = self._encode([sounds[at] for at in some])
            for at, probabilities in zip(some, self._whisper.model.detect_language(encoded), strict=True):
                found[at].language, found[at].language_score = _likeliest(probabilities, among)

        self._fitting(range(len(sounds)), tell)

    def _hear(self, jobs: Sequence[_Job], found: Sequence[Recognised], among: Collection[str], cap: int) -> None:
        def hear(some: Sequence[int]) -> None:
            mine = [jobs[at] for at in some]
            encoded = self._encode([job.samples for job in mine])
            if any(found[job.clip].language is None for job in mine):
                for job, probabilities in zip(mine, self._whisper.model.detect_language(encoded), strict=True):
                    clip = found[job.clip]
                    if clip.language is None:
                        clip.language, clip.language_score = _likeliest(probabilities, among)
            for job, heard in zip(mine, self._generate(encoded, mine, found, cap), strict=True):
                found[job.clip].heard.append(heard)
            self.windows += len(mine)

        self._fitting(range(len(jobs)), hear)

    def _fitting(self, items: Sequence[int], work: Callable[[Sequence[int]], None]) -> None:
        """``work`` on as many items at a time as fit in memory."""

        def batches() -> Iterator[Sequence[int]]:
            begin = 0
            while begin < len(items):
                end = begin + max(int(self.room.seconds // vad.WINDOW_S), 1)
                yield items[begin:end]
                begin = end

        def failed(some: Sequence[int], error: Exception) -> None:
            if not batching.out_of_memory(error):
                raise error
            self.room.shrink(len(some), vad.WINDOW_S, error)

        batching.halving(batches(), work, failed)

    def _encode(self, sounds: Sequence[Floats]) -> Any:
        mels = [windows.mel(sound, self._bands) for sound in sounds]
        model = self._whisper.model
        if model.device != "cpu" or "16" in model.compute_type:  # numpy knows no bfloat16
            return self._whisper.encode(np.stack(mels))
        # One window of 30 s keeps a core busy, and several are slower: they push each other out of its cache. It is
        # the decoder that gains from company.
        from faster_whisper.transcribe import get_ctranslate2_storage

        encoded = [np.asarray(self._whisper.encode(mel[None])) for mel in mels]
        return get_ctranslate2_storage(np.concatenate(encoded))

    def _generate(self, encoded: Any, jobs: Sequence[_Job], found: Sequence[Recognised], cap: int) -> Iterator[Heard]:
        """As ``whisperx.asr.WhisperModel.generate_segment_batched``, with a prompt for each stretch's own language."""
        options = self.pipeline.options
        prompts = []
        for job in jobs:
            tokenizer = self._tokenizer(found[job.clip].language)
            prompts.append(self._whisper.get_prompt(tokenizer, [], without_timestamps=options.without_timestamps))
        answers = self._whisper.model.generate(
            encoded,
            prompts,
            beam_size=options.beam_size,
            patience=options.patience,
            length_penalty=options.length_penalty,
            max_length=2 * cap,  # CTranslate2 lets the text fill half of it
            suppress_blank=options.suppress_blank,
            suppress_tokens=options.suppress_tokens,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            repetition_penalty=options.repetition_penalty,
            return_scores=True,
            return_no_speech_prob=True,
        )
        for job, answer in zip(jobs, answers, strict=True):
            tokens = answer.sequences_ids[0]
            tokenizer = self._tokenizer(found[job.clip].language)
            total = answer.scores[0] * len(tokens) ** options.length_penalty
            yield Heard(
                text=tokenizer.decode(tokens),
                start=round(job.stretch.start, 3),
                end=round(job.stretch.end, 3),
                speech_s=job.stretch.speech_s,
                avg_logprob=total / (len(tokens) + 1),
                no_speech=answer.no_speech_prob,
                tokens=len(tokens),
            )

    def _tokenizer(self, language: str | None) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        name = _WHISPER.get(language or "", language or "en")
        if name not in self._tokenizers:
            whisper = self._whisper
            self._tokenizers[name] = Tokenizer(whisper.hf_tokenizer, whisper.model.is_multilingual, "transcribe", name)
        return self._tokenizers[name]


def _likeliest(probabilities: Sequence[tuple[str, float]], among: Collection[str]) -> tuple[str, float]:
    """(ISO code, probability) of the likeliest language; ``probabilities``: ("<|en|>", 0.9), ... of all languages."""
    asked = {_WHISPER.get(code, code): code for code in among}
    known = ((token[2:-2], score) for token, score in probabilities)
    name, score = max(((name, score) for name, score in known if not among or name in asked), key=lambda item: item[1])
    return asked.get(name, _ISO.get(name, name)), score


def lacking(model: manifest.Model) -> str | None:
    """What to do when files of a Whisper are not there, or None. A folder may hold either form of the vocabulary."""
    if not model.own:
        return manifest.missing(model)
    absent = [name for name in ("config.json", "model.bin", "tokenizer.json") if not (model.folder / name).is_file()]
    if not any(model.folder.glob("vocabulary.*")):
        absent.append("vocabulary.json")
    return f"{model.folder} lacks {', '.join(absent)}, which a CTranslate2 Whisper has" if absent else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Loading tells of versions, of codecs nobody needs and, on standard output, of what it was given."""
    for name in ("whisperx", "lightning", "lightning.pytorch", "pytorch_lightning", "pyannote"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
