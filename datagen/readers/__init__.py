"""Readers: from an input as people have it to the ``sources`` table. Nothing is decoded here.

``scan`` looks at names, tables, headers of archives and file times, never at the audio: it runs on every
``datagen run``, also when nothing is left to do, and takes a second for ten thousand files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from datagen.errors import UsageError
from datagen.readers.audformat import find_header, read_audformat
from datagen.readers.config import InputConfig, LayoutConfig
from datagen.readers.folder import read_by_pattern, read_class_folders, read_folder
from datagen.readers.huggingface import is_saved, read_huggingface
from datagen.readers.manifest import find_manifests, find_metadata, find_tables, read_audiofolder, read_manifests
from datagen.readers.parquet import find_embedded, read_embedded
from datagen.readers.presets import PRESETS
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree, is_audio, is_url
from datagen.readers.webdataset import find_tars, read_webdataset

#: Name of a corpus that nobody named. A constant, not the folder's name: moving the data must not rename it.
UNNAMED = "corpus"

_READERS: dict[str, Callable[[Tree, Rows, LayoutConfig], None]] = {
    "folder": read_folder,
    "manifest": read_manifests,
    "webdataset": read_webdataset,
    "parquet": read_embedded,
    "audformat": read_audformat,
    "regex": read_by_pattern,
}


class Scan(NamedTuple):
    """``sources``: ``SOURCES`` sorted by corpus and URI. ``rejects``: ``REJECTS``, what can never become a source."""

    sources: pa.Table
    rejects: pa.Table


def scan(config: InputConfig) -> Scan:
    """Look at the whole input.

    Raises:
        UsageError: there is no input, it is not what ``format`` says, or holds no audio at all.
    """
    if not config.input:
        raise UsageError("stages.ingest.input is not set; pass --input FOLDER_OR_URL")
    found = [_scan(config.input, under, layout, name) for name, under, layout in _layouts(config)]
    sources = pa.concat_tables([part.sources for part in found])
    return Scan(
        sources.sort_by([("corpus", "ascending"), ("source_uri", "ascending")]),
        pa.concat_tables([part.rejects for part in found]),
    )


def describe(config: InputConfig) -> list[str]:
    """What each corpus was taken for, a sentence each; for ``datagen plan``."""
    lines = []
    for _, under, layout in _layouts(config):
        format, why = guess(
            config.input, Tree(config.input, under) if _is_there(config.input, layout) else None, layout
        )
        where = f"{config.input}/{under}" if under else config.input
        lines.append(f"{where}: format {format} ({why})")
    return lines


def _layouts(config: InputConfig) -> list[tuple[str | None, str, LayoutConfig]]:
    """Name (None = not given), folder below the input, layout."""
    if not config.corpora:
        return [(None, "", config)]
    return [(name, corpus.path.strip("/"), corpus) for name, corpus in config.corpora.items()]


def guess(location: str, tree: Tree | None, layout: LayoutConfig) -> tuple[str, str]:
    """The format and why: ``auto`` looks for what a layout cannot be without, the most telling first."""
    if layout.format != "auto":
        return layout.format, "as the recipe says"
    if tree is None or is_saved(tree):
        return "hf", "a data set saved by datasets" if tree is not None else "a repository of the Hub"
    if tree.only is not None:
        return _guess_file(tree, layout)
    if find_header(tree) is not None:
        return "audformat", "it has a db.yaml"
    for name, preset in PRESETS.items():
        if preset.matches(tree):
            return name, "files are laid out and named like this corpus"
    if find_metadata(tree):
        return "audiofolder", "it has metadata files"
    manifests = find_manifests(tree, layout)
    if manifests:
        return "manifest", f"{manifests[0]} names audio files"
    if find_tars(tree):
        return "webdataset", "it has tar files"
    if find_embedded(tree, layout):
        return "parquet", "its Parquet files hold audio"
    if not (count := len(tree.audio())):
        return "folder", "nothing in it says otherwise"
    if tables := find_tables(tree):  # silence would cost their owner all labels
        return "folder", (
            f"{count} audio files; {tables[0]} is not read, for no column of it is known to name audio files: "
            "--set stages.ingest.columns.audio=COLUMN"
        )
    return "folder", f"{count} audio files, nothing said about them"


def _guess_file(tree: Tree, layout: LayoutConfig) -> tuple[str, str]:
    name = tree.only or ""
    if is_audio(name):
        return "folder", "one audio file"
    if name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        return "webdataset", "a tar file"
    if find_embedded(tree, layout):
        return "parquet", "a Parquet file that holds audio"
    return "manifest", "one file that is no audio"


def _scan(location: str, under: str, layout: LayoutConfig, name: str | None) -> Scan:
    tree = Tree(location, under) if _is_there(location, layout) else None
    format, why = guess(location, tree, layout)
    preset = PRESETS.get(format)
    rows = Rows(
        layout.corpus or name or (preset.corpus if preset else UNNAMED),
        layout.licence or (preset.licence if preset else None),
        layout.language or (preset.language if preset else None),
    )
    if format == "hf":
        if under:
            raise UsageError(f"input {location}/{under}: a data set of datasets cannot be one of several corpora")
        read_huggingface(location, rows, layout)
    elif tree is None:
        raise UsageError(f"input {location}: there is nothing here; check the path, or pass --input")
    else:
        if preset is not None:
            preset.read(tree, rows)
        elif format == "audiofolder":
            (read_audiofolder if find_metadata(tree) else read_class_folders)(tree, rows, layout)
        else:
            _READERS[format](tree, rows, layout)
        tree.files()
        rows.refuse_all(tree.refused)
    result = Scan(rows.sources(), rows.rejects())
    if not len(result.sources) and not len(result.rejects):
        raise UsageError(
            f"input {location}{'/' + under if under else ''}: no audio found; it was read as {format} ({why}). "
            "Check the path, or say what it is: --set stages.ingest.format=..."
        )
    return result


def _is_there(location: str, layout: LayoutConfig) -> bool:
    """False for a repository of the Hub, ``owner/name``, which no file system knows."""
    if layout.format != "hf" or is_url(location):
        return True
    import os

    return os.path.exists(os.path.expanduser(location))  # noqa: PTH110, PTH111


__all__ = ["UNNAMED", "Scan", "Tree", "describe", "guess", "scan"]
