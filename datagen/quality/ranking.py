"""Which of several equal clips is kept, and why: one order of merit for all levels of dedup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What decides, the first that differs; in the words that ``dup_why`` uses of the clip that is kept.
RANKING = (
    "of a corpus that is left whole",
    "kept before",
    "surer source of its emotion: gold before requested before pseudo before none",
    "speaker known",
    "larger label margin",
    "more of its words have times",
    "better signal-to-noise ratio",
    "longer",
    "smaller clip_id",
)
#: Columns of clips that ``rank`` looks at.
MERITS = ("clip_id", "emotion", "label_source", "emotion_margin", "speaker", "word_coverage", "snr_db", "duration")
#: How many bits of a merit each takes, but for the last, which is told by the place alone. Measured values are
#: rounded to what is worth a difference: 0.01 of margin, a tenth of the words, 1 dB, 10 ms.
_BITS = (1, 1, 2, 1, 7, 4, 8, 24)
_SHIFTS = tuple(sum(_BITS[number + 1 :]) for number in range(len(_BITS)))
_SOURCES = ("gold", "requested", "pseudo")


@dataclass(frozen=True)
class Ranking:
    """An order of all rows, the best first, that depends on each row alone."""

    merit: Ints  #: per row, all criteria but the id in one number; smaller is better
    order: Ints  #: rows from the best to the worst
    place: Ints  #: per row, its place in ``order``

    def why(self, better: Ints, worse: Ints) -> pa.Array:
        """For pairs of rows, the first of ``RANKING`` in which they differ (string)."""
        differ = self.merit[better] ^ self.merit[worse]
        first = np.full(len(differ), len(_BITS), np.int64)
        for number in reversed(range(len(_BITS))):
            first[differ >> _SHIFTS[number] > 0] = number
        return pa.array(RANKING, pa.string()).take(pa.array(first))


def rank(clips: pa.Table, kept_before: Bools, exempt: Bools) -> Ranking:
    """Order clips by ``RANKING``. What was not measured counts as the least; a gold label has margin 1.

    Args:
        clips: columns ``MERITS``; word_coverage 0..1, duration in seconds.
        kept_before, exempt: per row; exempt are clips of corpora that selection leaves whole.
    """
    source = pc.fill_null(pc.index_in(clips["label_source"], pa.array(_SOURCES)), len(_SOURCES) - 1).to_numpy()
    source = np.where(clips["emotion"].is_null().to_numpy(), len(_SOURCES), source)
    margin = np.where(source == 0, 1.0, floats(clips, "emotion_margin"))
    criteria = (
        ~exempt,
        ~kept_before,
        source,
        clips["speaker"].is_null().to_numpy(),
        _least(-margin, -1.0, 0.0, 0.01),
        _least(-floats(clips, "word_coverage"), -1.0, 0.0, 0.1),
        _least(-floats(clips, "snr_db"), -155.0, 100.0, 1.0),
        _least(-floats(clips, "duration"), -100_000.0, 0.0, 0.01),
    )
    merit = np.zeros(clips.num_rows, np.int64)
    for values, shift in zip(criteria, _SHIFTS, strict=True):
        merit |= values.astype(np.int64) << shift
    by_id = pc.sort_indices(clips["clip_id"]).to_numpy().astype(np.int64)
    order = by_id[np.argsort(merit[by_id], kind="stable")]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Ranking(merit, order, place)


def floats(table: pa.Table, column: str) -> Floats:
    """A number column as float64, NaN for null."""
    return np.asarray(pc.cast(table[column], pa.float64()).to_numpy(), np.float64)


def _least(values: Floats, low: float, high: float, step: float) -> Ints:
    """Values in steps above ``low``; NaN is ``high``, which is the worst."""
    known = np.where(np.isnan(values), high, np.clip(values, low, high))
    return np.rint(known / step).astype(np.int64) - round(low / step)
