"""What looking at samples costs: the checks of ``write`` and ``verify``, and the stage ``quality``, in seconds and
memory per million samples, on generated rows, in a process of its own.

    python benchmarks/quality.py                      a million samples (some minutes, 7 GB)
    python benchmarks/quality.py --samples 100000     fewer

Ten samples a clip: questions of which one in five is asked once, texts of a hundred words, scores of ``blind`` and
``judge``, nine emotion scores per clip. Time is the processor's, of all threads.

Exits 1 when a million samples take more than the stage foresees (``SECONDS_PER_MILLION``, ``BYTES_PER_SAMPLE``).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen import tables
from datagen.quality import checks, facts, question_likeness
from datagen.stages import quality
from datagen.stages.write import Write
from datagen.testing.records import clip_table, joined

EMOTIONS = tables.EMOTIONS
WORDS = np.array([f"word{number}" for number in range(2_000)])


def generated(samples: int, seed: int = 1) -> pa.Table:
    """The batch that ``quality`` would be given."""
    rng = np.random.default_rng(seed)
    clip = np.arange(samples) // 10
    clips = int(clip[-1]) + 1
    kinds = {field.name: field.type for schema in vars(tables).values() if isinstance(schema, pa.Schema)
             for field in schema}  # fmt: skip

    def pick(values: list[str | None], size: int) -> pa.Array:
        return pa.array(values, pa.string()).take(pa.array(rng.integers(0, len(values), size)))

    def of_clip(values: pa.Array) -> pa.Array:
        return values.take(pa.array(clip))

    texts = [" ".join(rng.choice(WORDS, 100)) + "." for _ in range(5_000)]
    patterns = [f"When the speaker says {' '.join(rng.choice(WORDS, 4))}, what is heard?" for _ in range(200_000)]
    emotion = of_clip(pick([*EMOTIONS, None], clips))
    scores = pa.ListArray.from_arrays(
        pa.array(np.arange(0, 9 * clips + 1, 9, dtype=np.int32)),
        pa.StructArray.from_arrays(
            [pick([*EMOTIONS], 9 * clips), pa.array(rng.random(9 * clips))], names=["label", "score"]
        ),
    )
    options = pa.array([list(rng.permutation(EMOTIONS)[:4]) for _ in range(1_000)], pa.list_(pa.string()))
    evidence = pa.array([[{"field": "emotion", "value": name, "quote": None}] * 3 for name in EMOTIONS])
    made = {
        "sample_id": pa.array([f"{number // 10:010d}:qa:implicit:{number % 10}" for number in range(samples)]),
        "clip_id": of_clip(pa.array([f"{number:010d}" for number in range(clips)])),
        "recording_id": of_clip(pa.array([f"r{number // 5}" for number in range(clips)])),
        "task": pick(list(tables.TASKS), samples),
        "mode": pick(list(tables.MODES), samples),
        "question_type": pick(list(tables.QUESTION_TYPES), samples),
        "question": pick(patterns, samples),
        "reasoning": pick(texts, samples),
        "answer": pick(texts, samples),
        "response": pick([*texts, None], samples),
        "options": options.take(pa.array(rng.integers(0, 1_000, samples))),
        "evidence": evidence.take(pa.array(rng.integers(0, len(EMOTIONS), samples))).cast(kinds["evidence"]),
        "answer_label": emotion,
        "emotion": emotion,
        "emotion_scores": scores.take(pa.array(clip)),
        "route": pick(list(tables.ROUTES), samples),
        "checks_run": pa.array([["leak", "evidence", "schema"]] * samples),
        "audio_contribution": pick(["weak", "strong", None], samples),
    }
    few = {"corpus": 12, "speaker": 5_000, "sex": 2, "split": 3, "cue_relation": 4, "contrast_group_id": 20_000,
           "label_source": 2, "speech_lang": 3, "text_lang": 3, "text_sentiment": 3,
           "emotion_predicted": 8}  # fmt: skip
    names = {"sex": ["female", "male"], "split": ["train", "validation", "test"], "label_source": ["gold", "pseudo"],
             "text_sentiment": list(tables.SENTIMENTS), "emotion_predicted": list(EMOTIONS)}  # fmt: skip
    for name, size in few.items():
        made[name] = of_clip(pick(names.get(name, [f"{name}{number}" for number in range(size)]), clips))
    for name in (*quality.Quality.reads, *quality.Quality.optional_reads):
        kind = kinds[name]
        if name in made:
            continue
        if pa.types.is_floating(kind):
            made[name] = pa.array(np.round(rng.random(samples) * (4 if name.startswith("judge") else 1), 3))
        elif pa.types.is_boolean(kind):
            made[name] = pa.array(rng.random(samples) < 0.5)
        elif pa.types.is_integer(kind):
            made[name] = pa.array(rng.integers(1, 3, samples), kind)
        elif name.endswith("_level"):
            made[name] = of_clip(pick(list(tables.LEVELS), clips))
        else:
            made[name] = pa.nulls(samples, kind)
    columns = ["sample_id", *quality.Quality.reads, *quality.Quality.optional_reads]
    return pa.table({name: made[name].cast(kinds[name]) for name in dict.fromkeys(columns)})


def measure(file: str) -> tuple[float, float, float]:
    """Processor and clock seconds of ``process``, and the highest memory of this process in bytes, with the rows."""
    batch = pq.read_table(file)
    stage = quality.Quality()
    clock, spent = time.perf_counter(), time.process_time()
    out = stage.process(batch)
    seconds = time.process_time() - spent, time.perf_counter() - clock
    assert out.artifact is not None and out.artifact["samples"] == batch.num_rows
    return *seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def checked_a_second(clips: int) -> float:
    """Samples of the template writer that all checks see in a second of processor time."""
    table = clip_table(clips, seed=3)
    writer = Write(seed=0)
    writer.setup()
    there = [name for name in (*writer.reads, *writer.optional_reads) if name in table.column_names]
    made = writer.process(table.select(["clip_id", *there])).created["samples"]
    rows = [(row, facts.from_row(row)) for row in joined(made, table).to_pylist()]
    spent = time.process_time()
    refused = sum(bool(checks.check(row, record)) for row, record in rows)
    assert not refused
    return len(rows) / (time.process_time() - spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--file", help=argparse.SUPPRESS)  # what a process of its own is given
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it runs")
    given = parser.parse_args()
    samples = 20_000 if given.quick else given.samples
    if given.file is None:
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/samples.parquet"
            pq.write_table(generated(samples), file, compression="zstd")
            command = [sys.executable, __file__, "--samples", str(samples), "--file", file]
            return subprocess.run(command, check=False).returncode
    spent, clock, memory = measure(given.file)
    print(f"checks: {checked_a_second(20 if given.quick else 100):,.0f} samples a second")
    asked = pq.read_table(given.file, columns=["question", "clip_id"])
    start, different = time.process_time(), len(asked["question"].unique())
    question_likeness.repeats(asked["question"], asked["clip_id"])
    print(f"like questions: {time.process_time() - start:.1f} s for {different:,} different ones")
    print(f"{samples:,} samples: {spent:.1f} s of processor time, {clock:.1f} s by the clock, {memory / 1e9:.2f} GB")
    foreseen = samples * quality.SECONDS_PER_MILLION / 1e6, samples * quality.BYTES_PER_SAMPLE
    print(f"foreseen: {foreseen[0]:.1f} s, {foreseen[1] / 1e9:.2f} GB")
    if samples >= 1_000_000 and (spent > foreseen[0] or memory > foreseen[1]):
        print("MISSED: more than the stage foresees")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
