"""What condensing costs: seconds and memory per million clips, on generated rows, each size in a process of its own.

    python benchmarks/condense.py                       100k and 1M clips (some minutes, 3 GB)
    python benchmarks/condense.py --sizes 10000000      ten million, where there is the memory
    python benchmarks/condense.py --quick               small ones, to see that it runs

The rows are the light columns that ``condense`` reads: texts as often as Zipf's law has it, most of them neutral,
speakers with many and with few clips, 1 % equal files, 3 % copies, 10 % repeated takes, and one speaker who says one
thing in a tenth of a per cent of all clips. Selection has a cap, a limit on the neutral share and a target.

It is counted as well that every group of copies keeps exactly one clip, and that dedup takes no text's second emotion.

Time is the processor's, of all threads, so that other work on the machine is not measured; the clock's is printed too.

Exits 1 when a count is wrong, when a million clips take more than 15 s or 1.5 GB, when the cost grows with an exponent
above 1.2, or when the constants beside the stage foresee less than two thirds of what was measured.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.dedup import ACOUSTIC, CONTENT, SEMANTIC
from datagen.stages.condense import Condense, CondenseConfig, predict
from datagen.testing.batches import batch_for

SECONDS, GIGABYTES, EXPONENT, FORESEEN = 15.0, 1.5, 1.2, 2 / 3
COPIES = pa.array([CONTENT, ACOUSTIC])
EMOTIONS = ("neutral", "angry", "happy", "sad", "fearful", "surprised", "disgusted", "other")
SHARES = (0.74, 0.06, 0.08, 0.06, 0.02, 0.02, 0.01, 0.01)


def generated(clips: int, seed: int = 1) -> pa.Table:
    """The batch that ``condense`` would be given of a corpus of so many clips."""
    rng = np.random.default_rng(seed)
    stage = Condense(CondenseConfig())
    empty = batch_for(stage, [])
    number = np.arange(clips)
    # A tenth of the clips repeat an earlier one: same words, speaker, label and delivery.
    take_of = np.where(rng.random(clips) < 0.1, rng.integers(0, max(clips // 50, 1), clips), number)
    parrot = rng.random(clips) < 0.001
    speaker = np.minimum(rng.zipf(1.3, clips), max(clips // 50, 10))[take_of]
    speaker[parrot] = 1
    text = np.minimum(rng.zipf(1.2, clips), clips)[take_of]
    text[parrot] = 1
    emotion = rng.choice(len(EMOTIONS), clips, p=SHARES)[take_of]
    emotion[parrot] = 0
    copied = np.where(rng.random(clips) < 0.03, rng.integers(0, clips, clips), -1)
    equal = np.where(rng.random(clips) < 0.01, rng.integers(0, clips, clips), number)
    lead = np.unique(copied[copied >= 0])
    group = copied.copy()
    group[lead] = lead
    labelled = rng.random(clips)

    def words(values: np.ndarray, pattern: str, missing: np.ndarray | None = None) -> pa.Array:
        texts = pa.array(np.char.mod(pattern, values))
        return texts if missing is None else pc.if_else(pa.array(missing), None, texts)

    def chosen(names: tuple[str, ...], places: np.ndarray) -> pa.Array:
        return pa.array(names).take(pa.array(places))

    def spread(middle: float, width: float, alike: float = 0.02) -> np.ndarray:
        """A measurement that differs less between takes of one thing."""
        return middle + width * (rng.normal(0, 1, clips)[take_of] + alike * rng.normal(0, 1, clips))

    values: dict[str, pa.Array | np.ndarray] = {
        "clip_id": words(rng.permutation(clips), "c%012d-0-0-2000"),
        "recording_id": words(number // 5, "r%012d"),
        "corpus": chosen(("podcast", "film", "acted"), speaker % 3),
        "speaker": words(speaker, "s%d", rng.random(clips) < 0.1),
        "sex": chosen(("female", "male"), speaker % 2),
        "speech_lang": chosen(("en", "de"), (speaker % 7 == 0).astype(int)),
        "duration": np.exp(spread(1.2, 0.5)),
        "level_dbfs": spread(-25, 4),
        "snr_db": rng.normal(25, 8, clips),
        "audio_hash": words(equal, "%032x"),
        "sound_group": words(group, "c%012d", group < 0),
        "text_key": words(text, "en|some words that are said with number %d"),
        "text_cluster": words(text, "%016x"),
        "emotion": pc.if_else(pa.array(labelled < 0.05), None, chosen(EMOTIONS, emotion)),
        "label_source": chosen(("gold", "pseudo"), (labelled < 0.9).astype(int)),
        "emotion_margin": rng.random(clips),
        "word_coverage": rng.random(clips),
        "word_count": rng.integers(0, 30, clips),
        "arousal_level": chosen(("low", "normal", "high"), np.clip(rng.normal(1, 0.6, clips)[take_of].round(), 0, 2)
                                .astype(int)),
        "f0_median_hz": 150 * np.exp2(spread(0, 5) / 12),
        "f0_range_st": spread(8, 2),
        "rate_syl_s": np.exp(spread(1.5, 0.2)),
    }  # fmt: skip
    for name in ("arousal", "valence", "arousal_pct", "dominance_pct", "f0_range_pct"):
        values[name] = rng.random(clips)
    columns = []
    for field in empty.schema:
        value = values.get(field.name)
        columns.append(pa.nulls(clips, field.type) if value is None else pa.array(value).cast(field.type))
    return pa.Table.from_arrays(columns, schema=empty.schema)


def wrong(batch: pa.Table, written: pa.Table) -> list[str]:
    """What must hold of any condensation, counted."""
    found = []
    # Level by level, each among what the one before left: of every group exactly one clip does not go at that level.
    stays = np.ones(len(batch), bool)
    for name, level in (("audio_hash", CONTENT), ("sound_group", ACOUSTIC)):
        known = stays & batch[name].is_valid().to_numpy()
        stays &= ~pc.equal(pc.fill_null(written["drop_reason"], ""), level).to_numpy()
        groups = pa.table({"group": batch[name].filter(pa.array(known)), "stays": stays[known]})
        left = groups.group_by("group").aggregate([("stays", "sum")])["stays_sum"].to_numpy()
        if (left != 1).any():
            found.append(f"{(left > 1).sum()} groups by {name} keep more than one clip, {(left < 1).sum()} none")
    # A copy may bear any label, so ways of saying a text are counted among what is no copy.
    said = pa.table({"text": batch["text_cluster"], "emotion": batch["emotion"], "why": written["drop_reason"]})
    said = said.filter(pc.and_(pc.is_valid(said["emotion"]), pc.invert(pc.is_in(said["why"], COPIES))))
    repeat = pc.equal(pc.fill_null(said["why"], ""), SEMANTIC)
    ways = [one.group_by(["text", "emotion"]).aggregate([]).num_rows for one in (said, said.filter(pc.invert(repeat)))]
    return found + ([f"dedup took {ways[0] - ways[1]} ways of saying a text"] if ways[0] != ways[1] else [])


def condense(path: Path) -> dict[str, float]:
    """One size, in this process: seconds, bytes above what the process had before it held the rows."""
    import resource
    import time

    stage = Condense(CondenseConfig(select={"max_per_stratum": 20_000, "max_neutral_share": 0.4}), seed=1)
    stage.process(generated(100))  # what is imported on first use is not paid for by clips
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    batch = pa.ipc.open_stream(path.read_bytes()).read_all()
    started = time.perf_counter()
    cpu = time.process_time()
    output = stage.process(batch)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert output.columns is not None
    problems = wrong(batch, output.columns)
    for problem in problems:
        print(problem, file=sys.stderr)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "bytes": peak - before,
        "batch": batch.nbytes,
        "kept": output.columns["drop_reason"].null_count,
        "wrong": len(problems),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the rows of the process for one size
    options = parser.parse_args()
    if options.one:
        print(json.dumps(condense(options.one)))
        return 0
    problems: list[str] = []
    found: list[tuple[int, float]] = []
    print(
        f"{'clips':>10} {'clock s':>8} {'cpu s':>8} {'foreseen':>9} {'MB':>8} {'foreseen':>9} {'rows':>8} {'kept':>9}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for size in [2_000, 10_000] if options.quick else sorted(options.sizes):
            path = Path(scratch) / "rows.arrow"
            batch = generated(size)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_table(batch, max_chunksize=100_000)  # shards
            del batch
            one = subprocess.run([sys.executable, __file__, "--one", str(path)], stdout=subprocess.PIPE, check=True)
            told = json.loads(one.stdout.splitlines()[-1])
            seconds, gigabytes = predict(size)
            memory = f"{told['bytes'] / 1e6:>8.0f} {gigabytes * 1e3:>9.0f} {told['batch'] / 1e6:>8.0f}"
            clock = f"{told['seconds']:>8.1f} {told['cpu']:>8.1f} {seconds:>9.1f}"
            print(f"{size:>10,} {clock} {memory} {told['kept']:>9,}", flush=True)
            found.append((size, told["cpu"]))
            if told["wrong"]:
                problems.append(f"{told['wrong']} counts of {size:,} clips are wrong")
            if options.quick:
                continue
            if told["cpu"] > SECONDS * size / 1e6 or told["bytes"] > GIGABYTES * 1e9 * size / 1e6:
                problems.append(f"{size:,} clips took {told['cpu']:.0f} s and {told['bytes'] / 1e9:.1f} GB")
            if size >= 1_000_000 and min(seconds / told["cpu"], gigabytes * 1e9 / told["bytes"]) < FORESEEN:
                problems.append(f"{size:,} clips cost more than the constants beside the stage foresee")
    if len(found) > 1 and not options.quick:
        (small, fast), (large, slow) = found[0], found[-1]
        exponent = math.log(slow / fast) / math.log(large / small)
        print(f"exponent {exponent:.2f} (goal <= {EXPONENT})")
        if exponent > EXPONENT:
            problems.append(f"cost grows with exponent {exponent:.2f}")
    for problem in problems:
        print("missed:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
