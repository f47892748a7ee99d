"""Which level of which cue speaks for a label: what a rationale may rest on, and what it must not pass over.

Directions of emotions after the reviews of Scherer (2003, Speech Communication 40) and Juslin & Laukka (2003,
Psychological Bulletin 129), undisputed ones only; of energy (arousal) after Bone, Lee & Narayanan (2014).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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


# --- Words against voice ------------------------------------------------------------------------------------

#: What words and voice are to each other, after the conditions of LISTEN (EACL 2026).
CUE_RELATIONS = ("neutral_text", "matched", "conflict", "nonverbal")


def cue_relation(clips: pa.Table) -> pa.Array:
    """One of ``CUE_RELATIONS`` per clip; null where it cannot be told.

    ``nonverbal``
        Nobody says a word (``word_count`` 0). A sound alone proves nothing: where no text is known, there may be words.
    ``neutral_text``
        The words carry no feeling: their emotion is neutral or, where they have none (or ``other``), their sentiment
        is. Whatever the voice does must be heard, so it need not be known, and a neutral voice makes no match.
    ``matched``
        Words and voice have the same emotion or, failing that, the same sentiment. ``other`` is no emotion that two
        could share. Anger and sadness are no conflict: models of words often take one for the other.
    ``conflict``
        Both sentiments are known and differ. Surprise has none, so it is never in conflict: it goes with everything.

    Args:
        clips: ``text_emotion``, ``text_sentiment``, ``emotion``, ``sentiment``, ``word_count``; a column that is not
            there counts as unknown.
    """

    def column(name: str) -> pa.ChunkedArray | pa.Array:
        return clips[name] if name in clips.column_names else pa.nulls(clips.num_rows)

    def named(name: str) -> pa.ChunkedArray | pa.Array:
        emotions = column(name).cast(pa.string())
        return pc.if_else(pc.fill_null(pc.equal(emotions, "other"), True), None, emotions)

    def true(condition: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_]:
        return np.asarray(pc.fill_null(condition, False).to_numpy(zero_copy_only=False), bool)

    words, voice = named("text_emotion"), named("emotion")
    said, heard = column("text_sentiment").cast(pa.string()), column("sentiment").cast(pa.string())
    silent = true(pc.equal(column("word_count").cast(pa.int64()), 0))
    neutral = true(pc.equal(words, "neutral")) | (true(pc.is_null(words)) & true(pc.equal(said, "neutral")))
    matched = true(pc.equal(words, voice)) | true(pc.equal(said, heard))
    conflict = true(pc.not_equal(said, heard))
    code = np.select([silent, neutral, matched, conflict], [3, 0, 1, 2], -1)
    return pa.array(CUE_RELATIONS, pa.string()).take(pa.array(code, pa.int8(), mask=code < 0))
