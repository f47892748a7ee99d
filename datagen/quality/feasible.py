"""What a selection will not be able to have, told before the run: from the corpora's labels, later from the clips.

Before anything is measured only what the corpora say is known, and lengths may be guesses; the sentences say so. Once
the stages before ``condense`` are done, its selection is tried on the real columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.errors import RunError
from datagen.quality import selection
from datagen.quality.cues import cue_relation
from datagen.quality.emotions import emotion_table
from datagen.quality.select_config import SelectConfig

_NAMED = 6  #: strata named in a sentence


@dataclass(frozen=True)
class Input:
    """What an input says of itself, but for what select leaves alone."""

    hours: float
    emotions: Mapping[tuple[str, str], int]  #: labels by (corpus, emotion)
    unlabelled: int  #: recordings that nobody gave an emotion


def look_at(sources: pa.Table, bytes_per_second: float, exempt: Sequence[str] = ()) -> Input:
    """Sum up ``tables.SOURCES`` but for the exempt corpora; lengths that are not announced are guessed from sizes."""
    sources = sources.filter(pc.invert(pc.is_in(sources["corpus"], pa.array(exempt, pa.string()))))
    guessed = pc.divide(pc.cast(sources["size_bytes"], pa.float64()), bytes_per_second)
    seconds = pc.fill_null(pc.coalesce(sources["seconds_hint"], guessed), 0.0).to_numpy()
    notes = sources["annotations"]
    whose = pc.list_parent_indices(notes)
    said = pc.list_flatten(notes)
    if isinstance(said, pa.ChunkedArray):
        said, whose = said.combine_chunks(), whose.combine_chunks()
    about = pc.fill_null(pc.and_(pc.equal(said.field("field"), "emotion"), pc.is_valid(said.field("value"))), False)
    owner = whose.filter(about)
    pairs = pa.table({"corpus": sources["corpus"].take(owner), "label": said.field("value").filter(about)})
    counted = pairs.group_by(["corpus", "label"]).aggregate([([], "count_all")])
    emotions: dict[tuple[str, str], int] = {}
    for row in counted.to_pylist():
        if (emotion := emotion_table().lookup(row["label"], row["corpus"])[1]) is not None:
            key = (row["corpus"] or "unknown", emotion)
            emotions[key] = emotions.get(key, 0) + row["count_all"]
    labelled = len(np.unique(owner.to_numpy(zero_copy_only=False)))
    milliseconds = np.rint(np.maximum(seconds, 0) * 1000).astype(np.int64)
    hours = int(milliseconds.sum()) / 3_600_000
    return Input(hours, dict(sorted(emotions.items())), sources.num_rows - labelled)


def demanding(config: SelectConfig) -> bool:
    """Whether the settings ask for anything that could be lacking; caps and gates only take away."""
    asked = (config.target_clips, config.target_hours, config.min_per_stratum, config.max_neutral_share)
    return any(value is not None for value in asked) or bool(config.cue_relation.shares)


def foresee(known: Input, config: SelectConfig) -> list[str]:
    """Sentences on what the input, by what it says of itself, has too little of."""
    found = []
    if config.target_hours is not None and known.hours < config.target_hours:
        found.append(
            f"select.target_hours is {config.target_hours:g}, but the input holds about {known.hours:.3g} h: whatever "
            "passes will be kept, and the target not be reached. Add recordings or lower it"
        )
    share = config.max_neutral_share
    labels = sum(known.emotions.values())
    neutral = sum(count for (_, emotion), count in known.emotions.items() if emotion == "neutral")
    if share is not None and share < 1 and labels and neutral == labels:
        floor = config.min_per_stratum
        left = "no clip with an emotion" if floor is None else f"no more than {floor} such clips of a stratum"
        found.append(
            f"select.max_neutral_share is {share:g}, but all {labels} emotions that the corpora give are neutral: "
            f"unless a model hears others, {left} could be kept. Leave the setting out, or add other emotions"
        )
    if config.min_per_stratum is None or not known.emotions or "emotion" not in config.strata:
        return found
    cells = _cells(known, by_corpus="corpus" in config.strata)
    few = {name: count for name, count in cells.items() if count < config.min_per_stratum}
    if few:
        heard = " (a model may hear more in the rest)" if known.unlabelled else ""
        found.append(
            f"select.min_per_stratum is {config.min_per_stratum}, but by the corpora's own labels there are fewer of "
            f"{_listed(few)}{heard}: such strata are kept whole"
        )
    least = sum(min(count, config.min_per_stratum) for count in cells.values())
    if config.target_clips is not None and least > config.target_clips:
        found.append(
            f"select.target_clips is {config.target_clips}, but min_per_stratum {config.min_per_stratum} alone keeps "
            f"about {least} clips of {len(cells)} strata: raise the target or lower the floor"
        )
    return found


def _cells(known: Input, *, by_corpus: bool) -> dict[str, int]:
    cells: dict[str, int] = {}
    for (corpus, emotion), count in known.emotions.items():
        name = f"{emotion}/{corpus}" if by_corpus else emotion
        cells[name] = cells.get(name, 0) + count
    return cells


def try_out(clips: pa.Table, config: SelectConfig, seed: int) -> list[str]:
    """Sentences on what the selection would lack if all these clips came to it (duplicates are still among them)."""
    rows = np.arange(clips.num_rows)
    none = np.zeros(clips.num_rows, bool)
    if "cue_relation" not in clips.column_names:
        clips = clips.append_column("cue_relation", cue_relation(clips))
    try:
        tried = selection.select(
            clips, rows, np.full(len(rows), -1), config, kept_before=none, seen_before=none, seed=seed
        )
    except RunError as error:
        return [str(error)]
    told = sentences(tried.shortfalls)
    if clips.num_rows and tried.reason.null_count == 0:
        reasons = Counter(tried.reason.to_pylist()).most_common()
        told.insert(0, "select would keep no clip: " + ", ".join(f"{name} removes {rows:,}" for name, rows in reasons))
    return told


def sentences(shortfalls: Sequence[Mapping[str, Any]]) -> list[str]:
    """``Selection.shortfalls`` for a person: one sentence per limit that was not met."""
    found, floors, floor = [], {}, ""
    for each in shortfalls:
        kind, about, wanted, has = (each[name] for name in ("kind", "stratum", "wanted", "has"))
        if kind == "min_per_stratum":
            floors[about], floor = int(has), _told(wanted)
            continue
        short, wanted, has = has < wanted, _told(wanted), _told(has)
        if kind in {"target_clips", "target_hours"} and short:
            found.append(f"select.{kind} is {wanted}, but only {has} pass: the target is not reached")
        elif kind in {"target_clips", "target_hours"}:
            found.append(
                f"select.{kind} is {wanted}, but floors and what was kept before hold {has}: the target is exceeded"
            )
        elif kind == "max_neutral_share":
            found.append(
                f"select.max_neutral_share is {wanted}, but floors and what was kept before leave a share of {has}"
            )
        elif kind == "cue_relation.min":
            found.append(f"select.cue_relation.{about}.min is {wanted}, but its share is only {has}")
        else:
            found.append(
                f"select.cue_relation.{about}.max is {wanted}, but its share stays at {has}: floors, what was kept "
                "before, or largest shares that do not add up to 1 forbid less"
            )
    if floors:
        found.append(f"select.min_per_stratum is {floor}, but there are fewer of {_listed(floors)}")
    return found


def _told(number: float) -> str:
    """``0.556``, ``200``, ``1,000,000``: no more digits than a person needs, and never an exponent."""
    return f"{number:,.3f}".rstrip("0").rstrip(".")


def _listed(counts: Mapping[str | None, int] | Mapping[str, int]) -> str:
    """The scarcest first: ``sad/emodb (3), happy/emodb (7) and 5 more``."""
    ordered = sorted(counts.items(), key=lambda item: (item[1], str(item[0])))
    named = ", ".join(f"{name} ({count})" for name, count in ordered[:_NAMED])
    return named + (f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else "")
