"""The search behind condensation: the same groups whatever the shards, by comparing all or by cells."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import tables
from datagen.quality.texts import text_id
from datagen.stages.neighbours.stage import Neighbours, NeighboursConfig
from datagen.testing.batches import batch_for
from datagen.testing.rounds import worked


def clustered(rng, centres, each, noise, dimensions=32):
    """Unit vectors in tight groups round random centres."""
    middle = rng.standard_normal((centres, 1, dimensions))
    middle /= np.linalg.norm(middle, axis=2, keepdims=True)
    made = middle + noise * rng.standard_normal((centres, each, dimensions)) / np.sqrt(dimensions)
    return (made / np.linalg.norm(made, axis=2, keepdims=True)).reshape(-1, dimensions).astype(np.float32)


def texts(vectors, language="en"):
    return [
        {"clip_id": f"c{n:05}", "recording_id": f"r{n}", "text_key": f"{language}|{_words(n)}", "text_embedding": v}
        for n, v in enumerate(vectors.tolist())
    ]


def _words(number):
    """A text of its own for every number, without digits: those must agree."""
    return " ".join("abcdefghij"[int(digit)] * 2 for digit in str(number))


def search(rows, shards=1, seed=0, **config):
    return searched([rows[part::shards] for part in range(shards)], seed, **config)


def searched(parts, seed=0, **config):
    """Columns by clip, and the artifact, of rows that lie in these shards."""
    stage = Neighbours(NeighboursConfig(**({"sounds": False} | config)), seed=seed)
    cut = [batch_for(stage, rows) for rows in parts]
    outputs, artifact = worked(stage, cut)
    found = {}
    for batch, output in zip(cut, outputs, strict=True):
        assert output.columns.schema == tables.NEIGHBOURS
        columns = output.columns.to_pylist()
        found |= dict(zip(batch["clip_id"].to_pylist(), columns, strict=True))
    return found, artifact


def groups(found, column="text_cluster"):
    named = {}
    for clip, row in found.items():
        named.setdefault(row[column], set()).add(clip)
    return sorted(map(sorted, named.values()))


def test_tight_groups_are_found_whole_and_led_by_one_of_them():
    vectors = clustered(np.random.default_rng(0), 40, 3, 0.05)
    rows = texts(vectors)
    found, artifact = search(rows)
    assert groups(found) == [[f"c{3 * n + k:05}" for k in range(3)] for n in range(40)]
    keys = {text_id(row["text_key"]): row["clip_id"] for row in rows}
    assert all(found[keys[row["text_cluster"]]]["text_cluster"] == row["text_cluster"] for row in found.values())
    assert artifact["texts"]["method"] == "exact" and artifact["texts"]["recall"] == 1.0
    assert artifact["texts"]["rows"] == 120 and artifact["texts"]["clusters"] == 40


@pytest.mark.parametrize("method", ["exact", "cells"])
def test_shards_and_the_order_of_rows_do_not_matter(method):
    rng = np.random.default_rng(1)
    rows = texts(clustered(rng, 150, 4, 0.22))
    config = {"exact_rows": 10**6 if method == "exact" else 50, "near_text": 0.94}
    straight, artifact = search(rows, **config)
    assert artifact["texts"]["method"] == method
    assert 150 < artifact["texts"]["clusters"] < 600, "some are near, some are not"
    shuffled = [rows[n] for n in rng.permutation(len(rows))]
    for other in (search(shuffled, shards=3, **config), search(rows[::-1], shards=7, memory_gb=1e-5, **config)):
        assert other[0] == straight
        assert other[1]["texts"]["recall"] == artifact["texts"]["recall"]


@pytest.mark.parametrize("exact_rows", [10**6, 50])
def test_shards_without_rows_or_without_a_vector_change_nothing(exact_rows):
    rows = texts(clustered(np.random.default_rng(8), 60, 4, 0.1))
    silent = [{"clip_id": "g0", "recording_id": "g", "text_key": "de|hallo"}]
    straight, artifact = searched([rows + silent], exact_rows=exact_rows)
    found, other = searched([[], silent, rows[:100], [], rows[100:]], exact_rows=exact_rows)
    assert found == straight and other == artifact


def test_what_is_tuned_and_measured_does_not_depend_on_shards_where_near_texts_do_not_count():
    rows = texts(clustered(np.random.default_rng(2), 10, 80, 0.16))
    for row in rows[::2]:
        row["text_key"] += " not"
    config = {"exact_rows": 50, "near_text": 0.94}
    straight, apart = search(rows, **config), search(rows, shards=8, **config)
    assert straight[1]["texts"]["method"] == "cells" and straight[1]["texts"]["found"] > 100
    assert straight == apart


def test_cells_find_what_comparing_all_finds_and_say_how_much_of_it():
    rows = texts(clustered(np.random.default_rng(2), 400, 5, 0.2))
    whole, _ = search(rows, near_text=0.94)
    found, artifact = search(rows, near_text=0.94, exact_rows=100, recall=0.98, shards=2)
    told = artifact["texts"]
    assert told["method"] == "cells" and told["asked"] == 0.98 and told["pairs"] > 100
    assert told["recall"] >= 0.95
    same = sum(found[clip]["text_cluster"] == whole[clip]["text_cluster"] for clip in whole)
    assert same >= 0.97 * len(whole)


def test_near_vectors_of_other_numbers_or_languages_are_not_near_same():
    vectors = clustered(np.random.default_rng(3), 1, 5, 0.001)
    rows = texts(vectors)
    for row, key in zip(rows, ("en|room five", "en|room five please", "en|room six", "de|room five", "en|no room five"),
                        strict=True):  # fmt: skip
        row["text_key"] = key
    found, _ = search(rows)
    assert groups(found) == [["c00000", "c00001"], ["c00002"], ["c00003"], ["c00004"]]


def test_texts_without_a_vector_or_words_lead_themselves_or_nobody():
    rows = texts(clustered(np.random.default_rng(4), 1, 2, 0.001))
    rows += [
        {"clip_id": "c2", "recording_id": "r", "text_key": "de|guten tag"},
        {"clip_id": "c3", "recording_id": "r", "text_key": "de|guten tag"},
        {"clip_id": "c4", "recording_id": "r", "text_key": None},
        {"clip_id": "c5", "recording_id": "r", "text_key": "en|not a number", "text_embedding": [float("nan")] * 32},
    ]
    found, _ = search(rows, shards=2)
    assert found["c2"]["text_cluster"] == found["c3"]["text_cluster"] == text_id("de|guten tag")
    assert found["c4"]["text_cluster"] is None
    assert found["c5"]["text_cluster"] == text_id("en|not a number")
    nothing, artifact = search([row | {"text_embedding": None} for row in rows])
    assert artifact["texts"]["rows"] == 0 and nothing["c00000"]["text_cluster"] == text_id(rows[0]["text_key"])


def test_a_thousand_variants_of_one_phrase_leave_a_bounded_number_of_pairs():
    rows = texts(clustered(np.random.default_rng(5), 1, 1000, 0.01))
    found, artifact = search(rows)
    assert len(groups(found)) == 1
    assert artifact["texts"]["pairs"] == 64 * 1000 - 64 * 65 // 2, "of each its 64 best, and all where there are fewer"


def test_takes_lie_near_the_leader_of_their_speaker_and_words():
    vectors = clustered(np.random.default_rng(6), 2, 4, 0.02)
    rows = [
        {"clip_id": f"c{n}", "recording_id": f"r{n}", "speaker": "toy/1", "text_key": "en|yes", "emotion_embedding": v}
        for n, v in enumerate(vectors.tolist())
    ]
    rows[3] |= {"speaker": "toy/2"}
    rows[2] |= {"text_key": "en|no"}
    rows[7] |= {"emotion_embedding": None}
    expected = [["c0", "c1"], ["c2"], ["c3"], ["c4", "c5", "c6"], ["c7"]]
    for shards, memory_gb in ((1, 1.0), (3, 1e-6)):
        found, artifact = search(rows, shards=shards, memory_gb=memory_gb)
        assert groups(found, "voice_cluster") == expected
        assert found["c7"]["voice_cluster"] is None
        assert artifact["voices"] == {"threshold": 0.9, "takes": 7, "clusters": 4}


def test_thousands_of_like_takes_are_not_held_pair_by_pair():
    rows = [
        {"clip_id": f"c{n}", "recording_id": "r", "speaker": "toy/1", "text_key": "en|yes", "emotion_embedding": [1.0]}
        for n in range(3000)
    ]
    tracemalloc.start()
    try:
        found, _ = search(rows, texts=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(groups(found, "voice_cluster")) == 1
    assert peak < 160e6, "all 4.5 million pairs and a copy or two of them are more"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_member_is_near_its_leader_and_no_two_leaders_are_near(data):
    count = data.draw(st.integers(2, 40))
    seed = data.draw(st.integers(0, 1000))
    vectors = clustered(np.random.default_rng(seed), max(1, count // 4), 4, data.draw(st.floats(0.05, 0.4)))
    rows = texts(vectors)
    found, _ = search(rows, shards=data.draw(st.integers(1, 4)), near_text=0.9)
    place = {text_id(row["text_key"]): n for n, row in enumerate(rows)}
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    leaders = sorted({row["text_cluster"] for row in found.values()})
    for row in rows:
        leader = found[row["clip_id"]]["text_cluster"]
        own = text_id(row["text_key"])
        assert leader == own or wide[place[leader]] @ wide[place[own]] >= 0.9 - 1e-5
    at = [place[name] for name in leaders]
    near = np.triu(wide[at] @ wide[at].T, 1)
    assert near.max(initial=0.0) < 0.9 + 1e-5


def test_the_columns_are_the_same_type_when_a_search_is_left_out():
    rows = texts(clustered(np.random.default_rng(7), 2, 1, 0.1))
    found, artifact = search(rows, texts=False, voices=False)
    assert artifact == {}
    assert {row["text_cluster"] for row in found.values()} == {text_id(row["text_key"]) for row in rows}
    assert pa.types.is_string(tables.NEIGHBOURS.field("voice_cluster").type)
