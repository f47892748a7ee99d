"""A task as the driver hands it to a worker: which unit, which part of it, what is already there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from datagen.executors.base import Shared
from datagen.rounds import Results
from datagen.store import ReadPlan, Unit


class Brief(NamedTuple):
    """What all tasks of a barrier's round are given. It grows with the shards, so it is shared, not sent with each."""

    plans: tuple[ReadPlan, ...]  #: all shards'
    results: Results  #: of the rounds before


@dataclass(frozen=True)
class Refused:
    """A row the driver gave up on: it failed alone, again and again. ``row`` counts among the rows seen."""

    row: int
    error_class: str
    message: str
    attempt: int


@dataclass(frozen=True)
class Job:
    """One task. ``pieces`` are computed; with ``commit`` the unit is then finished from ``parts`` and those."""

    stage: str
    config: Any
    seed: int
    unit: Unit
    plans: tuple[ReadPlan, ...]  #: one, or all shards' for a barrier; none where there is a ``brief``
    artifacts: tuple[tuple[str, Unit], ...] = ()
    previous: tuple[ReadPlan, ...] = ()  #: barriers: how to read their own last decisions
    anew: bool = False  #: barriers: those are to be compared with, not to be kept to
    pieces: tuple[tuple[int, int], ...] = ()
    parts: tuple[tuple[int, int], ...] = ()
    refused: tuple[Refused, ...] = ()
    commit: bool = False
    round: tuple[str, int] | None = None  #: a barrier worked on in rounds: which task of which round
    brief: Shared | None = None  #: of a ``Brief``, where there are rounds
    seconds: float = 0.0  #: that those took, added up
    record: Mapping[str, Any] = field(default_factory=dict)
