"""One published Parquet file, written as the Hub likes it.

Page index (the viewer then reads pages, not files), content-defined chunks (an insertion changes few of them), sound
uncompressed and plain (FLAC does not shrink, and a dictionary of it would only cost memory), all else snappy with
dictionaries, and row groups small enough to be fetched for the sake of one row.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datagen.export.published import CHUNKING


def leaves(schema: pa.Schema) -> list[str]:
    """Paths of the leaf columns as Parquet names them, e.g. ``words.list.element.start``."""
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    found = pq.ParquetFile(sink).schema
    return [found.column(number).path for number in range(len(found))]


def write_file(path: Path, schema: pa.Schema, row_groups: Iterable[pa.Table]) -> None:
    """Write ``row_groups`` with exactly ``schema`` (metadata included); each becomes one row group."""
    audio = {leaf for leaf in leaves(schema) if leaf.split(".")[0] == "audio"}
    others = [leaf for leaf in leaves(schema) if leaf not in audio]
    with pq.ParquetWriter(
        path,
        schema,
        compression=dict.fromkeys(audio, "none") | dict.fromkeys(others, "snappy"),
        use_dictionary=others,
        column_encoding=dict.fromkeys(sorted(audio), "PLAIN") or None,
        write_page_index=True,
        use_content_defined_chunking=CHUNKING,
    ) as writer:
        for table in row_groups:
            writer.write_table(table.cast(schema), row_group_size=max(1, table.num_rows))


def cuts(sizes: NDArray[np.int64], limit_bytes: int, limit_rows: int) -> list[tuple[int, int]]:
    """Consecutive ranges of at most ``limit_rows`` rows and ``limit_bytes`` bytes; a larger row stands alone."""
    ends = np.cumsum(sizes)
    ranges, start = [], 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + limit_bytes, side="right"))
        stop = min(max(stop, start + 1), start + limit_rows)
        ranges.append((start, stop))
        start = stop
    return ranges
