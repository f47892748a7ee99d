"""Dimensional affect, raw: what a backend measures or predicts. ``describe`` turns it into arousal, dominance, valence.

``acoustic`` is embedded and needs no weights: cues of rule-based arousal (``datagen/speech/arousal.py``). Dominance
and valence cannot be heard that way and stay null.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

from datagen import tables
from datagen.errors import RowError
from datagen.speech import prosody
from datagen.stage import Kind, Output, Provenance, Reject, Stage, StageConfig


class AffectConfig(StageConfig):
    backend: Literal["acoustic"] = "acoustic"


class Affect(Stage):
    name = "affect"
    version = "1"
    table = "clips"
    kind = Kind.MAP
    Config = AffectConfig
    reads = ("audio",)
    optional_reads = ("duration",)
    writes = tables.AFFECT
    batch_rows = 64
    batch_seconds = 600.0

    def semantics(self) -> dict[str, Any]:
        from datagen.models import f0
        from datagen.speech import arousal

        return {"cues": arousal.REVISION, "f0": f"{f0.NAME} {f0.revision()}"}

    def provenance(self) -> tuple[Provenance, ...]:
        from datagen.models import f0
        from datagen.speech import arousal

        note = f"after Bone, Lee & Narayanan 2014, on F0 from {f0.NAME} {f0.revision()} ({f0.LICENCE})"
        return (Provenance(arousal.NAME, arousal.REVISION, arousal.LICENCE, ("arousal_cues",), note),)

    def check(self) -> str | None:
        from datagen.models import f0

        return f0.missing()

    def setup(self) -> None:
        from datagen.models.f0 import F0Tracker

        self._tracker: prosody.Tracker = F0Tracker()

    def process(self, batch: pa.Table) -> Output:
        from datagen.speech import arousal
        from datagen.speech.audio import decode_flac

        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        for row, data in enumerate(batch["audio"]):
            try:
                measured = prosody.measure(decode_flac(data.as_py()), self._tracker)
            except RowError as error:
                rejects.append(Reject(row, error.error_class, error.message))
                rows.append({})
                continue
            rows.append({"arousal_cues": arousal.cues(measured)})
        return Output(tables.from_rows(rows, tables.AFFECT), rejects)
