"""fingerprint: what lets ``condense`` recognise a re-encoded, re-sampled or re-cut copy of a recording."""

from __future__ import annotations

import io
from typing import ClassVar

import numpy as np
import pyarrow as pa

from datagen import tables
from datagen.quality.fingerprint import fingerprint, pack
from datagen.stage import Output, Reject, Stage


class Fingerprint(Stage):
    """Reads the audio so that the barrier does not have to. A silent clip has a null fingerprint."""

    name: ClassVar[str] = "fingerprint"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"

    reads = ("audio",)
    writes = tables.FINGERPRINT
    batch_rows: int = 64

    def process(self, batch: pa.Table) -> Output:
        import soundfile

        prints: list[bytes | None] = []
        rejects: list[Reject] = []
        for row, audio in enumerate(batch["audio"].to_pylist()):
            prints.append(None)
            try:
                samples, rate = soundfile.read(io.BytesIO(audio or b""), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                rejects.append(Reject(row, "DecodeError", f"the clip's audio column cannot be decoded: {error}"))
                continue
            if rate != tables.SAMPLE_RATE:
                message = f"the clip's audio column has {rate} Hz instead of {tables.SAMPLE_RATE}"
                rejects.append(Reject(row, "DecodeError", message))
                continue
            words = fingerprint(samples.mean(axis=1, dtype=np.float32))
            prints[-1] = pack(words) if len(words) else None
        columns = pa.table({"audio_fingerprint": pa.array(prints, pa.binary())})
        return Output(tables.cast(columns, self.writes), rejects)
