"""What holds of every condensation: no order, no loss, no second thoughts, one of each, and no lost contrast."""

from collections import Counter
from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import RunError
from datagen.stages.condense import Condense, CondenseConfig
from datagen.testing.batches import batch_for
from tests.stages.condensation import clip, committed, condense, kept

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "speaker": st.sampled_from(["toy/1", "toy/2", None]),
            "recording_id": st.sampled_from(["r1", "r2", "r3"]),
            "emotion": st.sampled_from(["neutral", "angry", None]),
            "label_source": st.sampled_from(["gold", "pseudo"]),
            "emotion_margin": st.sampled_from([0.1, 0.9, None]),
            "arousal_level": st.sampled_from(["low", "high", None]),
            "arousal_pct": st.sampled_from([0.1, 0.5, 0.9, None]),
            "sentiment": st.sampled_from(["neutral", "negative", None]),
            "text_sentiment": st.sampled_from(["neutral", "negative", "positive", None]),
            "audio_hash": st.sampled_from([f"h{n}" for n in range(20)]),
            "sound_group": st.sampled_from([None, None, "c000", "c001"]),
            "text_key": st.sampled_from(["en|a", "en|b", "de|c", None]),
            "voice_cluster": st.sampled_from([None, None, "c001"]),
            "f0_median_hz": st.sampled_from([100.0, 102.0, 104.0, 200.0, None]),
            "snr_db": st.sampled_from([10.0, 20.0, None]),
            "duration": st.sampled_from([1.0, 1.04, 1.08, 3.0]),
        }
    ),
    max_size=30,
).map(lambda rows: [clip(n, **row) for n, row in enumerate(rows)])
SELECT = st.fixed_dictionaries(
    {
        "max_per_stratum": st.sampled_from([None, 2, 4]),
        "min_per_stratum": st.sampled_from([None, 1, 2]),
        "max_neutral_share": st.sampled_from([None, 0.4]),
        "cue_relation": st.sampled_from([{}, {"matched": {"max": 0.5}}, {"neutral_text": {"min": 0.3}}]),
        "gates": st.sampled_from([{}, {"snr_db": {"min": 15}, "emotion_margin": {"min": 0.5, "missing": "drop"}}]),
        "strata": st.sampled_from([("emotion",), ("emotion", "speaker")]),
    }
).flatmap(
    lambda limits: st.sampled_from([{}, {"target_clips": 5}, {"target_hours": 6 / 3600}]).map(lambda to: limits | to)
)
PROPERTY = settings(deadline=None, max_examples=80)


def attempt(rows, cuts=(), **config):
    """Fates by clip, with the batch in as many chunks as a run may have shards."""
    stage = Condense(CondenseConfig(**config))
    batch = batch_for(stage, rows)
    places = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [batch.slice(start, end - start) for start, end in pairwise(places)]
    try:
        out = stage.process(pa.concat_tables(parts) if parts else batch)
    except RunError:  # nothing but neutral: said, not guessed
        return None
    fates = {row["clip_id"]: fate for row, fate in zip(rows, out.columns.to_pylist(), strict=True)}
    return fates, {name: value for name, value in out.artifact.items() if name != "examples"}


@PROPERTY
@given(ROWS, SELECT, st.randoms(use_true_random=False), st.lists(st.integers(0, 29)), st.integers(1, 3))
def test_neither_the_order_of_rows_nor_shards_matter_and_no_clip_is_lost(rows, select, random, cuts, keep):
    config = {"select": select, "dedup": {"keep_per_cell": keep}}
    once = attempt(rows, **config)
    assert attempt(random.sample(rows, len(rows)), cuts, **config) == once
    if once is None:
        return
    fates, report = once
    assert set(fates) == {row["clip_id"] for row in rows}
    assert report["after"]["clips"] + sum(report["dropped"].values()) == len(rows)
    for fate in fates.values():
        duplicate = (fate["drop_reason"] or "").startswith("duplicate")
        assert duplicate == (fate["dup_of"] is not None) == (fate["dup_why"] is not None)
        assert not duplicate or not (fates[fate["dup_of"]]["drop_reason"] or "").startswith("duplicate")
        assert (fate["sampling_weight"] is None) == (fate["drop_reason"] is not None)


@PROPERTY
@given(ROWS, SELECT, st.integers(1, 3))
def test_condensing_what_was_condensed_drops_nothing(rows, select, keep):
    config = {"select": select, "dedup": {"keep_per_cell": keep}}
    once = attempt(rows, **config)
    if once is not None:
        left = [row for row in rows if row["clip_id"] in kept(once[0])]
        again = attempt(left, **config)
        assert again is not None and kept(again[0]) == {row["clip_id"] for row in left}


@PROPERTY
@given(ROWS, SELECT, st.integers(0, 30))
def test_what_was_kept_stays_when_the_corpus_grows(rows, select, old):
    if (first := attempt(rows[:old], select=select)) is None:
        return
    try:
        grown, report = condense(rows, select=select, previous=committed(first[0]))
    except RunError:
        return
    assert kept(first[0]) <= kept(grown)
    change = report["change"]
    assert change["kept_before"] == change["still_kept"] == len(kept(first[0]))
    assert len(kept(grown)) == change["still_kept"] + change["added_of_new"] + change["added_of_dropped_before"]


@PROPERTY
@given(ROWS)
def test_of_copies_exactly_one_survives_whatever_the_labels(rows):
    by_hash, _ = condense(rows, dedup={"semantic": False, "acoustic": False})
    assert len(kept(by_hash)) == len({row["audio_hash"] for row in rows})
    by_sound, _ = condense(rows, dedup={"semantic": False, "content": False})
    stay = Counter(row["sound_group"] for row in rows if row["clip_id"] in kept(by_sound))
    assert {stay[group] for group in ("c000", "c001")} <= {0, 1}
    assert {*stay} == {row["sound_group"] for row in rows}


@PROPERTY
@given(ROWS)
def test_dedup_takes_no_way_of_saying_a_text(rows):
    """Of what is no copy, every text keeps every emotion, band and voice it was said with."""
    unique = [row | {"audio_hash": row["clip_id"], "sound_group": None} for row in rows]
    left = kept(condense(unique, dedup={"keep_per_cell": 1})[0])
    ways = ("text_key", "speaker", "emotion", "arousal_level", "voice_cluster")
    told = [{tuple(row[way] for way in ways) for row in some}
            for some in (unique, [row for row in unique if row["clip_id"] in left])]  # fmt: skip
    assert told[0] == told[1]
