"""Rows put aside in the order they come and fetched back in the order they are wanted.

A run keeps its rows by shard, a published dataset by id, and neither the audio nor the texts of a large corpus fit
into memory. So each shard is read once, appended to scratch files, and rows are gathered from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class AudioSpool:
    """Byte strings in one file, addressed by the order of arrival. Keeps 16 bytes of memory per row."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._starts: list[Rows] = []
        self._sizes: list[Rows] = []
        self._end = 0

    def append(self, audio: pa.ChunkedArray) -> Rows:
        """Store a column of ``large_binary``; returns the rows' sizes in bytes, -1 for null."""
        sizes: list[Rows] = []
        for chunk in audio.cast(pa.large_binary()).chunks:
            if not len(chunk):
                continue
            _, offsets, data = chunk.buffers()
            bounds = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            if bounds[-1] > bounds[0]:
                self._file.write(memoryview(data)[bounds[0] : bounds[-1]])
            self._starts.append(bounds[:-1] - bounds[0] + self._end)
            self._end += int(bounds[-1] - bounds[0])
            sizes.append(np.where(chunk.is_valid().to_numpy(zero_copy_only=False), np.diff(bounds), -1))
        self._sizes += sizes
        return np.concatenate(sizes) if sizes else np.zeros(0, np.int64)

    def seal(self) -> None:
        """No more rows; call before the first ``take``."""
        self._file.flush()
        nothing = [np.zeros(0, np.int64)]
        self.starts, self.sizes = np.concatenate(self._starts or nothing), np.concatenate(self._sizes or nothing)

    def take(self, rows: Rows) -> pa.Array:
        """The rows' bytes as an Arrow ``binary`` array, in the order asked for."""
        values: list[bytes | None] = []
        for row in rows:
            if self.sizes[row] < 0:
                values.append(None)
                continue
            self._file.seek(self.starts[row])
            values.append(self._file.read(self.sizes[row]))
        return pa.array(values, pa.binary())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> AudioSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TableSpool:
    """Tables of one schema in one memory-mapped Arrow file, addressed by the order of arrival."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self.schema = path, schema
        self._writer = pa.ipc.new_file(path, schema)
        self._counts: list[int] = []

    def append(self, table: pa.Table) -> None:
        if table.num_rows:
            for batch in table.cast(self.schema).combine_chunks().to_batches():
                self._writer.write_batch(batch)
                self._counts.append(batch.num_rows)

    def seal(self) -> None:
        """No more rows; call before the first ``take``."""
        self._writer.close()
        self._map = pa.memory_map(str(self._path))
        self._reader = pa.ipc.open_file(self._map)
        self._starts = np.concatenate([[0], np.cumsum(self._counts, dtype=np.int64)]).astype(np.int64)

    @property
    def num_rows(self) -> int:
        return int(self._starts[-1])

    def batches(self) -> Iterator[pa.RecordBatch]:
        for number in range(len(self._counts)):
            yield self._reader.get_batch(number)

    def take(self, rows: Rows) -> pa.Table:
        """The rows in the order asked for."""
        if not len(rows):
            return self.schema.empty_table()
        home = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(home, kind="stable")
        numbers, firsts = np.unique(home[order], return_index=True)
        parts = []
        for number, group in zip(numbers, np.split(order, firsts[1:]), strict=True):
            local = pa.array(rows[group] - self._starts[number])
            parts.append(pa.Table.from_batches([self._reader.get_batch(int(number)).take(local)]))
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables(parts).take(pa.array(back))

    def close(self) -> None:
        if hasattr(self, "_map"):
            self._map.close()


def row_bytes(column: pa.Array) -> Rows:
    """Bytes of each value as Arrow keeps it in memory: offsets, flags and values of all levels."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.int64)
    if pa.types.is_struct(kind):
        total = np.zeros(len(column), np.int64)
        for child in column.flatten():
            total += row_bytes(child)
        return total
    if pa.types.is_list(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
        offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        offsets = offsets.astype(np.int64)
        if not pa.types.is_list(kind):
            lengths: Rows = np.diff(offsets) + 4
            return lengths
        inner: Rows = np.concatenate([np.zeros(1, np.int64), np.cumsum(row_bytes(column.values))])
        sums: Rows = inner[offsets[1:]] - inner[offsets[:-1]] + 4
        return sums
    return np.full(len(column), max(1, kind.bit_width // 8), np.int64)


def table_row_bytes(table: pa.Table) -> Rows:
    """``row_bytes`` summed over all columns."""
    total = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        if table.num_rows:
            total += np.concatenate([row_bytes(chunk) for chunk in column.chunks])
    return total
