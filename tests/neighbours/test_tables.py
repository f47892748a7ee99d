"""Arrays out of columns, and columns out of arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datagen.neighbours.tables import as_table, bundle, matrix, unbundled, unit_rows


def test_lists_become_unit_rows_and_what_has_no_direction_is_no_use() -> None:
    lists = [[3.0, 4.0], [1.0], [0.0, 0.0], [float("nan"), 1.0], [1.0, None], [-2.0, 0.0], [float("inf"), 0.0]]
    column = pa.chunked_array(
        [pa.array(lists[:3]), pa.array(lists, pa.list_(pa.float32())).cast(pa.list_(pa.float64()))[3:]]
    )
    rows, usable = unit_rows(column)
    assert usable.tolist() == [True, False, False, False, False, True, False]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[usable], [[0.6, 0.8], [-1.0, 0.0]], rtol=1e-6)
    assert not rows[~usable].any(), "zero, near nothing"
    none, of_none = unit_rows(pa.chunked_array([pa.array([], pa.list_(pa.float32()))]))
    assert none.shape == (0, 0) and of_none.shape == (0,)


def test_arrays_come_back_as_they_were() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert (matrix(as_table(vector=vectors).slice(1, 2)) == vectors[1:3]).all()
    arrays = {"basis": vectors, "margin": np.array([0.5]), "none": np.zeros((0, 3), np.int64)}
    back = unbundled(bundle(arrays))
    assert list(back) == list(arrays)
    assert all((back[name] == made).all() and back[name].shape == made.shape for name, made in arrays.items())
