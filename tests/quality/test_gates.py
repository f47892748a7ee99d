"""Gates: what is refused, what was not measured, and whom a gate is about."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from datagen.quality.gates import Gates, columns, pass_gates

CLIPS = pa.table(
    {
        "snr_db": pa.array([5.0, 20.0, None, 20.0, float("nan"), 10.0]),
        "duration": pa.array([0.2, 3.0, 3.0, 40.0, 3.0, 3.0]),
        "word_count": pa.array([0, 3, None, 1, 0, 12], pa.int64()),
        "emotion_margin": pa.array([0.05, 0.05, None, 0.9, None, 0.05]),
        "label_source": pa.array(["pseudo", "gold", None, "pseudo", "gold", "requested"]),
        "affect_agreement": pa.array(["conflict", "conflict", None, "agree", None, "conflict"]),
        "speech_lang": pa.array(["en", "de", None, "en", "fr", "en"]),
        "asr_flags": pa.array([["no_speech", "logprob"], [], None, ["boilerplate"], ["too_fast"], []]),
    }
)


def passed(**gates):
    done = pass_gates(CLIPS, np.arange(6), Gates(**gates))
    return np.flatnonzero(done.code < 0).tolist()


@pytest.mark.parametrize(
    ("gates", "left"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"snr_db": {"min": 10}}, [1, 2, 3, 4, 5]),
        ({"snr_db": {"min": 10, "missing": "drop"}}, [1, 3, 5]),
        ({"duration": {"min": 0.5, "max": 30}}, [1, 2, 4, 5]),
        ({"word_count": {"min": 2}}, [0, 1, 2, 4, 5]),
        ({"word_count": {"min": 2, "nonverbal": "drop"}}, [1, 2, 5]),
        ({"word_count": {"max": 5}}, [0, 1, 2, 3, 4]),
        ({"word_count": {"max": 3}}, [0, 1, 2, 3, 4]),
        ({"word_count": {"nonverbal": "drop"}}, [1, 2, 3, 5]),
        ({"emotion_margin": {"min": 0.1}}, [1, 2, 3, 4, 5]),
        ({"emotion_margin": {"min": 0.1, "missing": "drop"}}, [1, 3, 4, 5]),
        ({"affect_agreement": {"conflict": "drop"}}, [1, 2, 3, 4, 5]),
        ({"affect_agreement": {"missing": "drop"}}, [0, 1, 3, 4, 5]),
        ({"speech_lang": {"allow": ["en"]}}, [0, 2, 3, 5]),
        ({"speech_lang": {"allow": ["en"], "missing": "drop"}}, [0, 3, 5]),
        ({"speech_lang": {"missing": "drop"}}, [0, 1, 3, 4, 5]),
        ({"asr_flags": {"max": 1}}, [1, 2, 3, 4, 5]),
        ({"asr_flags": {"refuse": ["boilerplate", "too_fast"]}}, [0, 1, 2, 5]),
        ({"clipping_ratio": {"max": 0.1}}, [0, 1, 2, 3, 4, 5]),
        ({"clipping_ratio": {"max": 0.1, "missing": "drop"}}, []),
    ],
)
def test_who_passes(gates, left):
    assert passed(**gates) == left


def test_a_gate_on_pseudo_labels_misses_nothing_of_others_even_where_the_column_is_not_there():
    done = pass_gates(CLIPS.drop_columns(["emotion_margin"]), np.arange(6), Gates(emotion_margin={"missing": "drop"}))
    assert np.flatnonzero(done.code < 0).tolist() == [1, 4, 5]
    assert done.counts["emotion_margin"] == {"alone": 3, "removed": 3, "missing": 3}


def test_counts_alone_and_in_sequence():
    gates = Gates(snr_db={"min": 10}, duration={"min": 0.5, "max": 30}, word_count={"min": 2})
    done = pass_gates(CLIPS, np.arange(6), gates)
    assert done.names == ["duration", "snr_db", "word_count"]
    assert done.counts == {
        "duration": {"alone": 2, "removed": 2, "missing": 0},
        "snr_db": {"alone": 1, "removed": 0, "missing": 2},
        "word_count": {"alone": 1, "removed": 0, "missing": 1},
    }
    assert done.code.tolist() == [0, -1, -1, 0, -1, -1], "the first gate that refuses is the reason"
    assert sum(count["removed"] for count in done.counts.values()) == (done.code >= 0).sum()


def test_only_the_rows_asked_for_are_judged_and_in_their_order():
    done = pass_gates(CLIPS, np.array([3, 0]), Gates(duration={"max": 30}))
    assert done.code.tolist() == [0, -1] and done.counts["duration"]["alone"] == 1


def test_columns_are_those_of_the_gates_that_are_set():
    assert columns(Gates()) == ()
    assert columns(Gates(emotion_margin={"min": 0.1}, snr_db={"min": 3})) == (
        "snr_db",
        "emotion_margin",
        "label_source",
    )


def test_a_gate_that_nothing_could_pass_and_a_misspelt_sign_are_errors():
    with pytest.raises(ValidationError, match="nothing could pass"):
        Gates(duration={"min": 3, "max": 2})
    with pytest.raises(ValidationError, match="boilerplate"):
        Gates(asr_flags={"refuse": ["boilerplat"]})
