"""Dimensional affect, raw: what a backend measures or predicts. ``describe`` turns it into arousal, dominance, valence.

``acoustic`` is embedded and needs no weights: cues of rule-based arousal (``datagen/speech/arousal.py``), on the F0
that ``prosody`` has tracked. Dominance and valence cannot be heard that way and stay null. ``audeering`` predicts all
three (``datagen/models/audeering.py``); its licence forbids commercial use.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

from datagen import tables
from datagen.errors import RowError
from datagen.models import audeering, device, manifest
from datagen.speech import arousal, prosody
from datagen.speech.audio import decode_flac
from datagen.stage import Kind, Output, Provenance, Reject, Resources, Stage

MODEL = "audeering-dim"


class AffectConfig(device.ModelConfig):
    backend: Literal["acoustic", "audeering"] = "acoustic"


class Affect(Stage):
    name = "affect"
    version = "1"
    table = "clips"
    kind = Kind.MAP
    Config = AffectConfig
    reads: tuple[str, ...] = ("audio", "f0_track")
    optional_reads: tuple[str, ...] = ("duration",)
    writes = tables.AFFECT
    batch_rows = 64
    batch_seconds = 600.0

    def __init__(self, config: AffectConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        if self.modelled:
            self.reads, self.optional_reads = ("audio", "duration"), ()
            self.batch_rows = 512

    @property
    def modelled(self) -> bool:
        return bool(self.config.backend == "audeering")

    @classmethod
    def wants(cls, config: AffectConfig) -> Resources:
        return device.wants(config) if config.backend == "audeering" else cls.resources

    def models(self) -> tuple[manifest.Model, ...]:
        return (manifest.find(self.config.model, MODEL),) if self.modelled else ()

    def semantics(self) -> dict[str, Any]:
        if not self.modelled:
            return {"cues": arousal.REVISION}
        return {"models": [[model.entry.name, model.revision] for model in self.models()]}

    def provenance(self) -> tuple[Provenance, ...]:
        if not self.modelled:
            note = "after Bone, Lee & Narayanan 2014, on the F0 of prosody"
            return (Provenance(arousal.NAME, arousal.REVISION, arousal.LICENCE, ("arousal_cues",), note),)
        wrote = [f"{name}_raw" for name in audeering.DIMENSIONS]
        return tuple(manifest.provenance(model, *wrote) for model in self.models())

    def check(self) -> str | None:
        return next(filter(None, map(audeering.missing, self.models())), None)

    def setup(self) -> None:
        if not self.modelled:
            return
        device.offline()
        (model,) = self.models()
        self.predict = audeering.Dimensions(model.folder, device.resolve(self.config.device))
        self.batcher = audeering.batcher(model.entry.name, self.predict.network, self.config.batch_seconds)

    def process(self, batch: pa.Table) -> Output:
        return self._modelled(batch) if self.modelled else self._acoustic(batch)

    def _modelled(self, batch: pa.Table) -> Output:
        answers = self.batcher.run(batch["audio"], batch["duration"].to_pylist(), self.predict)
        rows = [
            {f"{name}_raw": None if value is None else round(value, 6) for name, value in (answer or {}).items()}
            for answer in answers.values
        ]
        return Output(tables.from_rows(rows, self.writes), answers.rejects, metrics=answers.metrics)

    def _acoustic(self, batch: pa.Table) -> Output:
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
