"""fingerprint: what lets ``condense`` recognise a re-encoded, re-sampled or re-cut copy of a recording."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from datagen import tables
from datagen.errors import RowError
from datagen.quality.fingerprint import fingerprint, pack
from datagen.speech.audio import decode_flac
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
        prints: list[bytes | None] = []
        rejects: list[Reject] = []
        for row, audio in enumerate(batch["audio"]):
            prints.append(None)
            try:
                words = fingerprint(decode_flac(audio.as_py()))
            except RowError as error:
                rejects.append(Reject(row, error.error_class, error.message))
                continue
            prints[-1] = pack(words) if len(words) else None
        columns = pa.table({"audio_fingerprint": pa.array(prints, pa.binary())})
        return Output(tables.cast(columns, self.writes), rejects)
