"""Arrays as columns of Arrow tables that lie uncompressed in a file, so that they can be mapped and sliced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.neighbours.arrays import Ints, Vectors
from datagen.neighbours.sketch import Sketch


def as_table(**columns: npt.NDArray[Any]) -> pa.Table:
    """Numbers as plain columns, matrices as lists of fixed size, which can be mapped."""
    arrays = {}
    for name, made in columns.items():
        if made.ndim == 2:
            flat = pa.array(np.ascontiguousarray(made).ravel())
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, max(made.shape[1], 1))
        else:
            arrays[name] = pa.array(made)
    return pa.table(arrays)


def values(table: pa.Table, column: str) -> npt.NDArray[Any]:
    return np.asarray(_whole(table, column).to_numpy())


def _whole(table: pa.Table, column: str) -> pa.Array:
    """Without a copy where it is in one piece, as mapped tables are."""
    found = table[column]
    return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()


def integers(table: pa.Table, column: str) -> Ints:
    return values(table, column).astype(np.int64)


def matrix(table: pa.Table, column: str = "vector") -> Vectors:
    """A column of lists of fixed size as ``(rows, size)`` float32; not copied."""
    array = _whole(table, column)
    return np.asarray(array.flatten().to_numpy().reshape(len(array), array.type.list_size), np.float32)


def unit_rows(column: pa.ChunkedArray) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """A column of lists, none null, as ``(rows, longest)`` float32 of unit length, and which rows can be compared.

    The others are zero: of another length than the longest, not finite, or without a direction.
    """
    array = column.combine_chunks()
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    lengths = array.value_lengths().to_numpy()
    made = np.zeros((len(array), int(lengths.max(initial=0))), np.float32)
    usable = lengths == made.shape[1]
    flat = array.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    made[usable] = flat[np.repeat(usable, lengths)].reshape(np.count_nonzero(usable), -1) if len(flat) else 0
    norm = np.linalg.norm(made, axis=1)
    usable = np.isfinite(norm) & (norm > 1e-6)
    made[~usable] = 0
    made[usable] /= norm[usable, None]
    return made, usable


def bundle(arrays: Mapping[str, npt.NDArray[Any]]) -> pa.Table:
    """Small arrays of any shape, one a row; ``unbundled`` is its inverse."""
    rows = [{"name": n, "type": a.dtype.str, "shape": list(a.shape), "data": a.tobytes()} for n, a in arrays.items()]
    schema = pa.schema(
        [("name", pa.string()), ("type", pa.string()), ("shape", pa.list_(pa.int64())), ("data", pa.large_binary())]
    )
    return pa.Table.from_pylist(rows, schema)


def unbundled(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    rows = table.to_pylist()
    return {row["name"]: np.frombuffer(row["data"], row["type"]).reshape(row["shape"]) for row in rows}


def of_sketch(made: Sketch | None) -> pa.Table:
    return bundle({} if made is None else {"basis": made.basis})


def to_sketch(table: pa.Table) -> Sketch | None:
    arrays = unbundled(table)
    return Sketch(arrays["basis"]) if arrays else None
