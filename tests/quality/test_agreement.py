"""Category against dimensions: the table is complete, the score is the documented formula, unknown stays unknown."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import resources, tables
from datagen.errors import UsageError
from datagen.quality import agreement
from datagen.quality.agreement import affect_agreement, gold_agreement, quadrants
from datagen.quality.emotions import SENTIMENT_OF
from datagen.stages.agreement import Agreement
from datagen.testing.batches import batch_for

LEVELS = {0.05: "low", 0.2: "low", 0.5: "normal", 0.8: "high", 0.95: "high"}


def held(emotion: str | None, arousal: float | None, valence: float | None, **levels: str) -> tuple[str | None, Any]:
    row = {
        "emotion": emotion, "arousal_pct": arousal, "valence_pct": valence,
        "arousal_level": LEVELS.get(arousal), "valence_level": LEVELS.get(valence), **levels,
    }  # fmt: skip
    (found,) = affect_agreement(batch_for(Agreement(), [row])).to_pylist()
    return found["affect_agreement"], found["affect_agreement_score"]


def test_every_emotion_but_other_has_a_place_that_fits_its_sentiment() -> None:
    assert set(quadrants().sides) == set(tables.EMOTIONS) - {"other"}
    side = {"negative": -1, "neutral": 0, "positive": 1}
    for emotion, sentiment in SENTIMENT_OF.items():
        assert quadrants().sides[emotion][1] == side[sentiment], emotion


@pytest.mark.parametrize(("emotion", "arousal", "valence", "expected"), [
    ("angry", 0.95, 0.05, ("agree", 0.9)),
    ("angry", 0.8, 0.8, ("conflict", 0.0)),  # excited and pleasant: sounds like joy
    ("angry", 0.2, 0.2, ("conflict", 0.0)),  # calm and unpleasant: sounds like sadness
    ("angry", 0.05, 0.95, ("conflict", -0.9)),
    ("angry", 0.95, 0.5, (None, 0.45)),  # undecided
    ("sad", 0.2, 0.2, ("agree", 0.6)),
    ("sad", 0.95, 0.2, ("conflict", -0.15)),  # despair
    ("happy", 0.8, 0.8, ("agree", 0.6)),
    ("happy", 0.8, 0.2, ("conflict", 0.0)),
    ("fearful", 0.8, 0.2, ("agree", 0.6)),
    ("disgusted", 0.05, 0.2, ("agree", 0.6)),  # any arousal
    ("disgusted", 0.95, 0.2, ("agree", 0.6)),
    ("disgusted", None, 0.8, ("conflict", -0.6)),
    ("surprised", 0.8, None, ("agree", 0.6)),  # any valence
    ("surprised", 0.2, 0.95, ("conflict", -0.6)),
    ("neutral", 0.5, 0.5, ("agree", 1.0)),
    ("neutral", 0.8, 0.5, (None, 0.4)),
    ("neutral", 0.8, 0.2, (None, -0.2)),  # in a quadrant, as many neutral clips of a neutral corpus must be
    ("neutral", 0.95, 0.05, ("conflict", -0.8)),
    ("angry", 0.95, None, (None, None)),
    ("angry", None, 0.05, (None, None)),
    ("other", 0.95, 0.05, (None, None)),
    (None, 0.95, 0.05, (None, None)),
])  # fmt: skip
def test_what_agrees_and_what_does_not(
    emotion: str | None, arousal: float | None, valence: float | None, expected: tuple[str | None, float | None]
) -> None:
    word, score = held(emotion, arousal, valence)
    assert word == expected[0]
    assert score == (None if expected[1] is None else pytest.approx(expected[1], abs=1e-6))


def test_within_the_dead_zone_of_the_middle_nothing_is_decided() -> None:
    """A rank may be high where nothing differs by more than can be heard: the level is normal then."""
    assert held("angry", 0.95, 0.05, arousal_level="normal") == (None, 0.9)


RANKS = st.one_of(st.none(), st.floats(0, 1).map(lambda x: round(x, 6)))
ROWS = st.fixed_dictionaries(
    {
        "emotion": st.sampled_from([*tables.EMOTIONS, None]),
        "arousal_pct": RANKS,
        "valence_pct": RANKS,
        "arousal_level": st.sampled_from([*tables.LEVELS, None]),
        "valence_level": st.sampled_from([*tables.LEVELS, None]),
    }
)


@given(st.lists(ROWS, max_size=20))
def test_rows_do_not_know_of_each_other(rows: list[dict[str, Any]]) -> None:
    together = affect_agreement(batch_for(Agreement(), rows)).to_pylist()
    assert together == [affect_agreement(batch_for(Agreement(), [row])).to_pylist()[0] for row in rows]
    for row, found in zip(rows, together, strict=True):
        score = found["affect_agreement_score"]
        assert score is None or (-1 <= score <= 1 and score == round(score, 6))
        assert found["affect_agreement"] in ("agree", "conflict", None)
        assert score is not None or found["affect_agreement"] is None
        if row["emotion"] in (None, "other"):
            assert score is None


@given(ROWS)
def test_the_opposite_voice_has_the_opposite_score(row: dict[str, Any]) -> None:
    turned = {**row, **{f"{name}_pct": None if row[f"{name}_pct"] is None else 1 - row[f"{name}_pct"]
                        for name in agreement.DIMENSIONS}}  # fmt: skip
    one, other = (
        affect_agreement(batch_for(Agreement(), [each]))["affect_agreement_score"][0].as_py() for each in (row, turned)
    )
    assert (one is None) == (other is None)
    if one is not None:
        assert other == pytest.approx(one if row["emotion"] == "neutral" else -one, abs=2e-6)


@pytest.mark.parametrize(("emotion", "source", "predicted", "expected"), [
    ("sad", "gold", "sad", True), ("sad", "gold", "angry", False), ("sad", "gold", None, None),
    (None, "gold", "sad", None), ("sad", "pseudo", "sad", None), ("sad", "requested", "angry", None),
    ("sad", None, "sad", None), ("angry", "gold", "anger", True), ("sad", "gold", "unknown", False),
])  # fmt: skip
def test_gold_against_model(emotion: str, source: str, predicted: str, expected: bool | None) -> None:
    row = {"emotion": emotion, "label_source": source, "emotion_predicted": predicted}
    assert gold_agreement(batch_for(Agreement(), [row])).to_pylist() == [expected]


@pytest.mark.parametrize(
    "entry", ["bored: {arousal: low, valence: low}", "sad: {arousal: middle, valence: low}", "sad: {arousal: low}"]
)
def test_a_table_that_cannot_be_meant_so_is_refused(entry: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "emotion_quadrants.yaml").write_text(f'version: "1"\nquadrants:\n  {entry}\n')
    monkeypatch.setattr(agreement, "folder", lambda name: tmp_path)
    quadrants.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"emotion_quadrants\.yaml: (bored|sad)"):
            quadrants()
    finally:
        quadrants.cache_clear()
    assert resources.folder("schemas").joinpath("emotion_quadrants.yaml").is_file()


def test_chunks_and_nothing_at_all() -> None:
    empty = batch_for(Agreement(), [])
    assert affect_agreement(empty).num_rows == 0 and len(gold_agreement(empty)) == 0
    one = batch_for(Agreement(), [{"emotion": "sad", "label_source": "gold", "emotion_predicted": "sad"}])
    assert gold_agreement(pa.concat_tables([one, one])).to_pylist() == [True, True]
