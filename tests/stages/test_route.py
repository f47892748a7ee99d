"""route as the engine calls it, and what it tells trainers of each row."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datagen import tables
from datagen.quality import trainer_columns
from datagen.stages.route import Route, RouteConfig
from datagen.stages.write import Write
from datagen.testing.records import clip_table, joined

_TYPES = {
    field.name: field.type
    for schema in (
        tables.CLIPS,
        tables.EMOTION,
        tables.AGREEMENT,
        tables.CONDENSE,
        tables.SAMPLES,
        tables.BLIND,
        tables.JUDGE,
    )
    for field in schema
}


@pytest.fixture(scope="module")
def batch():
    clips = clip_table(30, seed=8, null_rate=0.15)
    writer = Write(seed=0)
    writer.setup()
    made = writer.process(clips.select(["clip_id", *(name for name in (*writer.reads, *writer.optional_reads)
                                                     if name in clips.column_names)])).created["samples"]  # fmt: skip
    return with_all(joined(made, clips))


def with_all(table):
    """With nulls for what no stage wrote, as the engine reads it."""
    for name in (*Route.reads, *Route.optional_reads):
        if name not in table.column_names:
            table = table.append_column(pa.field(name, _TYPES[name]), pa.nulls(table.num_rows, _TYPES[name]))
    return table


def rows(*given):
    base = {"sample_id": "s", "clip_id": "c", "task": "classification", "mode": "implicit", "duration": 1.5}
    return with_all(
        pa.table({name: pa.array([{**base, **row}.get(name) for row in given], _TYPES[name])
                  for name in dict.fromkeys([*base, *(key for row in given for key in row)])})
    )  # fmt: skip


def test_every_row_gets_a_route_with_a_reason(batch):
    out = Route(seed=1).process(batch)
    assert out.columns.schema == tables.ROUTE and out.columns.num_rows == batch.num_rows
    assert {*out.columns["route"].to_pylist()} == set(tables.ROUTES)
    for name in ("route_reason", "text_tokens", "audio_seconds"):
        assert out.columns[name].null_count == 0
    assert out.columns["pass_rate"].null_count == batch.num_rows  # nobody tried to solve anything
    assert out.columns["audio_seconds"].equals(batch["duration"])


def test_weights_are_where_labels_are(batch):
    weights = Route(seed=1).process(batch).columns["reward_weight"].to_pylist()
    for row, weight in zip(batch.to_pylist(), weights, strict=True):
        assert (weight is None) == (row["answer_label"] not in {*tables.EMOTIONS, *tables.SENTIMENTS})
        assert weight is None or (weight == 1.0) == (row["label_source"] == "gold")


def test_batches_of_whole_clips_do_not_matter(batch):
    whole = Route(seed=1).process(batch).columns
    ids = batch["clip_id"].to_pylist()
    ends = [at for at in range(1, len(ids)) if ids[at] != ids[at - 1]]
    parts = [Route(seed=1).process(batch.slice(lo, hi - lo)).columns
             for lo, hi in zip([0, *ends], [*ends, len(ids)], strict=True)]  # fmt: skip
    assert pa.concat_tables(parts).equals(whole)


def test_settings_reach_the_rule():
    judged = rows({"task": "response", "judge_score": 3.5})
    assert Route().process(judged).columns["route"].to_pylist() == ["sft"]
    out = Route(RouteConfig(least_judge=4)).process(judged).columns.to_pylist()
    assert (out[0]["route"], out[0]["route_reason"]) == ("drop", "judged below 4")


@pytest.mark.parametrize("bad", [{"rl_share": 1.5}, {"least_judge": 0}, {"least_candidates": 0}, {"share": 1}])
def test_wrong_settings_are_refused(bad):
    with pytest.raises(ValueError):
        RouteConfig(**bad)


def test_an_empty_shard_passes(batch):
    assert Route().process(batch.slice(0, 0)).columns.num_rows == 0


# --- pass_rate ------------------------------------------------------------------------------------------------

SOUND, UNSOUND = {"finding": None}, {"finding": "LabelLeak"}


@pytest.mark.parametrize(
    ("row", "rate"),
    [
        ({"blind_text_accuracy": 0.4}, 0.4),
        ({"blind_text_accuracy": 0.4, "candidates": [SOUND, UNSOUND]}, 0.4),
        ({"candidates": [SOUND, SOUND, UNSOUND, UNSOUND]}, 0.5),
        ({"task": "response", "candidates": [SOUND] * 4, "judge_candidates": [4.0, 5.0, 3.9, None]}, 2 / 3),
        ({"task": "response", "candidates": [SOUND, UNSOUND], "judge_candidates": [4.5, None]}, 0.5),
        ({"task": "response", "candidates": [SOUND, UNSOUND], "judge_candidates": [None, None]}, 0.5),
        ({"task": "response"}, None),
        ({}, None),
    ],
)
def test_pass_rate(row, rate):
    found = trainer_columns.pass_rate(rows({}, row, {}))[1].as_py()
    assert found is None if rate is None else found == pytest.approx(rate, abs=1e-6)


# --- reward_weight --------------------------------------------------------------------------------------------


def weight(margin=None, agreement=None, source="pseudo", label="angry"):
    row = {"answer_label": label, "label_source": source, "emotion_margin": margin, "affect_agreement_score": agreement}
    return trainer_columns.reward_weight(rows(row))[0].as_py()


def test_a_persons_label_counts_fully_and_no_label_not_at_all():
    assert weight(0.1, -1.0, "gold") == 1.0
    assert weight(0.9, 1.0, label=None) is None and weight(0.9, 1.0, label="high") is None


def test_the_weight_of_a_pseudo_label_rises_with_margin_and_agreement_and_is_bounded():
    steps = [at / 10 for at in range(11)]
    by_margin = [weight(at, 0.0) for at in steps]
    by_agreement = [weight(0.5, 2 * at - 1) for at in steps]
    assert by_margin == sorted(set(by_margin)) and by_agreement == sorted(set(by_agreement))
    assert (weight(0.0, -1.0), weight(1.0, 1.0)) == (0.25, 1.0)
    assert (weight(None, None), weight(0.0, 0.0)) == (0.375, 0.375)
    assert weight(7.0, -9.0) == weight(1.0, -1.0) == 0.5
    assert weight(None, 0.0, "requested") == 0.375  # nobody has heard whether the synthesiser did as asked


# --- text_tokens ----------------------------------------------------------------------------------------------


def test_tokens_are_bytes_of_what_is_shown_and_answered():
    row = {"question": "é" * 4, "answer": "abc", "rejected_response": "x" * 100, "options": ["angry"]}
    found = trainer_columns.text_tokens(rows(row, {}))
    assert found.to_pylist() == [3, 0]  # eight bytes and three
    everything = dict.fromkeys(trainer_columns.TEXTS, "1234")
    assert trainer_columns.text_tokens(rows(everything)).to_pylist() == [len(trainer_columns.TEXTS)]
