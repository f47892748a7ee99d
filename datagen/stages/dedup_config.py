"""Settings of ``condense.dedup``; what each does and why its default is what it is: docs/data-quality.md."""

from __future__ import annotations

from pydantic import Field

from datagen.stage import StageConfig


class AlikeConfig(StageConfig):
    """Two takes are alike when none of these differs by more. Tight on purpose: an actor's two takes are not."""

    f0_st: float = Field(default=0.5, gt=0, description="median pitch, semitones")
    f0_range_st: float = Field(default=1.0, gt=0, description="pitch range, semitones")
    level_db: float = Field(default=1.0, gt=0)
    rate: float = Field(default=0.05, gt=0, description="syllables per second, as a share")
    duration: float = Field(default=0.05, gt=0, description="as a share")


class DedupConfig(StageConfig):
    content: bool = Field(True, description="equal samples")
    acoustic: bool = Field(True, description="copies of one recording, as found by the stage neighbours")
    semantic: bool = Field(True, description="needless repeats of one take")
    keep_per_cell: int = Field(
        default=3, ge=1, description="takes alike that stay per speaker, text, emotion, arousal and style"
    )
    alike: AlikeConfig = AlikeConfig()
