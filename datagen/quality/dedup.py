"""What is really the same and may go: equal sound, copies of one recording, needless repeats of one take.

Three levels, from the surest to the mildest, on a table of clips:

- ``content``: the samples are equal.
- ``acoustic``: a re-encoded, re-sampled, louder or slightly re-cut copy (``sound_group``, found by ``neighbours``).
- ``semantic``: near-same words by one speaker with the same emotion, arousal band and style, *and* spoken alike as
  far as pitch, loudness, speed, length and the audio embedding tell. Labels may be wrong, so labels alone never make
  two takes equal; what was not measured cannot be alike.

On every level the rule is the same: go through the clips from the best to the worst (``quality/ranking.py``); a clip
goes when enough better ones that stay are its equals. So the result depends neither on the order of rows nor on
shards, exactly one of a group of copies survives, and a second pass finds nothing more to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.components import combined, numbered
from datagen.quality.ranking import MERITS, Ranking, rank
from datagen.quality.takes import MEASURES, Alike, delivery, repeats
from datagen.quality.texts import text_id

LEVELS = CONTENT, ACOUSTIC, SEMANTIC = "duplicate:content", "duplicate:acoustic", "duplicate:semantic"

#: Besides the text cluster and who speaks: takes that differ in one of these are never compared. A null is a value of
#: its own, so a take without an audio embedding is alike to others without one only.
CELL = ("emotion", "arousal_level", "style", "voice_cluster")

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dedup:
    """What became of every row."""

    level: Ints  #: index into ``LEVELS``, -1 = stays
    of: Ints  #: the row it equals, which stays after dedup; -1 = none
    ranking: Ranking

    @property
    def stays(self) -> Bools:
        return np.asarray(self.level < 0)

    def reasons(self) -> pa.Array:
        return words(LEVELS, self.level)

    def why(self) -> pa.Array:
        """Per row that goes, the first of ``RANKING`` by which the kept one is better."""
        gone = np.flatnonzero(~self.stays)
        place = np.full(len(self.level), -1, np.int64)
        place[gone] = np.arange(len(gone))
        return _taken(self.ranking.why(self.of[gone], gone), place)


def columns(*, content: bool, acoustic: bool, semantic: bool) -> tuple[str, ...]:
    """Columns of clips that these levels look at, and those that tell which clip is kept and who says the same."""
    wanted = ["text_key", "text_cluster", "speaker", *MERITS]
    wanted += ["audio_hash"] * content + ["sound_group"] * acoustic
    wanted += ["recording_id", *CELL, *MEASURES] if semantic else []
    return tuple(dict.fromkeys(wanted))


def deduplicate(
    clips: pa.Table,
    cluster: Ints,
    kept_before: Bools,
    exempt: Bools,
    *,
    content: bool,
    acoustic: bool,
    keep_per_cell: int | None,
    alike: Alike,
) -> Dedup:
    """Decide all levels, one after the other, each among what the one before left.

    Args:
        clips: see ``columns``; ``sound_group`` null = no copy is known of.
        cluster: number of the text cluster per row, -1 = no words, no repeats.
        kept_before: per row; such clips come first, and are no repeats whatever arrives later (but two that turn out
            to be copies of one recording are still one too many).
        exempt: per row, of a corpus that is left whole: such a clip is no repeat, and of copies it is the one that
            stays. What a benchmark holds must not be trained on under another name.
        keep_per_cell: how many takes alike stay; None = no semantic level.
    """
    ranking = rank(clips, kept_before, exempt)
    level, of = np.full((2, clips.num_rows), -1, np.int64)
    for number, name in ((0, "audio_hash" if content else None), (1, "sound_group" if acoustic else None)):
        if name is not None:
            _settle(level, of, number, copies(numbered(clips[name]), ranking, level < 0))
    if keep_per_cell is not None:
        found = semantic_repeats(clips, cluster, ranking, level < 0, kept_before | exempt, keep_per_cell, alike)
        _settle(level, of, 2, found)
    while True:  # lead every row to one that stays: a copy of a repeat to what that repeats. Two rounds at most.
        onward = np.where(of >= 0, of[of], -1)
        if not (onward >= 0).any():
            return Dedup(level, of, ranking)
        of = np.where(onward >= 0, onward, of)


def copies(group: Ints, ranking: Ranking, stays: Bools) -> Ints:
    """Per row the best row of its group, -1 for that one itself, rows without a group (-1) and those that are gone."""
    rows = np.flatnonzero((group >= 0) & stays)
    best = np.full(int(group.max(initial=-1)) + 1, len(group), np.int64)
    np.minimum.at(best, group[rows], ranking.place[rows])
    found = np.full(len(group), -1, np.int64)
    worse = rows[ranking.place[rows] > best[group[rows]]]
    found[worse] = ranking.order[best[group[worse]]]
    return found


def semantic_repeats(
    clips: pa.Table, cluster: Ints, ranking: Ranking, stays: Bools, fixed: Bools, keep_per_cell: int, alike: Alike
) -> Ints:
    """Per row the best take that it repeats, or -1.

    A cell is text cluster x speaker x ``CELL``; an unknown speaker is one per recording.
    """
    found = np.full(clips.num_rows, -1, np.int64)
    rows = ranking.order[(stays & (cluster >= 0))[ranking.order]]  # the best first
    if not len(rows):
        return found
    speaker, recording = numbered(clips["speaker"]), numbered(clips["recording_id"])
    who = [speaker, np.where(speaker < 0, recording, -1)]
    cell = combined([cluster, *who, *(numbered(clips[name]) for name in CELL)])
    rows = rows[np.bincount(cell[rows])[cell[rows]] > keep_per_cell]  # few, as a rule
    spoken, measured = delivery(clips.select(MEASURES).take(pa.array(rows)), alike)
    rows = rows[measured]
    best = repeats(cell[rows], spoken[measured], fixed[rows], keep_per_cell)
    found[rows[best >= 0]] = rows[best[best >= 0]]
    return found


def text_clusters(clips: pa.Table) -> pa.ChunkedArray:
    """``text_cluster``; where nobody looked for near-same texts, the id of the words themselves. Null without words."""
    known = pc.or_(pc.is_valid(clips["text_cluster"]), pc.is_null(clips["text_key"]))
    if pc.all(known).as_py() in (True, None):
        return clips["text_cluster"]
    keys = clips["text_key"].combine_chunks().dictionary_encode()
    ids = pa.array([text_id(key) for key in keys.dictionary.to_pylist()], pa.string())
    return pc.coalesce(clips["text_cluster"], pa.chunked_array([ids.take(keys.indices)]))


def words(names: tuple[str, ...], number: Ints) -> pa.Array:
    """Names by their numbers; -1 = null."""
    return _taken(pa.array(names, pa.string()), number)


def _taken(values: pa.Array, place: Ints) -> pa.Array:
    return values.take(pa.array(place, mask=place < 0))


def _settle(level: Ints, of: Ints, number: int, found: Ints) -> None:
    gone = found >= 0
    level[gone], of[gone] = number, found[gone]
