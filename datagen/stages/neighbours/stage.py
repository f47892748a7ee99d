"""neighbours: which clips are the same recording, which say nearly the same, which takes sound alike.

The heavy part of condensation, apart from its decisions: it reads vectors and fingerprints, works out of core in
rounds of parallel tasks, and leaves three light columns. Change a limit of ``condense`` and none of this runs again.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from datagen import tables
from datagen.neighbours import costs
from datagen.neighbours.choose import EXACT_ROWS
from datagen.rounds import Bench, Results, Rounds
from datagen.stage import Forecast, Output, StageConfig
from datagen.stages.neighbours.sounds import Sounds
from datagen.stages.neighbours.sounds import predict as sounds_predict
from datagen.stages.neighbours.text_keys import Near
from datagen.stages.neighbours.texts import Texts
from datagen.stages.neighbours.voices import READS, Voices

#: Numbers per text vector, for forecasts: those of the embedded model and of most small ones.
USUAL_DIMENSIONS = 384
#: Seconds of one core a text, beside the search: read, hashed, numbered, and its leader written. Measured at 200,000
#: and 500,000 texts.
TEXT_S = 9e-6


class NeighboursConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"memory_gb"})

    texts: bool = Field(default=True, description="near-same words, by the embeddings of `embed`; else equal ones only")
    sounds: bool = Field(default=True, description="copies of one recording, by `fingerprint`")
    voices: bool = Field(default=True, description="takes alike by `emotion_embedding`, where that is there")
    near_text: float = Field(default=0.95, gt=0, le=1, description="least cosine of two texts that count as near-same")
    near_voice: float = Field(default=0.9, gt=0, le=1, description="least cosine of two takes that may count as alike")
    recall: float = Field(default=0.99, gt=0, le=1, description="of near-same texts; 1 = compare all with all")
    exact_rows: int = Field(default=EXACT_ROWS, ge=1, description="up to so many distinct texts are compared exactly")
    memory_gb: float = Field(default=1.0, gt=0, description="held by one task at a time")


class Neighbours(Rounds):
    """``text_cluster``, ``sound_group``, ``voice_cluster``: groups round a leader, whatever the order of rows."""

    name: ClassVar[str] = "neighbours"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    Config: ClassVar[type[StageConfig]] = NeighboursConfig

    writes = tables.NEIGHBOURS
    seeded: bool = True

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        c = self.config
        self._texts = Texts(Near(c.near_text, c.recall, c.exact_rows, c.memory_gb, seed)) if c.texts else None
        self._sounds = Sounds(c.memory_gb) if c.sounds else None
        self._voices = Voices(c.near_voice, c.memory_gb, self._clusters) if c.voices else None
        self._searches = [part for part in (self._texts, self._sounds, self._voices) if part is not None]
        self.rounds = tuple(name for part in self._searches for name in part.rounds)
        wanted = [*(["text_key", "text_embedding"] if c.texts else []), *(["audio_fingerprint"] if c.sounds else [])]
        helpful = ["text_key", *(READS if c.voices else ())]
        self.holds_gb = c.memory_gb
        self.reads = tuple(wanted)
        self.optional_reads = tuple(name for name in helpful if name not in wanted)

    def tasks(self, name: str, shards: int, results: Results) -> int:
        return self._of(name).tasks(name, shards, results)

    def work(self, name: str, task: int, bench: Bench) -> dict[str, Any]:
        return self._of(name).work(name, task, bench)

    def _of(self, name: str) -> Texts | Sounds | Voices:
        return next(part for part in self._searches if name in part.rounds)

    def _clusters(self, shard: int, bench: Bench) -> pa.Array:
        if self._texts is not None:
            return self._texts.column(shard, bench)
        from datagen.quality.texts import text_id

        return pa.array([text_id(key) for key in bench.read(shard, ["text_key"])["text_key"].to_pylist()], pa.string())

    def forecast(self, clips: int, audio_s: float, workers: int) -> Forecast:
        c = self.config
        parts: list[tuple[float, float, float]] = []
        how = []
        if c.texts:  # no more distinct texts than clips; wider vectors cost more, few models have them
            cost = costs.predict(
                clips, USUAL_DIMENSIONS, workers=workers, memory_gb=c.memory_gb, recall=c.recall,
                exact_rows=c.exact_rows,
            )  # fmt: skip
            parts.append((cost.seconds + TEXT_S * clips / max(1, workers), cost.memory_gb, cost.disk_gb))
            how.append(
                {"exact": "texts compared with all texts", "cells": f"texts by cells, recall {c.recall:g}"}[cost.method]
            )
        if c.sounds:
            parts.append((*sounds_predict(clips, audio_s, workers), 100 * audio_s * 8e-9))
            how.append("copies by fingerprint")
        seconds, memory, disk = (list(column) for column in zip(*parts, strict=True)) if parts else ([0.0],) * 3
        return Forecast(sum(seconds), max(memory), sum(disk), "; ".join(how))

    def finish(self, shard: int, bench: Bench) -> Output:
        rows = len(bench.read(shard))
        columns = {
            "text_cluster": self._clusters(shard, bench),
            "sound_group": self._sounds.column(shard, bench) if self._sounds else pa.nulls(rows, pa.string()),
            "voice_cluster": self._voices.column(shard, bench) if self._voices else pa.nulls(rows, pa.string()),
        }
        return Output(tables.cast(pa.table(columns), self.writes))

    def conclude(self, results: Results) -> dict[str, Any]:
        """Method, settings, measured recall and sizes of each search."""
        named = {"texts": self._texts, "sounds": self._sounds, "voices": self._voices}
        return {name: part.conclude(results) for name, part in named.items() if part is not None}
