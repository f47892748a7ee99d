"""Which labelled speech a benchmark measures: what was asked for, else the corpora beside the checkout, else a twin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "corpora" / "devset" / "manifest.jsonl"
EMOTIONS = ("neutral", "sad", "calm", "happy", "angry", "fearful")


def manifest(asked: Path | None, generate: bool, scratch: Path, corpora: Sequence[tuple[str, bool]]) -> Path:
    """Manifest of JSON lines; says on the terminal what it is of.

    Args:
        corpora: of the twin: name, and whether all its clips are brought to one level.
    """
    if asked is not None or (SHARED.exists() and not generate):
        found = asked or SHARED
        print(f"measured on {found}\n")
        return found
    why = "as asked" if generate else f"{SHARED.parent} is not there"
    print(f"measured on generated speech, which proves less ({why})\n")
    return _twin(scratch, corpora)


def _twin(folder: Path, corpora: Sequence[tuple[str, bool]]) -> Path:
    from datagen.testing.speech import corpus

    rows = []
    for name, levelled in corpora:
        for row, _ in corpus(folder / name, name=name, emotions=EMOTIONS, sentences=2, level_normalised=levelled):
            rows.append({**row, "file": f"{name}/{row['file_name']}", "speaker": f"{name}/{row['speaker']}"})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
