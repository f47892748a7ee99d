"""Which level of which cue speaks for a label: what a rationale may rest on, and what it must not pass over.

Directions of emotions after the reviews of Scherer (2003, Speech Communication 40) and Juslin & Laukka (2003,
Psychological Bulletin 129), undisputed ones only; of energy (arousal) after Bone, Lee & Narayanan (2014).
"""

from __future__ import annotations

from collections.abc import Mapping

TYPICAL: dict[str, dict[str, str]] = {
    "angry": {"arousal_level": "high", "loudness_level": "high", "rate_level": "high", "pitch_level": "high",
              "pitch_range_level": "high", "pause_level": "low", "dominance_level": "high"},
    "disgusted": {"rate_level": "low", "pitch_level": "low", "pause_level": "high"},
    "fearful": {"arousal_level": "high", "rate_level": "high", "pitch_level": "high", "dominance_level": "low"},
    "happy": {"arousal_level": "high", "loudness_level": "high", "rate_level": "high", "pitch_level": "high",
              "pitch_range_level": "high", "pause_level": "low"},
    "neutral": {"arousal_level": "normal", "loudness_level": "normal", "rate_level": "normal",
                "pitch_level": "normal", "pitch_range_level": "normal", "pause_level": "normal"},
    "sad": {"arousal_level": "low", "loudness_level": "low", "rate_level": "low", "pitch_level": "low",
            "pitch_range_level": "low", "pause_level": "high", "dominance_level": "low"},
    "surprised": {"arousal_level": "high", "loudness_level": "high", "pitch_level": "high",
                  "pitch_range_level": "high"},
}  # fmt: skip
_ENERGY = ("pitch_level", "pitch_range_level", "loudness_level", "rate_level")
#: Fields that can be reasoned about.
ARGUABLE = ("emotion", "sentiment", "arousal_level")


def typical(field: str, label: str) -> dict[str, str]:
    """Cue -> the level that goes with ``label``. Nothing for a sentiment: it is not heard in any one cue."""
    if field == "emotion":
        return TYPICAL.get(label, {})
    return dict.fromkeys(_ENERGY, label) if field == "arousal_level" else {}


def weigh(field: str, label: str, levels: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Cues among ``levels`` that speak for the label, and those that speak against it, in the order of ``levels``."""
    wanted = typical(field, label)
    speaks_for = [name for name, level in levels.items() if wanted.get(name) == level]
    against = [name for name, level in levels.items() if name in wanted and _opposite(level, wanted[name])]
    return speaks_for, against


def standing(label: str, levels: Mapping[str, str]) -> str:
    """How an emotion compares with the others, judged by these cues: ``alone``, ``shared`` or ``beaten``."""
    balance = {name: len(found[0]) - len(found[1]) for name in TYPICAL for found in [weigh("emotion", name, levels)]}
    best = max(balance.values())
    if balance[label] < best:
        return "beaten"
    return "alone" if list(balance.values()).count(best) == 1 else "shared"


def _opposite(level: str, wanted: str) -> bool:
    """The other end of the scale; where "normal" is wanted, anything else."""
    return level != wanted if wanted == "normal" else {level, wanted} == {"low", "high"}
