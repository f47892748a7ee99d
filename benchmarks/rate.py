"""How well syllable nuclei count syllables: against the syllables of the known text, per corpus.

    python benchmarks/rate.py                          the corpora beside the checkout, else a generated twin
    python benchmarks/rate.py --manifest FOLDER/manifest.jsonl --limit 200

Rate from nuclei is the fallback where no word times are known. The truth is the text's syllables as spoken in full
(``datagen.speech.text``), over the same seconds of speech; people swallow some, so a count a little low is no error.

Exits 1 when the median error of a clip's count exceeds 20 %, or the correlation of the rates over all clips is
below 0.6.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from _labelled import manifest

from datagen.models.f0 import F0Tracker
from datagen.speech import prosody, text


def main() -> int:
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--twin", action="store_true", help="use a generated corpus even when real ones are there")
    parser.add_argument("--limit", type=int, default=300, help="clips, evenly spread")
    options = parser.parse_args()
    tracker = F0Tracker()
    found: dict[str, list[tuple[int, int, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        path = manifest(options.manifest, options.twin, Path(scratch), (("twin", False),))
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [row for row in rows if row.get("transcript") and not row.get("truncated")]
        for row in rows[:: max(1, len(rows) // options.limit)]:
            language = text.language(row["language"])
            truth = text.syllables(text.words(row["transcript"]), language)
            samples, _ = soundfile.read(path.parent / row["file"], dtype="float32")
            measured = prosody.measure(samples, prosody.track_f0(samples, tracker))
            if truth and not measured.f0_reason and not measured.pauses_reason:
                count = prosody.syllable_nuclei(measured.frames, measured.voiced)
                found.setdefault(row["corpus"], []).append((count, truth, measured.speech.seconds))
    print("| corpus | clips | nuclei / syllables | median error % | correlation of rates |\n|" + " --- |" * 5)
    every: list[tuple[int, int, float]] = []
    for corpus, counts in found.items():
        if len(counts) >= 10:
            _print(corpus, counts)
            every += counts
    error, correlation = _print("all", every)
    good = error <= 20 and correlation >= 0.6
    print("\ngoals met" if good else "\nMISSED")
    return 0 if good else 1


def _print(name: str, counts: list[tuple[int, int, float]]) -> tuple[float, float]:
    nuclei, truth, seconds = np.array(counts).T
    error = float(100 * np.median(np.abs(nuclei - truth) / truth))
    correlation = float(np.corrcoef(nuclei / seconds, truth / seconds)[0, 1])
    print(f"| {name} | {len(truth)} | {nuclei.sum() / truth.sum():.2f} | {error:.0f} | {correlation:.2f} |")
    return error, correlation


if __name__ == "__main__":
    sys.exit(main())
