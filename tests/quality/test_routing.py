from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import tables
from datagen.quality import routing
from datagen.quality.routing import COLUMNS, Rule

LABELS = ["angry", "happy", "sad"]
_SCHEMAS = (tables.CLIPS, tables.CONDENSE, tables.SAMPLES, tables.BLIND, tables.JUDGE)
_KNOWN = {field.name: field.type for schema in _SCHEMAS for field in schema}


def table(rows):
    base = {"clip_id": "c", "task": "classification", "mode": "implicit"}
    schema = pa.schema([(name, _KNOWN[name]) for name in COLUMNS])
    return pa.Table.from_pylist([{**base, **row} for row in rows], schema=schema)


def route(samples, share, seed, **rule):
    return routing.route(samples, Rule(rl_share=share, **rule), seed)


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
                rows.append({**clip, "task": "qa", "options": ["low", "normal", "high"], "answer_label": "high"})
                rows.append({**clip, "task": "response"})
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


def test_without_blind_and_judge_routes_are_what_they_were_before_there_were_any():
    """Of the rule as first released, computed by it."""
    found = [
        route(table(corpus(kind=kind) + corpus(2, 2)[:3]), 0.5, seed=5)
        for kind in ("same_speaker:emotion", "different_speakers:emotion")
    ]
    digest = hashlib.blake2b(json.dumps(found).encode(), digest_size=8).hexdigest()
    assert digest == "1342997f1133032b"


# --- With blind scores ----------------------------------------------------------------------------------------


def solved(rows, contribution):
    """As the stage ``blind`` leaves label tasks and everything else."""
    return [
        {**row, "audio_contribution": contribution(row), "blind_text_accuracy": 0.4, "blind_question_accuracy": 0.2}
        if row.get("options")
        else {**row, "blind_reason": "open question"}
        for row in rows
    ]


def lone(rows):
    return [{**row, "contrast_group_id": None, "contrast_type": None, "contrast_emotions": None} for row in rows]


def test_outside_contrast_groups_what_needs_ears_goes_to_rl_and_the_rest_of_its_clip_nowhere():
    rows = solved(lone(corpus(2, 10)), lambda row: "strong" if row["speaker"] < "s5" else "weak")
    routes, reasons = route(table(rows), 1.0, seed=0)
    for row, name, reason in zip(rows, routes, reasons, strict=True):
        if row["speaker"] >= "s5":
            assert (name, reason) == ("sft", "cannot be rewarded, or needs no ears")
        elif row.get("answer_label") in LABELS:
            assert (name, reason) == ("rl", "label task that needs ears")
        else:
            assert (name, reason) == ("drop", "its clip serves RL, where only what can be rewarded is used")


def test_a_share_of_lone_clips_serves_rl():
    rows = solved(lone(corpus()), lambda row: "strong")
    routes, _ = route(table(rows), 0.3, seed=0)
    rl = {row["clip_id"] for row, name in zip(rows, routes, strict=True) if name == "rl"}
    sft = {row["clip_id"] for row, name in zip(rows, routes, strict=True) if name == "sft"}
    assert not rl & sft and 0.2 < len(rl) / len(rl | sft) < 0.4


def test_a_blind_guess_that_is_right_about_one_voice_takes_no_voice_out_of_a_contrast():
    """Who reads the words says "happy" for each voice: it is right about the happy one, and knows nothing."""
    rows = solved(corpus(), lambda row: "weak" if row["answer_label"] == "happy" else "strong")
    routes, _ = route(table(rows), 0.5, seed=3)
    met = defaultdict(set)
    for row, name in zip(rows, routes, strict=True):
        if name == "rl":
            met[row["contrast_group_id"], row["speaker"]].add(row["answer_label"])
    assert met and all(labels == set(LABELS) for labels in met.values())


def test_metadata_may_tell_so_an_explicit_task_counts_by_its_own_contribution():
    rows = [{**row, "mode": "explicit"} for row in solved(corpus(), lambda row: "weak")]
    routes, reasons = route(table(rows), 1.0, seed=0)
    assert set(zip(routes, reasons, strict=True)) == {("drop", "its contrast unit serves RL")}
    rows = [{**row, "mode": "explicit"} for row in solved(corpus(), lambda row: "strong")]
    assert set(route(table(rows), 1.0, seed=0)[0]) == {"rl", "drop"}


def test_a_contrast_unit_is_never_divided_between_sft_and_rl_where_labels_are_asked():
    rows = solved(corpus(kind="different_speakers:emotion"), lambda row: "weak" if row["speaker"] < "s3" else "strong")
    rows = [{**row, "mode": "explicit"} for row in rows]
    routes, _ = route(table(rows), 0.5, seed=0)
    sides = defaultdict(set)
    for row, name in zip(rows, routes, strict=True):
        sides[row["contrast_group_id"]].add(name)
    assert {"rl"} < set().union(*sides.values()) and all(not {"sft", "rl"} <= side for side in sides.values())


def test_responses_go_to_rl_only_with_scored_candidates():
    rows = [{**row, "judge_candidates": [4.0, None, 2.0]} for row in corpus() if row.get("task") == "response"]
    routes, reasons = route(table(rows), 1.0, seed=0)
    assert set(zip(routes, reasons, strict=True)) == {("rl", "response with scored candidates")}
    assert set(route(table(rows), 1.0, seed=0, least_candidates=3)[0]) == {"sft"}
    assert set(route(table(rows), 0.0, seed=0)[0]) == {"sft"}


# --- Gates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        ({"judge_score": 2.9}, "judged below 3"),
        (
            {"judge_score": 4.5, "judge_preference": "rejected"},
            "the judge prefers the reply that is wrong for the voice",
        ),
        ({"judge_score": 3.0, "judge_preference": "tie"}, None),
        ({"judge_score": None, "judge_preference": "chosen"}, None),
    ],
)
def test_gates(judged, reason):
    (found,), (why,) = route(table([{"task": "response", **judged}]), 0.5, seed=0)
    assert (found == "drop") is (reason is not None) and (reason is None or why == reason)


def test_what_a_gate_dropped_makes_no_clip_serve_rl():
    rows = [row for row in corpus(1, 1) if row.get("answer_label") in LABELS]
    rows = [{**row, "judge_score": 1.0} for row in rows] + [{**row, "task": "caption", "options": None} for row in rows]
    routes, _ = route(table(rows), 1.0, seed=0)
    assert routes == ["drop"] * 3 + ["sft"] * 3


# --- Whatever the rows ------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "clip_id": st.sampled_from("abcdef"),
            "task": st.sampled_from(["classification", "qa", "response"]),
            "mode": st.sampled_from(tables.MODES),
            "options": st.sampled_from([None, LABELS, ["low", "high"]]),
            "answer_label": st.sampled_from([None, *LABELS, "high"]),
            "audio_contribution": st.sampled_from([None, "weak", "strong"]),
            "blind_reason": st.sampled_from([None, "open question"]),
            "judge_score": st.sampled_from([None, 2.0, 4.0]),
            "judge_preference": st.sampled_from([None, "rejected", "chosen"]),
            "judge_candidates": st.sampled_from([None, [4.0, 5.0], [None, 3.0]]),
        }
    ),
    max_size=20,
)
CLIP = st.fixed_dictionaries(
    {
        "contrast_group_id": st.sampled_from([None, "g", "h"]),
        "contrast_type": st.sampled_from([None, "same_speaker:emotion", "different_speakers:emotion"]),
        "contrast_emotions": st.sampled_from([None, LABELS, LABELS[:1]]),
        "speaker": st.sampled_from([None, "s", "t"]),
    }
)
CLIPS = st.fixed_dictionaries(dict.fromkeys("abcdef", CLIP))


@settings(max_examples=150, deadline=None)
@given(ROWS, CLIPS, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5))
def test_no_clip_is_in_both_and_neither_order_nor_other_shards_matter(rows, clips, share, seed):
    rows = [{**row, **clips[row["clip_id"]]} for row in rows]
    routes, reasons = route(table(rows), share, seed)
    assert set(routes) <= set(tables.ROUTES) and all(reasons)
    by_clip = defaultdict(set)
    for row, name in zip(rows, routes, strict=True):
        by_clip[row["clip_id"]].add(name)
    assert all(not {"sft", "rl"} <= names for names in by_clip.values())
    assert route(table(rows[::-1]), share, seed) == (routes[::-1], reasons[::-1])
    alone = {}
    for clip in by_clip:
        own = [row for row in rows if row["clip_id"] == clip]
        alone[clip] = iter(route(table(own), share, seed)[0])
    assert [next(alone[row["clip_id"]]) for row in rows] == routes
