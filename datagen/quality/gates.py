"""Quality gates: what is too poor to learn from, judged by each clip's own measurements alone.

A gate that is not set lets everything through. What was not measured passes unless the gate says ``missing: drop``.
Every gate is counted twice: what it would remove by itself, and what it removed of what the gates before it had left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from datagen.speech.hallucination import FLAGS
from datagen.stage import StageConfig

GATE = "gate:"  #: what a reason of this module starts with; the gate's name, which is its column's, follows

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Gate(StageConfig):
    missing: Literal["keep", "drop"] = Field("keep", description="what becomes of a clip of which this is unknown")


class Range(Gate):
    """Bounds of a number, both included."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is more than max {self.max:g}: nothing could pass")
        return self


class Words(Range):
    nonverbal: Literal["keep", "drop"] = Field("keep", description="clips in which nobody says a word")


class Allowed(Gate):
    allow: tuple[str, ...] = Field((), description="values that pass; empty = all")


class Signs(Gate):
    """Signs of an invented text (``speech/hallucination.py``). None of them proves anything by itself."""

    max: int | None = Field(None, ge=0, description="most signs of any kind")
    refuse: tuple[Literal[FLAGS], ...] = Field((), description="signs of which one is enough")  # type: ignore[valid-type]


class Agreement(Gate):
    """Whether a pseudo-label's quadrant fits arousal and valence (``quality/agreement.py``)."""

    conflict: Literal["keep", "drop"] = "keep"


class Gates(StageConfig):
    """In the order in which they are counted."""

    duration: Range = Field(Range(), description="seconds")
    snr_db: Range = Range()
    clipping_ratio: Range = Field(Range(), description="share of samples at full scale")
    speech_lang: Allowed = Allowed()
    text_lang: Allowed = Allowed()
    asr_flags: Signs = Signs()
    asr_confidence: Range = Field(Range(), description="0..1")
    word_count: Words = Words()
    emotion_margin: Range = Field(Range(), description="pseudo-labels only")
    affect_agreement: Agreement = Field(Agreement(), description="pseudo-labels only")

    @property
    def active(self) -> dict[str, Gate]:
        """Gates that differ from letting everything through, by column."""
        every: dict[str, Gate] = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: gate for name, gate in every.items() if gate != type(gate)()}


@dataclass(frozen=True)
class Gated:
    """Fate of some rows. ``code``: per row the place in ``names`` of the gate that removed it, -1 = passed."""

    names: list[str]
    code: Ints
    counts: dict[str, dict[str, int]]  #: gate -> ``alone``, ``removed`` (in sequence), ``missing`` (not measured)


def pass_gates(clips: pa.Table, gates: Gates) -> Gated:
    """Hold every row of ``clips`` against the gates that are set; columns that are not there are unknown."""
    raise NotImplementedError
