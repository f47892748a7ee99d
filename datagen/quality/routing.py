"""Which samples train by imitation (SFT) and which by reward (RL). The offline rule, a pure function on a table.

Where nobody can solve questions blind, the best evidence that a question needs ears is a contrast group: the same
words with another right answer. So label tasks (closed options, an emotion or sentiment as answer) of such groups go
to RL, all else to SFT.

SFT and RL share no clip: a model must not be rewarded on recordings it has memorised. Were every contrast clip given
to RL, a corpus of parallel texts (RAVDESS is nothing else) would leave nothing to imitate, and the reasoning and
responses of its clips would be lost. Therefore a share of the contrast *units* serves RL and the rest serves SFT with
all its tasks. A unit is what must stay together for the contrast to be met in RL: the takes of one text by one
speaker where speakers themselves vary their voice, else the whole group. Of an RL clip only label tasks are used; its
other samples get the route ``drop``, with that reason, and stay in the run's table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from datagen import tables

#: Columns that ``route`` reads.
COLUMNS = ("clip_id", "options", "answer_label", "contrast_group_id", "contrast_type", "contrast_emotions", "speaker")
_LABELS = frozenset({*tables.EMOTIONS, *tables.SENTIMENTS}) - {"other"}


def route(samples: pa.Table, rl_share: float, seed: int) -> tuple[list[str], list[str]]:
    """-> (route, reason) per row.

    Args:
        samples: ``COLUMNS``; all samples of a clip must be in the table.
        rl_share: share of contrast units that serve RL, 0..1.
        seed: which units those are.
    """
    rows = samples.select(list(COLUMNS)).to_pylist()
    is_label = [_label_task(row["options"], row["answer_label"]) for row in rows]
    rl_clips = {
        row["clip_id"] for row, label in zip(rows, is_label, strict=True) if label and _serves_rl(row, rl_share, seed)
    }
    routes, reasons = [], []
    for row, label in zip(rows, is_label, strict=True):
        if row["clip_id"] not in rl_clips:
            routes.append("sft")
            kept = "contrast unit kept for imitation" if _contrasts(row) else "no contrast of labels for this text"
            reasons.append(kept)
        elif label:
            routes.append("rl")
            reasons.append("label task of a contrast group")
        else:
            routes.append("drop")
            reasons.append("its clip serves RL, where only label tasks are used")
    return routes, reasons


def _label_task(options: Sequence[str] | None, label: str | None) -> bool:
    return bool(options) and label in _LABELS and set(options or ()) <= _LABELS


def _contrasts(row: dict[str, Any]) -> bool:
    """At least two labels that can be asked for met in the group."""
    return row["contrast_group_id"] is not None and len(set(row["contrast_emotions"] or ()) & _LABELS) >= 2


def _serves_rl(row: dict[str, Any], share: float, seed: int) -> bool:
    if not _contrasts(row):
        return False
    same_speaker = (row["contrast_type"] or "").startswith("same_speaker") and row["speaker"] is not None
    unit = f"{seed}\x1f{row['contrast_group_id']}\x1f{row['speaker'] if same_speaker else ''}"
    number = int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest(), "big")
    return number < share * 2.0**64
