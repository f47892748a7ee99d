"""What the figures of a condensation are called, and how their values read: on its page and on a data card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datagen.condense_report.panels import amount
from datagen.progress import duration

#: Measure -> what it says, in the order to show them.
MEASURES = {
    "clips": "clips",
    "hours": "time",
    "speakers": "named speakers",
    "labelled": "clips with an emotion",
    "neutral_share": "neutral share of these",
    "emotion_evenness": "evenness of emotions: entropy over its maximum, 1 = all equally frequent",
    "strata": "strata with clips",
    "stratum_evenness": "evenness of strata",
    "stratum_max_min_ratio": "largest to smallest stratum, by clips",
    "emotion_sex_cramers_v": "Cramér's V of emotion and sex: 0 = independent, 1 = one tells the other",
    "emotion_corpus_cramers_v": "Cramér's V of emotion and corpus",
    "texts_in_several_emotions": "texts said in several emotions",
    "richness": "mean richness, 0 to 1",
}
#: The states that are compared, in words.
STATE_NAMES = ("all clips", "without copies", "selected")
#: What is counted of a gate: clips it would remove alone, removed after the gates before it, nothing measured.
GATE_COUNTS = ("alone", "removed", "missing")

_REASONS = {
    "duplicate:content": "the same samples as a clip that stays",
    "duplicate:acoustic": "the same recording as a clip that stays: re-encoded, re-sampled, louder or re-cut",
    "duplicate:semantic": "one more take that no measurement tells from those that stay",
    "gate": "did not pass this gate",
    "select:cap": "beyond the largest size of its stratum",
    "select:neutral_share": "beyond the share of neutral clips",
    "select:cue_relation": "beyond the share of its relation of words and voice",
    "select:target": "beyond the target size",
}


def reason(name: str) -> str:
    """A ``drop_reason`` in words; empty for one that is not known here."""
    return _REASONS.get(name) or _REASONS.get(name.partition(":")[0], "")


def time(hours: float) -> str:
    return duration(hours * 3600)


def number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


#: Measures that are neither counts nor numbers from 0 to 1.
_SHOWN: dict[str, Callable[[float], str]] = {
    "hours": time,
    "neutral_share": "{:.1%}".format,
    "stratum_max_min_ratio": amount,
}


def measure(name: str, value: Any) -> str:
    return _SHOWN.get(name, number)(value) if value is not None else "–"
