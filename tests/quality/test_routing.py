from __future__ import annotations

from collections import Counter, defaultdict

import pyarrow as pa
import pytest

from datagen.quality.routing import COLUMNS, route

LABELS = ["angry", "happy", "sad"]


def table(rows):
    names = {"clip_id": "c", "options": None, "answer_label": None, "contrast_group_id": None, "contrast_type": None,
             "contrast_emotions": None, "speaker": None}  # fmt: skip
    types = {"options": pa.list_(pa.string()), "contrast_emotions": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    return pa.Table.from_pylist([{**names, **row} for row in rows], schema=schema)


def corpus(texts=6, speakers=10, kind="same_speaker:emotion"):
    """Each speaker says each text in every emotion; per clip a label task and two others."""
    rows = []
    for text in range(texts):
        for speaker in range(speakers):
            for emotion in LABELS:
                clip = {
                    "clip_id": f"{text}-{speaker}-{emotion}",
                    "contrast_group_id": f"g{text}",
                    "contrast_type": kind,
                    "contrast_emotions": LABELS,
                    "speaker": f"s{speaker}",
                }
                rows.append({**clip, "options": LABELS, "answer_label": emotion})
                rows.append({**clip, "options": ["low", "normal", "high"], "answer_label": "high"})
                rows.append(clip)
    return rows


def test_sft_and_rl_share_no_clip_and_both_are_there():
    rows = corpus()
    routes, reasons = route(table(rows), 0.5, seed=0)
    by_route = defaultdict(set)
    for row, name in zip(rows, routes, strict=True):
        by_route[name].add(row["clip_id"])
    assert by_route["sft"] and by_route["rl"] and not by_route["sft"] & by_route["rl"]
    assert by_route["drop"] == by_route["rl"]  # nothing is dropped but beside RL, and with that reason
    assert all(("serves RL" in reason) == (name == "drop") for name, reason in zip(routes, reasons, strict=True))
    assert 0.3 < len(by_route["rl"]) / len({row["clip_id"] for row in rows}) < 0.7


def test_only_label_tasks_go_to_rl():
    rows = corpus()
    routes, _ = route(table(rows), 1.0, seed=0)
    assert {name for row, name in zip(rows, routes, strict=True) if row.get("answer_label") in LABELS} == {"rl"}
    assert {name for row, name in zip(rows, routes, strict=True) if row.get("answer_label") not in LABELS} == {"drop"}


def test_every_label_of_a_contrast_unit_meets_in_rl():
    rows = corpus()
    routes, _ = route(table(rows), 0.5, seed=3)
    met = defaultdict(set)
    for row, name in zip(rows, routes, strict=True):
        if name == "rl":
            met[row["contrast_group_id"], row["speaker"]].add(row["answer_label"])
    assert met and all(labels == set(LABELS) for labels in met.values())


def test_contrast_between_speakers_keeps_the_whole_group_together():
    rows = corpus(kind="different_speakers:emotion")
    routes, _ = route(table(rows), 0.5, seed=0)
    sides = defaultdict(set)
    for row, name in zip(rows, routes, strict=True):
        sides[row["contrast_group_id"]].add(name == "sft")
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize(
    "change",
    [
        {"contrast_group_id": None},
        {"contrast_emotions": ["angry"]},
        {"contrast_emotions": ["angry", "other"]},
        {"contrast_emotions": None},
    ],
)
def test_without_two_labels_for_one_text_all_is_sft(change):
    routes, _ = route(table([{**row, **change} for row in corpus(2, 2)]), 1.0, seed=0)
    assert set(routes) == {"sft"}


def test_a_contrast_clip_without_a_label_task_stays_in_sft():
    rows = [row for row in corpus(2, 2) if row.get("answer_label") not in LABELS]
    assert Counter(route(table(rows), 1.0, seed=0)[0]) == {"sft": len(rows)}


def test_order_and_seed():
    rows = corpus()
    there, _ = route(table(rows), 0.5, seed=1)
    back, _ = route(table(rows[::-1]), 0.5, seed=1)
    assert there == back[::-1]
    assert there != route(table(rows), 0.5, seed=2)[0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_the_share_are_exact(share):
    routes, _ = route(table(corpus()), share, seed=0)
    assert ("rl" in routes) is (share == 1.0) and ("sft" in routes) is (share == 0.0)
