"""Contrast survival for ``dedup.py``: a generated corpus of parallel texts, through the real stage ``condense``.

Every speaker says every sentence in every emotion, twice; some clips are there again as true copies (equal samples,
or a re-encoded copy as ``neighbours`` would name it). Only these copies may go, and of each exactly one clip stays:
with the true labels, with 30 % of them shuffled, and with all of them neutral.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from datagen.quality.texts import text_id
from datagen.stages.condense import Condense
from datagen.testing.batches import batch_for

EMOTIONS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
LABELS = ("true", "30 % shuffled", "all neutral")
COPIES = 0.1
#: How an emotion moves pitch (semitones), pitch range (semitones), level (dB), and speed and length (shares).
_SHIFT = {"angry": (3, 2, 6, 0.1), "happy": (3, 3, 3, 0.08), "sad": (-2, -2, -4, -0.15), "fearful": (4, 1, 1, 0.12)}
#: How far takes of one emotion lie apart, in the same units: as actors' takes do.
_SPREAD = (1.5, 1.5, 2.5, 0.08)


class Survival(NamedTuple):
    labels: str
    clips: int
    contrast: float  #: share of the clips that are no copy and were not removed
    copies_found: float  #: share of the planted copies that were removed
    wrong_survivors: int  #: groups of copies of which not exactly one is left


def measure(sentences: int, speakers: int, seed: int) -> list[Survival]:
    clips = corpus(sentences, speakers, seed)
    return [survival(_labelled(clips, labels, seed), labels) for labels in LABELS]


def corpus(sentences: int, speakers: int, seed: int) -> list[dict[str, Any]]:
    """Rows of clips with the columns that ``condense`` reads; ``copy_of`` names what a copy was made from."""
    random = np.random.default_rng(seed)
    voice = random.normal(0, 4, speakers)
    rows: list[dict[str, Any]] = []
    for sentence, speaker, emotion, take in product(range(sentences), range(speakers), EMOTIONS, range(2)):
        pitch, range_, level, speed = np.array(_SHIFT.get(emotion, (0, 0, 0, 0.0))) + random.normal(0, _SPREAD)
        number = len(rows)
        key = f"eng|this is sentence number {sentence}" + (" said anew" if take and sentence % 3 == 0 else "")
        rows.append(
            {
                "clip_id": f"c{number:07}", "recording_id": f"r{number:07}", "corpus": "parallel",
                "speaker": f"parallel/{speaker}", "sex": ("female", "male")[speaker % 2], "speech_lang": "eng",
                "emotion": emotion, "label_source": "gold", "text_key": key, "audio_hash": f"h{number}",
                # Near-same wordings are one cluster, as ``neighbours`` makes them.
                "text_cluster": text_id(f"eng|this is sentence number {sentence}"),
                "f0_median_hz": float(160 * 2 ** ((voice[speaker] + pitch) / 12)), "f0_range_st": float(6 + range_),
                "level_dbfs": float(-26 + level), "rate_syl_s": float(4 * np.exp(speed)),
                "duration": float((2 + sentence % 5) * np.exp(-speed + random.normal(0, 0.03))),
                "snr_db": float(random.uniform(15, 40)), "copy_of": None,
            }
        )  # fmt: skip
    originals = len(rows)
    for source in random.choice(originals, int(originals * COPIES), replace=False).tolist():
        copy = {**rows[source], "clip_id": f"c{len(rows):07}", "recording_id": f"r{len(rows):07}"}
        copy["copy_of"] = rows[source]["copy_of"] = rows[source]["clip_id"]
        if len(rows) % 2:  # re-encoded: other samples, somewhat louder, the same fingerprint
            copy |= {"audio_hash": f"h{len(rows)}", "level_dbfs": copy["level_dbfs"] + 2.0}
            copy["sound_group"] = rows[source]["sound_group"] = rows[source]["clip_id"]
        rows.append(copy)
    return rows


def _labelled(clips: list[dict[str, Any]], labels: str, seed: int) -> list[dict[str, Any]]:
    if labels == "true":
        return clips
    if labels == "all neutral":
        return [{**clip, "emotion": "neutral"} for clip in clips]
    random = np.random.default_rng(seed + 1)
    moved = random.random(len(clips)) < 0.3
    return [
        {**clip, "emotion": str(random.choice(EMOTIONS))} if anew else clip
        for clip, anew in zip(clips, moved.tolist(), strict=True)
    ]


def survival(clips: list[dict[str, Any]], labels: str) -> Survival:
    stage = Condense()
    columns = stage.process(batch_for(stage, clips)).columns
    assert columns is not None
    gone = columns["drop_reason"].is_valid().to_numpy()
    group = np.array([clip["copy_of"] or clip["clip_id"] for clip in clips])
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    left = np.bincount(number[~gone], minlength=len(size))
    return Survival(
        labels,
        len(clips),
        float(np.mean(left >= 1)),
        float((size - left)[size > 1].sum() / (size - 1)[size > 1].sum()),
        int(np.count_nonzero((left != 1)[size > 1])),
    )
