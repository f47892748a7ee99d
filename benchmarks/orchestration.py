"""Cost of handing out work: 2,000 trivial tasks through ``RayExecutor`` against a bare Ray actor loop.

Both use two actors with two tasks in flight each, in the same Ray, taking turns; medians decide. The peer is the
least code that does the same: wait for one, get it, send the next.

    python benchmarks/orchestration.py [--tasks 2000] [--rounds 3] [--goal 1.5]

Exits 1 when the median of ours takes more than ``goal`` times the peer's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from datagen.executors.base import Fate, PoolSpec, Task
from datagen.executors.ray import RayExecutor
from datagen.stage import Resources

ACTORS = 2
IN_FLIGHT = 2


class Echo:
    """The trivial worker. Payloads look like a shard's: a path and a range of rows."""

    def run(self, payload: Any) -> Any:
        return payload[1]

    def close(self) -> None: ...


def payload(number: int) -> tuple[str, int, int]:
    return ("runs/demo/clips/shard-00000", number, number + 1)


def peer_actors() -> list[Any]:
    import ray

    actors = [ray.remote(num_cpus=1)(Echo).remote() for _ in range(ACTORS)]
    ray.get([actor.run.remote(payload(0)) for actor in actors])
    return actors


def peer(actors: list[Any], tasks: int) -> float:
    """Seconds of the bare loop."""
    import ray

    numbers: Iterator[int] = iter(range(tasks))
    start = time.perf_counter()
    pending = {actor.run.remote(payload(next(numbers))): actor for _ in range(IN_FLIGHT) for actor in actors}
    results = []
    while pending:
        (ready,), _ = ray.wait(list(pending), num_returns=1)
        actor = pending.pop(ready)
        results.append(ray.get(ready))
        number = next(numbers, None)
        if number is not None:
            pending[actor.run.remote(payload(number))] = actor
    seconds = time.perf_counter() - start
    assert sorted(results) == list(range(tasks))
    return seconds


def ours(executor: RayExecutor, pool: PoolSpec, tasks: int, first: int = 0) -> float:
    """Seconds of the executor, with a deadline on every task as the engine sets it."""
    numbers = iter(range(first, first + tasks))
    start = time.perf_counter()
    results, more = [], True
    while more or len(results) < tasks:
        while more and executor.room(pool.name) > 0:
            number = next(numbers, None)
            if number is None:
                more = False
                break
            executor.submit(pool.name, Task(number, payload(number), timeout_s=600.0))
        for completion in executor.wait(10.0):
            assert completion.fate is Fate.DONE, completion
            results.append(completion.result)
    seconds = time.perf_counter() - start
    assert sorted(results) == list(range(first, first + tasks))
    return seconds


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tasks", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--goal", type=float, default=1.5)
    asked = arguments.parse_args()

    # Room for both at once, so that they can take turns; the actors that are not asked sleep.
    executor = RayExecutor(num_cpus=2 * ACTORS, in_flight=IN_FLIGHT)
    try:
        pool = PoolSpec("echo", Echo, Resources(cpus=1, workers=ACTORS))
        executor.open(pool)
        actors = peer_actors()
        peer(actors, 200), ours(executor, pool, 200)  # both warm
        times: dict[str, list[float]] = {"bare Ray actor loop": [], "RayExecutor": []}
        for _ in range(asked.rounds):
            times["bare Ray actor loop"].append(peer(actors, asked.tasks))
            times["RayExecutor"].append(ours(executor, pool, asked.tasks))
    finally:
        executor.shutdown()

    print(f"{asked.tasks} trivial tasks, {ACTORS} actors, {IN_FLIGHT} in flight each, {asked.rounds} rounds")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        raw = ", ".join(f"{value:.3f}" for value in seconds)
        print(f"  {name:20} {median:.3f} s  {1000 * median / asked.tasks:.3f} ms a task  (s: {raw})")
    ratio = statistics.median(times["RayExecutor"]) / statistics.median(times["bare Ray actor loop"])
    met = ratio <= asked.goal
    print(f"  ratio {ratio:.2f}, goal <= {asked.goal:g}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
