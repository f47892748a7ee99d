"""The limits of a selection on whole columns: from caps, floors, shares and a target to the rows that go.

Each stratum's clips are put in order (``balance.ranked``), and the strata take turns in one queue: every stratum's
first clip, then every stratum's second, and so on, so that whatever is cut off its end is cut from the fullest strata.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen.errors import RunError
from datagen.quality.balance import Strata, dense, place_within, preference, ranked, stratify
from datagen.quality.contrast import ASPECTS
from datagen.quality.cues import CUE_RELATIONS
from datagen.quality.luck import draws, name_hashes
from datagen.quality.quotas import AtMost, Queue, solve
from datagen.quality.select_config import SelectConfig

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CAP, NEUTRAL, RELATION, TARGET = "select:cap", "select:neutral_share", "select:cue_relation", "select:target"
NO_LABEL, OTHER_EMOTION, NEUTRAL_EMOTION = range(3)  #: kinds of emotion, as far as a neutral share is concerned
UNKNOWN_RELATION = len(CUE_RELATIONS)  #: codes below are places in ``CUE_RELATIONS``
#: A cell is a kind of emotion and a relation, in one number.
_RELATIONS = len(CUE_RELATIONS) + 1
_CELLS = 3 * _RELATIONS


class Limits:
    """The limits of ``config`` over some rows of ``clips``; ``leave_out`` says which of them go."""

    def __init__(
        self,
        clips: pa.Table,
        rows: Ints,
        contrast: Ints,
        strata: Strata,
        rich: Floats,
        config: SelectConfig,
        kept_before: Bools,
        seed: int,
    ) -> None:
        self.config, self.strata, self.rows = config, strata, rows
        seconds = np.nan_to_num(_array(clips, "duration", pa.float64()), nan=0.0, posinf=0.0, neginf=0.0)
        self.ms = np.rint(np.maximum(seconds, 0) * 1000).astype(np.int64)
        self.emotion = _emotion_kinds(clips)
        self.relation = _relations(clips)
        hashes = name_hashes(clips["clip_id"].take(pa.array(rows)))
        key = preference(rich[rows], draws(hashes, seed), config.richness_power)
        order = ranked(strata.code[rows], contrast[rows], _manners(clips, rows), kept_before[rows], hashes, key, seed)
        self.ranked = rows[order]
        self.fixed = kept_before
        self.limits = self._limits()

    def leave_out(self) -> dict[str, Ints]:
        """Reason -> rows that go for it."""
        gone: dict[str, list[Ints]] = {CAP: [], NEUTRAL: [], RELATION: [], TARGET: []}
        self._refuse_all_neutral()
        left = self.ranked
        while True:
            stays = self._once(left, gone)
            # What the shares took may have moved the median, and with it the cap.
            if self.config.max_over_median is None or len(stays) == len(left):
                return {name: np.concatenate([np.zeros(0, np.int64), *parts]) for name, parts in gone.items()}
            left = stays

    def _once(self, left: Ints, gone: dict[str, list[Ints]]) -> Ints:
        """Apply cap, shares and target to rows in rank order; what stays, in rank order."""
        if self.config.max_per_stratum is not None or self.config.max_over_median is not None:
            # Shares first: a place in a stratum is not wasted on a clip that would go anyway.
            left = self._cut(left, None, gone)
            turn = self._neutral_later(left)
            over = np.empty(len(left), bool)
            over[turn] = place_within(self.strata.code[left[turn]]) >= self._cap(left)
            over &= ~self.fixed[left]
            gone[CAP].append(left[over])
            left = left[~over]
        return self._cut(left, self._target(), gone)

    def _cap(self, left: Ints) -> float:
        """Most clips of one stratum."""
        config = self.config
        cap = math.inf if config.max_per_stratum is None else config.max_per_stratum
        if config.max_over_median is None or not len(left):
            return cap
        counts, fixed = (np.bincount(self.strata.code[some]) for some in (left, left[self.fixed[left]]))
        fixed = np.pad(fixed, (0, len(counts) - len(fixed)))
        before = None
        while cap != before:  # a cap moves the median, and that the cap: on counts, so that rows are cut once
            before = cap
            # The median over clips, not over strata: a hundred strata of a few clips each (a language misheard, a small
            # corpus beside a large one) would else decide how much of the large ones may stay.
            sizes = np.sort(counts)
            median = sizes[np.searchsorted(np.cumsum(sizes), (int(sizes.sum()) + 1) // 2)]
            cap = min(cap, max(math.ceil(config.max_over_median * median - 1e-9), config.min_per_stratum or 1))
            counts = np.maximum(np.minimum(counts, int(min(cap, len(left)))), fixed)
        return cap

    def _target(self) -> int | None:
        if self.config.target_hours is not None:
            return round(self.config.target_hours * 3_600_000)
        return self.config.target_clips

    def _cut(self, left: Ints, target: int | None, gone: dict[str, list[Ints]]) -> Ints:
        """Apply shares and target to rows in rank order; what stays, in rank order."""
        if not self.limits and target is None:
            return left
        cell = self._cells(left)
        protected = self.fixed[left].copy()
        if self.config.min_per_stratum is not None:
            # Counted for each cell of a stratum: what one limit could cut, whatever else the stratum holds.
            _, within = dense(self.strata.code[left] * _CELLS + cell)
            protected |= place_within(within) < self.config.min_per_stratum
        turn = np.lexsort((np.arange(len(left)), place_within(self.strata.code[left]), ~self._reserved(left, target)))
        size = self.ms[left] if self.config.target_hours is not None else np.ones(len(left), np.int64)
        queue = Queue(cell[turn], _CELLS, protected[turn], size[turn])
        solution = solve(queue, self.limits, target)
        for number, name in enumerate([*(limit.reason for limit in self.limits), TARGET]):
            gone[name].append(left[turn[solution.limit == number]])
        stays = np.zeros(len(left), bool)
        stays[turn] = solution.limit < 0
        return left[stays]

    def _neutral_later(self, left: Ints) -> Ints:
        """Order in which a cap takes rows: in a stratum of several emotions each neutral clip waits for so many others
        that what is ahead of it keeps to the neutral share, or a cap would fill with what the share then takes out."""
        share = self.config.max_neutral_share
        if share is None or share >= 1:
            return np.arange(len(left))
        stratum, kind = self.strata.code[left], self.emotion[left]
        position = np.arange(len(left), dtype=np.float64)
        neutral, others = np.flatnonzero(kind == NEUTRAL_EMOTION), np.flatnonzero(kind == OTHER_EMOTION)
        others = others[np.argsort(stratum[others], kind="stable")]
        count = np.bincount(stratum[others], minlength=len(self.strata.names))
        awaited = np.ceil((place_within(stratum[neutral]) + 1) * (1 - share) / share - 1e-9).astype(np.int64)
        own = stratum[neutral]
        there = awaited <= count[own]
        behind = others[(np.cumsum(count) - count)[own[there]] + awaited[there] - 1]
        position[neutral[~there]] = np.inf
        position[neutral[there]] = np.maximum(position[neutral[there]], behind + 0.5)
        return np.lexsort((np.arange(len(left)), position))

    def _reserved(self, left: Ints, target: int | None) -> Bools:
        """First in the queue: as much of each relation as its least share of the target."""
        found = np.zeros(len(left), bool)
        if target is None:
            return found
        size = self.ms[left] if self.config.target_hours is not None else np.ones(len(left), np.int64)
        place = place_within(self.strata.code[left])
        for name, share in self.config.cue_relation.shares.items():
            if share.min is not None:
                own = np.flatnonzero(self.relation[left] == CUE_RELATIONS.index(name))
                own = own[np.lexsort((own, place[own]))]
                ahead = np.cumsum(size[own]) - size[own]
                found[own[ahead < share.min * target - 1e-9]] = True
        return found

    # -- cells: what kinds of clips the limits tell apart --------------------------------------------------------

    def _cells(self, rows: Ints) -> Ints:
        """Emotion kind and relation in one number; what no limit asks for is not told apart."""
        emotion = self.emotion[rows] if self.config.max_neutral_share is not None else np.zeros(len(rows), np.int64)
        asked = any(share.max is not None for share in self.config.cue_relation.shares.values())
        relation = self.relation[rows] if asked else np.full(len(rows), UNKNOWN_RELATION)
        return np.asarray(emotion * _RELATIONS + relation)

    def _limits(self) -> list[AtMost]:
        found = []
        share = self.config.max_neutral_share
        if share is not None and share < 1:
            found.append(AtMost(NEUTRAL, _of_emotion(NEUTRAL_EMOTION), _of_emotion(OTHER_EMOTION), share))
        largest = {n: s.max for n, s in self.config.cue_relation.shares.items() if s.max is not None}
        if largest and self._enforceable(largest):
            for name, most in largest.items():
                own = CUE_RELATIONS.index(name)
                others = [cell for r in range(UNKNOWN_RELATION) if r != own for cell in _of_relation(r)]
                found.append(AtMost(RELATION, _of_relation(own), tuple(others), most, to_the_clip=True))
        return found

    def _enforceable(self, largest: dict[str, float]) -> bool:
        """Largest shares of all the relations there are must reach 1, or only the empty set would satisfy them."""
        met = [CUE_RELATIONS[r] for r in np.unique(self.relation[self.rows]).tolist() if r < UNKNOWN_RELATION]
        return sum(largest.get(name, 1.0) for name in met) > 1 - 1e-9

    def _refuse_all_neutral(self) -> None:
        share, kind = self.config.max_neutral_share, self.emotion[self.rows]
        neutral = kind == NEUTRAL_EMOTION
        if share is None or share >= 1 or not neutral.any() or (kind == OTHER_EMOTION).any():
            return
        if self.config.min_per_stratum is None and not self.fixed[self.rows[neutral]].any():
            raise RunError(
                f"select.max_neutral_share is {share:g}, but all {int(neutral.sum())} clips with an emotion are "
                "neutral: none of them could be kept. Leave the setting out, or add clips with other emotions"
            )


def _of_emotion(kind: int) -> tuple[int, ...]:
    return tuple(cell for cell in range(_CELLS) if cell // _RELATIONS == kind)


def _of_relation(relation: int) -> tuple[int, ...]:
    return tuple(cell for cell in range(_CELLS) if cell % _RELATIONS == relation)


def _emotion_kinds(clips: pa.Table) -> Ints:
    emotion = clips["emotion"]
    neutral = pc.fill_null(pc.equal(emotion, "neutral"), False).to_numpy()
    kind = np.where(neutral, NEUTRAL_EMOTION, OTHER_EMOTION)
    return np.where(pc.is_null(emotion).to_numpy(), NO_LABEL, kind).astype(np.int64)


def _relations(clips: pa.Table) -> Ints:
    """Place in ``CUE_RELATIONS``, or ``UNKNOWN_RELATION``."""
    if "cue_relation" not in clips.column_names:
        return np.full(clips.num_rows, UNKNOWN_RELATION, np.int64)
    place = pc.index_in(clips["cue_relation"], pa.array(CUE_RELATIONS, pa.string()))
    return np.asarray(pc.fill_null(place, UNKNOWN_RELATION).to_numpy().astype(np.int64))


def _manners(clips: pa.Table, rows: Ints) -> Ints:
    """A number per way of saying something: equal in all that makes a contrast."""
    aspects = clips.select([name for name in ASPECTS if name in clips.column_names])
    return stratify(aspects.take(pa.array(rows)), tuple(ASPECTS)).code


def _array(clips: pa.Table, name: str, kind: pa.DataType) -> Floats:
    return np.asarray(pc.cast(clips[name], kind).to_numpy().astype(np.float64))
