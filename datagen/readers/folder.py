"""Audio files without a table: any nesting, class folders, facts in the path."""

from __future__ import annotations

import posixpath
import re

from datagen.readers.config import LayoutConfig
from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree


def read_folder(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """Every audio file, nothing known about it."""
    for uri, info in tree.audio().items():
        rows.add(uri, info, seconds=seconds_hint(tree, uri, info))


def read_class_folders(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """AudioFolder without metadata: the folder a file lies in is its ``label``.

    ``columns: {emotion: label}`` says what the label means; without it, it is kept as ``label``.
    """
    fields = [field for field, column in config.columns.items() if column == "label"] or ["label"]
    for uri, info in tree.audio().items():
        label = posixpath.basename(posixpath.dirname(uri))
        facts = {field: config.labels.get(field, {}).get(label, label) for field in fields} if label else {}
        rows.add(uri, info, facts, seconds=seconds_hint(tree, uri, info))


def read_by_pattern(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """Facts from the path by ``config.pattern``: a named group is a field (or ``split``), ``labels`` decodes it.

    Files that do not fit the pattern are sources about which nothing is known.
    """
    pattern = re.compile(config.pattern or "")
    for uri, info in tree.audio().items():
        found = pattern.search(uri)
        facts = {
            field: config.labels.get(field, {}).get(value, value)
            for field, value in (found.groupdict() if found else {}).items()
            if value is not None
        }
        rows.add(uri, info, facts, split=facts.pop("split", None), seconds=seconds_hint(tree, uri, info))
