"""Hashes that decide what is stale: of settings, and of the content of Arrow columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa


def of_value(value: Any) -> str:
    """Hash of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def revision(data: Mapping[str, Any]) -> str:
    """Of a published table: its ``version``, and what it says, for those who forget to raise that."""
    return f"{data['version']}+{hashlib.blake2b(repr(data).encode(), digest_size=4).hexdigest()}"


class _HashingSink:
    """A write-only file that keeps nothing but a hash."""

    closed = False

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def of_column(column: pa.ChunkedArray) -> str:
    """Hash of a column's type and values, independent of how it is chunked or sliced."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):  # too large for one array of its type
        return of_value([of_column(pa.chunked_array([chunk])) for chunk in array.chunks])
    sink = _HashingSink()
    batch = pa.record_batch([array], names=["c"])
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
        writer.write_batch(batch)  # the IPC writer cuts slices to size and re-bases their offsets
    return sink.hash.hexdigest()


def of_table(table: pa.Table) -> dict[str, str]:
    """Hash per column."""
    return {name: of_column(table.column(name)) for name in table.column_names}
