"""Which samples train by imitation (SFT), which by reward (RL), and which not at all. Pure functions on a table.

**Gates** come first: what the judge finds poor, and a response that the judge likes less than the one that is wrong for
the voice, is dropped.

**Where nobody solved questions blind**, the best evidence that a question needs ears is a contrast group: the same
words with another right answer. So label tasks (closed options, an emotion or sentiment as answer) of such groups go
to RL, all else to SFT.

**Where they were solved blind**, what needs ears goes to RL whether there is a contrast or not: label tasks with a
strong audio contribution. In a contrast unit the implicit ones go there whatever their own contribution: a blind solver
gives all voices of a text the same answer, so it is right about one of them; were that one taken out, the others would
teach that this text is never said so. (Explicit ones show metadata, which differ from voice to voice and may tell.)

Responses go to RL where the judge has scored several candidates.

SFT and RL share no clip: a model must not be rewarded on recordings it has memorised. Were every clip that could serve
RL given to it, a corpus of parallel texts (RAVDESS is nothing else) would leave nothing to imitate, and the reasoning
and responses of its clips would be lost. Therefore a share of the *units* serves RL and the rest serves SFT with all
its tasks. A unit is what must stay together for a contrast to be met in RL: the takes of one text by one speaker where
speakers themselves vary their voice, else the whole contrast group; outside groups it is the clip. The share is drawn
by a hash of the unit, so that its clips agree in whatever shards they lie. Of what serves RL only what can be rewarded
is used; the rest gets the route ``drop``, with that reason, and stays in the run's table. A clip of such a unit that
nobody asks for a label stays in SFT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datagen import tables

#: Columns that ``route`` reads; of these only ``clip_id`` must be there.
COLUMNS = (
    "clip_id", "task", "mode", "options", "answer_label", "contrast_group_id", "contrast_type", "contrast_emotions",
    "speaker", "blind_question_accuracy", "blind_text_accuracy", "blind_reason", "audio_contribution", "judge_score",
    "judge_preference", "judge_candidates",
)  # fmt: skip
_BLIND = ("audio_contribution", "blind_reason", "blind_text_accuracy", "blind_question_accuracy")
_LABELS = frozenset({*tables.EMOTIONS, *tables.SENTIMENTS}) - {"other"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    rl_share: float = 0.5  #: share of units that serve RL, 0..1
    least_judge: float = 3.0  #: least ``judge_score`` of a sample that was judged, 1..5
    least_candidates: int = 2  #: scored ones that a response needs for RL


def route(samples: pa.Table, rule: Rule, seed: int) -> tuple[list[str], list[str]]:
    """-> (route, reason) per row.

    Args:
        samples: any of ``COLUMNS``; all samples of a clip must be in the table.
        seed: which units serve RL.
    """
    there = [name for name in COLUMNS if name in samples.column_names]
    absent = dict.fromkeys(set(COLUMNS) - set(there))
    rows = [{**absent, **row} for row in samples.select(there).to_pylist()]
    gated = [_gated(row, rule) for row in rows]
    solved = {row["clip_id"] for row in rows if any(row[name] is not None for name in _BLIND)}
    why = [
        None if stopped else _rewarded(row, rule, row["clip_id"] in solved)
        for row, stopped in zip(rows, gated, strict=True)
    ]
    picked = [_picked(row, rule.rl_share, seed) for row in rows]
    serving = {
        row["clip_id"]
        for row, reason, drawn in zip(rows, why, picked, strict=True)
        if drawn and reason and (_contrasts(row) or row["clip_id"] in solved or row["task"] == "response")
    }
    labelled = {row["clip_id"] for row in rows if _label_task(row)}
    routes, reasons = [], []
    for row, stopped, reason, drawn in zip(rows, gated, why, picked, strict=True):
        clip = row["clip_id"]
        if stopped:
            found = ("drop", stopped)
        elif clip in serving:
            beside = "only what can be rewarded is used" if clip in solved else "only label tasks are used"
            found = ("rl", reason) if reason else ("drop", f"its clip serves RL, where {beside}")
        elif clip in solved and drawn and _contrasts(row) and clip in labelled:
            found = ("drop", "its contrast unit serves RL")
        elif _contrasts(row):
            found = ("sft", "contrast unit kept for imitation")
        elif clip in solved:
            found = ("sft", "kept for imitation" if reason else "cannot be rewarded, or needs no ears")
        else:
            found = ("sft", "no contrast of labels for this text")
        routes.append(found[0])
        reasons.append(found[1])
    return routes, reasons


def _gated(row: Row, rule: Rule) -> str | None:
    """Why a sample is not used at all."""
    if row["judge_score"] is not None and row["judge_score"] < rule.least_judge:
        return f"judged below {rule.least_judge:g}"
    if row["judge_preference"] == "rejected":
        return "the judge prefers the reply that is wrong for the voice"
    return None


def _rewarded(row: Row, rule: Rule, solved: bool) -> str | None:
    """Why RL can use a sample, or None. ``solved``: somebody tried to solve the clip's questions blind."""
    if _label_task(row):
        if _contrasts(row) and (not solved or row["mode"] != "explicit"):
            return "label task of a contrast group"
        return "label task that needs ears" if row["audio_contribution"] == "strong" else None
    scored = [score for score in row["judge_candidates"] or () if score is not None]
    if row["task"] == "response" and len(scored) >= rule.least_candidates:
        return "response with scored candidates"
    return None


def _label_task(row: Row) -> bool:
    options: Sequence[str] = row["options"] or ()
    return bool(options) and row["answer_label"] in _LABELS and set(options) <= _LABELS


def _contrasts(row: Row) -> bool:
    """At least two labels that can be asked for met in the group."""
    return row["contrast_group_id"] is not None and len(set(row["contrast_emotions"] or ()) & _LABELS) >= 2


def unit(row: Row) -> str:
    """Name of what must not be divided between SFT and RL."""
    if not _contrasts(row):
        return f"clip\x1f{row['clip_id']}"
    same_speaker = (row["contrast_type"] or "").startswith("same_speaker") and row["speaker"] is not None
    return f"{row['contrast_group_id']}\x1f{row['speaker'] if same_speaker else ''}"


def _picked(row: Row, share: float, seed: int) -> bool:
    number = int.from_bytes(hashlib.blake2b(f"{seed}\x1f{unit(row)}".encode(), digest_size=8).digest(), "big")
    return number < share * 2.0**64
