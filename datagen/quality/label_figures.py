"""How far the emotions of a set can be trusted: pseudo-labels by themselves, and against people where both are there.

Pure functions on a table with one row per clip; a column that nobody wrote is null throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen.quality.figures import correlation, counts, groups, mean, share, values

COLUMNS = (
    "corpus", "emotion", "label_source", "emotion_predicted", "emotion_scores", "emotion_margin", "gold_agreement",
    "affect_agreement", "valence", "text_sentiment", "text_emotion_score",
)  # fmt: skip
#: A pseudo-label whose best score is at least this counts as sure.
SURE = 0.6
BINS = 15  #: of equal width, for the calibration error
_FEW = 30  #: clips below which a calibration error or a correlation says nothing
_SIGN = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}


def summary(clips: pa.Table) -> dict[str, Any]:
    """Sources of the labels, pseudo-labels, agreement with the corpus's labels, and how much valence is text."""
    pseudo = clips.filter(pc.equal(clips["label_source"], "pseudo"))
    margins = values(pseudo["emotion_margin"])
    quantiles = np.quantile(margins, (0.1, 0.5, 0.9)) if len(margins) else ()
    return {
        "sources": counts(clips["label_source"]),
        "unlabelled": clips["emotion"].null_count,
        "pseudo": {
            "clips": pseudo.num_rows,
            "margin": mean(pseudo["emotion_margin"]),
            "margin_quantiles": dict(
                zip(("p10", "p50", "p90"), [round(float(each), 4) for each in quantiles], strict=False)
            ),
            "affect_agreement": _agreement(pseudo),
        },
        "affect_agreement": _agreement(clips),
        "gold": _gold(clips) | {"corpora": {name: _gold(part) for name, part in groups(clips, "corpus").items()}},
        "valence_and_text": {
            "r": text_valence(clips),
            "corpora": {name: text_valence(part) for name, part in groups(clips, "corpus").items()},
        },
    }


def _agreement(clips: pa.Table) -> dict[str, Any]:
    found = counts(clips["affect_agreement"])
    return {**found, "conflict_share": share(found.get("conflict", 0), sum(found.values()))}


def _gold(clips: pa.Table) -> dict[str, Any]:
    """The model's first choice against the corpus's label, where both are known.

    ``precision`` and ``ece`` are over all of them, ``sure_precision`` over those of ``SURE``, which are
    ``sure_coverage`` of them.
    """
    both = clips.filter(pc.and_(pc.equal(clips["label_source"], "gold"), pc.is_valid(clips["gold_agreement"])))
    right = pc.fill_null(both["gold_agreement"], False).to_numpy().astype(np.float64)
    best = _best(both["emotion_scores"])
    known = ~np.isnan(best)
    sure = known & (best >= SURE)
    return {
        "clips": both.num_rows,
        "precision": mean(both["gold_agreement"].cast(pa.int8())),
        "ece": calibration_error(best[known], right[known]),
        "sure_precision": share(float(right[sure].sum()), int(sure.sum())),
        "sure_coverage": share(int(sure.sum()), int(known.sum())),
    }


def _best(scores: pa.ChunkedArray) -> NDArray[np.float64]:
    """The highest score of each row; NaN where there are none."""
    found = np.full(len(scores), np.nan)
    row = 0
    for chunk in scores.chunks:
        parent = pc.list_parent_indices(chunk).to_numpy()
        each = pc.struct_field(pc.list_flatten(chunk), "score")
        numbers = pc.fill_null(each.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
        part = np.full(len(chunk), -np.inf)
        np.fmax.at(part, parent, numbers)
        found[row : row + len(chunk)] = np.where(np.isfinite(part), part, np.nan)
        row += len(chunk)
    return found


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> float | None:
    """Expected calibration error, 0..1: |confidence - accuracy| over ``BINS`` bins of equal width, weighted by their
    size (Guo et al. 2017, ICML, section 2). None of fewer than thirty.
    """
    if len(confidence) < _FEW:
        return None
    place = np.minimum((np.clip(confidence, 0, 1) * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(place, confidence, BINS) - np.bincount(place, right, BINS))
    return round(float(gaps.sum()) / len(confidence), 4)


def text_valence(clips: pa.Table) -> float | None:
    """Pearson's r of the voice's valence and the words' (sentiment times its score): what a model of valence may have
    read off the words. None of fewer than thirty.
    """
    sign = pc.index_in(clips["text_sentiment"], pa.array(list(_SIGN)))
    signs = pa.array(list(_SIGN.values())).take(sign.combine_chunks())
    told = pc.multiply(pa.chunked_array([signs]), pc.coalesce(clips["text_emotion_score"], pa.scalar(1.0)))
    known = pc.sum(pc.and_(pc.is_valid(told), pc.is_valid(clips["valence"]))).as_py() or 0
    return correlation(told, clips["valence"]) if known >= _FEW else None
