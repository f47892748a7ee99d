"""Contrast groups, found with whole columns, are those one would name row by row."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.quality.components import numbered
from datagen.quality.contrast import ASPECTS, TYPES, contrast_groups, met_emotions

NAMES = ("text", "speaker", *ASPECTS)
VALUE = st.sampled_from([None, "a", "b"])
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUE)), max_size=14)


def grouped(rows, among=None):
    clips = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in NAMES]))
    text = numbered(clips["text"])
    found = contrast_groups(clips, text, np.arange(len(rows)) if among is None else np.array(among, np.int64))
    assert (found.group >= 0).tolist() == (found.type >= 0).tolist()
    assert (found.group[found.group >= 0] == text[found.group >= 0]).all()
    types = [TYPES[place] if place >= 0 else None for place in found.type.tolist()]
    return list(zip(types, met_emotions(clips, found).to_pylist(), strict=True))


def row_by_row(rows):
    found = []
    for row in rows:
        same = [other for other in rows if row["text"] is not None and other["text"] == row["text"]]
        kind = None
        for aspect, short in reversed(ASPECTS.items()):
            if len({other[aspect] for other in same} - {None}) < 2:
                continue
            several = any(
                len({other[aspect] for other in same if other["speaker"] == speaker} - {None}) > 1
                for speaker in {other["speaker"] for other in same} - {None}
            )
            kind = f"{'same_speaker' if several else 'different_speakers'}:{short}"
        found.append((kind, kind and sorted({other["emotion"] for other in same} - {None})))
    return found


@settings(deadline=None, max_examples=200)
@given(ROWS)
def test_whole_columns_find_what_rows_one_by_one_do(rows):
    assert grouped(rows) == row_by_row(rows)


@given(ROWS)
def test_rows_that_take_no_part_make_no_contrast(rows):
    found = grouped(rows, range(0, len(rows), 2))
    assert found[1::2] == [(None, None)] * len(found[1::2])
    assert found[::2] == row_by_row(rows[::2])


@pytest.mark.parametrize(("differ", "kind"), [("emotion", "emotion"), ("style", "style"), ("arousal_level", "arousal")])
def test_the_type_says_who_differs_in_what(differ, kind):
    base = dict.fromkeys(NAMES) | {"text": "t", "speaker": "s", "emotion": "sad"}
    met = ["happy", "sad"] if differ == "emotion" else ["sad"]
    here, there = base | {differ: "sad"}, base | {differ: "happy"}
    if differ != "emotion":
        here, there = here | {"emotion": "sad"}, there | {"emotion": "sad"}
    assert grouped([here, there]) == [(f"same_speaker:{kind}", met)] * 2
    assert grouped([here, there | {"speaker": "t"}]) == [(f"different_speakers:{kind}", met)] * 2
    assert grouped([here | {"speaker": None}, there | {"speaker": None}]) == [(f"different_speakers:{kind}", met)] * 2
