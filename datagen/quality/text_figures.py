"""How alike the texts of a set are: the habits of a writer. Pure functions on whole columns."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen.quality.distributions import codes
from datagen.quality.figures import mean, share
from datagen.quality.luck import name_hashes

COLUMNS = ("sample_id", "task", "question", "reasoning", "answer", "response")
#: Texts per task and kind that are looked at, drawn by a hash of their ids: enough for a share to within one in a
#: hundred, and a million samples cost no more than ten thousand.
DRAWN = 5_000
OPENING = 3  #: words
#: Which text of a task is the writer's; a classification's is a bare label.
WRITTEN = {"qa": "answer", "reasoning": "reasoning", "response": "response", "caption": "answer"}
_WORD = re.compile(r"[^\W\d_][\w'-]*|\d+")


def summary(samples: pa.Table) -> dict[str, Any]:
    """Per task, of its questions and of what is written, the figures of ``habits``."""
    found: dict[str, Any] = {}
    names = codes(samples["task"])
    order = np.argsort(name_hashes(samples["sample_id"]), kind="stable")
    for place, task in enumerate(names.names):
        rows = order[names.code[order] == place][:DRAWN]  # texts are long: only those are touched
        kinds = {"question": "question", **({"text": WRITTEN[task]} if task in WRITTEN else {})}
        drawn = samples.select(list(kinds.values())).take(pa.array(rows))
        found[task] = {kind: habits(drawn[column].drop_null().to_pylist()) for kind, column in kinds.items()}
    return found


def habits(texts: Sequence[str]) -> dict[str, Any]:
    """``distinct``: different texts. ``distinct_2``: different pairs of neighbouring words over all pairs (Li et al.
    2016, NAACL); it falls with the number of texts, so compare sets of a size. ``top_opening``: the commonest first
    words.
    """
    words = [_WORD.findall(text.lower()) for text in texts]
    pairs = Counter(pair for each in words for pair in itertools.pairwise(each))
    openings = Counter(" ".join(each[:OPENING]) for each in words if each)
    first = min(openings, key=lambda opening: (-openings[opening], opening), default=None)
    return {
        "texts": len(texts),
        "distinct": len(set(texts)),
        "distinct_2": share(len(pairs), pairs.total()),
        "top_opening": first,
        "top_opening_share": share(openings[first], openings.total()) if first is not None else None,
    }


def worst_opening(found: dict[str, Any]) -> float | None:
    """The largest ``top_opening_share`` of what is written, over the tasks with at least fifty texts."""
    shares = [
        each["text"]["top_opening_share"]
        for each in found.values()
        if "text" in each and each["text"]["texts"] >= 50 and each["text"]["top_opening_share"] is not None
    ]
    return max(shares, default=None)


def repeated(repeats: pa.Array | pa.ChunkedArray) -> dict[str, Any]:
    """Of samples of other clips that ask nearly the same (``question_repeats``)."""
    known = repeats.drop_null()
    return {
        "share": share(pc.sum(pc.greater(known, 0)).as_py() or 0, len(known)),
        "mean": mean(known),
        "most": pc.max(known).as_py(),
    }
