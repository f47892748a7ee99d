"""Near-duplicates among vectors, ours against exact search and semhash; and whether contrast survives condensation.

Vectors: 384 dimensions in 20,000 clusters, 5 % near-duplicates (cosine at least 0.95), 10 % hard negatives (0.80 to
0.90), threshold 0.92, in a file. Every measurement is a process of its own: ours and exact search map the file and
work with two threads, semhash gets it loaded. Times are without loading. Those of ours are of the cheapest round; exact
search and semhash have one. Processor seconds are judged, on both sides: others may share the machine, and with two
threads the clock would show less on an idle one. Recall and precision are of rows removed, of a group of n
near-duplicates n - 1; that exactly one is left is judged of the groups in which all rows are near each other.

    python benchmarks/dedup.py [--sizes 100000 200000 1000000] [--rounds 3] [--recall 0.995] [--quick]

Exits 1 when a goal is missed or a peer could not be measured. semhash has an environment of its own: make setup-peers.
``--quick`` takes thousands of vectors and judges no time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _dedup_contrast
import numpy as np
from _dedup_vectors import COPIES, DIMENSIONS, HARD, THRESHOLD, Made, judge, make, survivors

from datagen.neighbours.costs import predict

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-peers/bin/python"
REFERENCE = 200_000  #: rows of the comparison with semhash and exact search, or the largest size below
TIMES_CHEAPER, SECONDS_1M, GB_1M, EXPONENT = 20, 60.0, 2.5, 1.2
RECALL, PRECISION = 0.99, 0.999


def run(kind: str, made: Made, recall: float) -> dict[str, Any]:
    """What the worker tells, with ``dup_of`` per row. Raises RuntimeError with its last words."""
    out = made.path.with_name(f"{made.path.stem}-{kind}.npy")
    interpreter = str(PEERS) if kind == "semhash" else sys.executable
    # Ours works with threads of its own, as the workers of a run do; a peer sets its threads itself.
    environment = os.environ | ({} if kind == "semhash" else {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    command = [interpreter, str(HERE / "_dedup_worker.py"), kind, str(made.path), str(made.rows), str(recall), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind}, {made.rows:,} rows: {done.stderr.strip().splitlines()[-1:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "dup_of": np.load(out)}


def measured(kind: str, made: Made, recall: float, rounds: int) -> dict[str, Any]:
    """The cheapest of some rounds; all of them must come to the same."""
    found = [run(kind, made, recall) for _ in range(rounds)]
    if any((other["dup_of"] != found[0]["dup_of"]).any() for other in found) and kind != "semhash":
        raise RuntimeError(f"{kind}, {made.rows:,} rows: two rounds differ")
    best = min(found, key=lambda one: float(one["cpu"]))
    print(row(kind, made, best, [one["cpu"] for one in found]), flush=True)
    best["judged"] = judge(made.group, best["dup_of"] >= 0)
    best["survivors"] = survivors(made, best["dup_of"] >= 0)
    if kind != "semhash":  # which does not say for which row one went
        best["unfounded"] = unfounded(made, best["dup_of"])
    return best


def unfounded(made: Made, dup_of: np.ndarray) -> int:
    """Rows removed for one that is itself removed, or that is not near."""
    gone = np.flatnonzero(dup_of >= 0)
    vectors = made.open()
    near = np.einsum("ij,ij->i", vectors[gone].astype(np.float64), vectors[dup_of[gone]].astype(np.float64))
    return int(np.count_nonzero((dup_of[dup_of[gone]] >= 0) | (np.round(near, 6) < THRESHOLD)))


def row(kind: str, made: Made, best: dict[str, Any], spent: list[float]) -> str:
    judged = judge(made.group, best["dup_of"] >= 0)
    note = " ".join(f"{value:.1f}" for value in spent)
    if kind == "ours":
        recall = "none sampled" if best["recall"] is None else f"{best['recall']:.4f}"
        cost = predict(made.rows, DIMENSIONS, workers=2, memory_gb=2.0, exact_rows=0)
        note += f"; {best['cells']} cells, {best['visits']:.1f} visits, recall of pairs measured by itself {recall}"
        note += f"; predicted {cost.seconds:.0f} s"
    return (
        f"| {kind} | {made.rows:,} | {best['seconds']:.1f} | {best['cpu']:.1f} | {best['peak_gb']:.2f} | "
        f"{judged.recall:.4f} | {judged.precision:.4f} | {judged.wiped_out} of {judged.groups:,} | {note} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 200_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recall", type=float, default=0.995, help="of pairs, asked of ours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    sizes, rounds = ([4_000, 8_000], 1) if asked.quick else (sorted(asked.sizes), asked.rounds)
    reference = max([size for size in sizes if size <= REFERENCE], default=sizes[0])
    missed: list[str] = []

    def goal(text: str, met: bool) -> None:
        print(f"{text}: {'met' if met else 'MISSED'}")
        if not met:
            missed.append(text)

    print(f"{DIMENSIONS} dimensions, {COPIES:.0%} copies, {HARD:.0%} hard negatives, threshold {THRESHOLD}, 2 threads")
    print("| method | rows | s | processor s | peak GB | recall | precision | groups wiped out | rounds, processor s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    ours: dict[int, dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            made = make(Path(scratch) / f"{size}.f32", size, asked.seed)
            ours[size] = measured("ours", made, asked.recall, rounds)
            if size == reference:
                others["exact"] = measured("exact", made, 1.0, 1)
                if not asked.quick and PEERS.exists():
                    others["semhash"] = measured("semhash", made, 1.0, 1)
            made.path.unlink()

    print()
    for size, found in ours.items():
        judged, rows = found["judged"], f"{size:,} rows"
        goal(f"{rows}: recall {judged.recall:.4f}, at least {RECALL}", judged.recall >= RECALL)
        goal(f"{rows}: precision {judged.precision:.4f}, at least {PRECISION}", judged.precision >= PRECISION)
        goal(f"{rows}: {judged.wiped_out} groups wiped out, none may be", judged.wiped_out == 0)
        left = found["survivors"]
        one = left.groups - left.none - left.several
        goal(f"{rows}: {one:,} of {left.groups:,} groups of rows all near each other keep exactly one "
             f"({one / left.groups:.4f}), at least {RECALL}; {left.none} keep none, {left.several} several",
             one >= RECALL * left.groups and left.none == 0)  # fmt: skip
        goal(f"{rows}: {found['both_stay']} near pairs were found of which both stay", found["both_stay"] == 0)
        goal(f"{rows}: {found['unfounded']} removed for a row that goes too or is not near", found["unfounded"] == 0)
    exact = others["exact"]
    of_pairs = ours[reference]["pairs_found"] / exact["pairs_found"]
    goal(f"{reference:,} rows: {of_pairs:.4f} of the pairs of exact search, asked {asked.recall}, 0.002 less forgiven",
         of_pairs >= asked.recall - 0.002)  # fmt: skip
    print(f"{reference:,} rows: {exact['cpu'] / ours[reference]['cpu']:.1f} times as cheap as exact search, "
          f"whose recall is {exact['judged'].recall:.4f}, and which leaves several of {exact['survivors'].several} "
          "groups")  # fmt: skip
    if not asked.quick:
        times(ours, reference, others.get("semhash"), goal, missed)
    sentences, speakers = (6, 4) if asked.quick else (60, 20)
    for found in _dedup_contrast.measure(sentences, speakers, asked.seed):
        goal(f"contrast, {found.clips:,} clips, labels {found.labels}: {found.contrast:.2%} survive, "
             f"{found.copies_found:.2%} of the copies go, {found.wrong_survivors} groups without exactly one left",
             found.contrast == 1 and found.copies_found == 1 and not found.wrong_survivors)  # fmt: skip
    for line in missed:
        print(f"MISSED {line}", file=sys.stderr)
    return 1 if missed else 0


def times(
    ours: dict[int, dict[str, Any]],
    reference: int,
    semhash: dict[str, Any] | None,
    goal: Callable[[str, bool], None],
    missed: list[str],
) -> None:
    """Goals of time and memory; those of sizes that were not asked for are left out."""
    if semhash is None:
        print("semhash was not measured: make setup-peers")
        missed.append("semhash: not measured")
    else:
        ratio = semhash["cpu"] / ours[reference]["cpu"]
        clock = semhash["seconds"] / ours[reference]["seconds"]
        print(f"{reference:,} rows: by the clock {clock:.1f} times as fast as semhash, which leaves several of "
              f"{semhash['survivors'].several} groups and nothing of {semhash['survivors'].none}")  # fmt: skip
        goal(
            f"{reference:,} rows: {ratio:.1f} times as cheap as semhash, at least {TIMES_CHEAPER}",
            ratio >= TIMES_CHEAPER,
        )
    if 1_000_000 in ours:
        seconds, peak = ours[1_000_000]["cpu"], ours[1_000_000]["peak_gb"]
        goal(f"1,000,000 rows: {seconds:.1f} processor s, at most {SECONDS_1M:g}", seconds <= SECONDS_1M)
        goal(f"1,000,000 rows: {peak:.2f} GB, at most {GB_1M}", peak <= GB_1M)
    first, last = min(ours), max(ours)
    if first < last:
        exponent = math.log(ours[last]["cpu"] / ours[first]["cpu"]) / math.log(last / first)
        goal(f"{first:,} to {last:,} rows: exponent {exponent:.2f}, at most {EXPONENT}", exponent <= EXPONENT)


if __name__ == "__main__":
    sys.exit(main())
