"""How much slower ingest is than the barest loop that does the same: decode, mix, resample, encode, write Parquet.

    python benchmarks/ingest.py [--clips 240] [--processes 2] [--rounds 5]

Two sets of files, made on the spot: 48 kHz stereo WAV and 16 kHz mono FLAC. The peer is a loop over soundfile, soxr
(the same quality) and pyarrow, with the same number of processes; both write Parquet with the audio in it. They take
turns, round by round, in the same pools of processes, and the better half of the rounds counts, so that a noisy
machine hurts both alike. Exits 1 when ingest falls under 0.7 of the peer, or lets an alias through.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr

from datagen.readers import scan
from datagen.speech.audio import prepare
from datagen.stages.ingest import Ingest, IngestConfig

GOAL = 0.7
ALIAS_DB = -80.0
SECONDS = 3.0
SHARD = 60
KINDS = {"wav48": (48_000, 2, "wav"), "flac16": (16_000, 1, "flac")}


def speech_like(number: int, rate: int, channels: int) -> np.ndarray:
    """Noise with the slope of speech under syllable-like loudness: FLAC compresses it about as it does speech."""
    rng = np.random.default_rng([7, number])
    size = int(SECONDS * rate)
    spectrum = np.fft.rfft(rng.standard_normal((size, channels)), axis=0)
    hertz = np.fft.rfftfreq(size, 1 / rate)[:, None]
    noise = np.fft.irfft(spectrum / (1 + (hertz / 300) ** 2), size, axis=0)
    time_s = np.arange(size)[:, None] / rate
    noise *= 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s + number)
    noise *= 0.3 / np.abs(noise).max()
    return np.asarray(noise, np.float32)


def make(folder: Path, kind: str, clips: int) -> None:
    rate, channels, suffix = KINDS[kind]
    folder.mkdir()
    for number in range(clips):
        soundfile.write(folder / f"{number:05}.{suffix}", speech_like(number, rate, channels), rate, subtype="PCM_16")


# --- The peer: nothing but what must be done ----------------------------------------------------------------


def bare(job: tuple[str, int, int, str]) -> None:
    folder, first, end, out = job
    rows = []
    for path in sorted(Path(folder).iterdir())[first:end]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = (
            samples[:, 0]
            if samples.shape[1] == 1
            else samples @ np.full(samples.shape[1], 1 / samples.shape[1], np.float32)
        )
        if rate != 16_000:
            mono = soxr.resample(mono, rate, 16_000, quality="HQ")
        encoded = io.BytesIO()
        soundfile.write(encoded, mono, 16_000, format="FLAC", subtype="PCM_16")
        rows.append({"path": path.name, "duration": len(mono) / 16_000, "audio": encoded.getvalue()})
    schema = pa.schema([("path", pa.string()), ("duration", pa.float64()), ("audio", pa.large_binary())])
    write(pa.Table.from_pylist(rows, schema=schema), out)


# --- Ours -----------------------------------------------------------------------------------------------------

_stages: dict[str, tuple[Ingest, pa.Table]] = {}


def ours(job: tuple[str, int, int, str]) -> None:
    folder, first, end, out = job
    if folder not in _stages:  # once per worker, as the engine does
        config = IngestConfig(input=folder)
        _stages[folder] = Ingest(config), scan(config).sources
    stage, sources = _stages[folder]
    shard = sources.slice(first, end - first)
    made = []
    for start in range(0, len(shard), stage.batch_rows):
        output = stage.process(shard.slice(start, stage.batch_rows))
        if output.rejects:
            raise RuntimeError(f"{output.rejects[0]}")
        made.append(output.created["recordings"])
    write(pa.concat_tables(made), out)


def write(table: pa.Table, out: str) -> None:
    """Audio is compressed already; no other settings differ from pyarrow's own."""
    pq.write_table(table, out, compression={name: "none" if name == "audio" else "zstd" for name in table.column_names},
                   use_dictionary=[name for name in table.column_names if name != "audio"])  # fmt: skip


def turn(pool: Any, run: Callable[[tuple[str, int, int, str]], None], folder: Path, clips: int, out: Path) -> float:
    jobs = [(str(folder), first, min(first + SHARD, clips), str(out / f"{run.__name__}-{first}.parquet"))
            for first in range(0, clips, SHARD)]  # fmt: skip
    started = time.perf_counter()
    pool.map(run, jobs, chunksize=1)
    return time.perf_counter() - started


def alias_db() -> float:
    """Level that a 10 kHz tone at 48 kHz leaves at 16 kHz, in dB relative to the tone."""
    tone = np.sin(2 * np.pi * 10_000 * np.arange(96_000) / 48_000).astype(np.float32) * 0.5
    out = io.BytesIO()
    soundfile.write(out, tone, 48_000, format="WAV", subtype="FLOAT")
    left = prepare(out.getvalue()).pcm[4000:-4000, 0] / 32768
    return float(10 * np.log10((np.mean(left**2) + 1e-20) / np.mean(tone**2)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        hours = options.clips * SECONDS / 3600
        with multiprocessing.get_context("fork").Pool(options.processes) as pool:
            for kind in KINDS:
                make(folder / kind, kind, options.clips)
                times: dict[str, list[float]] = {"bare": [], "ours": []}
                for run in (bare, ours):  # page cache, imports, scan
                    turn(pool, run, folder / kind, options.clips, folder)
                for number in range(options.rounds):
                    for run in (bare, ours) if number % 2 else (ours, bare):
                        times[run.__name__].append(turn(pool, run, folder / kind, options.clips, folder))
                best = {
                    name: statistics.mean(sorted(taken)[: max(1, len(taken) // 2)]) for name, taken in times.items()
                }
                ratio = best["bare"] / best["ours"]
                for name, taken in times.items():
                    every = " ".join(f"{value:.3f}" for value in taken)
                    print(f"{kind} {name:4}  {hours / best[name]:.3f} h/s  seconds: {every}")
                size = f"{options.clips} clips of {SECONDS:g} s, {options.processes} processes"
                print(f"{kind} ratio {ratio:.2f} (goal {GOAL}), {size}")
                if ratio < GOAL:
                    missed.append(f"{kind}: {ratio:.2f} < {GOAL}")
    alias = alias_db()
    print(f"alias of 10 kHz: {alias:.1f} dB (goal <= {ALIAS_DB:.0f})")
    if alias > ALIAS_DB:
        missed.append(f"alias {alias:.1f} dB")
    for line in missed:
        print(f"MISSED {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
