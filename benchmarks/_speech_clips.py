"""Clips and checkpoints for ``speech.py``: synthetic speech of known text, random weights in the published formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.speech.audio import encode_flac
from datagen.tables import SAMPLE_RATE
from datagen.testing.speech import VOICES, say, syllables

Size = Literal["tiny", "base", "large"]

#: A random Whisper goes on to its limit, which is 224 tokens whatever the sound: both sides stop at this many.
TOKENS_PER_SECOND = 4
#: Lengths lie this far around the nominal one.
SPREAD = 0.3

_TEXT = (
    "the harbour was quiet and nobody spoke until a small boat came round the old stone wall with two people who had "
    "been waiting for news from the other side of the river since early morning she said that winter would be over "
    "before long but her brother only laughed at this and went back to mend his nets in the yellow light of evening"
)


@dataclass(frozen=True)
class Clips:
    """What a stage is handed. ``nominal``: about how long they are, seconds; ``texts``: what is said in each."""

    nominal: float
    audio: pa.ChunkedArray
    seconds: list[float]
    texts: list[str]

    def first(self, count: int) -> Clips:
        return Clips(self.nominal, self.audio.slice(0, count), self.seconds[:count], self.texts[:count])

    @property
    def most_tokens(self) -> int:
        """Of one of Whisper's windows, on both sides."""
        return round(TOKENS_PER_SECOND * self.nominal)


def make(nominal: float, count: int, file: Path) -> None:
    """``count`` clips of 16-bit FLAC, evenly spread over +- 30 % of ``nominal`` seconds, in no order."""
    lengths = np.linspace(1 - SPREAD, 1 + SPREAD, count) * nominal
    np.random.default_rng(count).shuffle(lengths)
    rows = []
    for seed, wanted in enumerate(lengths):
        text = _text(float(wanted), seed)
        samples, _ = say(text, VOICES[seed % len(VOICES)], seed=seed, noise_db=-65)
        rows.append({"audio": encode_flac(samples), "seconds": len(samples) / SAMPLE_RATE, "text": text})
    pq.write_table(pa.Table.from_pylist(rows), file)


def _text(seconds: float, seed: int) -> str:
    """As many words as about fill the time."""
    all_words, words, length, at = _TEXT.split(), [], 0.4, 7 * seed
    while length < seconds:
        word = all_words[at % len(all_words)]
        words.append(word)
        length += len(syllables(word)) / 4.4
        at += 1
    return " ".join(words)


def read(nominal: float, file: Path) -> Clips:
    table = pq.read_table(file)
    return Clips(nominal, table["audio"], table["seconds"].to_pylist(), table["text"].to_pylist())


def checkpoints(folder: Path, models: Iterable[str], size: Size) -> None:
    """Write ``folder/<model>`` for every model that is not there yet."""
    for model in models:
        if not (folder / model / ".done").exists():
            _checkpoint(folder / model, model, size)
            (folder / model / ".done").touch()


def _checkpoint(folder: Path, model: str, size: Size) -> None:
    if model == "asr":
        from datagen.testing.checkpoints import whisper

        whisper.build(folder, size=size)
    elif model == "align":
        from datagen.testing.checkpoints import ctc

        # base: in the form of torchaudio, whose English bundle WhisperX takes; large: as for most other languages.
        ctc.build(folder, "en", "torchaudio" if size == "base" else "huggingface",
                  "layer" if size == "large" else "group", size=size)  # fmt: skip
    elif model == "emotion":
        from datagen.testing.checkpoints import emotion2vec

        emotion2vec.build(folder, size)
    elif model == "affect":
        from datagen.testing.checkpoints import audeering

        audeering.build(folder, size)
    elif model == "events":
        from datagen.testing.checkpoints import tagger

        tagger.build(folder, size="tiny" if size == "tiny" else "base")
    else:
        raise ValueError(f"no model {model!r}")
