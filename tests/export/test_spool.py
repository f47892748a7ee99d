"""Rows come back from the scratch files as they went in, in any order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.export.parquet import cuts
from datagen.export.spool import AudioSpool, TableSpool, row_bytes

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=20)), max_size=6), max_size=4), st.randoms())
def test_sound_comes_back_in_the_order_asked_for(tmp_path, chunks, random):
    values = [value for chunk in chunks for value in chunk]
    with AudioSpool(tmp_path / "audio") as spool:
        for chunk in chunks:
            sizes = spool.append(pa.chunked_array([pa.array(chunk, pa.large_binary())]))
            assert list(sizes) == [-1 if value is None else len(value) for value in chunk]
        spool.seal()
        order = list(range(len(values)))
        random.shuffle(order)
        assert spool.take(np.array(order, np.int64)).to_pylist() == [values[row] for row in order]


def test_a_slice_of_sound_is_stored_as_that_slice(tmp_path):
    column = pa.chunked_array([pa.array([b"one", b"two", None, b"four"], pa.large_binary())]).slice(1, 3)
    with AudioSpool(tmp_path / "audio") as spool:
        assert list(spool.append(column)) == [3, -1, 4]
        spool.seal()
        assert spool.take(np.array([2, 0, 1])).to_pylist() == [b"four", b"two", None]


SCHEMA = pa.schema([("id", pa.string()), ("tags", pa.list_(pa.string())), ("n", pa.int64())])


@quick
@given(st.lists(st.integers(0, 5), max_size=5), st.randoms())
def test_rows_come_back_in_the_order_asked_for(tmp_path, shards, random):
    spool = TableSpool(tmp_path / "table", SCHEMA)
    rows = []
    for size in shards:
        part = [{"id": f"r{len(rows) + i}", "tags": ["x"] * (i % 3) or None, "n": i} for i in range(size)]
        rows += part
        spool.append(pa.Table.from_pylist(part, SCHEMA))
    spool.seal()
    order = list(range(len(rows)))
    random.shuffle(order)
    order = order[: len(order) * 2 // 3 + 1]
    assert spool.num_rows == len(rows)
    assert spool.take(np.array(order, np.int64)).to_pylist() == [rows[row] for row in order]
    spool.close()


def test_bytes_of_nested_rows():
    words = pa.array(
        [[{"w": "ab", "s": 1.0}], [], None, [{"w": "", "s": None}, {"w": "c", "s": 2.0}]],
        pa.list_(pa.struct([("w", pa.string()), ("s", pa.float64())])),
    )
    assert list(row_bytes(words)) == [4 + 14, 4, 4, 4 + 12 + 13]
    assert list(row_bytes(words.slice(1, 3))) == [4, 4, 4 + 12 + 13]
    assert list(row_bytes(pa.array([True, None]))) == [1, 1]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 80), st.integers(1, 9))
def test_ranges_cover_all_rows_and_keep_both_limits(sizes, limit_bytes, limit_rows):
    ranges = cuts(np.array(sizes, np.int64), limit_bytes, limit_rows)
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(len(sizes)))
    for start, stop in ranges:
        assert stop - start <= limit_rows
        assert sum(sizes[start:stop]) <= limit_bytes or stop - start == 1


@pytest.mark.parametrize("size", [0, 1])
def test_small_tables_have_small_ranges(size):
    assert cuts(np.ones(size, np.int64), 10, 10) == [(0, 1)][:size]
