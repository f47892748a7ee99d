"""Copies and repeats: who stays, why, and where the others point."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.quality.components import combined, numbered
from datagen.quality.dedup import columns, copies, deduplicate, text_clusters
from datagen.quality.ranking import RANKING, rank
from datagen.quality.takes import Alike
from datagen.quality.texts import text_id
from datagen.testing.records import CLIP_SCHEMA

ALIKE = Alike(0.5, 1.0, 1.0, 0.05, 0.05)
TYPES = {field.name: field.type for field in CLIP_SCHEMA} | {
    name: pa.string() for name in ("text_key", "text_cluster", "sound_group", "voice_cluster")
}  # fmt: skip
TYPES["word_coverage"] = pa.float64()
WANTED = columns(content=True, acoustic=True, semantic=True)


def table(rows):
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, TYPES[name]) for name in WANTED]))


def clip(number, **changes):
    row = {"clip_id": f"c{number:03}", "recording_id": f"r{number}", "speaker": "s", "emotion": "neutral",
           "label_source": "pseudo", "emotion_margin": 0.5, "snr_db": 30.0, "word_coverage": 1.0,
           "audio_hash": f"h{number}", "text_key": "en|a", "level_dbfs": -25.0, "f0_median_hz": 120.0,
           "f0_range_st": 5.0, "rate_syl_s": 4.5, "duration": 2.0}  # fmt: skip
    return row | changes


def decided(rows, kept_before=(), keep_per_cell=3, content=True, acoustic=True, exempt=()):
    clips = table(rows)
    before = np.isin(np.array([row["clip_id"] for row in rows]), list(kept_before))
    whole = np.isin(np.array([row["clip_id"] for row in rows]), list(exempt))
    found = deduplicate(clips, numbered(text_clusters(clips)), before, whole, content=content, acoustic=acoustic,
                        keep_per_cell=keep_per_cell, alike=ALIKE)  # fmt: skip
    ids = clips["clip_id"].to_pylist()
    names = [ids[row] if row >= 0 else None for row in found.of.tolist()]
    return dict(zip(ids, zip(found.reasons().to_pylist(), names, found.why().to_pylist(), strict=True), strict=True))


def test_of_copies_the_benchmarks_own_stays_and_its_takes_are_no_repeats():
    rows = [clip(0, audio_hash="x", label_source="gold"), clip(1, audio_hash="x", snr_db=5.0)]
    found = decided(rows, kept_before=["c000"], exempt=["c001"])
    assert found["c000"] == ("duplicate:content", "c001", "of a corpus that is left whole")
    assert found["c001"][0] is None
    takes = [clip(n) for n in range(8)]
    assert sum(fate[0] is not None for fate in decided(takes).values()) == 5
    assert all(fate[0] is None for fate in decided(takes, exempt=[row["clip_id"] for row in takes]).values())


BETTER = [
    ("kept before", {}),
    (RANKING[2], {"label_source": "gold"}),
    (RANKING[2], {"label_source": "requested"}),
    ("larger label margin", {"emotion_margin": 0.52}),
    ("more of its words have times", {"word_coverage": 1.3}),
    ("better signal-to-noise ratio", {"snr_db": 32.0}),
    ("longer", {"duration": 2.02}),
]


@pytest.mark.parametrize(("why", "change"), BETTER, ids=lambda value: str(value))
def test_the_better_of_two_copies_stays_and_it_is_said_why(why, change):
    worse = clip(0, word_coverage=0.9, audio_hash="x")
    better = clip(1, **{"word_coverage": 0.9, "audio_hash": "x"} | change)
    found = decided([worse, better], ["c001"] if why == "kept before" else ())
    assert found == {"c000": ("duplicate:content", "c001", why), "c001": (None, None, None)}


def test_what_is_not_known_is_no_better():
    sure = clip(3, audio_hash="x")
    for name in ("emotion", "speaker", "emotion_margin", "word_coverage", "snr_db", "duration"):
        assert decided([clip(1, audio_hash="x", **{name: None}), sure])["c003"][0] is None, name
    assert decided([clip(1, audio_hash="x", speaker=None), sure])["c001"][2] == "speaker known"
    assert decided([clip(4, audio_hash="x"), sure])["c004"][2] == "smaller clip_id"


def test_noise_below_what_is_worth_a_difference_decides_nothing():
    found = decided([clip(1, audio_hash="x", snr_db=30.2, emotion_margin=0.501), clip(0, audio_hash="x")])
    assert found["c001"] == ("duplicate:content", "c000", "smaller clip_id")


def test_a_gold_label_has_no_margin():
    gold = {"audio_hash": "x", "label_source": "gold"}
    found = decided([clip(1, **gold, emotion_margin=0.9), clip(0, **gold, emotion_margin=None)])
    assert found["c001"] == ("duplicate:content", "c000", "smaller clip_id")


def test_measurements_out_of_all_bounds_stay_within_their_criterion():
    wild = clip(1, audio_hash="x", snr_db=1e300, duration=float("inf"), emotion_margin=-1e9, word_coverage=1e9)
    assert decided([wild, clip(2, audio_hash="x")])["c001"][2] == "larger label margin"


def test_of_the_copies_of_one_recording_the_best_stays_and_not_the_leader_of_the_group():
    rows = [clip(n, sound_group="c000", snr_db=float(n)) for n in range(4)] + [clip(9)]
    found = decided(rows, keep_per_cell=None)
    assert [found[f"c00{n}"][:2] for n in range(3)] == [("duplicate:acoustic", "c003")] * 3
    assert found["c003"][0] is None and found["c009"][0] is None
    assert {fate[0] for fate in decided(rows, keep_per_cell=None, acoustic=False).values()} == {None}


def test_a_copy_of_a_copy_of_a_repeat_points_at_a_clip_that_stays():
    rows = [clip(n, snr_db=60.0 - n) for n in range(4)]
    rows += [clip(5, snr_db=20.0, sound_group="c003"), clip(6, snr_db=10.0, audio_hash="h5")]
    rows[3]["sound_group"] = "c003"
    found = decided(rows)
    reasons = [found[name][0] for name in ("c003", "c005", "c006")]
    assert reasons == ["duplicate:semantic", "duplicate:acoustic", "duplicate:content"]
    assert {found[name][1] for name in ("c003", "c005", "c006")} == {"c000"}


def test_a_clip_kept_before_is_no_repeat_but_may_be_a_copy_too_many():
    rows = [clip(n, snr_db=float(n)) for n in range(6)]
    found = decided(rows, ["c000", "c001", "c002", "c003"])
    assert [fate[0] for fate in found.values()] == [None] * 4 + ["duplicate:semantic"] * 2
    copies_now = [clip(n, sound_group="c000", snr_db=float(n)) for n in range(3)]
    found = decided(copies_now, ["c000", "c001"])
    assert [fate[0] for fate in found.values()] == ["duplicate:acoustic", None, "duplicate:acoustic"]


def test_takes_with_unlike_audio_embeddings_are_not_alike():
    rows = [clip(n, voice_cluster="v" if n < 4 else f"v{n}") for n in range(8)]
    assert sum(fate[0] is not None for fate in decided(rows).values()) == 1
    rows = [clip(n, voice_cluster=None) for n in range(8)]
    assert sum(fate[0] is not None for fate in decided(rows).values()) == 5


def test_clips_without_words_are_no_repeats_of_each_other():
    found = decided([clip(n, text_key=None) for n in range(6)])
    assert {fate[0] for fate in found.values()} == {None}


def test_what_two_levels_find_is_named_by_the_surer_one():
    rows = [clip(n, audio_hash="x" if n < 2 else "y", sound_group="c000", snr_db=30.0 - n) for n in range(3)]
    found = decided(rows)
    assert [found[f"c00{n}"][:2] for n in (1, 2)] == [("duplicate:content", "c000"), ("duplicate:acoustic", "c000")]


def test_texts_are_compared_by_their_words_where_nobody_looked_for_near_ones():
    clips = table([clip(1), clip(2, text_key=None), clip(3, text_cluster="t"), clip(4)])
    assert text_clusters(clips).to_pylist() == [text_id("en|a"), None, "t", text_id("en|a")]
    assert text_clusters(clips.slice(1, 2)).to_pylist() == [None, "t"]
    assert text_clusters(clips.slice(0, 0)).to_pylist() == []


# --- properties -----------------------------------------------------------------------------------------------

NAMES = st.sampled_from([None, "a", "b", "c"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "speaker": NAMES, "emotion": NAMES, "arousal_level": NAMES, "voice_cluster": NAMES, "text_cluster": NAMES,
            "audio_hash": st.sampled_from([None, *"abcdefgh"]), "sound_group": st.sampled_from([None, *"abcde"]),
            "snr_db": st.sampled_from([None, 1.0, 2.0]), "f0_median_hz": st.sampled_from([None, 100.0, 102.0, 104.0]),
            "label_source": st.sampled_from([None, "gold", "pseudo"]),
        }
    ),
    max_size=40,
).map(lambda rows: [clip(n, **row) for n, row in enumerate(rows)])  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 3), st.sets(st.integers(0, 39)))
def test_no_order_no_chain_no_second_thoughts(rows, random, keep, before):
    before = {f"c{n:03}" for n in before}
    once = decided(rows, before, keep)
    assert decided(random.sample(rows, len(rows)), before, keep) == once
    for reason, of, why in once.values():
        assert (reason is None) == (of is None) == (why is None)
        assert of is None or once[of][0] is None
    left = [row for row in rows if once[row["clip_id"]][0] is None]
    assert all(fate[0] is None for fate in decided(left, before, keep).values())


@settings(deadline=None)
@given(ROWS, st.sampled_from(["audio_hash", "sound_group"]))
def test_of_a_group_of_copies_exactly_one_survives_whatever_the_labels(rows, level):
    found = decided(rows, keep_per_cell=None, content=level == "audio_hash", acoustic=level == "sound_group")
    stay = [row[level] for row in rows if found[row["clip_id"]][0] is None]
    assert sorted(filter(None, stay)) == sorted({row[level] for row in rows} - {None})
    assert stay.count(None) == [row[level] for row in rows].count(None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["x", None])), max_size=12))
def test_rows_are_equal_when_all_their_values_are(rows):
    first, second = (numbered(pa.array([row[side] for row in rows], pa.string())) for side in (0, 1))
    found = combined([first, second]).tolist()
    assert [[a == b for b in found] for a in found] == [[a == b for b in rows] for a in rows]
    assert set(found) == set(range(len(set(rows))))


def test_more_combinations_than_a_number_can_count():
    wide = np.array([0, 2**40, 2**40, 5])
    assert combined([wide, wide, np.array([1, 2, 3, 1])]).tolist() == [0, 1, 2, 3]


def test_the_best_of_a_group_is_found_among_those_that_are_left():
    none = np.zeros(4, bool)
    ranking = rank(table([clip(n, snr_db=float(n)) for n in range(4)]), none, none)
    assert ranking.order.tolist() == [3, 2, 1, 0]
    found = copies(np.array([0, 0, 0, -1]), ranking, np.array([True, True, False, True]))
    assert found.tolist() == [1, -1, -1, -1]
