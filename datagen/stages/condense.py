"""condense: leave out what is the same (``dedup``), then choose what is rich and balanced (``select``)."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from datagen import tables
from datagen.quality.balance import Bools, Ints, Limits, evenness, neutral_share, select, strata, weights
from datagen.quality.contrast import cluster_id, contrast_groups
from datagen.quality.dedup import (
    ACOUSTIC,
    CONTENT,
    RANKING,
    SEMANTIC,
    Alike,
    Dedup,
    acoustic_copies,
    content_copies,
    decide,
    ranking,
    semantic_repeats,
)
from datagen.quality.texts import text_clusters
from datagen.stage import Drop, Kind, Output, Stage, StageConfig

_EXAMPLES = 20  # pairs shown in the report
_WORDS = frozenset(
    field.name
    for schema in (tables.CLIPS, tables.TRANSCRIBE, tables.EMOTION, tables.DESCRIBE)
    for field in schema
    if field.type == pa.string()
)


class AlikeConfig(StageConfig):
    """Two takes are alike when none of these differs by more. Tight on purpose: an actor's two takes are not."""

    f0_st: float = Field(default=0.5, gt=0, description="median pitch, semitones")
    f0_range_st: float = Field(default=1.0, gt=0, description="pitch range, semitones")
    level_db: float = Field(default=1.0, gt=0)
    rate: float = Field(default=0.05, gt=0, description="syllables per second, as a share")
    duration: float = Field(default=0.05, gt=0, description="as a share")


class DedupConfig(StageConfig):
    content: bool = True
    acoustic: bool = True
    semantic: bool = True
    keep_per_cell: int = Field(
        default=3, ge=1, description="takes alike that stay per speaker, emotion, arousal and style"
    )
    near_text: float = Field(default=0.95, gt=0, le=1, description="least cosine of two texts that count as near-same")
    alike: AlikeConfig = AlikeConfig()


class SelectConfig(StageConfig):
    strata: tuple[str, ...] = ("emotion", "sex", "corpus", "speech_lang")
    max_per_stratum: int | None = Field(default=None, ge=1)
    max_neutral_share: float | None = Field(default=None, gt=0, le=1, description="among clips with an emotion")
    target_clips: int | None = Field(default=None, ge=1)
    target_hours: float | None = Field(default=None, gt=0)
    weight_power: float = Field(default=0.5, ge=0, le=1, description="0: as found; 1: all strata drawn equally often")

    @field_validator("strata")
    @classmethod
    def _known(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in columns if name not in _WORDS]
        if unknown or not columns:
            raise ValueError(
                f"{', '.join(unknown) or 'nothing'} to stratify by; there are: {', '.join(sorted(_WORDS))}"
            )
        return columns


class CondenseConfig(StageConfig):
    dedup: DedupConfig = DedupConfig()
    select: SelectConfig = SelectConfig()


class Condense(Stage):
    """The defaults of ``select`` leave nothing out: a small corpus keeps all but its duplicates."""

    name: ClassVar[str] = "condense"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    kind: ClassVar[Kind] = Kind.BARRIER
    Config: ClassVar[type[StageConfig]] = CondenseConfig

    writes = tables.CONDENSE
    seeded: bool = True

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        wanted = [
            "recording_id",
            "corpus",
            "speaker",
            "sex",
            "style",
            "speech_lang",
            "duration",
            "level_dbfs",
            "snr_db",
        ]
        wanted += ["audio_hash"]
        helpful = ["emotion", "emotion_margin", "label_source", "arousal_level", "words"]
        helpful += ["f0_median_hz", "f0_range_st", "rate_syl_s", "text_key", "text_embedding"]
        if self.config.dedup.acoustic:
            wanted += tables.FINGERPRINT.names
        if self.config.dedup.semantic:
            wanted += ["text_key"]
        self.reads = tuple(wanted)
        self.optional_reads = tuple(
            name for name in dict.fromkeys((*helpful, *self.config.select.strata)) if name not in wanted
        )

    def process(self, batch: pa.Table) -> Output:
        rows, ids = batch.num_rows, batch["clip_id"].to_pylist()
        kept_before = self._kept_before(ids)
        names, near = text_clusters(batch["text_key"], batch["text_embedding"], self.config.dedup.near_text)
        clusters = [cluster_id(name) for name in names]
        same = self._dedup(batch, clusters, near, kept_before)
        unique = np.flatnonzero(same.stays)
        stratum = strata(batch, self.config.select.strata)
        settings = self.config.select
        limits = Limits(
            settings.max_per_stratum,
            settings.max_neutral_share,
            settings.target_clips,
            None if settings.target_hours is None else settings.target_hours * 3600,
        )
        groups = contrast_groups(batch, clusters, unique).group
        left_out = select(batch, stratum, groups, unique, limits, kept_before=kept_before, seed=self.seed)
        reason = [same.reason[row] or left_out.get(row) for row in range(rows)]
        stay = np.array([row for row in unique.tolist() if row not in left_out], np.int64)
        contrast = contrast_groups(batch, clusters, stay)
        weight: list[float | None] = [None] * rows
        for row, value in zip(stay.tolist(), weights([stratum[r] for r in stay], settings.weight_power), strict=True):
            weight[row] = float(value)
        columns = {
            "dup_of": [None if row is None else ids[row] for row in same.dup_of],
            "drop_reason": reason,
            "text_cluster": clusters,
            "contrast_group_id": contrast.group,
            "contrast_type": contrast.type,
            "contrast_emotions": contrast.emotions,
            "cue_relation": [None] * rows,  # needs an emotion read from the text alone
            "stratum": stratum,
            "sampling_weight": weight,
        }
        written = pa.table({name: pa.array(values, self.writes.field(name).type) for name, values in columns.items()})
        drops = [Drop(row, why) for row, why in enumerate(reason) if why is not None]
        return Output(tables.cast(written, self.writes), drops=drops, artifact=_report(batch, written, same, stay))

    def _kept_before(self, ids: list[str]) -> Bools:
        if self.previous is None:
            return np.zeros(len(ids), bool)
        # Rows the last commit had not seen are null throughout; those it had seen have a stratum.
        fates = (self.previous[name].to_pylist() for name in ("clip_id", "drop_reason", "stratum"))
        kept = {clip for clip, reason, seen in zip(*fates, strict=True) if reason is None and seen is not None}
        return np.array([clip in kept for clip in ids], bool)

    def _dedup(
        self,
        batch: pa.Table,
        clusters: list[str | None],
        near: set[tuple[str, str]],
        kept_before: Bools,
    ) -> Dedup:
        settings = self.config.dedup
        order = ranking(batch, kept_before)
        levels: dict[str, dict[int, int]] = {}

        def left() -> Ints:
            gone = {row for found in levels.values() for row in found}
            return np.array([row for row in order.tolist() if row not in gone], np.int64)

        if settings.content:
            levels[CONTENT] = content_copies(batch, left())
        if settings.acoustic:
            levels[ACOUSTIC] = acoustic_copies(batch["audio_fingerprint"], left())
        if settings.semantic:
            alike = Alike(**settings.alike.model_dump())
            levels[SEMANTIC] = semantic_repeats(batch, clusters, near, left(), settings.keep_per_cell, alike)
        return decide(batch.num_rows, levels)


def _report(batch: pa.Table, written: pa.Table, same: Dedup, stay: Ints) -> dict[str, Any]:
    """What the report shows: figures before and after, and the pairs worth a second look."""
    ids, stratum = batch["clip_id"].to_pylist(), written["stratum"].to_pylist()
    emotions, speakers = batch["emotion"].to_pylist(), batch["speaker"].to_pylist()
    seconds = np.nan_to_num(batch["duration"].to_numpy().astype(np.float64))
    reasons = written["drop_reason"].to_pylist()
    copies = [row for row, reason in enumerate(same.reason) if reason in (CONTENT, ACOUSTIC)]
    # One recording under two names with two labels: one of the labels is wrong, and only a person can tell which.
    quarrels = [
        row
        for row in copies
        if any(
            None not in (v[row], v[same.dup_of[row]]) and v[row] != v[same.dup_of[row]] for v in (emotions, speakers)
        )
    ]

    def pair(row: int) -> dict[str, Any]:
        kept = same.dup_of[row]
        assert kept is not None
        return {"clip_id": ids[row], "dup_of": ids[kept], "reason": same.reason[row]}

    def figures(rows: Ints) -> dict[str, Any]:
        clips = Counter(stratum[row] for row in rows)
        return {
            "clips": len(rows),
            "hours": round(float(seconds[rows].sum()) / 3600, 6),
            "strata": {name: clips[name] for name in sorted(clips)},
            "stratum_evenness": evenness([stratum[row] for row in rows]),
            "emotion_evenness": evenness([emotions[row] for row in rows]),
            "neutral_share": neutral_share([emotions[row] for row in rows]),
        }

    by_id = sorted(range(len(ids)), key=ids.__getitem__)
    dropped = Counter(reason for reason in reasons if reason is not None)
    types = Counter(kind for kind in written["contrast_type"].to_pylist() if kind is not None)
    return {
        "before": figures(np.arange(len(ids))),
        "after": figures(stay),
        "dropped": {name: dropped[name] for name in sorted(dropped)},
        "kept_of_equals": list(RANKING),
        "contrast": {
            "groups": len({group for group in written["contrast_group_id"].to_pylist() if group is not None}),
            "clips_by_type": {name: types[name] for name in sorted(types)},
        },
        "copies_with_other_labels": len(quarrels),
        "examples": {
            "copies_with_other_labels": [pair(row) for row in by_id if row in set(quarrels)][:_EXAMPLES],
            "removed_because_same": [pair(row) for row in by_id if same.reason[row] is not None][:_EXAMPLES],
        },
    }
