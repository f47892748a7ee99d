"""Pairs worth a second look: what was removed and the clip it was taken to equal, with their texts and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MOST = 20  #: pairs shown of each kind, those with the smallest ids
LONGEST = 200  #: characters of a text or a name that are kept; they come from strangers and may be of any length
_COPIES = ("duplicate:content", "duplicate:acoustic")
_LABELS = ("emotion", "speaker")
_SHOWN = ("corpus", "speaker", "emotion", "duration")

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def examples(clips: pa.Table, written: pa.Table) -> dict[str, Any]:
    """``copies_with_other_labels``: how many copies of one recording bear another emotion or speaker than the kept
    one (one of the labels is wrong, and only a person can tell which); ``examples``: some of these pairs, and some
    of each reason to be removed.
    """
    rows = np.flatnonzero(pc.is_valid(written["dup_of"]).to_numpy())
    kept = _places(clips["clip_id"], written["dup_of"].take(pa.array(rows)))
    rows, kept = rows[kept >= 0], kept[kept >= 0]
    reason = written["drop_reason"].take(pa.array(rows)).combine_chunks()
    copies = pc.fill_null(pc.is_in(reason, pa.array(_COPIES)), False).to_numpy(zero_copy_only=False)
    labels = [_differ(clips[name], rows, kept) for name in _LABELS if name in clips.column_names]
    other = copies & np.any(labels, axis=0) if labels else np.zeros(len(rows), bool)
    shown = [_first(clips, rows, (pc.fill_null(pc.equal(reason, name), False)).to_numpy(zero_copy_only=False))
             for name in sorted(set(pc.unique(reason).to_pylist()) - {None})]  # fmt: skip
    return {
        "copies_with_other_labels": int(other.sum()),
        "examples": {
            "copies_with_other_labels": _told(clips, written, rows, kept, _first(clips, rows, other)),
            "removed_because_same": [pair for places in shown for pair in _told(clips, written, rows, kept, places)],
        },
    }


def _places(ids: pa.ChunkedArray, wanted: pa.ChunkedArray) -> Ints:
    """Row of each wanted id, -1 where there is none. The table that is searched holds the wanted ones only."""
    distinct = pc.unique(wanted)
    row_of = np.full(len(distinct) + 1, -1, np.int64)
    met = pc.index_in(ids, distinct)
    here = np.flatnonzero(pc.is_valid(met).to_numpy())
    row_of[met.take(pa.array(here)).to_numpy()] = here
    return np.asarray(row_of[pc.fill_null(pc.index_in(wanted, distinct), len(distinct)).to_numpy()])


def _differ(column: pa.ChunkedArray, rows: Ints, kept: Ints) -> Bools:
    """Where both are known and not the same."""
    unlike = pc.not_equal(column.take(pa.array(rows)), column.take(pa.array(kept)))
    return np.asarray(pc.fill_null(unlike, False).to_numpy(), bool)


def _first(clips: pa.Table, rows: Ints, chosen: Bools) -> Ints:
    """Places in ``rows`` of the chosen with the smallest clip ids, in their order."""
    places = np.flatnonzero(chosen)
    if not len(places):
        return places
    table = pa.table({"id": clips["clip_id"].take(pa.array(rows[places])), "place": places})
    first = pc.select_k_unstable(table, MOST, [("id", "ascending")])
    return np.asarray(table["place"].take(first).to_numpy())


def _told(clips: pa.Table, written: pa.Table, rows: Ints, kept: Ints, places: Ints) -> list[dict[str, Any]]:
    """The pairs as plain values: ``removed`` and ``kept`` side by side."""
    why = written["dup_why"] if "dup_why" in written.column_names else pa.chunked_array([pa.nulls(len(written))])
    mine = pa.array(rows[places])
    heads = zip(*(column.take(mine).to_pylist() for column in (written["drop_reason"], why)), strict=True)
    sides = zip(_clips(clips, rows[places]), _clips(clips, kept[places]), strict=True)
    return [
        {"reason": reason, "kept_because": because, "removed": gone, "kept": stays}
        for (reason, because), (gone, stays) in zip(heads, sides, strict=True)
    ]


def _clips(clips: pa.Table, rows: Ints) -> list[dict[str, Any]]:
    names = [name for name in ("clip_id", *_SHOWN) if name in clips.column_names]
    shown: list[dict[str, Any]] = clips.select(names).take(pa.array(rows)).to_pylist()
    for row, text in zip(shown, _texts(clips, rows), strict=True):
        row["text"] = text
        row |= {name: value[:LONGEST] for name, value in row.items() if isinstance(value, str)}
    return shown


def _texts(clips: pa.Table, rows: Ints) -> list[str | None]:
    if "transcript" in clips.column_names:
        return list(clips["transcript"].take(pa.array(rows)).to_pylist())
    if "text_key" not in clips.column_names:
        return [None] * len(rows)
    keys = clips["text_key"].take(pa.array(rows)).to_pylist()
    return [key if key is None else key.partition("|")[2] for key in keys]  # "<language>|<text>"
