"""Can these pools run here, and with how many workers? Pure arithmetic over machines and wishes.

Asked before a phase starts, because the alternative is an actor that waits for ever for a GPU nobody has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from datagen.errors import UsageError
from datagen.executors.base import PoolSpec
from datagen.stage import Resources

_UNITS = {"cpus": "CPUs", "gpus": "GPUs", "memory_gb": "GB of memory"}
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Machine:
    """What one machine offers to workers in all (not: what is free now)."""

    cpus: float
    gpus: float
    memory_gb: float

    def holds(self, want: Resources) -> bool:
        return all(getattr(self, unit) + _EPSILON >= getattr(want, unit) for unit in _UNITS)


@dataclass(frozen=True, slots=True)
class Share:
    """A pool's part: at most ``workers`` workers, each claiming ``cpus`` CPUs and ``memory_gb`` of memory."""

    workers: int
    cpus: float
    memory_gb: float = 0.0


def number(value: float) -> str:
    """A quantity for a message: 2, 0.5, 15.6."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def check(pools: Sequence[PoolSpec], machines: Sequence[Machine], *, share_cpus: bool = False) -> None:
    """Refuse pools that can never run, alone or side by side with one worker each.

    Args:
        share_cpus: let pools together ask for more CPUs than there are; CPUs are time-shared, GPUs and memory not.

    Raises:
        UsageError: names the pool, what it asks for, what there is, and the setting to change.
    """
    for pool in pools:
        _check_one(pool, machines)
    for unit, name in _UNITS.items():
        if unit == "cpus" and share_cpus:
            continue
        want = {pool.name: float(getattr(pool.resources, unit)) for pool in pools if getattr(pool.resources, unit) > 0}
        have = sum(getattr(machine, unit) for machine in machines)
        if sum(want.values()) > have + _EPSILON:
            wishes = ", ".join(f"{pool} {number(value)}" for pool, value in want.items())
            settings = " or ".join(f"stages.{pool}.resources.{unit}" for pool in want)
            raise UsageError(
                f"stages that run side by side ask for {number(sum(want.values()))} {name} with one worker each "
                f"({wishes}), but there are {number(have)}; lower {settings} (fractions are allowed)"
            )


def _check_one(pool: PoolSpec, machines: Sequence[Machine]) -> None:
    want = pool.resources
    if want.fixed_gpus > 1 and not want.fixed_gpus.is_integer():
        raise UsageError(
            f"stage '{pool.name}' asks for {number(want.fixed_gpus)} GPUs per worker; more than one must be a whole "
            f"number: set stages.{pool.name}.resources.gpus"
        )
    for unit, name in _UNITS.items():
        most = max((getattr(machine, unit) for machine in machines), default=0.0)
        if getattr(want, unit) > most + _EPSILON:
            there_is = f"the largest machine here has {number(most)}" if most > 0 else "there are none here"
            mend = f"to at most {number(most)}" if most > 0 else "to 0, or use a machine that has them"
            raise UsageError(
                f"stage '{pool.name}' asks for {number(getattr(want, unit))} {name} per worker, but {there_is}; "
                f"set stages.{pool.name}.resources.{unit} {mend}"
            )
    if not any(machine.holds(want) for machine in machines):
        raise UsageError(
            f"stage '{pool.name}' asks for {wishes(want)} per worker, and no single machine has all of that; "
            f"lower stages.{pool.name}.resources"
        )


def wishes(want: Resources) -> str:
    """``Resources`` of one worker in words."""
    asked = [f"{number(getattr(want, unit))} {name}" for unit, name in _UNITS.items() if getattr(want, unit) > 0]
    return ", ".join(asked) or "no CPU"


def plan(pools: Sequence[PoolSpec], machines: Sequence[Machine]) -> dict[str, Share]:
    """How many workers each pool gets: one each first, then one more each in turn for as long as they fit.

    ``resources.workers`` is a ceiling. Where the pools' first workers claim more CPUs than there are, all claims
    shrink by the same factor (see ``check``); so do claims of memory that is only expected, not reserved. A worker
    that claims nothing and has no ceiling counts as one CPU here, so that "as many as fit" stays finite.
    """
    total = sum(machine.cpus for machine in machines)
    asked = sum(pool.resources.cpus for pool in pools)
    factor = min(1.0, total / asked) if asked > 0 else 1.0
    # Ray counts in 1/10000 of a CPU; round down, or the sum may not fit by a hair.
    cpus = {pool.name: math.floor(pool.resources.cpus * factor * 10_000) / 10_000 for pool in pools}
    memory = _memory(pools, machines)
    packed, free = _first(pools, machines, cpus, memory)
    if not packed:  # what is only expected must not keep anybody from starting
        memory = {pool.name: pool.resources.memory_gb for pool in pools}
        packed, free = _first(pools, machines, cpus, memory)
    workers = dict.fromkeys(cpus, 1)
    # Where first-fit packing found no gap for somebody's first worker, nobody gets a second.
    growing = [pool for pool in pools if pool.resources.workers != 1] if packed else []
    while growing:
        still = []
        for pool in growing:
            finite = pool.resources.fixed_gpus or pool.resources.workers
            claim = cpus[pool.name] or (0.0 if finite else 1.0)
            if _place((claim, pool.resources.fixed_gpus, memory[pool.name]), free):
                workers[pool.name] += 1
                if workers[pool.name] != pool.resources.workers:
                    still.append(pool)
        growing = still
    return {name: Share(workers[name], cpus[name], memory[name]) for name in workers}


def doubts(pools: Sequence[PoolSpec], machines: Sequence[Machine]) -> list[str]:
    """What to say about memory that models are expected to take: too much of it, or fewer workers because of it."""
    soft = [pool for pool in pools if _expected(pool)]
    if not soft:
        return []
    want, room = sum(map(_expected, soft)), _room(pools, machines)
    if want > room:
        wishes = ", ".join(f"{pool.name} {number(_expected(pool))}" for pool in soft)
        return [
            f"the models of stages that run side by side are expected to take {number(want)} GB of memory with one "
            f"worker each ({wishes}), and {number(max(room, 0.0))} are there; should they not do, use "
            "smaller models"
        ]
    planned = plan(pools, machines)
    unbound = plan([replace(pool, expected_gb=0.0) for pool in pools], machines)
    return [
        f"stage '{pool.name}': {planned[pool.name].workers} workers instead of {unbound[pool.name].workers}, since "
        f"each is expected to take {number(_expected(pool))} GB (stages.{pool.name}.resources.memory_gb overrules)"
        for pool in soft
        if planned[pool.name].workers < unbound[pool.name].workers
    ]


def _expected(pool: PoolSpec) -> float:
    return 0.0 if pool.resources.memory_gb else pool.expected_gb


def _room(pools: Sequence[PoolSpec], machines: Sequence[Machine]) -> float:
    """Memory that nobody has reserved."""
    return sum(machine.memory_gb for machine in machines) - sum(pool.resources.memory_gb for pool in pools)


def _memory(pools: Sequence[PoolSpec], machines: Sequence[Machine]) -> dict[str, float]:
    """GB that a worker of each pool claims: what it reserves, else what it is expected to take, shrunk to fit."""
    want = sum(map(_expected, pools))
    factor = min(1.0, max(0.0, _room(pools, machines)) / want) if want else 1.0
    largest = max((machine.memory_gb for machine in machines), default=0.0)
    soft = {pool.name: min(_expected(pool) * factor, largest) for pool in pools}
    return {pool.name: pool.resources.memory_gb or math.floor(soft[pool.name] * 100) / 100 for pool in pools}


def _first(
    pools: Sequence[PoolSpec], machines: Sequence[Machine], cpus: Mapping[str, float], memory: Mapping[str, float]
) -> tuple[bool, list[list[float]]]:
    """Whether every pool's first worker finds a place, and what is left of each machine then."""
    free = [[machine.cpus, machine.gpus, machine.memory_gb] for machine in machines]
    # Hardest to place first, so that a small pool does not take the only machine that suits a big one.
    hardest = sorted(pools, key=lambda p: (-p.resources.fixed_gpus, -memory[p.name], -cpus[p.name]))
    placed = [_place((cpus[pool.name], pool.resources.fixed_gpus, memory[pool.name]), free) for pool in hardest]
    return all(placed), free


def _place(want: tuple[float, float, float], free: list[list[float]]) -> bool:
    for machine in free:
        if all(left + _EPSILON >= need for left, need in zip(machine, want, strict=True)):
            for at, need in enumerate(want):
                machine[at] -= need
            return True
    return False
