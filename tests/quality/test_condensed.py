"""The figures of a condensation against numbers worked out by hand, and what they must not depend on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import tables
from datagen.quality import condensed, removed_pairs
from datagen.quality.distributions import bias_corrected_v, codes

CLIP = {
    "clip_id": pa.string(), "duration": pa.float64(), "corpus": pa.string(), "speaker": pa.string(),
    "sex": pa.string(), "speech_lang": pa.string(), "emotion": pa.string(), "arousal": pa.float64(),
    "valence": pa.float64(), "text_cluster": pa.string(), "text_key": pa.string(),
}  # fmt: skip


def clip(number: int, **values: Any) -> dict[str, Any]:
    return {"clip_id": f"c{number:02}", "duration": 3600.0, "corpus": "x", "speaker": "x/1", "stratum": "s"} | values


#: Six clips of an hour: a copy of one with another label, one that select leaves out, four that stay.
ROWS = [
    clip(0, emotion="neutral", sex="female", text_cluster="hi", text_key="en|hi", richness=0.2, stratum="neutral/f"),
    clip(1, emotion="happy", sex="female", text_cluster="hi", text_key="en|hi", richness=0.6, stratum="happy/f"),
    clip(2, emotion="neutral", sex="male", speaker="x/2", text_cluster="ho", text_key="en|ho", stratum="neutral/m"),
    clip(3, emotion="sad", sex="male", speaker="x/2", text_cluster="ho", stratum="sad/m"),
    clip(4, emotion="neutral", speaker="x/3", drop_reason="select:neutral_share", stratum="neutral/unknown"),
    clip(5, emotion="angry", sex="female", text_cluster="hi", text_key="en|hi", stratum="angry/f",
         drop_reason="duplicate:content", dup_of="c01", dup_why="longer"),
]  # fmt: skip


def split(rows: list[dict[str, Any]]) -> tuple[pa.Table, pa.Table]:
    clips = pa.schema(CLIP)
    return tuple(
        pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
        for schema in (clips, tables.CONDENSE)
    )


def figures(rows: list[dict[str, Any]] = ROWS, **more: Any) -> dict[str, Any]:
    return condensed.figures(*split(rows), **more)


def test_three_states_are_compared():
    found = figures()
    assert [found[state]["clips"] for state in condensed.STATES] == [6, 5, 4]
    assert [found[state]["hours"] for state in condensed.STATES] == [6.0, 5.0, 4.0]
    assert [found[state]["speakers"] for state in condensed.STATES] == [3, 3, 2]
    assert [found[state]["neutral_share"] for state in condensed.STATES] == [0.5, 0.6, 0.5]
    assert [found[state]["texts_in_several_emotions"] for state in condensed.STATES] == [2, 2, 2]
    assert found["dropped"] == {"duplicate:content": 1, "select:neutral_share": 1}
    assert found["dropped_hours"] == {"duplicate:content": 1.0, "select:neutral_share": 1.0}
    assert found["kept_because"] == {"longer": 1}
    assert found["before"]["richness"] == 0.4 and found["after"]["stratum_max_min_ratio"] == 1.0


def test_a_class_that_is_lost_counts_against_the_evenness():
    found = figures()
    # neutral 2, happy 1, sad 1, angry 0: 1.5 bits of the 2 that the four classes there were could hold
    assert found["after"]["emotion_evenness"] == 0.75
    assert found["before"]["emotion_evenness"] == pytest.approx((0.5 + 3 * np.log2(6) / 6) / 2, abs=1e-6)


def test_distributions_name_every_class_and_the_nulls():
    rows = figures()["distributions"]["sex"]
    assert [(row["name"], row["clips"]["before"], row["clips"]["after"]) for row in rows] == [
        ("female", 3, 2), ("male", 2, 2), (None, 1, 0),
    ]  # fmt: skip
    assert "speech_lang" not in figures()["distributions"], "a column without a value is not shown as one"


def test_of_many_strata_the_most_frequent_are_named_and_the_rest_is_added_up():
    most = condensed.MOST_NAMED["stratum"]
    rows = [clip(n, stratum=f"s{n:03}") for n in range(60)] + [clip(99, stratum="s050")]
    shown = figures(rows)["distributions"]["stratum"]
    assert len(shown) == most + 1 and shown[0]["name"] == "s050"
    assert shown[-1]["others"] == 60 - most and shown[-1]["clips"]["before"] == 60 - most
    assert sum(row["clips"]["before"] for row in shown) == 61


def test_pairs_stand_side_by_side_with_their_texts():
    found = figures()
    assert found["copies_with_other_labels"] == 1
    (pair,) = found["examples"]["copies_with_other_labels"]
    assert pair == found["examples"]["removed_because_same"][0]
    assert pair["reason"] == "duplicate:content" and pair["kept_because"] == "longer"
    assert (pair["removed"]["clip_id"], pair["removed"]["emotion"], pair["removed"]["text"]) == ("c05", "angry", "hi")
    assert (pair["kept"]["clip_id"], pair["kept"]["emotion"], pair["kept"]["text"]) == ("c01", "happy", "hi")


def test_a_repeat_with_another_label_is_no_quarrel():
    rows = [clip(0, emotion="sad"), clip(1, emotion="happy", drop_reason="duplicate:semantic", dup_of="c00")]
    assert figures(rows)["copies_with_other_labels"] == 0


def test_of_each_reason_the_first_pairs_are_shown_and_texts_are_cut():
    rows = [clip(0, text_key="en|" + "w" * 5000)]
    rows += [clip(n, drop_reason="duplicate:content", dup_of="c00") for n in range(60, 10, -1)]
    rows += [clip(n, drop_reason="duplicate:semantic", dup_of="c00") for n in range(70, 73)]
    shown = figures(rows)["examples"]["removed_because_same"]
    assert [pair["reason"] for pair in shown] == ["duplicate:content"] * 20 + ["duplicate:semantic"] * 3
    assert shown[0]["removed"]["clip_id"] == "c11" and len(shown[0]["kept"]["text"]) == removed_pairs.LONGEST


def test_histograms_hold_every_measured_clip_once():
    rows = [clip(n, emotion="sad" if n else None, arousal=n / 10, valence=0.5 if n % 2 else None) for n in range(11)]
    found = figures(rows)
    assert sum(cell[-1] for cell in found["arousal"]["cells"]) == 11
    assert sum(cell[-1] for cell in found["plane"]["cells"]) == 5
    assert found["plane"]["axes"] == ["valence", "arousal"] and {c[0] for c in found["plane"]["cells"]} == {10}
    assert [cell[1] for cell in found["arousal"]["cells"]] == [1] + [0] * 10, "no label comes last"
    assert max(cell[0] for cell in found["arousal"]["cells"]) == 19, "1.0 lies in the last bin"
    assert figures(ROWS)["plane"] is None


def test_without_numbers_the_words_for_arousal_are_counted():
    clips, written = split([clip(0), clip(1), clip(2)])
    clips = clips.append_column("arousal_level", pa.array(["low", "high", None]))
    found = condensed.figures(clips, written)["arousal"]
    assert found["bins"] == [["low", "normal", "high"]] and found["cells"] == [[0, 0, 1, 1, 1], [2, 0, 1, 1, 1]]


def test_contrast_groups_are_counted_among_those_that_stay():
    inside = {"contrast_group_id": "g", "contrast_type": "same_speaker:emotion"}
    rows = [clip(0, **inside), clip(1, **inside), clip(2, **inside, drop_reason="select:cap"), clip(3)]
    assert figures(rows)["contrast"] == {
        "groups": 1, "clips": 2, "groups_by_type": {"same_speaker:emotion": 1},
        "clips_by_type": {"same_speaker:emotion": 2},
    }  # fmt: skip


def test_what_changed_since_the_last_selection():
    earlier = [
        clip(0), clip(1), clip(2, drop_reason="select:target"), clip(3, stratum=None), clip(9),
    ]  # fmt: skip
    now = [clip(0), clip(1, drop_reason="select:cap"), clip(2), clip(3), clip(4, drop_reason="gate:snr")]
    clips, written = split(earlier)
    previous = pa.table({"clip_id": clips["clip_id"], **{name: written[name] for name in written.column_names}})
    assert figures(now, previous=previous)["change"] == {
        "kept_before": 3,
        "still_kept": 1,
        "withdrawn": {"select:cap": 1},
        "no_longer_in_input": 1,
        "new_clips": 2,
        "added_of_new": 1,
        "added_of_dropped_before": 1,
    }


def test_what_a_selection_says_of_itself_is_passed_on():
    lack = [{"stratum": f"s{n}", "wanted": 5, "has": n} for n in range(100)]
    found = figures(selection=SimpleNamespace(gates={"snr": 3}, shortfalls=lack, solved={"rounds": 2}))
    assert found["gates"] == {"snr": 3} and found["solved"] == {"rounds": 2}
    assert found["shortfalls"] == lack[: condensed.MOST_SHORTFALLS] and found["shortfalls_in_all"] == 100


def test_what_is_no_length_counts_for_nothing():
    odd = [clip(n, duration=value) for n, value in enumerate([float("inf"), float("-inf"), float("nan"), None, 3600.0])]
    found = figures(odd)
    json.dumps(found, allow_nan=False)
    assert (found["before"]["clips"], found["before"]["hours"]) == (5, 1.0)


def test_no_clips_at_all():
    assert json.dumps(figures([])) and figures([])["before"]["clips"] == 0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_order_of_rows_changes_nothing(data):
    words = st.sampled_from(["a", "b", "ü", None])
    drop = st.sampled_from([None, "duplicate:content", "duplicate:acoustic", "select:cap"])
    count = data.draw(st.integers(1, 12))
    rows = []
    for number in range(count):
        row = {name: data.draw(words) for name in ("emotion", "sex", "speaker", "text_cluster", "stratum")}
        row |= {"duration": data.draw(st.floats(0, 30)), "richness": data.draw(st.floats(0, 1)), "arousal": 0.5}
        row |= {"drop_reason": data.draw(drop)}
        if row["drop_reason"] and "duplicate" in row["drop_reason"]:
            row["dup_of"] = f"c{data.draw(st.integers(0, count - 1)):02}"
        rows.append(clip(number, **row))
    found = json.dumps(figures(rows), sort_keys=True)
    mixed = data.draw(st.permutations(rows))
    assert json.dumps(figures(mixed), sort_keys=True) == found
    clips, written = split(mixed)
    chunks = [pa.concat_tables([t.slice(0, 1), t.slice(1)]) for t in (clips, written)]
    assert json.dumps(condensed.figures(*chunks), sort_keys=True) == found


def test_conservation():
    found = figures()
    assert found["before"]["clips"] == found["after"]["clips"] + sum(found["dropped"].values())
    for name, rows in found["distributions"].items():
        assert sum(row["clips"]["before"] for row in rows) == found["before"]["clips"], name


def test_bias_corrected_v_of_a_known_table():
    # 30, 10 / 10, 30: phi2 = 0.25, less 1/79; each side 2 - 1/79
    assert bias_corrected_v(np.array([[30, 10], [10, 30]])) == pytest.approx(
        ((0.25 - 1 / 79) / (1 - 1 / 79)) ** 0.5, abs=1e-6
    )
    assert bias_corrected_v(np.array([[9, 0], [0, 9]])) == 1.0
    assert bias_corrected_v(np.array([[6, 5], [5, 6]])) == 0.0, "chance is not association"
    assert bias_corrected_v(np.array([[6, 5], [0, 0]])) is None
    assert bias_corrected_v(np.array([[1, 0], [0, 1]])) is None, "two clips tell nothing"


def test_codes_number_words_by_the_alphabet():
    found = codes(pa.chunked_array([["b", None], ["a", "b"]]))
    assert found.code.tolist() == [1, -1, 0, 1] and found.names == ["a", "b"]
    assert codes(pa.chunked_array([], pa.string())).names == []
