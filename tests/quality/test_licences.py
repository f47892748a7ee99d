"""Permissions: what is unknown is forbidden, and every source of a row can only narrow them."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import UsageError
from datagen.export.published import lineage
from datagen.quality import licences
from datagen.quality.licences import EVERYTHING, NOTHING, PERMISSIONS, Permissions

TABLE = licences.published()
IDS = sorted(licence.id for licence in TABLE)


def allowed(spelling: str | None) -> set[str]:
    found = TABLE.permissions(spelling)
    return {name for name in PERMISSIONS if getattr(found, name)}


@pytest.mark.parametrize(
    "spelling",
    [
        None,
        "",
        "no licence stated",
        "CC BY 4.0 (non-commercial only)",
        "CC-BY-5.0",
        "EMO-DB",
        "CC0-1.0 on Kaggle (unverified)",
    ],
)
def test_unknown_permits_nothing(spelling):
    assert TABLE.permissions(spelling) == NOTHING


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("CC0-1.0", {"redistribute_audio", "redistribute_labels", "derivatives", "commercial"}),
        ("public domain", {"redistribute_audio", "redistribute_labels", "derivatives", "commercial"}),
        ("CC-BY-4.0", {"redistribute_audio", "redistribute_labels", "derivatives", "commercial"}),
        ("CC-BY-SA-4.0", {"redistribute_audio", "redistribute_labels", "derivatives", "commercial"}),
        ("CC-BY-NC-4.0", {"redistribute_audio", "redistribute_labels", "derivatives"}),
        ("CC-BY-NC-SA-4.0", {"redistribute_audio", "redistribute_labels", "derivatives"}),
        ("CC-BY-ND-4.0", {"redistribute_labels", "commercial"}),
        ("CC-BY-NC-ND-4.0", {"redistribute_labels"}),
        ("FunASR-Model-License", {"redistribute_audio", "redistribute_labels", "derivatives"}),
        ("research-only", set()),
    ],
)
def test_what_the_usual_licences_permit(spelling, expected):
    assert allowed(spelling) == expected


@pytest.mark.parametrize("name", IDS)
def test_no_licence_contradicts_its_own_name(name):
    parts = name.split("-")
    found = TABLE.permissions(name)
    if parts[0] == "CC" and "BY" in parts:
        assert found.commercial == ("NC" not in parts)
        assert found.derivatives == ("ND" not in parts)
        assert found.share_alike == ("SA" in parts)
        if "ND" in parts:
            assert not found.redistribute_audio  # our clips are cut and resampled


@pytest.mark.parametrize(
    "spelling",
    [
        "CC BY-NC-SA 4.0",
        "cc_by_nc_sa_4.0",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        " Cc-By-Nc-Sa-4.0 International",
    ],
)
def test_spellings_of_one_licence_are_one(spelling):
    found = TABLE.find(spelling)
    assert found is not None and found.id == "CC-BY-NC-SA-4.0"


def test_a_users_spelling_is_taken_at_its_word_and_checked():
    remark = "CC BY 4.0 (LibriSpeech, V. Panayotov et al.)"
    assert TABLE.find(remark) is None
    assert licences.published({remark: "CC-BY-4.0"}).permissions(remark) == EVERYTHING
    with pytest.raises(UsageError, match=r"CC-BY-9\.0"):
        licences.published({remark: "CC-BY-9.0"})


def test_one_spelling_cannot_mean_two_licences():
    entry = dict.fromkeys(
        ("redistribute_audio", "redistribute_labels", "derivatives", "commercial", "share_alike"), True
    )
    with pytest.raises(UsageError, match="stands for"):
        licences.Licences({"A": entry, "B": entry | {"aliases": ["a"]}})


flags = st.builds(Permissions, *[st.booleans()] * 5)


@given(flags, flags, flags)
def test_combining_only_narrows_and_share_alike_spreads(a, b, c):
    assert a & b == b & a and (a & b) & c == a & (b & c) and a & a == a
    assert a & EVERYTHING == a
    for name in PERMISSIONS:
        assert getattr(a & b, name) <= min(getattr(a, name), getattr(b, name))
    assert (a & b).share_alike == (a.share_alike or b.share_alike)


# --- Rows ---------------------------------------------------------------------------------------------------


def rows(**columns) -> pa.Table:
    types = {"used_columns": pa.list_(pa.string()), "arousal": pa.float64(), "arousal_pct": pa.float64()}
    return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})


def maker(licence: str | None, *columns: str) -> dict:
    return {"stage": "s", "model": "m", "licence": licence, "columns": columns}


def of(table: pa.Table, *makers: dict) -> dict[str, list[bool]]:
    return licences.of_rows(table, makers, lineage(), TABLE).to_pydict()


AUDEERING = maker("CC-BY-NC-SA-4.0", "arousal_raw", "dominance_raw", "valence_raw")


def test_a_row_follows_its_corpus():
    found = of(rows(licence=["CC0-1.0", None, "CC-BY-NC-4.0", "who knows"]))
    assert found["redistribute_audio_ok"] == [True, False, True, False]
    assert found["commercial_ok"] == [True, False, False, False]


def test_a_models_licence_binds_what_was_derived_from_its_columns_and_nothing_else():
    table = rows(licence=["CC0-1.0"] * 3, arousal=[0.5, None, None], arousal_pct=[None, 0.5, None])
    found = of(table, AUDEERING)
    assert found["commercial_ok"] == [False, False, True]
    assert found["share_alike"] == [True, True, False]
    assert found["redistribute_audio_ok"] == [True, True, True]  # a labeller has no say over the sound


def test_a_samples_text_is_bound_by_the_columns_it_rests_on():
    table = rows(
        licence=["CC0-1.0"] * 4,
        answer=["a", "b", "c", "d"],
        used_columns=[["arousal_level"], ["transcript", "f0_median_hz"], [], None],
    )
    assert of(table, AUDEERING)["commercial_ok"] == [False, True, True, True]


def test_a_maker_of_some_rows_binds_those_only():
    model = maker("FunASR-Model-License", "emotion") | {"where": ("label_source", "pseudo")}
    table = rows(
        licence=["CC0-1.0"] * 4, emotion=["sad", "sad", "sad", None], label_source=["gold", "pseudo", None, None]
    )
    assert of(table, model)["commercial_ok"] == [True, False, True, True]
    derived = rows(licence=["CC0-1.0"] * 2, sentiment=["negative"] * 2, label_source=["pseudo", "gold"])
    assert of(derived, model)["commercial_ok"] == [False, True]
    assert of(table.drop_columns(["label_source"]), model)["commercial_ok"] == [False, False, False, True]


def test_an_unknown_model_forbids_all_but_the_sound():
    found = of(rows(licence=["CC0-1.0"], answer=["x"]), maker("my own licence", "answer"))
    assert found == {
        "redistribute_audio_ok": [True],
        "redistribute_labels_ok": [False],
        "derivatives_ok": [False],
        "commercial_ok": [False],
        "share_alike": [False],
    }


def test_a_maker_of_sound_has_a_say_over_it():
    table = rows(licence=["CC0-1.0"], answer=["x"], audio=["bytes"])
    assert of(table, maker(None, "audio"))["redistribute_audio_ok"] == [False]


def test_a_maker_that_does_not_say_what_it_wrote_binds_every_row():
    assert of(rows(licence=["CC0-1.0"], answer=[None]), maker("CC-BY-NC-4.0"))["commercial_ok"] == [False]


def test_the_writer_of_a_sample_has_no_say_over_the_clip_it_names():
    clips = rows(licence=["CC0-1.0"], clip_id=["c"], emotion=["sad"])
    assert of(clips, maker(None, "sample_id", "clip_id", "answer"))["commercial_ok"] == [True]


def test_columns_carried_over_from_the_corpus_add_no_limit():
    table = rows(licence=["CC0-1.0", None], emotion=["sad", "sad"])
    assert of(table, maker("corpus", "emotion"))["commercial_ok"] == [True, False]


@pytest.mark.parametrize(
    ("corpus", "model"), [*itertools.product(["CC0-1.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", None], repeat=2)]
)
def test_a_row_is_corpus_and_model_together(corpus, model):
    found = of(rows(licence=[corpus], answer=["x"]), maker(model, "answer"))
    both = TABLE.permissions(corpus) & TABLE.permissions(model)
    for name in PERMISSIONS:
        expected = getattr(TABLE.permissions(corpus) if name == "redistribute_audio" else both, name)
        assert found[f"{name}_ok"] == [expected]
    assert found["share_alike"] == [both.share_alike]


def test_the_order_of_makers_does_not_matter():
    table = rows(licence=["CC0-1.0"] * 2, arousal=[0.5, None], answer=["x", "y"])
    makers = [AUDEERING, maker("CC-BY-SA-4.0", "answer"), maker(None, "question")]
    outcomes = [of(table, *order) for order in itertools.permutations(makers)]
    assert all(found == outcomes[0] for found in outcomes)
    assert outcomes[0]["commercial_ok"] == [False, True]


def test_no_rows_are_no_problem():
    assert of(rows(licence=[], used_columns=[]), AUDEERING)["commercial_ok"] == []


def test_sliced_tables_are_read_where_they_lie():
    table = rows(licence=["CC0-1.0"] * 4, used_columns=[["arousal"], ["transcript"], ["arousal_raw"], ["words"]])
    assert of(table.slice(1, 3), AUDEERING)["commercial_ok"] == [True, False, True]
