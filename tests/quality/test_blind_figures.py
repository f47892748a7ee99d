"""Figures of blind over a run: against chance, against the commonest label, and fast enough for a million samples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datagen import tables
from datagen.quality import blind_figures

SCHEMA = pa.schema([
    *(tables.SAMPLES.field(name) for name in blind_figures.COLUMNS if name in tables.SAMPLES.names),
    *tables.BLIND,
])  # fmt: skip


def sample(label, right, words, *, field="emotion", question_type="emotion", options=7, task="classification", **more):
    contribution = "weak" if max(right, words or 0) > 0.5 else "strong" if words is not None else None
    return {
        "task": task,
        "mode": "implicit",
        "question_type": question_type,
        "answer_label": label,
        "evidence": [{"field": field, "value": label, "quote": None}],
        "blind_question_accuracy": right,
        "blind_text_accuracy": words,
        "blind_chance": round(1 / options, 4),
        "audio_contribution": contribution,
        **more,
    }


OPEN = {"task": "caption", "mode": "explicit", "evidence": [], "blind_reason": "open question"}


def test_accuracies_stand_beside_chance_and_the_commonest_label():
    rows = [
        *[sample("angry", 0.0, 1.0)] * 3,
        sample("sad", 0.2, 0.0),
        sample("high", 0.4, 0.2, field="pitch_level", question_type="voice", options=3, task="qa"),
        sample("low", 1.0, None, field="rate_level", question_type="voice", options=3, task="qa"),
        OPEN,
    ]
    found = blind_figures.summary(tables.from_rows(rows, SCHEMA))
    assert (found["samples"], found["weak"], found["strong"], found["unknown"]) == (6, 4, 2, 0)
    emotion, voice = found["question_types"]["emotion"], found["question_types"]["voice"]
    assert (emotion["question_accuracy"], emotion["text_accuracy"]) == (0.05, 0.75)
    assert (emotion["chance"], emotion["majority"]) == (0.1429, 0.75)
    assert (voice["question_accuracy"], voice["text_accuracy"], voice["samples"]) == (0.7, 0.2, 2)
    assert (voice["chance"], voice["majority"], voice["strong_share"]) == (0.3333, 1.0, 0.5)
    assert found["labels"]["angry"]["text_accuracy"] == 1.0
    assert found["reasons"] == {"open question": 1} and found["tasks"]["caption"]["samples"] == 0
    # Each question by the commonest label of its own field: 3 of 4 emotions, and the only pitch.
    assert found["majority"] == 0.8


def test_what_the_evidence_recovers_stands_beside_what_the_words_do():
    rows = [
        sample("sad", 0.0, 0.4, task="reasoning", evidence_accuracy=0.8),
        sample("sad", 0.0, 0.2, task="reasoning", evidence_accuracy=0.6),
        sample("sad", 0.0, 1.0),
    ]
    found = blind_figures.summary(tables.from_rows(rows, SCHEMA))
    assert (found["evidence_accuracy"], found["evidence_text_accuracy"]) == (0.7, 0.3)


def test_of_nothing_there_are_no_figures():
    found = blind_figures.summary(tables.from_rows([], SCHEMA))
    assert found["samples"] == 0 and found["chance"] is None and found["strong_share"] is None
    assert blind_figures.summary(tables.from_rows([OPEN] * 3, SCHEMA))["majority"] is None


def test_chunks_and_their_order_change_nothing(count=200_000):
    dice = np.random.default_rng(1)
    rows = [sample(label, 0.2, 0.4) for label in ("angry", "sad", "happy", "neutral")] + [OPEN]
    table = tables.from_rows(rows, SCHEMA).take(pa.array(dice.integers(0, len(rows), count)))
    whole = blind_figures.summary(table)
    parts = [table.slice(at, 30_001) for at in range(0, count, 30_001)]
    assert blind_figures.summary(pa.concat_tables(parts[::-1])) == whole
    assert sum(each["samples"] for each in whole["labels"].values()) == whole["samples"] < count
