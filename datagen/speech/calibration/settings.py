"""What is looked at, what is made of it, and how the fitted distributions are made."""

from __future__ import annotations

from pydantic import Field

from datagen.stage import StageConfig

VERSION = 2
#: Columns every clip has, and columns that stages before may have written; nothing else is looked at.
GIVEN = ("corpus", "speaker", "sex", "level_dbfs")
MEASURED = (
    "f0_median_hz", "f0_range_st", "rate_syl_s", "rate_source", "pause_ratio", "arousal_cues", "arousal_raw",
    "dominance_raw", "valence_raw", "sex_predicted",
)  # fmt: skip
LABELS = ("emotion", "label_source")  #: read by the fit only, for neutral baselines
AFFECTS = ("arousal", "dominance", "valence")

#: feature -> (column of its percentile, column of its word)
FEATURES: dict[str, tuple[str, str]] = {
    "arousal": ("arousal_pct", "arousal_level"),
    "dominance": ("dominance_pct", "dominance_level"),
    "valence": ("valence_pct", "valence_level"),
    "f0": ("f0_pct", "pitch_level"),
    "f0_range": ("f0_range_pct", "pitch_range_level"),
    "level": ("level_pct", "loudness_level"),
    "rate": ("rate_pct", "rate_level"),
    "pause": ("pause_pct", "pause_level"),
}
#: A value this near to its group's median is "normal" whatever its rank: below what a listener notices. Units: 0..1
#: for the three affects; semitones; dB; syllables per second; share of the clip.
DEAD_ZONES = {"arousal": 0.05, "dominance": 0.05, "valence": 0.05, "f0": 1.0, "f0_range": 1.0, "level": 2.0,
              "rate": 0.3, "pause": 0.05}  # fmt: skip


class Settings(StageConfig):
    """How the fitted distributions are made."""

    min_group: int = Field(10, ge=2, description="fewest values for a distribution of its own")
    min_speaker_clips: int = Field(20, ge=2, description="fewest clips to compare a speaker's pitch with his own")
    min_neutral: int = Field(5, ge=1, description="fewest neutral clips for a neutral baseline of a speaker")
    neutral_baseline: bool = Field(False, description="clips labelled neutral (gold) are the baseline of arousal")
    shrink_clips: int = Field(5, ge=0, description="clips that the wider group weighs in a speaker's baseline")
    shrink_agreement: int = Field(20, ge=0, description="clips that the prior weighs in the weights of the cues")
    prior_agreement: float = Field(0.5, ge=0, le=1, description="agreement of the cues expected before any data")
    predicted_sex: bool = Field(
        True, description="clips of unknown sex count as what age_gender heard, where it ran and was sure"
    )
