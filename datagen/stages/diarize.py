"""diarize: who speaks when in each recording, so that ``segment`` cuts clips that hold one speaker.

Every channel is listened to by itself. Turns and overlaps go to ``annotations`` with source ``diarizer``; how they and
what the corpus says of its speakers are made to agree is in ``datagen/speech/turns.py``. A voice's name holds within
one channel of one recording: nobody has compared voices across recordings.

Not listened to: channels in which the corpus itself says who speaks when, and short ones (``trust_seconds``) of which
it names the speaker. A label on a three-second utterance is surer than two voices that a model hears in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import Any, ClassVar, Self

import pyarrow as pa
import soundfile
from pydantic import Field, model_validator

from datagen import tables
from datagen.models import device, diarizer, manifest
from datagen.models.batching import Batcher, Floats
from datagen.speech import labels, turns
from datagen.speech.labels import Note
from datagen.stage import Kind, Output, Provenance, Resources, Stage, StageConfig

Row = dict[str, Any]


class DiarizeConfig(device.ModelConfig):
    num_speakers: int | None = Field(None, ge=1, description="voices in each channel, where that is known")
    min_speakers: int | None = Field(None, ge=1)
    max_speakers: int | None = Field(None, ge=1)
    trust_seconds: float = Field(
        30.0, ge=0, description="channels up to so long whose speaker the corpus names are not listened to; 0 = all are"
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        low, high = self.min_speakers, self.max_speakers
        if self.num_speakers is not None and (low is not None or high is not None):
            raise ValueError("num_speakers is known, or it lies between min_speakers and max_speakers: not both")
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_speakers {low} is more than max_speakers {high}")
        return self


class Diarize(Stage):
    name: ClassVar[str] = "diarize"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "recordings"
    kind: ClassVar[Kind] = Kind.EXPAND
    Config: ClassVar[type[StageConfig]] = DiarizeConfig

    reads = ("duration", "audio")
    optional_reads = ("annotations",)
    creates = {"annotations": tables.ANNOTATIONS}
    batch_rows = 64
    batch_seconds = 3600.0

    @classmethod
    def wants(cls, config: DiarizeConfig) -> Resources:
        return device.wants(config)

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, diarizer.LIKE),)

    def semantics(self) -> dict[str, Any]:
        return {"models": [[model.entry.name, model.revision] for model in self.models()]}

    def provenance(self) -> tuple[Provenance, ...]:
        note = "who speaks when, where the corpus does not say"
        return (manifest.provenance(self.models()[0], "start", "end", "speaker", note=note),)

    def check(self) -> str | None:
        if find_spec("pyannote") is None or find_spec("pyannote.audio") is None:
            return "the package pyannote.audio is not here: install the main environment: make setup-main"
        return manifest.missing(self.models()[0])

    def setup(self) -> None:
        device.offline()
        model, config = self.models()[0], self.config
        self._diarizer = diarizer.Diarizer(
            model.folder, device.resolve(config.device), config.batch_seconds, own=model.own
        )
        # One recording at a time: what fits in memory is windows of one, and a bad one costs its neighbours nothing.
        self._batcher = Batcher(diarizer.LIKE, 0.0)

    def process(self, batch: pa.Table) -> Output:
        seconds = [value or 0.0 for value in batch["duration"].to_pylist()]
        said = [notes or [] for notes in batch["annotations"].to_pylist()]
        answers = self._batcher.run(
            batch["audio"],
            seconds,
            lambda sounds: [self._listen(sound) for sound in sounds],
            [row for row in range(batch.num_rows) if not self._all_known(batch["audio"][row], said[row], seconds[row])],
        )
        rows: list[Row] = []
        for row, recording_id in enumerate(batch["recording_id"].to_pylist()):
            channels = answers.values[row] or []
            for number, found in enumerate(channels):
                if not self._known(labels.of_channel(said[row], number, len(channels)), seconds[row]):
                    rows += diarizer.rows(recording_id, number, found)
        return Output(
            rejects=answers.rejects,
            created={"annotations": tables.from_rows(rows, tables.ANNOTATIONS)},
            metrics=answers.metrics,
        )

    def _listen(self, sound: Floats) -> list[list[diarizer.Turn]]:
        """Turns in each channel of a recording: float32 [samples] or [samples, channels]."""
        config = self.config
        return [
            self._diarizer(channel, config.num_speakers, config.min_speakers, config.max_speakers)
            for channel in sound.reshape(len(sound), -1).T
        ]

    def _all_known(self, encoded: pa.Scalar, notes: Sequence[Note], seconds: float) -> bool:
        """Whether no channel has to be listened to; nothing is decoded for it but the head of the file."""
        if not notes:
            return False
        count = _channels(encoded.as_py())
        return all(self._known(labels.of_channel(notes, number, count), seconds) for number in range(count))

    def _known(self, notes: Sequence[Note], seconds: float) -> bool:
        return turns.given(notes) or (seconds <= self.config.trust_seconds and turns.named(notes))


def _channels(flac: bytes) -> int:
    """From the head of the file; 1 for what is no FLAC (whoever decodes it says so)."""
    try:
        return int(soundfile.info(BytesIO(flac)).channels)
    except soundfile.LibsndfileError:
        return 1
