"""Splits: nobody in two of them, shares met as far as groups allow, earlier assignments kept."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from datagen import tables
from datagen.errors import RunError, UsageError
from datagen.quality.splits import straddling
from datagen.stages.split import USUAL, Split, SplitConfig
from datagen.testing.batches import batch_for

DEVSET = Path(__file__).parents[2].parent / "shared" / "corpora" / "devset"


def clip(number, **changes):
    row = {"clip_id": f"c{number}", "recording_id": f"r{number}", "corpus": "toy", "speaker": f"toy/{number}",
           "duration": 2.0}  # fmt: skip
    return row | changes


def split(rows, seed=0, previous=None, **config):
    stage = Split(SplitConfig(**config), seed=seed)
    stage.previous = previous
    batch = batch_for(stage, rows)
    out = stage.process(batch)
    assert out.columns.schema == tables.SPLIT
    splits = out.columns["split"].to_pylist()
    for column in ("speaker", "recording_id"):
        assert straddling(batch, splits, column) == []
    return {row["clip_id"]: name for row, name in zip(rows, splits, strict=True)}, out.artifact


def committed(result):
    return pa.table({"clip_id": list(result), "split": list(result.values())})


def share(result, name):
    return list(result.values()).count(name) / len(result)


def test_shares_are_met_when_groups_are_small():
    result, report = split([clip(n) for n in range(400)])
    assert (share(result, "train"), share(result, "validation"), share(result, "test")) == (0.9, 0.05, 0.05)
    assert report["splits"]["train"]["speakers"] == 360


def test_shares_count_seconds_unless_told_otherwise():
    rows = [clip(n, duration=1.0) for n in range(90)] + [clip(100 + n, duration=9.0) for n in range(10)]
    result, report = split(rows, fractions={"train": 0.5, "test": 0.5})
    assert report["splits"]["test"]["hours"] * 3600 == pytest.approx(90, abs=1)
    result, _ = split(rows, fractions={"train": 0.5, "test": 0.5}, by="clips")
    assert share(result, "test") == 0.5


def test_few_speakers_fill_every_split_and_the_largest_are_trained_on():
    rows = [clip(10 * speaker + n, speaker=f"toy/{speaker}") for speaker in range(4) for n in range(10 - speaker)]
    result, report = split(rows)
    assert {name: entry["speakers"] for name, entry in report["splits"].items()} == {
        "train": 2, "validation": 1, "test": 1,
    }  # fmt: skip
    assert result["c0"] == result["c10"] == "train"


def test_the_seed_decides_and_the_order_does_not():
    rows = [clip(n) for n in range(100)]
    assert split(rows)[0] == split(rows[::-1])[0]
    assert split(rows)[0] != split(rows, seed=1)[0]


def test_too_few_groups_is_an_error_that_lists_them():
    rows = [clip(n, speaker="toy/one") for n in range(9)] + [clip(10, speaker="toy/two")]
    asked = {"train": 0.9, "validation": 0.05, "test": 0.05}
    with pytest.raises(RunError, match=r"speaker toy/one: 9 clips.*speaker toy/two: 1 clips.*split\.fractions"):
        split(rows, fractions=asked)
    assert set(split(rows, fractions={"train": 0.8, "test": 0.2})[0].values()) == {"train", "test"}


@pytest.mark.parametrize(
    ("speakers", "filled", "note"),
    [
        (1, {"train"}, r"no validation and no test split.*1 group \(speaker toy/0\)"),
        (2, {"train", "test"}, r"no validation split.*2 groups"),
        (3, {"train", "validation", "test"}, None),
    ],
)
def test_where_no_shares_are_asked_for_a_small_corpus_fills_what_it_can_and_is_told(speakers, filled, note):
    result, report = split([clip(n, speaker=f"toy/{n % speakers}") for n in range(12)])
    assert set(result.values()) == filled
    assert len(report["notes"]) == (note is not None)
    assert note is None or re.search(note, report["notes"][0])


def test_a_small_corpus_that_grows_fills_its_empty_splits_and_moves_nobody():
    rows = [clip(n, speaker="toy/0") for n in range(9)]
    first, _ = split(rows)
    grown, report = split([*rows, *(clip(100 + n) for n in range(40))], previous=committed(first))
    assert {name: grown[name] for name in first} == first
    assert set(grown.values()) == {"train", "validation", "test"} and report["notes"] == []


def test_unknown_speakers_hang_together_by_recording_only():
    rows = [clip(n, speaker=None, recording_id=f"r{n // 2}") for n in range(40)]
    _, report = split(rows)
    assert sum(entry["groups"] for entry in report["splits"].values()) == 20


def test_speakers_met_in_one_recording_and_copies_go_together():
    rows = [clip(n) for n in range(30)]
    rows += [clip(50, recording_id="r3", speaker="toy/4"), clip(51, speaker=None, dup_of="c7"),
             clip(52, speaker=None, dup_of="gone"), clip(53, speaker=None, dup_of="gone")]  # fmt: skip
    for seed in range(5):
        result, _ = split(rows, seed=seed, fractions={"train": 0.5, "test": 0.5})
        assert result["c3"] == result["c4"] == result["c50"]
        assert result["c51"] == result["c7"]
        assert result["c52"] == result["c53"]


def parallel(speakers, texts):
    return [
        clip(100 * s + t, speaker=f"toy/{s}", text_cluster=f"text {t}") for s in range(speakers) for t in range(texts)
    ]


def test_parallel_texts_do_not_collapse_and_disjoint_texts_says_why_it_cannot():
    rows = parallel(24, 2)
    result, _ = split(rows)
    assert set(result.values()) == {"train", "validation", "test"}
    assert share(result, "train") == pytest.approx(0.9, abs=0.05)
    with pytest.raises(RunError, match=r"disjoint_texts.*speaker toy/0: 48 clips"):
        split(rows, disjoint_texts=True)


def test_disjoint_texts_where_texts_allow_it():
    rows = [clip(n, text_cluster=f"text {n // 2}") for n in range(100)]
    stage = Split(SplitConfig(disjoint_texts=True))
    batch = batch_for(stage, rows)
    assert straddling(batch, stage.process(batch).columns["split"].to_pylist(), "text_cluster") == []
    assert straddling(batch, split(rows)[0].values(), "text_cluster") != []


def test_held_out_corpora_are_never_trained_on():
    rows = [clip(n) for n in range(40)] + [clip(100 + n, corpus="ravdess", speaker=f"ravdess/{n}") for n in range(5)]
    rows += [clip(200, corpus="toy", speaker="ravdess/0")]  # the benchmark's voice in another corpus
    result, report = split(rows, holdout=["ravdess", "iemocap"])
    assert [name for clip_id, name in result.items() if int(clip_id[1:]) >= 100] == ["holdout"] * 6
    assert report["holdout_not_in_input"] == ["iemocap"]
    lonely = [clip(0), *rows[-6:-1]]
    assert re.search(r"leaves 1 group \(speaker toy/0\)", split(lonely, holdout=["ravdess"])[1]["notes"][0])
    assert share({k: v for k, v in result.items() if v != "holdout"}, "train") == 0.9
    with pytest.raises(RunError, match="nothing is left to train on"):
        split(rows, holdout=["ravdess", "toy"])


def test_official_splits_are_kept_and_their_quarrels_told():
    rows = [clip(n, official_split=("Train", "Development", "Test1", None)[n % 4]) for n in range(40)]
    result, _ = split(rows)
    assert [result[f"c{n}"] for n in range(3)] == ["train", "validation", "test"]
    quarrel = [*rows, clip(90, speaker="toy/0", official_split="Test2")]
    with pytest.raises(RunError, match=r"speaker toy/0.*test \(official split\) and train.*split.official: false"):
        split(quarrel)
    assert split(quarrel, official=False)[0]["c90"] == split(quarrel, official=False)[0]["c0"]


def test_a_grown_corpus_moves_nobody():
    rows = [clip(n) for n in range(50)]
    first, _ = split(rows)
    more = rows + [clip(1000 + n) for n in range(200)] + [clip(2000 + n, speaker=f"toy/{n}") for n in range(50)]
    grown, _ = split(more, previous=committed(first))
    assert {clip_id: grown[clip_id] for clip_id in first} == first
    assert all(grown[f"c{2000 + n}"] == first[f"c{n}"] for n in range(50))
    assert share(grown, "train") == pytest.approx(0.9, abs=0.03)


def test_new_audio_that_joins_two_splits_is_told():
    first, _ = split([clip(n) for n in range(40)])
    train, test = (next(c for c, name in first.items() if name == wanted) for wanted in ("train", "test"))
    bridge = [clip(n) for n in range(40)]
    bridge += [clip(90 + k, recording_id="talk", speaker=f"toy/{c[1:]}") for k, c in enumerate((train, test))]
    with pytest.raises(RunError, match=r"test \(the last run\) and train \(the last run\)"):
        split(bridge, previous=committed(first))


@pytest.mark.parametrize("key", ["clip_id", "speaker"])
@pytest.mark.parametrize("published", [False, True])
def test_a_published_assignment_is_kept(tmp_path, key, published):
    names = [f"c{n}" if key == "clip_id" else f"toy/{n}" for n in range(4)]
    splits = ["test", "train", "test", "validation"]
    if published:
        for wanted in set(splits):
            inside = [name for name, name_split in zip(names, splits, strict=True) if name_split == wanted]
            pq.write_table(pa.table({key: inside}), tmp_path / f"{wanted}-00000-of-00001.parquet")
        where = str(tmp_path)
    else:
        where = str(tmp_path / "splits.parquet")
        pq.write_table(pa.table({key: names, "split": splits}), where)
    free, _ = split([clip(n) for n in range(60)])
    stage = Split(SplitConfig(previous=where))
    assert stage.check() is None
    kept = stage.process(batch_for(stage, [clip(n) for n in range(60)])).columns["split"].to_pylist()
    assert kept[:4] == splits
    assert set(kept) == {"train", "validation", "test"}
    assert kept != list(free.values())


def test_the_content_of_an_assignment_is_part_of_the_key(tmp_path):
    where = tmp_path / "splits.parquet"
    keys = []
    for name in ("train", "test"):
        pq.write_table(pa.table({"clip_id": ["c1"], "split": [name]}), where)
        keys.append(Split(SplitConfig(previous=str(where))).semantics())
    assert keys[0] != keys[1]


def test_useless_assignments_are_usage_errors(tmp_path):
    assert "neither a Parquet file" in str(Split(SplitConfig(previous=str(tmp_path / "none"))).check())
    where = tmp_path / "x.parquet"
    pq.write_table(pa.table({"clip_id": ["c1"]}), where)
    stage = Split(SplitConfig(previous=str(where)))
    with pytest.raises(UsageError, match="needs a column clip_id or speaker, and split"):
        stage.process(batch_for(stage, [clip(1)]))
    pq.write_table(pa.table({"clip_id": ["c1", "c1"], "split": ["train", "test"]}), where)
    with pytest.raises(UsageError, match="in train and in test"):
        stage.process(batch_for(stage, [clip(1)]))


@pytest.mark.parametrize("fractions", [{"train": 0.9}, {"train": 1.2, "test": -0.2}, {"dev-1": 1.0}, {"holdout": 1.0}])
def test_impossible_shares_are_refused(fractions):
    with pytest.raises(ValueError):
        SplitConfig(fractions=fractions)


def test_an_empty_corpus_has_no_splits():
    assert split([])[0] == {}


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "speaker": st.sampled_from([f"toy/{n}" for n in range(30)] + [None]),
            "recording_id": st.sampled_from([f"r{n}" for n in range(60)]),
            "corpus": st.sampled_from(["toy", "bench"]),
            "duration": st.sampled_from([0.5, 2.0, 30.0]),
            "dup_of": st.sampled_from([None, None, None, "c0", "c1"]),
        }
    ),
    min_size=8,
    max_size=40,
).map(lambda rows: [clip(n, **row) for n, row in enumerate(rows)])


@settings(deadline=None, max_examples=80)
@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 3), st.booleans())
def test_nobody_straddles_order_is_nothing_and_growth_moves_nobody(rows, random, seed, hold):
    config = {"holdout": ["bench"] if hold else []}
    if seed % 2:
        config["fractions"] = USUAL  # asked for, hence kept or refused
    try:
        once, report = split(rows, seed=seed, **config)  # asserts that nobody straddles
    except RunError as error:
        assert "split" in str(error)
        event("infeasible")
        return
    assert set(once.values()) >= ({"train"} if report["notes"] else {"train", "validation", "test"})
    assert split(random.sample(rows, len(rows)), seed=seed, **config)[0] == once
    assert sum(entry["clips"] for entry in report["splits"].values()) == len(rows)
    if hold:
        assert all(once[row["clip_id"]] == "holdout" for row in rows if row["corpus"] == "bench")
    copies = {once[row["clip_id"]] for row in rows if row["dup_of"] == "c0"} | {once["c0"]}
    assert len(copies) == 1
    fresh = [clip(500 + n, duration=7.0) for n in range(10)]
    grown, _ = split([*rows, *fresh], seed=seed, previous=committed(once), **config)
    assert {clip_id: grown[clip_id] for clip_id in once} == once


@pytest.mark.shared
def test_ravdess_splits_by_actor_and_cannot_part_its_two_sentences():
    if not DEVSET.is_dir():
        pytest.skip("no shared corpora")
    entries = [json.loads(line) for line in (DEVSET / "manifest.jsonl").open(encoding="utf-8")]
    rows = [
        {"clip_id": e["file"], "recording_id": e["file"], "corpus": "ravdess", "speaker": e["speaker"],
         "duration": e["duration_s"], "text_cluster": e["sentence_id"]}
        for e in entries if e["corpus"] == "ravdess"
    ]  # fmt: skip
    _, report = split(rows)
    assert {name: entry["speakers"] for name, entry in report["splits"].items()} == {
        "train": 4, "validation": 1, "test": 1,
    }  # fmt: skip
    with pytest.raises(RunError, match=r"speaker ravdess_01: 360 clips"):
        split(rows, disjoint_texts=True)
