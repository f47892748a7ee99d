"""What a set of samples is made of, and whether its splits are apart. Pure functions on whole columns.

``clips`` has one row per clip, ``samples`` one per sample; a column that nobody wrote is null throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import tables
from datagen.quality.distributions import Codes, bias_corrected_v, codes, grouped, max_min_ratio, normalised_entropy
from datagen.quality.figures import counts, groups, mean, share

LEVELS = ("pitch_level", "pitch_range_level", "loudness_level", "rate_level", "pause_level", "arousal_level")
CLIP_COLUMNS = (
    "recording_id", "corpus", "speaker", "sex", "sex_heard", "speech_lang", "text_lang", "duration", "emotion",
    "cue_relation", "contrast_group_id", "split", "f0_median_hz", *LEVELS, "contrast_question", "scenario_plausible",
    "scenario_relevant", "text_neutral", "scenario_reason",
)  # fmt: skip
MOST_NAMED = 40  #: corpora, the most frequent first


def mix(samples: pa.Table) -> dict[str, Any]:
    """Samples per task, mode and route together, and each by itself; tokens and seconds of sound that they show."""
    names = ("task", "mode", "route")
    cells = samples.select(list(names)).group_by(list(names), use_threads=False).aggregate([([], "count_all")])
    rows = [{**{name: row[name] for name in names}, "samples": row["count_all"]} for row in cells.to_pylist()]
    return {
        "cells": sorted(rows, key=lambda row: tuple(str(row[name]) for name in names)),
        **{f"{name}s": counts(samples[name]) for name in (*names, "question_type")},
        "reasons": counts(samples["route_reason"]),
        "text_tokens": pc.sum(samples["text_tokens"]).as_py() or 0,
        "audio_hours": round((pc.sum(samples["audio_seconds"]).as_py() or 0.0) / 3600, 4),
        "pass_rate": mean(samples["pass_rate"]),
        "reward_weight": mean(samples["reward_weight"]),
    }


def disjoint(samples: pa.Table) -> dict[str, Any]:
    """Clips with samples in both SFT and RL."""
    sft, rl = (pc.unique(samples["clip_id"].filter(pc.equal(samples["route"], name))) for name in ("sft", "rl"))
    both = pc.sum(pc.is_in(sft, rl)).as_py() or 0
    return {"sft_clips": len(sft), "rl_clips": len(rl), "shared_clips": both}


def contrast(clips: pa.Table, samples: pa.Table) -> dict[str, Any]:
    """Words against voice, and how much of the set stands in contrast groups.

    ``voice_tells_share``: of clips whose relation is known, those whose words are neutral or say something else.
    """
    relations = counts(clips["cue_relation"])
    known = sum(relations.values())
    inside = clips.num_rows - clips["contrast_group_id"].null_count
    rl = samples["contrast_group_id"].filter(pc.equal(samples["route"], "rl"))
    return {
        "cue_relation": relations,
        "cue_relation_shares": {name: share(number, known) for name, number in relations.items()},
        "voice_tells_share": share(relations.get("neutral_text", 0) + relations.get("conflict", 0), known),
        "groups": pc.count_distinct(clips["contrast_group_id"]).as_py(),
        "clips": inside,
        "clip_share": share(inside, clips.num_rows),
        "rl_share": share(len(rl) - rl.null_count, len(rl)),
    }


def balance(clips: pa.Table) -> dict[str, Any]:
    """How even the emotions are, and what they tell of sex and corpus (Cramér's V, bias-corrected)."""
    emotion = codes(clips["emotion"])
    size = np.bincount(emotion.code[emotion.code >= 0], minlength=len(emotion.names)).astype(np.float64)
    emotions = {name: int(number) for name, number in zip(emotion.names, size, strict=True)}
    sex = pc.coalesce(clips["sex"], clips["sex_heard"])
    return {
        "emotions": emotions,
        "sexes": counts(sex),
        "corpora": _most(counts(clips["corpus"])),
        "entropy": normalised_entropy(size) if len(size) > 1 else None,
        "max_min_ratio": max_min_ratio(size),
        "neutral_share": share(emotions.get("neutral", 0), int(size.sum())),
        "emotion_sex_v": _v(emotion, codes(sex)),
        "emotion_corpus_v": _v(emotion, codes(clips["corpus"])),
    }


def _v(first: Codes, second: Codes) -> float | None:
    shape = len(first.names), len(second.names)
    if not all(shape):
        return None
    known = (first.code >= 0) & (second.code >= 0)
    cells = np.bincount(first.code[known] * shape[1] + second.code[known], minlength=shape[0] * shape[1])
    return bias_corrected_v(cells.reshape(shape))


def levels(clips: pa.Table) -> dict[str, Any]:
    """Per corpus the shares of low, normal and high, and the median pitch of women and men (Hz)."""
    named = _most(counts(clips["corpus"]))
    found = {}
    for corpus, part in groups(
        clips.filter(pc.is_in(clips["corpus"], pa.array(list(named), pa.string()))), "corpus"
    ).items():
        shown = {name: counts(part[name]) for name in LEVELS if part[name].null_count < part.num_rows}
        found[corpus] = {
            name: {level: share(number.get(level, 0), sum(number.values())) for level in tables.LEVELS}
            for name, number in shown.items()
        }
    pitch = {
        sex: round(float(pc.quantile(part["f0_median_hz"], 0.5)[0].as_py()), 1)
        for sex, part in groups(clips, "sex").items()
        if part["f0_median_hz"].null_count < part.num_rows
    }
    return {"corpora": found, "f0_median_hz": pitch}


def splits(clips: pa.Table) -> dict[str, Any]:
    """Clips, hours and named speakers per split, and what two splits have in common."""
    shown = {}
    for name, part in groups(clips, "split").items():
        shown[name] = {
            "clips": part.num_rows,
            "hours": round((pc.sum(part["duration"]).as_py() or 0.0) / 3600, 4),
            "speakers": pc.count_distinct(part["speaker"]).as_py(),
            "clips_of_unknown_speakers": part["speaker"].null_count,
        }
    return {
        "splits": shown,
        "shared_speakers": shared(clips["speaker"], clips["split"]),
        "shared_recordings": shared(clips["recording_id"], clips["split"]),
        "shared_contrast_groups": shared(clips["contrast_group_id"], clips["split"]),
    }


def shared(column: pa.ChunkedArray, split: pa.ChunkedArray) -> int | None:
    """Values of ``column`` that stand in two splits or more; None where there are no splits or no values."""
    name, places = grouped(column), grouped(split)
    known = (name[0] >= 0) & (places[0] >= 0)
    if not known.any():
        return None
    pairs = np.sort(name[0][known] * places[1] + places[0][known])
    owners = pairs[np.diff(pairs, prepend=-1) > 0] // places[1]
    return len(np.unique(owners[1:][owners[1:] == owners[:-1]]))


def scenarios(clips: pa.Table) -> dict[str, Any]:
    """What became of contrast groups in the stage ``scenario``, by clips."""
    inside = clips.filter(pc.is_valid(clips["contrast_group_id"]))
    asked = inside.filter(pc.or_(pc.is_valid(inside["contrast_question"]), pc.is_valid(inside["scenario_reason"])))
    written = asked.num_rows - asked["contrast_question"].null_count
    return {
        "clips": written,
        "share": share(written, asked.num_rows),
        "plausible": mean(asked["scenario_plausible"]),
        "relevant": mean(asked["scenario_relevant"]),
        "neutral": mean(asked["text_neutral"]),
        "reasons": counts(asked["scenario_reason"]),
    }


def languages(clips: pa.Table) -> dict[str, Any]:
    """Of the text, and clips whose text is in another language than the corpus says."""
    both = clips.filter(pc.and_(pc.is_valid(clips["text_lang"]), pc.is_valid(clips["speech_lang"])))
    same = pc.equal(
        *(pc.utf8_lower(pc.replace_substring_regex(both[name], "[-_/].*", "")) for name in ("text_lang", "speech_lang"))
    )
    return {"texts": counts(clips["text_lang"]), "mismatches": both.num_rows - (pc.sum(same).as_py() or 0)}


def _most(found: dict[str, int]) -> dict[str, int]:
    """The largest, by size; what is left out is added up under ""."""
    order = sorted(found, key=lambda name: (-found[name], name))
    rest = sum(found[name] for name in order[MOST_NAMED:])
    return {name: found[name] for name in order[:MOST_NAMED]} | ({"": rest} if rest else {})
