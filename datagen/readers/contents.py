"""The bytes of a source: of a file, of a tar member by offset, of a row of Parquet, of a row of ``datasets``."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import RowError
from datagen.readers.config import HuggingFaceConfig
from datagen.readers.huggingface import PREFIX, audio_feature, load, row_bytes
from datagen.readers.parquet import audio_column
from datagen.readers.tree import INSIDE, Tree, is_url

#: Files up to this size are read whole; larger ones are handed out open and read as a stream.
WHOLE_BYTES = 256 << 20


class Contents:
    """Opens the sources below one input. Keeps the last container open, because neighbours follow each other.

    Args:
        location: the input root, as in ``IngestConfig.input``.
        audio: folder below the root -> name of the audio column, where the recipe names one.
    """

    def __init__(
        self, location: str, hf: HuggingFaceConfig | None = None, audio: Mapping[str, str | None] | None = None
    ) -> None:
        self._location = location
        self._hf_config = hf or HuggingFaceConfig()
        self._audio = audio or {}
        self._tree: Tree | None = None
        self._datasets: dict[str, Any] | None = None
        self._group: tuple[str, int, int, pa.ChunkedArray] | None = None  # uri, first row, end, values

    @property
    def tree(self) -> Tree:
        if self._tree is None:
            self._tree = Tree(self._location)
        return self._tree

    def open(self, uri: str, locator: str | None) -> bytes | BinaryIO:
        """Bytes, or an open file when there are very many; the caller closes it.

        Raises:
            RowError: the source is gone, cannot be read, or lies outside the root.
        """
        if locator is None:
            info = self.tree.info(uri)
            if info is None:
                raise RowError("MissingFile", f"{uri} is gone since the input was scanned")
            return self.tree.read(uri) if info.size <= WHOLE_BYTES else self.tree.open(uri)
        container, _, _ = uri.partition(INSIDE)
        if container.startswith(PREFIX):
            return self._hf_row(container.removeprefix(PREFIX), int(locator))
        if container.lower().endswith(".parquet"):
            return self._parquet_row(container, int(locator))
        offset, size = (int(part) for part in locator.split("+"))
        data = self.tree.read(container, offset, size)
        if len(data) < size:
            raise RowError("Unreadable", f"{container} ends within {uri}; copy the archive again")
        return data

    def _hf_row(self, split: str, number: int) -> bytes:
        if self._datasets is None:
            self._datasets = load(self._location, self._hf_config)
        dataset = self._datasets.get(split)
        audio = None if dataset is None else audio_feature(dataset, self._audio.get(""))
        if audio is None or dataset is None or number >= len(dataset):
            raise RowError("MissingFile", f"row {number} of split {split} is gone since the input was scanned")
        local = None if is_url(self._location) or not _exists(self._location) else self.tree
        return row_bytes(dataset, audio, number, local)

    def _parquet_row(self, uri: str, number: int) -> bytes:
        if self._group is None or self._group[0] != uri or not self._group[1] <= number < self._group[2]:
            self._group = self._row_group(uri, number)
        value = self._group[3][number - self._group[1]].as_py()
        if isinstance(value, dict):
            path, value = value.get("path"), value.get("bytes")
            if value is None and path:  # written without the audio: the path is all there is
                value = self.tree.read(self.tree.locate(str(path), posixpath.dirname(uri)))
        if not isinstance(value, bytes):
            raise RowError("MissingFile", f"{uri}: row {number} holds no audio")
        return value

    def _audio_of(self, uri: str) -> str | None:
        return next(
            (name for folder, name in self._audio.items() if f"{uri}/".startswith(folder and f"{folder}/")), None
        )

    def _row_group(self, uri: str, number: int) -> tuple[str, int, int, pa.ChunkedArray]:
        try:
            with self.tree.open(uri) as file:
                parquet = pq.ParquetFile(file)
                audio = audio_column(parquet.schema_arrow, self._audio_of(uri))
                first = 0
                for group in range(parquet.num_row_groups):
                    end = first + parquet.metadata.row_group(group).num_rows
                    if audio is not None and first <= number < end:
                        return uri, first, end, parquet.read_row_group(group, columns=[audio])[audio]
                    first = end
        except (pa.ArrowException, OSError, ValueError) as error:
            raise RowError("Unreadable", f"{uri} is no readable Parquet file: {str(error)[:150]}") from None
        raise RowError("MissingFile", f"{uri} has no row {number} any more")


def _exists(location: str) -> bool:
    return os.path.exists(os.path.expanduser(location))  # noqa: PTH110, PTH111
