"""What a user says about an input: where it is, how it is laid out, what its columns mean."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from datagen.stage import StageConfig

Format = Literal[
    "auto", "folder", "audiofolder", "manifest", "webdataset", "parquet", "hf", "audformat", "regex",
    "ravdess", "emodb", "crema-d", "iemocap", "meld", "msp-podcast", "esd", "expresso", "librispeech",
]  # fmt: skip

#: What a column can be. All but the first row are annotation fields (``tables.ANNOTATION_FIELDS``).
COLUMN_FIELDS = (
    "audio", "start", "end", "duration", "channel", "split", "licence", "corpus",
    "transcript", "words", "emotion", "speaker", "sex", "age_years", "language", "style", "intensity",
    "arousal", "dominance", "valence", "event",
)  # fmt: skip


class HuggingFaceConfig(StageConfig):
    """Which part of a ``datasets`` repository; a folder written by ``save_to_disk`` needs none of it."""

    name: str | None = Field(default=None, description="configuration of the repository, e.g. 'read'")
    split: str | None = Field(default=None, description="one split; None = all")
    revision: str | None = Field(default=None, description="commit or tag; pin it for repeatable runs")


class LayoutConfig(StageConfig):
    """How one corpus is laid out and what holds for all of it."""

    format: Format = "auto"
    corpus: str | None = Field(default=None, description="name of the corpus; None = the preset's, else 'corpus'")
    licence: str | None = Field(default=None, description="SPDX-like id; None = what the preset or the manifest knows")
    language: str | None = Field(default=None, description="ISO 639-1 of recordings whose corpus does not say")
    columns: dict[str, str | None] = Field(
        default_factory=dict,
        description="our field -> column of the manifest; null = ignore a column that would be taken by its name",
    )
    labels: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="field -> {value in the corpus: what it means}, e.g. codes in file names"
    )
    scales: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="scale of arousal, dominance, valence in a manifest, e.g. valence: [1, 7]"
    )
    pattern: str | None = Field(
        default=None, description="format regex: searched in the path, its named groups are fields"
    )
    hf: HuggingFaceConfig = HuggingFaceConfig()

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        unknown = sorted(set(value) - set(COLUMN_FIELDS))
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}; a column can be: {', '.join(COLUMN_FIELDS)}")
        return value

    @field_validator("scales")
    @classmethod
    def _sane_scales(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if name not in {"arousal", "dominance", "valence"} or not low < high:
                raise ValueError(f"{name}: [{low:g}, {high:g}] is no scale of arousal, dominance or valence")
        return value

    @model_validator(mode="after")
    def _pattern_of_regex(self) -> LayoutConfig:
        if (self.format == "regex") != (self.pattern is not None):
            raise ValueError("format: regex and pattern belong together")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise ValueError(f"pattern: {error}") from None
            if not groups:
                raise ValueError("pattern: has no named group, e.g. (?P<emotion>[A-Z]{3})")
        return self


class CorpusConfig(LayoutConfig):
    """One of several corpora below the input."""

    path: Annotated[str, Field(min_length=1, description="folder below the input")]


class InputConfig(LayoutConfig):
    """Where the input is and how to read it. Layout settings are those of the only corpus, or of none (``corpora``)."""

    input: str = Field(default="", description="folder, file or fsspec URL; or a data set of the Hub with format: hf")
    corpora: dict[str, CorpusConfig] = Field(
        default_factory=dict, description="name -> one of several corpora, each a folder below the input"
    )
