"""What a trainer wants to know of a row besides its text: how hard it is, how far its label can be trusted, how long.

Pure functions on whole columns; a column that nobody wrote is null throughout.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen import tables
from datagen.quality.distributions import DECIMALS

#: From this judge score on, of 1..5, a candidate counts as passed.
GOOD = 4.0
BYTES_PER_TOKEN = 4
#: All that is shown to the trainee, and all that it is to say.
TEXTS = ("question", "metadata_context", "scenario", "reasoning", "answer", "response")
_LABELS = sorted({*tables.EMOTIONS, *tables.SENTIMENTS} - {"other"})

Floats = NDArray[np.float64]


def pass_rate(samples: pa.Table) -> pa.Array:
    """0..1 per row, null = not known: how often somebody got it right. 1 = easy, nothing to be learnt by reward.

    The first of these that is known: of responses the share of candidates that the judge scored ``GOOD`` or better
    (those the checks refused count as failed, those whose score could not be read do not count); of questions with a
    label how often the model was right that read the words but heard nothing (``blind_text_accuracy``); else the share
    of candidates that passed the checks.

    Columns ``task``, ``candidates``, ``judge_candidates``, ``blind_text_accuracy``.
    """
    sound, known = _per_row(samples["candidates"], "finding")
    checked = np.where(known > 0, sound / np.maximum(known, 1), np.nan)
    scores = samples["judge_candidates"].combine_chunks()
    good, scored = _scored(scores)
    failed = np.where(scored > 0, known - sound, 0)
    judged = np.where(scored > 0, good / np.maximum(scored + failed, 1), np.nan)
    is_response = pc.equal(samples["task"], "response").to_numpy(zero_copy_only=False)
    blind = pc.fill_null(samples["blind_text_accuracy"].cast(pa.float64()), float("nan")).to_numpy()
    rate = np.where(is_response & ~np.isnan(judged), judged, np.where(np.isnan(blind), checked, blind))
    return pa.array(np.round(rate, DECIMALS), pa.float64(), from_pandas=True)


def _per_row(column: pa.ChunkedArray, field: str) -> tuple[Floats, Floats]:
    """Of a list of structs per row: entries whose ``field`` is null, and entries in all."""
    lists = column.combine_chunks()
    rows = len(lists)
    parent = pc.list_parent_indices(lists).to_numpy()
    empty = pc.is_null(pc.struct_field(pc.list_flatten(lists), field)).to_numpy(zero_copy_only=False)
    return np.bincount(parent, empty, rows).astype(np.float64), np.bincount(parent, minlength=rows).astype(np.float64)


def _scored(lists: pa.Array) -> tuple[Floats, Floats]:
    """Candidates with at least ``GOOD``, and with any score."""
    rows = len(lists)
    parent = pc.list_parent_indices(lists).to_numpy()
    values = pc.fill_null(pc.list_flatten(lists).cast(pa.float64()), float("nan")).to_numpy()
    good, scored = values >= GOOD, ~np.isnan(values)
    return np.bincount(parent, good, rows).astype(np.float64), np.bincount(parent, scored, rows).astype(np.float64)


def reward_weight(samples: pa.Table) -> pa.Array:
    """0..1 per row: how far its label (an emotion or a sentiment) can be trusted; null where there is no such label.

    A person's label (gold) counts 1. Any other counts ``(1 + margin) / 2 * (3 + agreement) / 4``: the margin (0..1, of
    the best over the second best score; unknown = 0) bounds the share of the best of two, and the agreement (-1..1, of
    the category with arousal and valence; unknown = 0) takes at most half of it away. So it rises with both, and lies
    between 0.25 and 1. It orders labels; it is no probability.

    Columns ``answer_label``, ``label_source``, ``emotion_margin``, ``affect_agreement_score``.
    """
    margin = np.clip(_numbers(samples["emotion_margin"]), 0.0, 1.0)
    agreement = np.clip(_numbers(samples["affect_agreement_score"]), -1.0, 1.0)
    gold = pc.fill_null(pc.equal(samples["label_source"], "gold"), False).to_numpy()
    labelled = pc.is_in(samples["answer_label"], pa.array(_LABELS)).to_numpy()
    weight = np.where(gold, 1.0, (1 + margin) / 2 * (3 + agreement) / 4)
    return pa.array(np.round(weight, DECIMALS), pa.float64(), mask=~labelled)


def _numbers(column: pa.ChunkedArray) -> Floats:
    """Null and NaN as 0."""
    found: Floats = np.nan_to_num(pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy())
    return found


def text_tokens(samples: pa.Table) -> pa.Array:
    """Bytes of UTF-8 of ``TEXTS`` together, at four a token, rounded up: roughly what a tokenizer makes of English."""
    size = np.zeros(samples.num_rows, np.int64)
    for name in TEXTS:
        size += pc.fill_null(pc.binary_length(samples[name]), 0).to_numpy().astype(np.int64)
    return pa.array(-(-size // BYTES_PER_TOKEN), pa.int32())
