"""Dimensional affect, raw: what a backend measures or predicts. ``describe`` turns it into arousal, dominance, valence.

``acoustic`` is embedded and needs no weights: cues of rule-based arousal (``datagen/speech/arousal.py``), on the F0
that ``prosody`` has tracked. Dominance and valence cannot be heard that way and stay null.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

from datagen import tables
from datagen.errors import RowError
from datagen.speech import arousal, prosody
from datagen.speech.audio import decode_flac
from datagen.stage import Kind, Output, Provenance, Reject, Stage, StageConfig


class AffectConfig(StageConfig):
    backend: Literal["acoustic"] = "acoustic"


class Affect(Stage):
    name = "affect"
    version = "1"
    table = "clips"
    kind = Kind.MAP
    Config = AffectConfig
    reads = ("audio", "f0_track")
    optional_reads = ("duration",)
    writes = tables.AFFECT
    batch_rows = 64
    batch_seconds = 600.0

    def semantics(self) -> dict[str, Any]:
        return {"cues": arousal.REVISION}

    def provenance(self) -> tuple[Provenance, ...]:
        note = "after Bone, Lee & Narayanan 2014, on the F0 of prosody"
        return (Provenance(arousal.NAME, arousal.REVISION, arousal.LICENCE, ("arousal_cues",), note),)

    def process(self, batch: pa.Table) -> Output:
        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        for row, (data, track) in enumerate(zip(batch["audio"], batch["f0_track"], strict=True)):
            try:
                samples = decode_flac(data.as_py())
            except RowError as error:
                rejects.append(Reject(row, error.error_class, error.message))
                rows.append({})
                continue
            measured = prosody.measure(samples, track.values.to_numpy(zero_copy_only=False))
            rows.append({"arousal_cues": arousal.cues(measured)})
        return Output(tables.from_rows(rows, tables.AFFECT), rejects)
