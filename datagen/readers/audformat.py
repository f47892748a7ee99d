"""audformat databases: ``db.yaml`` and one table file per table (https://audeering.github.io/audformat/).

Tables are read from Parquet or CSV. A table that exists only as ``.pkl`` is refused: unpickling runs code.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import yaml

from datagen.errors import RowError, UsageError
from datagen.readers.config import LayoutConfig
from datagen.readers.hints import seconds_hint
from datagen.readers.rows import DIMENSIONS, EVERYWHERE, Rows, Span, normal, scaled
from datagen.readers.tabular import ALIASES, read_table
from datagen.readers.tree import Tree

_FIELD_OF = {alias: field for field, aliases in ALIASES.items() for alias in aliases} | {"categories": "emotion"}
_FACTS = frozenset(_FIELD_OF.values()) - {"audio", "start", "end", "duration", "channel", "split", "licence", "corpus"}
_DAYS = re.compile(r"^(?:(-?\d+) days?,? ?)?(\d+):(\d\d):(\d\d(?:\.\d+)?)$")


def find_header(tree: Tree) -> str | None:
    headers = [uri for uri in tree.files() if posixpath.basename(uri) == "db.yaml"]
    return min(headers, key=lambda uri: uri.count("/"), default=None)


def read_header(tree: Tree, uri: str) -> dict[str, Any]:
    """Raises:
    UsageError: ``db.yaml`` is no YAML mapping.
    """
    try:
        header = yaml.safe_load(tree.text(uri))
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{uri}: no YAML: {str(error)[:200]}") from None
    if not isinstance(header, dict):
        raise UsageError(f"{uri}: an audformat header is a mapping")
    return header


def read_audformat(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    """Every table's columns become annotations, of the file or of its stretch; speakers bring their sex and age.

    Raises:
        UsageError: no ``db.yaml``, or it cannot be read.
    """
    path = find_header(tree)
    if path is None:
        raise UsageError(f"input {tree.location}: no db.yaml, so this is no audformat database")
    header = read_header(tree, path)
    folder = posixpath.dirname(path)
    languages = [normal("language", name) for name in _list(header.get("languages"))]
    if rows.language is None and len(languages) == 1:
        rows.language = languages[0]
    if rows.licence is None and header.get("license"):
        rows.licence = str(header["license"])
    usage = {"usage": header["usage"]} if header.get("usage") else {}
    splits = {name: entry.get("type", name) for name, entry in _mapping(header.get("splits")).items()}
    schemes = _mapping(header.get("schemes"))
    for table, about in _mapping(header.get("tables")).items():
        stem = posixpath.join(folder, f"db.{table}")
        source = next((stem + suffix for suffix in (".parquet", ".csv") if tree.info(stem + suffix)), None)
        if source is None:
            pickled = tree.info(f"{stem}.pkl") is not None
            rows.refuse(
                f"{stem}.pkl" if pickled else stem,
                "PickleRefused" if pickled else "MissingFile",
                f"table {table!r} exists only as {stem}.pkl, which is never opened because unpickling runs code: "
                "save it with storage_format='parquet'"
                if pickled
                else f"table {table!r}: neither {stem}.parquet nor {stem}.csv is there",
            )
            continue
        columns = {
            name: _Column(name, _mapping(schemes.get(column.get("scheme_id"))), column.get("scheme_id"), config)
            for name, column in _mapping(about.get("columns")).items()
        }
        split = splits.get(about.get("split_id"))
        _read_table(tree, source, folder, rows, columns, split, usage)


class _Column:
    """What one column of a table says: which field, on which scale, and what its labels know."""

    def __init__(self, name: str, scheme: Mapping[str, Any], scheme_id: str | None, config: LayoutConfig) -> None:
        chosen = {column: field for field, column in config.columns.items() if column}
        self.name = name
        self.field = chosen.get(name) or _FIELD_OF.get(name.lower()) or _FIELD_OF.get(str(scheme_id).lower())
        labels = scheme.get("labels")
        self.labels: dict[Any, Any] = labels if isinstance(labels, dict) else {}
        self.scale = (scheme.get("minimum"), scheme.get("maximum"))
        self.mapping = config.labels.get(self.field or "", {})

    def facts(self, value: Any) -> dict[str, Any]:
        if value is None or value == "" or value != value:
            return {}
        if self.field == "duration" or self.field in {"audio", "start", "end"}:
            return {}
        if self.field in DIMENSIONS:
            low, high = self.scale
            number = scaled(value, float(low), float(high)) if low is not None and high is not None else None
            return {self.name: value} if number is None else {self.field: number}
        if self.field not in _FACTS:
            return {self.name: value}
        facts: dict[str, Any] = {str(self.field): self.mapping.get(str(value), value)}
        about = self.labels.get(value, self.labels.get(str(value)))
        if isinstance(about, dict):  # speaker: {gender: female, age: 31, language: deu}
            for key, entry in about.items():
                field = _FIELD_OF.get(str(key).lower())
                if field in {"sex", "age_years", "language"}:
                    facts[field] = entry
        return facts


def _read_table(
    tree: Tree,
    source: str,
    folder: str,
    rows: Rows,
    columns: Mapping[str, _Column],
    split: str | None,
    usage: Mapping[str, Any],
) -> None:
    for number, row in read_table(tree, source):
        name = f"{source}:{number}"
        if isinstance(row, RowError):
            rows.refuse(name, row.error_class, f"{source}: {row.message}")
            continue
        try:
            reference = row.get("file")
            if not isinstance(reference, str) or not reference:
                raise RowError("BadManifestRow", "no file named")
            uri = tree.locate(reference, folder)
            info = tree.info(uri)
            if info is None:
                raise RowError("MissingFile", f"{uri} does not exist")
            span = _span(row)
        except RowError as error:
            rows.refuse(name, error.error_class, f"{source} row {number}: {error.message}")
            continue
        facts: dict[str, Any] = {}
        for key, column in columns.items():
            facts.update(column.facts(row.get(key)))
        known = {field: value for field, value in facts.items() if field in _FACTS}
        other = {field: value for field, value in facts.items() if field not in _FACTS}
        seconds = None if uri in rows else seconds_hint(tree, uri, info)
        if span == EVERYWHERE:
            rows.add(uri, info, known, metadata={**usage, **other}, split=split, seconds=seconds)
        else:
            rows.add(uri, info, spans=[(span, {**other, **known})], metadata=usage, split=split, seconds=seconds)


def _span(row: Mapping[str, Any]) -> Span:
    start, end = parse_time(row.get("start")), parse_time(row.get("end"))
    if start in (None, 0.0) and end is None:
        return EVERYWHERE
    if end is not None and end <= (start or 0.0):
        raise RowError("BadManifestRow", f"start {start} s and end {end} s are no stretch of a recording")
    return (None, start or 0.0, end)


def parse_time(value: Any) -> float | None:
    """Seconds of a pandas timedelta as CSV (``0 days 00:00:01.5``) or Parquet holds it; None for NaT.

    Raises:
        RowError: ``BadManifestRow``; it is no time.
    """
    if value is None or value == "" or str(value) in {"NaT", "nan"}:
        return None
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 6)
    found = _DAYS.match(str(value).strip())
    if found:
        days, hours, minutes, seconds = found.groups()
        total = int(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if total >= 0:
            return round(total, 6)
    try:
        return round(float(value), 6)
    except (TypeError, ValueError):
        raise RowError("BadManifestRow", f"{value!r} is no time") from None


def _mapping(value: Any) -> dict[str, Any]:
    return (
        {str(key): entry if entry is not None else {} for key, entry in value.items()}
        if isinstance(value, dict)
        else {}
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
