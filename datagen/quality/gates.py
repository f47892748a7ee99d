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
import pyarrow.compute as pc
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


def columns(gates: Gates) -> tuple[str, ...]:
    """Columns of clips that the gates which are set look at."""
    wanted = list(gates.active)
    if {"emotion_margin", "affect_agreement"} & set(wanted):
        wanted.append("label_source")
    return tuple(wanted)


def pass_gates(clips: pa.Table, rows: Ints, gates: Gates) -> Gated:
    """Hold some rows of ``clips`` against the gates that are set; columns that are not there are unknown."""
    active = gates.active
    code = np.full(len(rows), -1, np.int64)
    counts: dict[str, dict[str, int]] = {}
    for place, (name, gate) in enumerate(active.items()):
        refused, unknown = _judge(clips, rows, name, gate)
        out = np.where(unknown, gate.missing == "drop", refused)
        counts[name] = {
            "alone": int(out.sum()),
            "removed": int((out & (code < 0)).sum()),
            "missing": int(unknown.sum()),
        }
        code[out & (code < 0)] = place
    return Gated(list(active), code, counts)


def _judge(clips: pa.Table, rows: Ints, name: str, gate: Gate) -> tuple[Bools, Bools]:
    """(refused, unknown) per row of ``rows``; a gate on pseudo-labels neither refuses nor misses others."""
    if name not in clips.column_names:
        return np.zeros(len(rows), bool), np.ones(len(rows), bool) & _concerned(clips, rows, name)
    column = clips[name].take(pa.array(rows))
    unknown = _flags(pc.is_null(column))
    match gate:
        case Range():
            value = pc.cast(column, pa.float64()).to_numpy().astype(np.float64)
            # What is not a number was measured as little as a null.
            unknown |= np.isnan(value)
            refused = np.zeros(len(rows), bool)
            if gate.min is not None:
                refused |= value < gate.min
            if gate.max is not None:
                refused |= value > gate.max
            if isinstance(gate, Words):
                refused = np.where(value == 0, gate.nonverbal == "drop", refused)
        case Allowed():
            listed = pc.is_in(column, pa.array(gate.allow, pa.string()))
            refused = ~_flags(listed) if gate.allow else np.zeros(len(rows), bool)
        case Signs():
            refused = _signs(column, gate)
        case _:
            refused = _flags(pc.equal(column, "conflict"))
            # Agreement is null as well where the voice is undecided; only a quarrel is a reason to go.
            refused &= isinstance(gate, Agreement) and gate.conflict == "drop"
    concerned = _concerned(clips, rows, name)
    return refused & ~unknown & concerned, unknown & concerned


def _signs(column: pa.ChunkedArray, gate: Signs) -> Bools:
    refused = np.zeros(len(column), bool)
    if gate.max is not None:
        refused |= pc.fill_null(pc.list_value_length(column), 0).to_numpy() > gate.max
    if gate.refuse:
        whose = pc.list_parent_indices(column).to_numpy()
        hit = _flags(pc.is_in(pc.list_flatten(column), pa.array(gate.refuse, pa.string())))
        refused[whose[hit]] = True
    return refused


def _concerned(clips: pa.Table, rows: Ints, name: str) -> Bools:
    """Whether a gate is about the row: those on labels are about pseudo-labels and clips without any."""
    if name not in {"emotion_margin", "affect_agreement"} or "label_source" not in clips.column_names:
        return np.ones(len(rows), bool)
    given = pc.is_in(clips["label_source"].take(pa.array(rows)), pa.array(["gold", "requested"]))
    return ~_flags(given)


def _flags(column: pa.Array | pa.ChunkedArray) -> Bools:
    found: Bools = pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(bool)
    return found
