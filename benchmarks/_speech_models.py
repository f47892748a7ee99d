"""The two sides of ``speech.py``: each model the way its library calls it, file by file, and the way a stage calls it.

Every runner takes clips as FLAC and decodes them itself, with the same decoder; what it says comes back in one form.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _speech_clips import Clips

from datagen.models import batching, device
from datagen.speech.audio import decode_flac
from datagen.tables import SAMPLE_RATE


@dataclass(frozen=True)
class Said:
    """Of one clip: words, and numbers in a fixed order (NaN = null)."""

    text: str
    numbers: list[float]


@dataclass(frozen=True)
class Result:
    """``metrics``: as a stage's, ``audio_s`` and ``padded_s``; empty for the library's own calls."""

    said: list[Said]
    metrics: Mapping[str, float] = field(default_factory=dict)


Runner = Callable[[Clips], Result]

STOCK, LISTED, OURS = "stock", "stock, list", "ours"
_TOGETHER = 16  #: stock WhisperX's batch size, which a short file never fills
_DECODED_SECONDS = 480.0  #: as ``transcribe`` has it


def variants(model: str) -> tuple[str, ...]:
    """Ways to run a model; only emotion2vec's library takes a list of sounds."""
    return (STOCK, LISTED, OURS) if model == "emotion" else (STOCK, OURS)


def load(model: str, variant: str, folder: Path, where: str) -> Runner:
    """A loaded model. ``where``: "cpu" or "cuda"."""
    device.offline()
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    for name in ("whisperx", "lightning", "lightning.pytorch", "pytorch_lightning", "pyannote"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import torch

    torch.set_num_threads(device.THREADS)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return _LOADERS[model, variant](folder, where)


def _decoded(clips: Clips) -> Iterable[Any]:
    return (decode_flac(data.as_py()) for data in clips.audio)


def _batch_seconds(where: str) -> float:
    return device.batch_seconds(device.ModelConfig().batch_seconds, where)


def _values(answers: batching.Answers[Any]) -> list[Any]:
    if answers.rejects:
        raise RuntimeError(f"{len(answers.rejects)} clips were refused: {answers.rejects[0]}")
    return answers.values


# --- Whisper --------------------------------------------------------------------------------------------------


def _asr_stock(folder: Path, where: str) -> Runner:
    import whisperx

    pipeline = whisperx.load_model(str(folder), where, language="en", local_files_only=True, threads=device.THREADS)

    def run(clips: Clips) -> Result:
        pipeline.model.max_length = 2 * clips.most_tokens  # CTranslate2 lets the text fill half of it
        found = [pipeline.transcribe(sound, batch_size=_TOGETHER)["segments"] for sound in _decoded(clips)]
        return Result(
            [
                Said("|".join(one["text"] for one in heard),
                     [one[key] for one in heard for key in ("start", "end", "avg_logprob")])
                for heard in found
            ]
        )  # fmt: skip

    return run


def _asr_ours(folder: Path, where: str) -> Runner:
    from datagen.models import manifest
    from datagen.models.whisperx import WhisperX, vad

    whisper = WhisperX(manifest.find(str(folder), "whisper-large-v3"), where)

    def run(clips: Clips) -> Result:
        whisper._cap = lambda _: clips.most_tokens  # type: ignore[method-assign]
        before = whisper.windows
        decoder = batching.Batcher("flac", _DECODED_SECONDS)
        answers = decoder.run(clips.audio, clips.seconds, lambda sounds: sounds)
        found = whisper(_values(answers), ["en"] * len(clips.seconds))
        heard_s = (whisper.windows - before) * vad.WINDOW_S
        return Result(
            [
                Said("|".join(one.text for one in clip.heard),
                     [value for one in clip.heard for value in (one.start, one.end, one.avg_logprob)])
                for clip in found
            ],
            {"audio_s": answers.metrics["audio_s"], "padded_s": heard_s},
        )  # fmt: skip

    return run


# --- Alignment ------------------------------------------------------------------------------------------------


def _align_stock(folder: Path, where: str) -> Runner:
    import whisperx

    if (folder / "bundle.json").exists():
        model, meta = _bundle(folder, where)
    else:
        model, meta = whisperx.load_align_model("en", where, model_name=str(folder), model_cache_only=True)
    _sentences(folder.parent / "nltk")

    def run(clips: Clips) -> Result:
        found = []
        for sound, text in zip(_decoded(clips), clips.texts, strict=True):
            segment = {"text": text, "start": 0.0, "end": len(sound) / SAMPLE_RATE}
            found.append(_words(whisperx.align([segment], model, meta, sound, where)["word_segments"]))
        return Result(found)

    return run


def _bundle(folder: Path, where: str) -> tuple[Any, dict[str, Any]]:
    """What ``whisperx.load_align_model`` makes of a bundle of torchaudio, without fetching one."""
    import torch
    import torchaudio

    described = json.loads((folder / "bundle.json").read_text("utf-8"))
    model = torchaudio.models.wav2vec2_model(**described["params"]).eval()
    (file,) = folder.glob("*.pth")
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    dictionary = {label.lower(): code for code, label in enumerate(described["labels"])}
    return model.to(where), {"language": "en", "dictionary": dictionary, "type": "torchaudio"}


def _sentences(folder: Path) -> None:
    """Tables of NLTK's splitter, which stock alignment reads for every file; these know no abbreviation."""
    import nltk

    tables = folder / "tokenizers" / "punkt_tab" / "english"
    tables.mkdir(parents=True, exist_ok=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (tables / name).touch()
    if str(folder) not in nltk.data.path:
        nltk.data.path.insert(0, str(folder))


def _align_ours(folder: Path, where: str) -> Runner:
    from datagen.models import manifest
    from datagen.models.aligner import Aligner, Segment

    aligner = Aligner(manifest.find(str(folder), "align-en"), "en", where)

    def run(clips: Clips) -> Result:
        before = dict(aligner.metrics)
        decoder = batching.Batcher("flac", _DECODED_SECONDS)
        sounds = _values(decoder.run(clips.audio, clips.seconds, lambda sounds: sounds))
        segments = [
            Segment(sound, text, 0.0, len(sound) / SAMPLE_RATE) for sound, text in zip(sounds, clips.texts, strict=True)
        ]
        found = aligner.align(segments)
        spent = {name: value - before[name] for name, value in aligner.metrics.items()}
        return Result([_words(words or []) for words in found], spent)

    return run


def _words(words: Sequence[Mapping[str, Any]]) -> Said:
    numbers = [word.get(key) for word in words for key in ("start", "end", "score")]
    return Said(" ".join(word["word"] for word in words), [np.nan if x is None else float(x) for x in numbers])


# --- emotion2vec ----------------------------------------------------------------------------------------------


def _funasr(folder: Path, where: str) -> Callable[[Any], list[Said]]:
    from funasr import AutoModel

    model = AutoModel(model=str(folder), device=where, ncpu=device.THREADS, disable_update=True, disable_pbar=True)

    def generate(sounds: Any) -> list[Said]:
        found = model.generate(input=sounds, granularity="utterance", extract_embedding=False)
        return [Said("", [float(score) for score in one["scores"]]) for one in found]

    return generate


def _emotion_stock(folder: Path, where: str) -> Runner:
    generate = _funasr(folder, where)
    return lambda clips: Result([said for sound in _decoded(clips) for said in generate(sound)])


def _emotion_listed(folder: Path, where: str) -> Runner:
    generate = _funasr(folder, where)
    return lambda clips: Result(generate(list(_decoded(clips))))


def _emotion_ours(folder: Path, where: str) -> Runner:
    from datagen.models.emotion2vec import Emotion2vec

    model = Emotion2vec(folder, where, device.THREADS)
    batcher = batching.Batcher("emotion2vec", _batch_seconds(where))

    def run(clips: Clips) -> Result:
        answers = batcher.run(clips.audio, clips.seconds, model)
        return Result([Said("", one.scores.tolist()) for one in _values(answers)], answers.metrics)

    return run


# --- audEERING ------------------------------------------------------------------------------------------------


def _affect_stock(folder: Path, where: str) -> Runner:
    """The loop of the model's card: classes of one's own around transformers' wav2vec 2.0."""
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2PreTrainedModel

    class Head(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, size: int) -> None:
            super().__init__()
            self.dense, self.out_proj = torch.nn.Linear(size, size), torch.nn.Linear(size, 3)

        def forward(self, pooled: Any) -> Any:
            return self.out_proj(torch.tanh(self.dense(pooled)))

    class Emotion(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.wav2vec2, self.classifier = Wav2Vec2Model(config), Head(config.hidden_size)
            self.post_init()

        def forward(self, values: Any) -> Any:
            return self.classifier(self.wav2vec2(values)[0].mean(dim=1))

    model = Emotion.from_pretrained(folder, local_files_only=True).eval().to(where)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)

    def run(clips: Clips) -> Result:
        found = []
        for sound in _decoded(clips):
            values = extractor(sound, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
            with torch.inference_mode():
                found.append(Said("", model(values.to(where))[0].double().cpu().tolist()))
        return Result(found)

    return run


def _affect_ours(folder: Path, where: str) -> Runner:
    from datagen.models import audeering

    model = audeering.Dimensions(folder, where)
    batcher = audeering.batcher("audeering", model.network, device.ModelConfig().batch_seconds)

    def run(clips: Clips) -> Result:
        answers = batcher.run(clips.audio, clips.seconds, model)
        return Result(
            [Said("", [float(one[name]) for name in audeering.DIMENSIONS]) for one in _values(answers)], answers.metrics
        )

    return run


# --- Events ---------------------------------------------------------------------------------------------------


def _windows() -> tuple[float, float]:
    from datagen.stages.events import EventsConfig

    config = EventsConfig()
    return config.window_s, config.hop_s


def _events_stock(folder: Path, where: str) -> Runner:
    """transformers' own pipeline on one window after another; of an event the best score of all windows is kept."""
    from transformers import ASTFeatureExtractor, ASTForAudioClassification, pipeline
    from transformers.pipelines import audio_classification

    from datagen.models.tagger import vocabulary, windows

    # It would ask whether its input is one of torchcodec's, which needs FFmpeg to be imported; arrays do not.
    audio_classification.is_torchcodec_available = lambda: False
    ask = pipeline(
        "audio-classification", model=ASTForAudioClassification.from_pretrained(folder, local_files_only=True),
        feature_extractor=ASTFeatureExtractor.from_pretrained(folder, local_files_only=True), device=where,
    )  # fmt: skip
    events, known = vocabulary().events, vocabulary().labels

    def run(clips: Clips) -> Result:
        found = []
        for sound in _decoded(clips):
            best: dict[str, float] = {}
            for begin, end in windows(len(sound), *_windows()):
                for answer in ask(sound[begin:end], top_k=None, function_to_apply="sigmoid"):
                    event = known.get(answer["label"])
                    if event is not None:
                        best[event] = max(best.get(event, 0.0), answer["score"])
            found.append(Said("", [best[event] for event in events if event in best]))
        return Result(found)

    return run


def _events_ours(folder: Path, where: str) -> Runner:
    from datagen.models.tagger import WINDOW_COST_S, Tagger, thresholds, windows

    tagger = Tagger(folder, where, _batch_seconds(where))
    batcher = batching.Batcher("ast", device.ModelConfig().batch_seconds)
    everything = thresholds(0.0, {})  # so that each event is one span over all windows, with the best score of them
    window_s, hop_s = _windows()

    def run(clips: Clips) -> Result:
        answers = batcher.run(clips.audio, clips.seconds, lambda some: tagger(some, window_s, hop_s, everything))
        found = []
        for events in _values(answers):
            best = {event.event: event.score for event in events}
            found.append(Said("", [best[event] for event in tagger.events]))
        many = sum(len(windows(round(each * SAMPLE_RATE), window_s, hop_s)) for each in clips.seconds)
        return Result(found, answers.metrics | {"padded_s": many * WINDOW_COST_S})

    return run


_LOADERS: dict[tuple[str, str], Callable[[Path, str], Runner]] = {
    ("asr", STOCK): _asr_stock,
    ("asr", OURS): _asr_ours,
    ("align", STOCK): _align_stock,
    ("align", OURS): _align_ours,
    ("emotion", STOCK): _emotion_stock,
    ("emotion", LISTED): _emotion_listed,
    ("emotion", OURS): _emotion_ours,
    ("affect", STOCK): _affect_stock,
    ("affect", OURS): _affect_ours,
    ("events", STOCK): _events_stock,
    ("events", OURS): _events_ours,
}
