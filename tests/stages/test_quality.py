"""quality: figures that were worked out by hand, and what becomes of a run that has hardly any columns."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import tables
from datagen.quality import label_figures, run_quality, set_figures, text_figures
from datagen.quality.run_gates import GATES, Gates, evaluate
from datagen.stages.quality import Quality, QualityConfig
from datagen.stages.route import Route
from datagen.stages.write import Write
from datagen.testing.records import clip_table, joined

_TYPES = {
    field.name: field.type
    for schema in (
        tables.CLIPS, tables.TRANSCRIBE, tables.EMOTION, tables.DESCRIBE, tables.AGREEMENT, tables.PROSODY,
        tables.TEXT_EMOTION, tables.CONDENSE, tables.SPLIT, tables.SCENARIO, tables.SAMPLES, tables.VERIFY,
        tables.BLIND, tables.JUDGE, tables.ROUTE,
    )
    for field in schema
}  # fmt: skip
COLUMNS = (*Quality.reads, *Quality.optional_reads)


def batch_of(rows):
    """Samples as the engine hands them over: absent columns are null."""
    base = {"clip_id": "c0", "task": "qa", "mode": "implicit", "question": "What is it?", "evidence": []}
    filled = [{"sample_id": f"s{number}", **base, **row} for number, row in enumerate(rows)]
    return pa.table({name: pa.array([row.get(name) for row in filled], _TYPES[name]) for name in COLUMNS})


def figures(rows, **config):
    return Quality(QualityConfig(**config)).process(batch_of(rows)).artifact


@pytest.fixture(scope="module")
def batch():
    clips = clip_table(60, seed=8, null_rate=0.15)
    writer = Write(seed=0)
    writer.setup()
    there = [name for name in (*writer.reads, *writer.optional_reads) if name in clips.column_names]
    table = joined(writer.process(clips.select(["clip_id", *there])).created["samples"], clips)
    for name in dict.fromkeys((*Route.reads, *Route.optional_reads, *COLUMNS)):
        if name not in table.column_names:
            table = table.append_column(pa.field(name, _TYPES[name]), pa.nulls(table.num_rows, _TYPES[name]))
    routed = Route(seed=1).process(table).columns
    for name in routed.column_names:
        table = table.set_column(table.column_names.index(name), name, routed[name])
    return table.select(list(COLUMNS))


# --- The whole --------------------------------------------------------------------------------------------------


def test_a_template_run_has_figures_and_gates_and_says_what_was_not_measured(batch):
    out = Quality().process(batch)
    found = out.artifact
    assert out.columns.schema == tables.QUALITY and out.columns.num_rows == batch.num_rows and out.dropped is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {each["name"] for each in found["gates"]} == set(GATES) == set(Gates.model_fields)
    assert found["samples"] == batch.num_rows and found["clips"] <= 60
    routes = found["figures"]["mix"]["routes"]
    assert sum(routes.values()) == batch.num_rows and found["samples_used"] == batch.num_rows - routes["drop"]
    by_name = {each["name"]: each for each in found["gates"]}
    assert by_name["sft_rl_clips"]["verdict"] == "pass"
    assert by_name["question_excess"]["verdict"] == "not measured" and "blind" in by_name["question_excess"]["why"]
    assert "judge_score" in found["not_measured"]


def test_nothing_depends_on_the_order_of_rows(batch):
    turned = batch.take(pa.array(np.random.default_rng(0).permutation(batch.num_rows)))
    there, back = (Quality().process(table) for table in (batch, turned))
    assert there.artifact == back.artifact
    repeats = dict(zip(batch["sample_id"].to_pylist(), there.columns[0].to_pylist(), strict=True))
    assert repeats == dict(zip(turned["sample_id"].to_pylist(), back.columns[0].to_pylist(), strict=True))


def test_a_run_without_samples_has_figures_too():
    found = figures([])
    assert found["samples"] == found["clips"] == 0 and not found["failed"]
    assert json.dumps(found, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(sorted(set(Quality.optional_reads)))), st.integers(0, 3))
def test_any_columns_may_be_missing(batch, missing, rows):
    table = batch.slice(0, rows * 50)
    for name in missing:
        place = table.column_names.index(name)
        table = table.set_column(place, table.schema.field(name), pa.nulls(table.num_rows, _TYPES[name]))
    found = Quality().process(table).artifact
    assert json.dumps(found, allow_nan=False)
    for gate in found["gates"]:
        assert (gate["value"] is None) == (gate["verdict"] == "not measured") == (gate["why"] is not None)


def test_questions_asked_too_often_are_dropped_with_a_reason_where_that_is_asked_for():
    rows = [{"clip_id": f"c{number}", "question": "Who speaks?" if number < 4 else "Why?"} for number in range(5)]
    out = Quality(QualityConfig(most_repeats=2)).process(batch_of(rows))
    assert out.columns["question_repeats"].to_pylist() == [3, 3, 3, 3, 0]
    assert out.dropped.to_pylist() == ["question asked too often"] * 4 + [None]
    assert out.artifact["samples"] == 1  # figures are about what stays
    assert Quality().process(batch_of(rows)).artifact["figures"]["question_repeats"] == {
        "share": 0.8, "mean": 2.4, "most": 3,
    }  # fmt: skip


def test_the_rejects_of_the_run_are_counted_by_what_they_are_complaints_about():
    artifact = figures([{}] * 96)
    classes = ["LabelLeak", "UngroundedEvidence", "UnsupportedClaim", "Boilerplate"]
    rejects = [
        {"id": str(number), "table": "samples", "stage": "verify", "error_class": name, "message": "", "attempt": 1}
        for number, name in enumerate(classes)
    ]
    rejects.append({**rejects[0], "stage": "segment", "error_class": "TooShort"})
    found = run_quality.render(artifact, pa.Table.from_pylist(rejects, schema=tables.REJECTS), {})
    assert found["rejects"]["stages"] == {"segment": {"TooShort": 1}, "verify": dict.fromkeys(sorted(classes), 1)}
    assert found["rejects"]["verify"]["leak"] == {"samples": 1, "share": 0.01}
    assert found["rejects"]["verify"]["hallucination"] == {"samples": 2, "share": 0.02}
    assert found["rejects"]["verify"]["truncation"] == {"samples": 0, "share": 0.0}
    assert {**artifact, "rejects": found["rejects"], "writing": None} == found


def test_what_a_language_model_did_not_bring_about_is_counted_though_no_row_tells():
    metrics = {"write_slots": 10.0, "write_first_try": 5.0, "write_retried": 1.0, "write_given_up_Refused": 3.0,
               "write_given_up_DuplicateQuestion": 1.0, "llm_asked": 30.0}  # fmt: skip
    found = run_quality.render(figures([]), tables.REJECTS.empty_table(), metrics)["writing"]
    assert (found["slots"], found["retried_share"], found["given_up_share"]) == (10, 0.1, 0.4)
    assert found["classes"] == {"DuplicateQuestion": 1, "Refused": 3}
    assert found["given_up"]["refusal"] == {"samples": 3, "share": 0.3}
    assert found["given_up"]["truncation"] == {"samples": 0, "share": 0.0}


# --- Gates ------------------------------------------------------------------------------------------------------


def verdict(name, value, **gates):
    path = GATES[name].path.split(".")
    found = value
    for step in reversed(path):
        found = {step: found}
    return next(each for each in evaluate(found, Gates(**gates)) if each["name"] == name)


def test_a_gate_passes_at_its_threshold_and_fails_beyond():
    assert verdict("neutral_share", 0.3)["verdict"] == "pass" and verdict("neutral_share", 0.31)["verdict"] == "fail"
    assert verdict("emotion_entropy", 0.8)["verdict"] == "pass"
    assert verdict("emotion_entropy", 0.79)["verdict"] == "fail"
    assert verdict("emotion_entropy", 0.5, emotion_entropy=0.4)["verdict"] == "pass"


def test_a_gate_without_threshold_only_tells():
    found = verdict("neutral_share", 0.9, neutral_share=None)
    assert (found["verdict"], found["value"], found["threshold"]) == ("told", 0.9, None)
    assert verdict("neutral_share", None)["verdict"] == "not measured"


def test_differences_are_of_the_same_samples():
    """Of two wordless clips the questions are solved by nobody; chance must be theirs, not that of clips with words."""
    worded = {"blind_question_accuracy": 0.2, "blind_text_accuracy": 0.2, "blind_chance": 0.2, "evidence_accuracy": 0.4}
    wordless = {"blind_question_accuracy": 0.5, "blind_chance": 0.5, "evidence_accuracy": 0.0}
    rows = [{"task": "reasoning", "route": "rl", **each} for each in (worded, wordless, wordless)]
    gates = {each["name"]: each["value"] for each in figures(rows)["gates"]}
    assert (gates["question_excess"], gates["rl_text_excess"], gates["evidence_gain"]) == (0.0, 0.0, 0.2)
    alone = {each["name"]: each["verdict"] for each in figures(rows[1:])["gates"]}
    assert (alone["question_excess"], alone["evidence_gain"]) == ("pass", "not measured")


def test_an_unknown_gate_is_refused():
    with pytest.raises(ValueError):
        QualityConfig(gates={"neutral": 0.1})


@pytest.mark.parametrize("name", GATES)
def test_every_gate_can_fail(batch, name):
    """The path of each leads to a figure that some rows fill: no gate is blind by a misspelling."""
    rows = rich_rows()
    found = {each["name"]: each for each in figures(rows)["gates"]}
    assert found[name]["value"] is not None, found[name]["why"]
    strict = -2.0 if GATES[name].rule == "<=" else 1e9
    again = figures(rows, gates={name: strict})
    assert name in again["failed"]


def rich_rows():
    """Two hundred samples of a hundred clips in which everything was measured."""
    rows = []
    for number in range(200):
        clip = number // 2
        emotion = ("angry", "happy", "neutral", "sad")[clip % 4]
        options = ["angry", "happy", "neutral", "sad"]
        rows.append(
            {
                "clip_id": f"c{clip}", "recording_id": f"r{clip}", "corpus": f"x{clip % 2}", "duration": 2.0,
                "speaker": f"s{clip % 9}", "sex": ("female", "male")[clip % 2], "speech_lang": "en", "text_lang": "en",
                "emotion": emotion, "label_source": "gold" if clip % 3 else "pseudo", "emotion_predicted": emotion,
                "emotion_scores": [{"label": emotion, "score": 0.7}], "emotion_margin": 0.5, "gold_agreement": True,
                "affect_agreement": "agree", "valence": clip / 100, "text_sentiment": "positive",
                "text_emotion_score": 0.5, "cue_relation": "neutral_text", "contrast_group_id": f"g{clip % 5}",
                "split": "train" if clip < 90 else "test", "f0_median_hz": 200.0, "pitch_level": "high",
                "task": "reasoning" if number % 2 else "response", "answer_label": emotion, "options": options,
                "evidence": [{"field": "emotion", "value": emotion, "quote": None}], "attempts": 1,
                "reasoning": f"The pitch is high in take {number} of it.",
                "response": f"Take {number}, please go on." + " So." * (number % 5),
                "checks_run": ["leak", "evidence"], "blind_question_accuracy": 0.2, "blind_text_accuracy": 0.4,
                "evidence_accuracy": 0.8, "blind_chance": 0.25, "audio_contribution": "strong",
                "judge_score": 4.0 + number % 2, "judge_votes": 8, "judge_failures": 0,
                "judge_preference": "chosen", "judge_consistent": True,
                "route": "rl" if clip % 2 else "sft",
            }
        )  # fmt: skip
    return rows


# --- Figures by hand --------------------------------------------------------------------------------------------


def test_what_is_dropped_is_in_the_mix_and_in_no_other_figure():
    found = figures([{"route": "drop", "clip_id": "c1", "emotion": "sad"}, {"route": "sft", "emotion": "angry"}])
    assert found["figures"]["mix"]["routes"] == {"drop": 1, "sft": 1}
    assert found["figures"]["balance"]["emotions"] == {"angry": 1}


def test_a_clip_counts_once_however_many_samples_it_has():
    rows = [{"clip_id": "a", "emotion": "neutral"}] * 9 + [{"clip_id": "b", "emotion": "sad"}]
    found = figures(rows)["figures"]["balance"]
    assert found["neutral_share"] == 0.5 and found["entropy"] == 1.0


def test_sharing_between_splits_is_counted_by_speaker_recording_and_group():
    rows = [
        {"clip_id": "a", "speaker": "s1", "recording_id": "r1", "contrast_group_id": "g", "split": "train"},
        {"clip_id": "b", "speaker": "s1", "recording_id": "r2", "contrast_group_id": "g", "split": "train"},
        {"clip_id": "c", "speaker": "s1", "recording_id": "r3", "contrast_group_id": "g", "split": "test"},
        {"clip_id": "d", "speaker": None, "recording_id": "r2", "contrast_group_id": None, "split": "test"},
        {"clip_id": "e", "speaker": None, "recording_id": "r4", "contrast_group_id": None, "split": "train"},
    ]
    artifact = figures(rows)
    found = artifact["figures"]["splits"]
    assert (found["shared_speakers"], found["shared_recordings"], found["shared_contrast_groups"]) == (1, 1, 1)
    assert found["splits"]["train"]["clips"] == 3 and found["splits"]["test"]["clips_of_unknown_speakers"] == 1
    assert {"shared_speakers", "shared_recordings"} <= set(artifact["failed"])
    assert "shared_contrast_groups" not in artifact["failed"]  # told, unless a recipe asks for it
    assert "shared_contrast_groups" in figures(rows, gates={"shared_contrast_groups": 0})["failed"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from(["train", "test", "holdout", None]))))
def test_sharing_as_a_loop_would_count_it(pairs):
    there = {}
    for name, split in pairs:
        if name is not None and split is not None:
            there.setdefault(name, set()).add(split)
    columns = [pa.chunked_array([pa.array([pair[at] for pair in pairs], pa.string())]) for at in (0, 1)]
    expected = sum(len(splits) > 1 for splits in there.values()) if there else None
    assert set_figures.shared(*columns) == expected


def test_words_that_tell_nothing_or_the_wrong_thing():
    relations = ["neutral_text", "conflict", "matched", "nonverbal", None]
    found = figures([{"clip_id": str(n), "cue_relation": each} for n, each in enumerate(relations)])
    assert found["figures"]["contrast"]["voice_tells_share"] == 0.5


def test_one_order_of_options_for_all_voices_of_a_group_is_one_draw():
    """Twelve sentences in six of seven emotions by fifty speakers each, the order of options drawn once a sentence."""
    rng, emotions = np.random.default_rng(2), sorted({*tables.EMOTIONS} - {"other"})
    rows = []
    for group in range(12):
        options = [str(name) for name in rng.permutation(emotions)]
        for number in range(300):
            asked = {"question": f"What is felt: {', '.join(options)}?", "options": options}
            label = emotions[number % (len(emotions) - 1)]
            rows.append(
                {"clip_id": f"{group}-{number}", "contrast_group_id": f"g{group}", "answer_label": label} | asked
            )
    found = figures(rows)
    assert "option_position_p" not in found["failed"] and found["figures"]["option_positions"]["p"] > 0.05
    apart = [{**row, "contrast_group_id": None} for row in rows]
    assert "option_position_p" in figures(apart)["failed"]  # as so many draws they would be a loaded dice
    loaded = [{**row, "options": [row["answer_label"], "other"], "contrast_group_id": None} for row in rows]
    assert "option_position_p" in figures(loaded)["failed"]
    grouped = [
        {**row, "options": [row["answer_label"], *(set(row["options"]) - {row["answer_label"]})]} for row in rows
    ]
    assert "option_position_p" in figures(grouped)["failed"]


def test_leaks_that_nobody_looked_for():
    rows = [{"checks_run": ["leak", "evidence"]}, {"checks_run": ["evidence"]}, {"checks_run": None}]
    found = figures(rows)["figures"]
    assert found["leaks"]["unchecked_share"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["grounding"]["unchecked_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures([{}])["figures"]["leaks"]["unchecked_share"] is None


def test_attempts():
    found = figures([{"attempts": each} for each in (1, 1, 2, 3, None)])["figures"]["grounding"]
    assert (found["attempts"], found["regenerate_rate"]) == (1.75, 0.5)


def test_labels_against_gold():
    rows = [
        {"clip_id": str(number), "label_source": "gold", "gold_agreement": number % 4 != 0, "corpus": "x",
         "emotion_predicted": "sad",
         "emotion_scores": [{"label": "sad", "score": 0.9 if number % 2 else 0.5}, {"label": "angry", "score": 0.1}]}
        for number in range(40)
    ]  # fmt: skip
    rows.append({"clip_id": "p", "label_source": "pseudo", "emotion_margin": 0.25, "affect_agreement": "conflict"})
    found = figures(rows)["figures"]["labels"]
    # Odd ones: sure at 0.9, all right. Even ones: 0.5, half of them right. So (0.1 * 20 + 0 * 20) / 40.
    assert found["gold"]["clips"] == 40 and found["gold"]["precision"] == 0.75
    assert found["gold"]["ece"] == 0.05
    assert (found["gold"]["sure_precision"], found["gold"]["sure_coverage"]) == (1.0, 0.5)
    assert found["gold"]["corpora"]["x"]["clips"] == 40
    assert found["pseudo"]["margin"] == 0.25 and found["pseudo"]["affect_agreement"]["conflict_share"] == 1.0


def test_calibration_error_of_a_model_that_is_as_right_as_it_is_sure_is_nothing():
    sure = np.repeat([0.25, 0.75], 40)
    right = np.concatenate([np.arange(40) % 4 == 0, np.arange(40) % 4 != 0]).astype(float)
    assert label_figures.calibration_error(sure, right) == 0.0
    assert label_figures.calibration_error(sure, 1 - right) == 0.5
    assert label_figures.calibration_error(sure[:29], right[:29]) is None


def test_valence_that_follows_the_words():
    sentiments = ("negative", "neutral", "positive")
    rows = [
        {"clip_id": str(n), "text_sentiment": sentiments[n % 3], "text_emotion_score": 1.0, "valence": (n % 3) / 2,
         "corpus": "x" if n < 33 else "y"}
        for n in range(36)
    ]  # fmt: skip
    found = figures(rows)["figures"]["labels"]["valence_and_text"]
    assert found["r"] == 1.0 and found["corpora"] == {"x": 1.0, "y": None}  # three clips tell nothing


def test_emotion_that_tells_the_sex_fails_its_gate():
    rows = [
        {"clip_id": str(n), "emotion": ("sad", "angry")[n % 2], "sex": ("female", "male")[n % 2]} for n in range(60)
    ]
    artifact = figures(rows)
    assert artifact["figures"]["balance"]["emotion_sex_v"] > 0.95 and "emotion_sex_v" in artifact["failed"]


def test_levels_per_corpus():
    rows = [{"clip_id": str(n), "corpus": "x", "pitch_level": level} for n, level in enumerate(["low", "high", "high"])]
    found = figures(rows)["figures"]["levels"]["corpora"]["x"]
    assert found == {"pitch_level": {"low": 0.3333, "normal": 0.0, "high": 0.6667}}


def test_habits_of_a_writer():
    found = text_figures.habits(["The voice is high.", "The voice is low.", "One hears a laugh."])
    assert found == {
        "texts": 3, "distinct": 3, "distinct_2": 0.7778, "top_opening": "the voice is", "top_opening_share": 0.6667,
    }  # fmt: skip


def test_of_many_texts_the_same_are_looked_at_whatever_their_order(monkeypatch):
    monkeypatch.setattr(text_figures, "DRAWN", 20)
    rows = [{"sample_id": f"id{n}", "answer": f"Number {n} it is."} for n in range(200)]
    found = [text_figures.summary(batch_of(each)) for each in (rows, rows[::-1])]
    assert found[0] == found[1] and found[0]["qa"]["text"]["texts"] == 20


def test_scenarios_are_counted_among_clips_that_were_asked_about():
    group = {"contrast_group_id": "g"}
    rows = [
        {"clip_id": "a", **group, "contrast_question": "How?", "scenario_plausible": 4.0, "text_neutral": 5.0},
        {"clip_id": "b", **group, "scenario_reason": "text_neutral is below 3", "text_neutral": 2.0},
        {"clip_id": "c", **group},
        {"clip_id": "d"},
    ]
    found = figures(rows)["figures"]["scenarios"]
    assert (found["clips"], found["share"], found["plausible"], found["neutral"]) == (1, 0.5, 4.0, 3.5)
    assert found["reasons"] == {"text_neutral is below 3": 1}


def test_languages_that_contradict_each_other():
    rows = [{"clip_id": str(n), "speech_lang": a, "text_lang": b}
            for n, (a, b) in enumerate([("en-GB", "en"), ("fr", "de"), (None, "en")])]  # fmt: skip
    assert figures(rows)["figures"]["languages"]["mismatches"] == 1
