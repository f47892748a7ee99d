"""What is really the same and may go: equal sound, copies of one recording, needless repeats of one take.

Three levels, from the surest to the mildest, on a table of clips:

- ``content``: the samples are equal.
- ``acoustic``: a re-encoded, re-sampled, louder or slightly re-cut copy (``quality/fingerprint.py``).
- ``semantic``: near-same words by one speaker with the same emotion, arousal band and style, *and* spoken alike as
  far as pitch, loudness, speed and length tell. Labels may be wrong, so labels alone never make two takes equal;
  what was not measured cannot be alike.

On every level the rule is the same: go through the clips from the best to the worst; a clip goes when enough better
ones that stay are its equals. So the result depends neither on the order of rows nor on shards, exactly one of a
group of copies survives, and a second pass finds nothing more to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.components import number
from datagen.quality.fingerprint import same_recordings, unpack

CONTENT, ACOUSTIC, SEMANTIC = "duplicate:content", "duplicate:acoustic", "duplicate:semantic"

#: In words, for the report: which of several equals is kept.
RANKING = (
    "kept before",
    "has an emotion label, gold before requested before pseudo",
    "speaker known",
    "larger label margin (a gold label has none and counts as certain)",
    "more of its transcript has word times",
    "better signal-to-noise ratio",
    "longer",
    "smaller clip_id",
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dedup:
    """Fate of every row: ``reason`` None = stays, else one of the reasons and the row it equals."""

    reason: list[str | None]
    dup_of: list[int | None]

    @property
    def stays(self) -> npt.NDArray[np.bool_]:
        return np.array([reason is None for reason in self.reason], bool)


def floats(table: pa.Table, column: str) -> Floats:
    """A number column as float64, NaN for null."""
    return np.asarray(pc.cast(table[column], pa.float64()).to_numpy().astype(np.float64))


def word_coverage(words: pa.ChunkedArray) -> Floats:
    """Share of each row's words that have a start and an end, 0 where there are none."""
    shares = []
    for row in words.to_pylist():
        timed = sum(1 for word in row or () if word["start"] is not None and word["end"] is not None)
        shares.append(timed / len(row) if row else 0.0)
    return np.array(shares, np.float64)


def ranking(clips: pa.Table, kept_before: npt.NDArray[np.bool_]) -> Ints:
    """Rows from the best to the worst by ``RANKING``. Measured values are rounded first: noise decides nothing."""
    source = {"gold": 0, "requested": 1, "pseudo": 2}
    labels = zip(clips["emotion"].to_pylist(), clips["label_source"].to_pylist(), strict=True)
    label = np.array([3 if emotion is None else source.get(origin or "", 2) for emotion, origin in labels])
    margin = np.where(label == 0, 1.0, np.nan_to_num(floats(clips, "emotion_margin"), nan=0.0))
    snr = np.nan_to_num(floats(clips, "snr_db"), nan=-99.0)
    clip_ids = clips["clip_id"].to_pylist()
    by_id = np.empty(len(clip_ids), np.int64)
    by_id[sorted(range(len(clip_ids)), key=clip_ids.__getitem__)] = np.arange(len(clip_ids))
    keys = (  # np.lexsort: the last key decides first
        by_id,
        -np.round(np.nan_to_num(floats(clips, "duration")), 2),
        -np.round(snr),
        -np.round(word_coverage(clips["words"]), 1),
        -np.round(margin, 2),
        clips["speaker"].is_null().to_numpy(),
        label,
        ~kept_before,
    )
    return np.asarray(np.lexsort(keys))


def content_copies(clips: pa.Table, order: Ints) -> dict[int, int]:
    """Row -> the better row with equal samples (``audio_hash``)."""
    best: dict[str, int] = {}
    copies: dict[int, int] = {}
    hashes = clips["audio_hash"].to_pylist()
    for row in order.tolist():
        if hashes[row] is not None and best.setdefault(hashes[row], row) != row:
            copies[row] = best[hashes[row]]
    return copies


def acoustic_copies(prints: pa.ChunkedArray, order: Ints) -> dict[int, int]:
    """Row -> the better row that holds the same recording; only rows named in ``order`` are looked at.

    A copy goes only when it matches a row that stays, not another copy: nothing goes through a chain.
    """
    packed = prints.to_pylist()
    words = {row: unpack(packed[row]) for row in order.tolist()}
    copies: dict[int, int] = {}
    while True:
        left = [row for row in order.tolist() if row not in copies]
        matches: dict[int, list[int]] = {}
        for better, worse in sorted(same_recordings([words[row] for row in left])):
            matches.setdefault(left[worse], []).append(left[better])
        found: dict[int, int] = {}
        for row in left:
            stay = [better for better in matches.get(row, ()) if better not in found]
            if stay:
                found[row] = stay[0]
        if not found:
            return copies
        copies |= found  # fewer clips share a word now, so a pair that was not compared may be


@dataclass(frozen=True)
class Alike:
    """How far apart two takes may be and still count as spoken alike."""

    f0_st: float  #: median pitch, semitones
    f0_range_st: float  #: pitch range, semitones
    level_db: float
    rate: float  #: speaking rate, as a share
    duration: float  #: as a share


def delivery(clips: pa.Table, alike: Alike) -> Floats:
    """``(rows, 5)`` in units of the tolerance: two rows are alike when no coordinate differs by more than 1.

    NaN where something was not measured; NaN is alike to nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = (
            12 * np.log2(floats(clips, "f0_median_hz")) / alike.f0_st,
            floats(clips, "f0_range_st") / alike.f0_range_st,
            floats(clips, "level_dbfs") / alike.level_db,
            np.log(floats(clips, "rate_syl_s")) / np.log1p(alike.rate),
            np.log(floats(clips, "duration")) / np.log1p(alike.duration),
        )
    return np.stack(columns, axis=1)


def semantic_repeats(
    clips: pa.Table,
    clusters: list[str | None],
    near: set[tuple[str, str]],
    order: Ints,
    keep_per_cell: int,
    alike: Alike,
) -> dict[int, int]:
    """Row -> the best take it repeats; only rows named in ``order`` are looked at.

    Args:
        clusters: text cluster per row; null rows repeat nothing.
        near: pairs of different text keys that say nearly the same.
        keep_per_cell: how many takes alike stay.

    A cell is speaker x emotion x arousal band x style; an unknown speaker is one per recording.
    """
    speakers = clips["speaker"].to_pylist()
    recordings = clips["recording_id"].to_pylist()
    # A tuple, so that no speaker's name can be mistaken for a recording.
    who = [(name, None if name is not None else home) for name, home in zip(speakers, recordings, strict=True)]
    aspects = [clips[name].to_pylist() for name in ("emotion", "arousal_level", "style")]
    cell = number(list(zip(who, clusters, *aspects, strict=True)))
    keys = clips["text_key"].to_pylist()
    spoken = delivery(clips, alike)
    members: dict[int, list[int]] = {}
    for row in order.tolist():
        if clusters[row] is not None:
            members.setdefault(int(cell[row]), []).append(row)
    repeats: dict[int, int] = {}
    for rows in members.values():
        if len(rows) <= keep_per_cell:
            continue
        kept: list[int] = []
        for row in rows:
            close = np.all(np.abs(spoken[kept] - spoken[row]) <= 1 + 1e-9, axis=1)
            takes = [
                other
                for other, is_close in zip(kept, close, strict=True)
                if is_close
                and (keys[other] == keys[row] or (min(keys[other], keys[row]), max(keys[other], keys[row])) in near)
            ]
            if len(takes) >= keep_per_cell:
                repeats[row] = takes[0]
            else:
                kept.append(row)
    return repeats


def decide(rows: int, levels: Mapping[str, Mapping[int, int]]) -> Dedup:
    """Put the levels together: the first level that names a row gives the reason; ``dup_of`` leads to a row that stays.

    A copy of a clip that a later level removes points at what that clip repeats.
    """
    reason: list[str | None] = [None] * rows
    target: list[int | None] = [None] * rows
    for name, found in levels.items():
        for row, better in found.items():
            if reason[row] is None:
                reason[row], target[row] = name, better
    for row in range(rows):
        end = target[row]
        while end is not None and (further := target[end]) is not None:
            end = further
        target[row] = end
    return Dedup(reason, target)
