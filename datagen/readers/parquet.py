"""Parquet files that hold the encoded audio themselves, as ``datasets`` writes them: ``audio: {bytes, path}``."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import RowError
from datagen.readers.config import LayoutConfig
from datagen.readers.hints import guess_seconds
from datagen.readers.rows import EVERYWHERE, Rows
from datagen.readers.tabular import Columns, embeds_audio
from datagen.readers.tree import INSIDE, FileInfo, Tree


def audio_column(schema: pa.Schema, wanted: str | None = None) -> str | None:
    """The column that holds encoded audio; None when there is none."""
    held = [field.name for field in schema if embeds_audio(field.type)]
    if wanted is not None:
        return wanted if wanted in held else None
    return next((name for name in ("audio", *held) if name in held), None)


def find_embedded(tree: Tree, config: LayoutConfig) -> list[str]:
    """Parquet files with embedded audio, by their schema."""
    found = []
    for uri in tree.files():
        if uri.lower().endswith(".parquet"):
            try:
                with tree.open(uri) as file:
                    schema = pq.read_schema(file)
            except (RowError, pa.ArrowException, OSError, ValueError):
                continue
            if audio_column(schema, config.columns.get("audio")):
                found.append(uri)
    return found


def read_embedded(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """One source per row, named ``<file>::<row>``; a damaged file is refused alone."""
    for uri, info in tree.files().items():
        if uri.lower().endswith(".parquet"):
            try:
                _read_file(tree, uri, info, rows, config)
            except (pa.ArrowException, OSError, ValueError) as error:
                rows.refuse(uri, "Unreadable", f"{uri} is no readable Parquet file: {str(error)[:150]}")


def _read_file(tree: Tree, uri: str, info: FileInfo, rows: Rows, config: LayoutConfig) -> None:
    with tree.open(uri) as file:
        parquet = pq.ParquetFile(file)
        schema = parquet.schema_arrow
        audio = audio_column(schema, config.columns.get("audio"))
        if audio is None:
            return  # a table of something else that lies beside
        names = [field.name for field in schema if not embeds_audio(field.type)]
        settings = config.model_copy(update={"columns": {**config.columns, "audio": None}})
        columns = Columns(settings, names, uri)
        number = 0
        for group in range(parquet.num_row_groups):
            meta = parquet.metadata.row_group(group)
            held = sum(
                meta.column(index).total_uncompressed_size
                for index in range(meta.num_columns)
                if meta.column(index).path_in_schema.split(".")[0] == audio
            )
            size = held // max(1, meta.num_rows)
            read = parquet.read_row_group(group, columns=names) if names else None
            for row in read.to_pylist() if read is not None else [{}] * meta.num_rows:
                name = f"{uri}{INSIDE}{number}"
                try:
                    span = columns.span(row)
                except RowError as error:
                    rows.refuse(name, error.error_class, f"{name}: {error.message}")
                else:
                    facts = columns.facts(row)
                    rows.add(
                        name,
                        FileInfo(size, f"{info.fingerprint}#{number}"),
                        facts if span == EVERYWHERE else None,
                        spans=() if span == EVERYWHERE else [(span, facts)],
                        metadata={**columns.rest(row), **columns.reworded(row)},
                        split=columns.value(row, "split") or _split_of(uri),
                        licence=columns.value(row, "licence"),
                        seconds=columns.seconds(row) or guess_seconds(".flac", size),
                        locator=str(number),
                        corpus=columns.value(row, "corpus"),
                    )
                number += 1


def _split_of(uri: str) -> str | None:
    """The Hub's convention: ``train-00000-of-00002.parquet``."""
    name = uri.rsplit("/", 1)[-1]
    return name.split("-", 1)[0] if "-of-" in name else None
