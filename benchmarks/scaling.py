"""How cost grows with the corpus: whole runs over 1,000 to 20,000 clips, each in a process of its own.

Prints, per size, the wall time of the run, the driver's peak memory and the time of the same command again (which
must find nothing to do), and the exponent of cost in clips: between the smallest and the largest size, and between
the two largest, where starting up weighs less; the worse one counts.

    python benchmarks/scaling.py [--sizes 1000 5000 20000] [--goal 1.15] [--memory 1.5] [--again 5]

The clips are half-second tones, all different, so that what grows is our own work (ledger, keys, joins, barriers,
writing, checking, export) and not a model's. Exits 1 when the exponent passes ``--goal``, when the driver's memory
grows by more than ``--memory`` times from the smallest to the largest size, or when the second run on 10,000 clips or
fewer takes longer than ``--again`` seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

#: No stage that measures sound, and no text that needs the embedding model: those are linear by construction and
#: would hide the rest.
RECIPE = """
recipe: scaling
description: everything but the models
stages:
  ingest: {corpus: tones, licence: CC0-1.0}
  segment: {}
  transcribe: {backend: reference}
  emotion: {}
  embed: {}
  condense: {dedup: {acoustic: false}}
  split: {}
  write: {tasks: [classification], modes: [implicit]}
  verify: {}
  route: {}
  export: {audio: clips}
shards: {rows: 1000}
"""

#: Runs in the measured process; prints one JSON line.
DRIVER = """
import json, resource, sys, time
from datagen import config
from datagen.run import Options, execute
started = time.perf_counter()
recipe = config.load(sys.argv[1], overrides={"stages.ingest.input": sys.argv[2]})
_, outcome = execute(recipe, sys.argv[3], Options(progress="none"), print)
print(json.dumps({"seconds": time.perf_counter() - started, "units": sum(outcome.committed.values()),
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def make_corpus(folder: Path, clips: int) -> Path:
    """``clips`` tones of half a second with a speaker, an emotion and a text each."""
    import soundfile

    folder.mkdir(parents=True)
    times = np.arange(8000) / 16000
    emotions = ("angry", "happy", "neutral", "sad")
    with (folder / "metadata.jsonl").open("w") as rows:
        for number in range(clips):
            tone = 0.3 * np.sin(2 * np.pi * (150 + number * 0.01) * times) + 0.001 * np.sin(number + times * 40)
            name = f"{number % 100:02d}/{number:06d}.wav"
            (folder / name).parent.mkdir(exist_ok=True)
            soundfile.write(folder / name, tone.astype(np.float32), 16000, subtype="PCM_16")
            row = {
                "file_name": name, "speaker": f"s{number % 200}", "emotion": emotions[number % 4], "language": "de",
                "sex": ("female", "male")[number % 2], "transcript": f"satz nummer {number // 4}",
            }  # fmt: skip
            rows.write(json.dumps(row) + "\n")
    return folder


def run(recipe: Path, corpus: Path, output: Path) -> dict:
    command = [sys.executable, "-c", DRIVER, str(recipe), str(corpus), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--goal", type=float, default=1.15)
    parser.add_argument("--memory", type=float, default=1.5)
    parser.add_argument("--again", type=float, default=5.0)
    arguments = parser.parse_args()
    found, problems = [], []
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Path(scratch) / "scaling.yaml"
        recipe.write_text(RECIPE)
        print(f"{'clips':>8} {'seconds':>9} {'ms/clip':>8} {'driver MB':>10} {'again s':>8}")
        for size in sorted(arguments.sizes):
            corpus = make_corpus(Path(scratch) / f"in-{size}", size)
            output = Path(scratch) / f"run-{size}"
            first = run(recipe, corpus, output)
            started = time.perf_counter()
            second = run(recipe, corpus, output)
            again = time.perf_counter() - started
            if second["units"]:
                problems.append(f"the second run on {size} clips did {second['units']} units of work")
            if size <= 10_000 and again > arguments.again:
                problems.append(f"the second run on {size} clips took {again:.1f} s")
            found.append((size, first["seconds"], first["peak_mb"]))
            print(f"{size:>8,} {first['seconds']:>9.1f} {1000 * first['seconds'] / size:>8.2f} "
                  f"{first['peak_mb']:>10.0f} {again:>8.1f}", flush=True)  # fmt: skip
    if len(found) > 1:
        (small, fast, light), (large, slow, heavy) = found[0], found[-1]
        (size, seconds, _), _ = found[-2:]
        whole, end = (math.log(slow / x) / math.log(large / n) for n, x in ((small, fast), (size, seconds)))
        exponent = max(whole, end)
        print(f"exponent {whole:.2f} over all sizes, {end:.2f} at the end (goal <= {arguments.goal}), "
              f"driver memory x{heavy / light:.2f} (goal <= {arguments.memory})")  # fmt: skip
        if exponent > arguments.goal:
            problems.append(f"cost grows with exponent {exponent:.2f}")
        if heavy / light > arguments.memory:
            problems.append(f"driver memory grows {heavy / light:.2f} times")
    for problem in problems:
        print("missed:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
