"""Settings of ``condense.select``; what each does and why its default is what it is: docs/data-quality.md."""

from __future__ import annotations

from typing import Self

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from datagen import tables
from datagen.quality.gates import Gates
from datagen.quality.richness import Weights
from datagen.stage import StageConfig

#: Text columns whose values are as many as the clips: strata of one.
_NAMES = {"clip_id", "recording_id", "audio_hash", "transcript", "emotion_raw"}
_WORDS = frozenset(
    field.name
    for schema in (tables.CLIPS, tables.TRANSCRIBE, tables.EMOTION, tables.AGE_GENDER, tables.PROSODY,
                   tables.DESCRIBE, tables.AGREEMENT, tables.TEXT_EMOTION)
    for field in schema
    if field.type == pa.string() and field.name not in _NAMES and not field.name.endswith("_reason")
)  # fmt: skip


class Share(StageConfig):
    """Bounds on a share, 0..1."""

    min: float | None = Field(None, gt=0, lt=1, description="of a target; reserves places, drops nothing")
    max: float | None = Field(None, gt=0, lt=1, description="what is more goes")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is more than max {self.max:g}: swap them")
        return self


class Relations(StageConfig):
    """Shares of how words and voice relate (``cue_relation``), among the clips of which that is known."""

    neutral_text: Share = Share()
    matched: Share = Share()
    conflict: Share = Share()
    nonverbal: Share = Share()

    @property
    def shares(self) -> dict[str, Share]:
        """Those that are bounded, by relation."""
        every: dict[str, Share] = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: share for name, share in every.items() if share != Share()}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        least = sum(share.min or 0 for share in self.shares.values())
        if least > 1 + 1e-9:
            raise ValueError(f"the least shares add up to {least:g}, more than 1: lower one")
        every = [getattr(self, name).max for name in type(self).model_fields]
        if None not in every and sum(every) < 1 - 1e-9:
            raise ValueError(f"the largest shares add up to {sum(every):g}, less than 1: raise one or leave one out")
        return self


class SelectConfig(StageConfig):
    """The defaults leave nothing out: what is too much or too poor is for the recipe to say."""

    gates: Gates = Gates()
    richness: Weights = Weights()
    exempt: tuple[str, ...] = Field(
        (), description="corpora left whole by gates and limits (not by dedup): benchmarks are not to be thinned"
    )
    strata: tuple[str, ...] = ("emotion", "sex", "corpus", "speech_lang")
    max_per_stratum: int | None = Field(None, ge=1)
    max_over_median: float | None = Field(
        None, ge=1, description="most clips of a stratum, over those of the median clip's; never cuts below the floor"
    )
    min_per_stratum: int | None = Field(
        None, ge=1, description="no other limit takes a stratum (or what it holds of a limited kind) below this"
    )
    max_neutral_share: float | None = Field(None, gt=0, le=1, description="among clips with an emotion")
    cue_relation: Relations = Relations()
    target_clips: int | None = Field(None, ge=1)
    target_hours: float | None = Field(None, gt=0)
    richness_power: float = Field(
        2.0, ge=0, le=100, description="within a stratum: 0 = luck alone; the higher, the surer the richest come first"
    )
    weight_power: float = Field(0.5, ge=0, le=1, description="0: as found; 1: all strata drawn equally often")

    @field_validator("strata")
    @classmethod
    def _known(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in columns if name not in _WORDS]
        if unknown or not columns:
            raise ValueError(
                f"{', '.join(unknown) or 'nothing'} to stratify by; there are: {', '.join(sorted(_WORDS))}"
            )
        return tuple(dict.fromkeys(columns))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.target_clips is not None and self.target_hours is not None:
            raise ValueError("target_clips and target_hours are both set: one of them decides; leave the other out")
        floor = self.min_per_stratum
        if floor is None:
            return self
        if self.max_per_stratum is not None and floor > self.max_per_stratum:
            raise ValueError(f"min_per_stratum {floor} is more than max_per_stratum {self.max_per_stratum}; lower it")
        if self.target_clips is not None and floor > self.target_clips:
            raise ValueError(
                f"min_per_stratum {floor} is more than target_clips {self.target_clips}: one stratum would overfill it"
            )
        return self
