"""What condensation did to a set, in figures: the artifact of ``condense``, from which its report is drawn.

Three states are compared: ``before`` (all clips), ``deduplicated`` (without copies and repeats) and ``after`` (what
select kept). All figures are sums over whole columns: the order of rows changes none, and what is stored stays small
however many clips there are. Clips are counted exactly; seconds are added as whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality import removed_pairs
from datagen.quality.distributions import (
    DECIMALS,
    Codes,
    Floats,
    Ints,
    bias_corrected_v,
    codes,
    grouped,
    max_min_ratio,
    normalised_entropy,
)
from datagen.quality.planes import histograms
from datagen.quality.states import STATES, Bytes, by_state, hours, levels, share

#: Columns of clips that are looked at where they are there; ``clip_id`` and ``duration`` must be.
COLUMNS = (
    "corpus", "speaker", "sex", "speech_lang", "emotion", "label_source", "arousal", "valence", "arousal_level",
    "valence_level", "text_cluster", "text_key",
)  # fmt: skip
#: Of what there may be thousands, so many are named, the most frequent first; the others are added up.
MOST_NAMED = {"stratum": 40, "corpus": 20, "speech_lang": 20}
MOST_SHORTFALLS = 40


class Chosen(Protocol):
    """What the report shows of a selection (``quality/selection.py``)."""

    @property
    def gates(self) -> Mapping[str, Any]: ...
    @property
    def shortfalls(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def solved(self) -> Mapping[str, Any]: ...


def figures(
    clips: pa.Table,
    written: pa.Table,
    *,
    selection: Chosen | None = None,
    previous: pa.Table | None = None,
    ranking: Sequence[str] = (),
) -> dict[str, Any]:
    """The figures of one condensation, JSON-able.

    Args:
        clips: ``clip_id``, ``duration`` (seconds) and any of ``COLUMNS``.
        written: ``tables.CONDENSE`` of the same rows. A ``drop_reason`` that begins with ``duplicate:`` is a copy's.
        selection: what select says of itself: what its gates removed, which strata lack data.
        previous: ``clip_id`` and ``tables.CONDENSE`` of the last commit; rows that it had not seen are null.
        ranking: in words, which of several equals is kept.

    Returns:
        ``before``, ``deduplicated``, ``after``: one number per measure. ``distributions``: per column a list of
        names with clips and hours in each state. ``dropped``, ``dropped_hours``: by reason. ``plane``, ``arousal``,
        ``richness``: histograms. ``contrast``, ``gates``, ``shortfalls``, ``change``, ``examples``.
    """
    level = levels(written["drop_reason"])
    seconds = np.array(pc.cast(clips["duration"], pa.float64()).to_numpy(), np.float64)
    seconds[~np.isfinite(seconds)] = 0.0
    milliseconds = np.rint(seconds * 1000)
    reason = codes(written["drop_reason"])
    removed = reason.code >= 0
    clips_by, hours_by = (np.bincount(reason.code[removed], weight, len(reason.names))
                          for weight in (None, milliseconds[removed]))  # fmt: skip
    columns = _columns(clips, written)
    found: dict[str, Any] = {
        **_measures(clips, columns, _mean_richness(written, level), level, milliseconds),
        "distributions": {
            name: _distribution(columns[name], level, milliseconds, MOST_NAMED.get(name, len(columns[name].names)))
            for name in ("emotion", "sex", "corpus", "speech_lang", "label_source", "cue_relation", "stratum")
            if name in columns
        },
        "dropped": dict(zip(reason.names, clips_by.astype(int).tolist(), strict=True)),
        "dropped_hours": dict(zip(reason.names, map(hours, hours_by), strict=True)),
        "kept_of_equals": list(ranking),
        "kept_because": _counted(written["dup_why"]) if "dup_why" in written.column_names else {},
        "contrast": _contrast(written),
        **histograms(clips, written, columns.get("emotion"), level),
        **removed_pairs.examples(clips, written),
    }
    if selection is not None:
        found["gates"] = dict(selection.gates)
        found["solved"] = dict(selection.solved)
        found["shortfalls"] = [dict(each) for each in selection.shortfalls[:MOST_SHORTFALLS]]
        found["shortfalls_in_all"] = len(selection.shortfalls)
    if previous is not None:
        found["change"] = change(clips["clip_id"], written, previous)
    return found


def _columns(clips: pa.Table, written: pa.Table) -> dict[str, Codes]:
    """The columns of words to compare by; those that hold nothing are left out."""
    names = ("emotion", "sex", "corpus", "speech_lang", "label_source")
    sources = {name: column for name in names if (column := _filled(clips, name)) is not None}
    for name in ("cue_relation", "stratum"):
        if (column := _filled(written, name)) is not None:
            sources[name] = column
    return {name: codes(column) for name, column in sources.items()}


def _filled(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    """A column that is there and not null throughout."""
    return table[name] if name in table.column_names and table[name].null_count < table.num_rows else None


def _measures(
    clips: pa.Table,
    columns: Mapping[str, Codes],
    richness: list[float | None],
    level: Bytes,
    milliseconds: Floats,
) -> dict[str, dict[str, Any]]:
    """One number per measure and state. Entropy is over the classes there were before: one that is lost counts."""
    rows = by_state(np.zeros(len(level), np.int64), 1, level)[0]
    spent = by_state(np.zeros(len(level), np.int64), 1, level, milliseconds)[0]
    sizes = {name: by_state(columns[name].code, len(columns[name].names), level)
             for name in ("emotion", "stratum") if name in columns}  # fmt: skip
    crossed = {
        other: _crossed(columns["emotion"], columns[other], level)
        for other in ("sex", "corpus")
        if "emotion" in columns and other in columns
    }
    speakers, contrast = _speakers(clips, level), _contrasting(clips, columns.get("emotion"), level)
    measures: dict[str, dict[str, Any]] = {}
    for state, name in enumerate(STATES):
        told: dict[str, Any] = {"clips": int(rows[state]), "hours": hours(spent[state])}
        if speakers is not None:
            told["speakers"] = speakers[state]
        if "emotion" in sizes:
            size = sizes["emotion"][:, state].astype(np.float64)
            names = columns["emotion"].names
            neutral = int(size[names.index("neutral")]) if "neutral" in names else 0
            told["labelled"] = int(size.sum())
            told["emotion_evenness"] = normalised_entropy(size) if len(size) > 1 and size.sum() else None
            told["neutral_share"] = share(neutral, int(size.sum()))
        if "stratum" in sizes:
            size = sizes["stratum"][:, state].astype(np.float64)
            told["strata"] = int((size > 0).sum())
            told["stratum_evenness"] = normalised_entropy(size) if len(size) > 1 and size.sum() else None
            told["stratum_max_min_ratio"] = max_min_ratio(size[size > 0])
        for other, table in crossed.items():
            told[f"emotion_{other}_cramers_v"] = bias_corrected_v(table[:, :, state])
        if contrast is not None:
            told["texts_in_several_emotions"] = contrast[state]
        if richness[state] is not None:
            told["richness"] = richness[state]
        measures[name] = told
    return measures


def _crossed(first: Codes, second: Codes, level: Bytes) -> Ints:
    """Contingency tables ``(first, second, state)`` of two columns."""
    shape = len(first.names), len(second.names)
    both = np.where((first.code >= 0) & (second.code >= 0), first.code * shape[1] + second.code, -1)
    return by_state(both, shape[0] * shape[1], level).reshape(*shape, 3)


def _speakers(clips: pa.Table, level: Bytes) -> list[int] | None:
    """Named speakers per state; None where nobody has a name."""
    if (column := _filled(clips, "speaker")) is None:
        return None
    return [int(number) for number in (by_state(*grouped(column), level) > 0).sum(axis=0)]


def _contrasting(clips: pa.Table, emotion: Codes | None, level: Bytes) -> list[int] | None:
    """Per state: texts there in at least two emotions. Dedup lowers it only where a copy bore another label."""
    column = _filled(clips, "text_cluster")
    if column is None:
        column = _filled(clips, "text_key")  # exact words, where nobody looked for near ones
    if emotion is None or column is None:
        return None
    text, _ = grouped(column)
    said = np.where((text >= 0) & (emotion.code >= 0), text * len(emotion.names) + emotion.code, -1)
    found = []
    for state in range(3):
        ways = np.sort(said[(said >= 0) & (level >= state)])  # not np.unique, which hashes: three times as long
        texts = ways[np.diff(ways, prepend=-1) > 0] // len(emotion.names)  # one row per text and emotion
        several = texts[1:][texts[1:] == texts[:-1]]
        found.append(int((np.diff(several, prepend=-1) > 0).sum()))
    return found


def _mean_richness(written: pa.Table, level: Bytes) -> list[float | None]:
    if "richness" not in written.column_names:
        return [None] * 3
    value = pc.cast(written["richness"], pa.float64()).to_numpy()
    known = np.isfinite(value)
    millionths = np.rint(np.where(known, value, 0) * 1e6)
    code = np.where(known, 0, -1)
    sums, rows = by_state(code, 1, level, millionths)[0], by_state(code, 1, level)[0]
    return [round(int(total) / int(n) / 1e6, DECIMALS) if n else None for total, n in zip(sums, rows, strict=True)]


def _distribution(column: Codes, level: Bytes, milliseconds: Floats, most: int) -> list[dict[str, Any]]:
    """Rows ``name`` (None = null), ``clips`` and ``hours`` per state, the most frequent first, nulls last.

    What is not named stands in a row of its own before the nulls, with ``others``: how many it stands for.
    """
    size = len(column.names)
    code = np.where(column.code < 0, size, column.code)
    clips, spent = by_state(code, size + 1, level), by_state(code, size + 1, level, milliseconds)
    order = np.lexsort((np.arange(size), -clips[:size, 0]))

    def row(name: str | None, places: Ints) -> dict[str, Any]:
        counted, took = clips[places].sum(axis=0), spent[places].sum(axis=0)
        return {
            "name": name if name is None else name[: removed_pairs.LONGEST],
            "clips": dict(zip(STATES, counted.tolist(), strict=True)),
            "hours": dict(zip(STATES, map(hours, took), strict=True)),
        }

    rows = [row(column.names[place], np.array([place])) for place in order[:most]]
    if size > most:
        rows.append(row("", order[most:]) | {"others": size - most})
    if clips[size, 0]:
        rows.append(row(None, np.array([size])))
    return rows


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    found = codes(column)
    counts = np.bincount(found.code[found.code >= 0], minlength=len(found.names))
    return dict(zip(found.names, counts.tolist(), strict=True))


def _contrast(written: pa.Table) -> dict[str, Any]:
    """Contrast groups among the clips that stay: how many, of which type, and the clips in them."""
    known = written.filter(pc.and_(pc.is_valid(written["contrast_group_id"]), pc.is_null(written["drop_reason"])))
    groups = known.select(["contrast_group_id", "contrast_type"]).group_by(["contrast_group_id", "contrast_type"])
    types = groups.aggregate([])["contrast_type"]
    return {
        "groups": pc.count_distinct(known["contrast_group_id"]).as_py(),
        "clips": known.num_rows,
        "groups_by_type": _counted(types),
        "clips_by_type": _counted(known["contrast_type"]),
    }


def change(clip_id: pa.ChunkedArray, written: pa.Table, previous: pa.Table) -> dict[str, Any]:
    """What became of an earlier selection: what stayed, what was added from new clips or old ones, what went and why.

    Rows that the earlier selection had not seen have no stratum there.
    """
    seen = previous.filter(pc.is_valid(previous["stratum"]))
    kept_ids = seen.filter(pc.is_null(seen["drop_reason"]))["clip_id"].combine_chunks()
    was_seen = pc.is_in(clip_id, seen["clip_id"].combine_chunks()).to_numpy()
    was_kept = pc.is_in(clip_id, kept_ids).to_numpy()
    stays = pc.is_null(written["drop_reason"]).to_numpy()
    return {
        "kept_before": len(kept_ids),
        "still_kept": int((was_kept & stays).sum()),
        "withdrawn": _counted(written["drop_reason"].filter(pa.array(was_kept & ~stays))),
        "no_longer_in_input": len(kept_ids) - int(was_kept.sum()),
        "new_clips": int((~was_seen).sum()),
        "added_of_new": int((~was_seen & stays).sum()),
        "added_of_dropped_before": int((was_seen & ~was_kept & stays).sum()),
    }
