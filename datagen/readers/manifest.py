"""Manifests: a table with one row per recording, or several rows about stretches of one."""

from __future__ import annotations

import posixpath

from datagen.errors import RowError, UsageError
from datagen.readers.config import LayoutConfig
from datagen.readers.hints import seconds_hint
from datagen.readers.rows import EVERYWHERE, Rows
from datagen.readers.tabular import TABLE_SUFFIXES, Columns, read_table, table_columns
from datagen.readers.tree import Tree

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def find_manifests(tree: Tree, config: LayoutConfig) -> list[str]:
    """Tables at the top of the input in which some column names audio files."""
    return [uri for uri in find_tables(tree) if _has_audio(tree, uri, config)]


def find_tables(tree: Tree) -> list[str]:
    """Tables at the top of the input, whatever is in them."""
    depth = tree.under.count("/") + 1 if tree.under else 0
    return [uri for uri in tree.files() if uri.lower().endswith(TABLE_SUFFIXES) and uri.count("/") == depth]


def find_metadata(tree: Tree) -> list[str]:
    """``metadata.*`` of AudioFolder, wherever they lie."""
    return [uri for uri in tree.files() if posixpath.basename(uri) in _METADATA]


def read_manifests(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """Raises:
    UsageError: there is no manifest, or it cannot be read.
    """
    found = find_manifests(tree, config)
    if not found:
        tables = [f"; {uri} has: {', '.join(table_columns(tree, uri)) or 'nothing'}" for uri in find_tables(tree)[:1]]
        raise UsageError(
            f"input {tree.location}: no manifest (.csv, .tsv, .jsonl, .json, .parquet) with a column that names audio "
            f"files; say which one with stages.ingest.columns: {{audio: COLUMN}}{''.join(tables)}"
        )
    for uri in found:
        read_manifest(tree, uri, rows, config)


def read_audiofolder(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """``metadata.*`` says what it says; audio files it does not name are sources all the same."""
    for uri in find_metadata(tree):
        read_manifest(tree, uri, rows, config)
    for uri, info in tree.audio().items():
        if uri not in rows:
            rows.add(uri, info, seconds=seconds_hint(tree, uri, info))


def read_manifest(tree: Tree, uri: str, rows: Rows, config: LayoutConfig) -> None:
    """Rows of one table. Several rows of one file become annotations of one source.

    Raises:
        UsageError: no column names the audio, or the table cannot be read.
    """
    table = list(read_table(tree, uri))
    # lines of JSON need not share their keys: a column is there when any row has it
    names = list(dict.fromkeys(name for _, row in table if isinstance(row, dict) for name in row))
    columns = Columns(config, names, uri)
    if names and "audio" not in columns.of:
        raise UsageError(
            f"{uri}: no column names the audio files; say which with stages.ingest.columns: {{audio: ...}}; "
            f"there are: {', '.join(names)}"
        )
    folder = posixpath.dirname(uri)
    for number, row in table:
        name = f"{uri}:{number}"
        if isinstance(row, RowError):
            rows.refuse(name, row.error_class, f"{uri}: {row.message}")
            continue
        try:
            _add(tree, rows, columns, row, folder)
        except RowError as error:
            rows.refuse(name, error.error_class, f"{uri} row {number}: {error.message}")


def _add(tree: Tree, rows: Rows, columns: Columns, row: dict, folder: str) -> None:
    reference = columns.value(row, "audio")
    if isinstance(reference, dict):
        reference = reference.get("path")
    if not isinstance(reference, str):
        raise RowError("BadManifestRow", f"{columns.of['audio']} is empty")
    uri = tree.locate(reference, folder)
    info = tree.info(uri)
    if info is None:
        raise RowError("MissingFile", f"{uri} does not exist")
    span, facts, rest, reworded = columns.span(row), columns.facts(row), columns.rest(row), columns.reworded(row)
    known = uri in rows
    seconds = columns.seconds(row) if not known else None
    rows.add(
        uri,
        info,
        facts if span == EVERYWHERE else None,
        spans=() if span == EVERYWHERE else [(span, {**rest, **facts})],
        metadata={**rest, **reworded} if span == EVERYWHERE else reworded,
        split=columns.value(row, "split"),
        licence=columns.value(row, "licence"),
        seconds=seconds if seconds is not None or known else seconds_hint(tree, uri, info),
        corpus=columns.value(row, "corpus"),
    )


def _has_audio(tree: Tree, uri: str, config: LayoutConfig) -> bool:
    names = table_columns(tree, uri)
    wanted = config.columns.get("audio")
    if wanted is not None:
        return wanted in names
    if not names:
        return False
    return "audio" in Columns(LayoutConfig(), names, uri).of
