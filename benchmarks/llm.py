"""Asking a language model: this package's client against a bare aiohttp loop and against AsyncOpenAI.

5,000 requests for some 300 tokens of JSON each, from a server on loopback whose answers take 200 ms in the mean
(log-normal), in a process of its own like each client. Ours checks every answer against its JSON Schema and journals
it; the bare loop does nothing but read it: it is the limit. They take turns; medians decide.

    python benchmarks/llm.py [--count 5000] [--in-flight 64 256] [--rounds 3] [--quick]

Exits 1 when a goal is missed: at least 0.97 of the bare loop's requests a second, less than 0.9 processor seconds per
1,000 requests, and with 2 % of faults the same answers, at 0.9 of the speed without faults. That is judged when 98 % of
the answers are there: at the end of so short a run one Retry-After of a second decides, and the dice when it comes.
AsyncOpenAI is measured where the peers' environment is installed (``make setup-peers``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from datagen.testing.llm_server import Faults, ServerProcess

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-peers/bin/python"
LEAST_SPEED, MOST_CPU_S, LEAST_UNDER_FAULTS = 0.97, 0.9, 0.9
FAULTS = Faults(http_500=0.005, retry_after=0.005, drop=0.005, cut=0.005)
#: A minute for each thousand at most: what takes longer hangs.
PATIENCE_S = 600.0


def side(kind: str, url: str, count: int, in_flight: int) -> dict[str, Any]:
    """What one client took in a fresh process."""
    interpreter = str(PEERS) if kind == "openai" else sys.executable
    command = [interpreter, str(HERE / "_llm_side.py"), kind, url, str(count), str(in_flight)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def serving(faults: Faults, latency_s: float) -> ServerProcess:
    return ServerProcess(faults=faults, latency_s=latency_s, latency_sigma=0.5, retry_after_s=1.0)


def has_openai() -> bool:
    if not PEERS.exists():
        return False
    return subprocess.run([str(PEERS), "-c", "import openai"], capture_output=True).returncode == 0


def measure(count: int, in_flight: int, rounds: int, latency_s: float) -> dict[str, list[dict[str, Any]]]:
    """Rounds of each kind. A fresh server for each side: it remembers what it was asked."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    kinds = ["bare", "ours", "faults", *(["openai"] if has_openai() else [])]
    for turn in range(rounds):
        for kind in kinds:
            if kind == "openai" and turn > 0:  # far enough away for one look
                continue
            with serving(FAULTS if kind == "faults" else Faults(), latency_s) as server:
                found[kind].append(side("ours" if kind == "faults" else kind, server.url, count, in_flight))
    return found


def median(found: list[dict[str, Any]], name: str) -> float:
    return statistics.median(each[name] for each in found)


def report(found: dict[str, list[dict[str, Any]]], count: int, in_flight: int) -> list[str]:
    """Print a table, and say which goals were missed."""
    for kind, rounds in found.items():
        seconds, cpu = median(rounds, "seconds"), median(rounds, "cpu_s")
        times = ", ".join(f"{each['seconds']:.2f}" for each in rounds)
        speed, cpu = count / seconds, cpu / count * 1000
        print(
            f"  {in_flight:4d} {kind:7s} {speed:7.0f} requests/s {cpu:6.2f} processor s per 1,000"
            f" {median(rounds, 'peak_mb'):5.0f} MB  (s: {times})"
        )
    speed = median(found["bare"], "seconds") / median(found["ours"], "seconds")
    cpu = median(found["ours"], "cpu_s") / count * 1000
    faulty = median(found["ours"], "most_s") / median(found["faults"], "most_s")
    in_all = median(found["ours"], "seconds") / median(found["faults"], "seconds")
    same = {each["digest"] for kind in ("ours", "faults") for each in found[kind]} == {found["bare"][0]["digest"]}
    whole = all(each["answers"] == count for kind in ("ours", "faults") for each in found[kind])
    under = f"{faulty:.3f} of that speed with 2 % faults ({in_all:.3f} to the very end)"
    goals = {
        f"{speed:.3f} of the bare loop's speed, at least {LEAST_SPEED}": speed >= LEAST_SPEED,
        f"{cpu:.2f} processor s per 1,000, less than {MOST_CPU_S}": cpu < MOST_CPU_S,
        f"{under}, at least {LEAST_UNDER_FAULTS}": faulty >= LEAST_UNDER_FAULTS,
        "the same answers as the bare loop's, all of them, with and without faults": same and whole,
    }
    for goal, met in goals.items():
        print(f"  {in_flight:4d} {goal}: {'met' if met else 'MISSED'}")
    return [f"{in_flight} in flight: {goal}" for goal, met in goals.items() if not met]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.2, help="mean, in seconds")
    parser.add_argument("--quick", action="store_true", help="200 requests, once: whether it runs, no goals on time")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.count, asked.in_flight, asked.rounds, asked.latency = 200, [32], 1, 0.01
    missed = []
    print(f"{asked.count} requests, {asked.latency * 1000:.0f} ms in the mean, {asked.rounds} rounds")
    for in_flight in asked.in_flight:
        found = measure(asked.count, in_flight, asked.rounds, asked.latency)
        missed += report(found, asked.count, in_flight)
    if asked.quick:
        missed = [goal for goal in missed if "answers" in goal]
    for goal in missed:
        print(f"missed: {goal}")
    if not has_openai():
        print("AsyncOpenAI was not measured: make setup-peers")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
