"""Tables of text about recordings: CSV, TSV, JSON lines, Parquet; and what their columns mean."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import RowError, UsageError
from datagen.readers.config import LayoutConfig
from datagen.readers.rows import DIMENSIONS, EVERYWHERE, Span, normal, scaled
from datagen.readers.tree import Tree

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")

#: Column names taken for what they usually mean, best first, unless the recipe's ``columns`` says otherwise.
ALIASES = {
    "audio": ("audio", "file_name", "file", "filename", "path", "audio_path", "audio_file", "audio_filepath", "wav",
              "filepath", "file_path", "clip"),
    "transcript": ("transcript", "text", "transcription", "sentence", "utterance"),
    "emotion": ("emotion", "emotion_label"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id"),
    "sex": ("sex", "gender"),
    "age_years": ("age_years", "age"),
    "language": ("language", "lang", "locale", "language_code"),
    "style": ("style",),
    "intensity": ("intensity",),
    "arousal": ("arousal", "activation"),
    "dominance": ("dominance",),
    "valence": ("valence",),
    "words": ("words",),
    "event": ("event",),
    "start": ("start", "begin", "offset", "start_time"),
    "end": ("end", "end_time"),
    "duration": ("duration", "duration_s", "seconds"),
    "channel": ("channel",),
    "split": ("split", "subset", "partition"),
    "licence": ("licence", "license"),
    "corpus": ("corpus",),
}  # fmt: skip
_PLACE = ("start", "end", "duration", "channel")
_ROW = ("audio", "split", "licence", "corpus")


def read_table(tree: Tree, uri: str) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Rows of a table with their number as a person counts (from 1, after any header); a bad row is its error.

    Raises:
        UsageError: nothing in the file can be read.
    """
    suffix = posixpath.splitext(uri)[1].lower()
    try:
        if suffix == ".parquet":
            yield from _parquet(tree, uri)
        elif suffix in {".csv", ".tsv"}:
            yield from _csv(tree.text(uri), "\t" if suffix == ".tsv" else None)
        elif suffix == ".json":
            yield from _json(tree.text(uri))
        else:
            yield from _jsonl(tree.text(uri))
    except RowError as error:
        raise UsageError(f"{uri}: {error.message}") from None


def table_columns(tree: Tree, uri: str) -> list[str]:
    """Names of the columns of a table, from its first row; empty when it cannot be read."""
    try:
        if uri.endswith(".parquet"):
            with tree.open(uri) as file:
                return [field.name for field in pq.read_schema(file) if not embeds_audio(field.type)]
        head = tree.read(uri, size=1 << 16).decode("utf-8-sig", errors="replace")
        if uri.endswith((".csv", ".tsv")):
            line = head.splitlines()[0] if head else ""
            return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line, uri)), [])]
        first = json.loads(head.splitlines()[0]) if head.strip() else {}
        return list(first) if isinstance(first, dict) else []
    except (RowError, ValueError, RecursionError, OSError, csv.Error):  # pa.ArrowInvalid is a ValueError
        return []


class Columns:
    """Maps a table's rows to facts.

    Args:
        config: its ``columns``, ``labels`` and ``scales``.
        names: the table's columns.

    Raises:
        UsageError: ``columns`` names one that is not there, with the names that are.
    """

    def __init__(self, config: LayoutConfig, names: list[str], where: str) -> None:
        self._labels, self._scales, self._where = config.labels, config.scales, where
        lower = {name.lower(): name for name in reversed(names)}
        self.of: dict[str, str] = {}
        for field, aliases in ALIASES.items():
            if field in config.columns:
                chosen = config.columns[field]
                if chosen is not None:
                    if chosen not in names:
                        raise UsageError(
                            f"{where}: columns.{field}: no column {chosen!r}; there are: {', '.join(names)}"
                        )
                    self.of[field] = chosen
            else:
                found = next((lower[alias] for alias in aliases if alias in lower), None)
                if found is not None and found not in config.columns.values():
                    self.of[field] = found
        self._mapped = set(self.of.values())

    def value(self, row: Mapping[str, Any], field: str) -> Any:
        name = self.of.get(field)
        return None if name is None else row.get(name)

    def facts(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Annotation fields of a row, through ``labels`` and ``scales``."""
        facts: dict[str, Any] = {}
        for field, name in self.of.items():
            if field in _PLACE or field in _ROW:
                continue
            value = row.get(name)
            if value is None or value == "":
                continue
            mapped = self._labels.get(field, {}).get(str(value).strip())
            if mapped is not None:
                value = mapped
            elif field in DIMENSIONS:
                value = self._dimension(field, value)
            facts[field] = value
        return facts

    def rest(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The corpus's own columns, which no field of ours took."""
        return {name: value for name, value in row.items() if name not in self._mapped and value not in (None, "")}

    def reworded(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a field of ours took but could not keep as it stands: splits, ages like "thirties", unknown sexes."""
        kept = {}
        for field, name in self.of.items():
            value = row.get(name)
            changed = field in {"sex", "age_years", "language"} and normal(field, value) is None
            if (changed or field == "split") and value not in (None, ""):
                kept[name] = value
        return kept

    def span(self, row: Mapping[str, Any]) -> Span:
        """Where in the recording the row applies.

        Raises:
            RowError: ``BadManifestRow``; times or channel that make no sense.
        """
        channel = self._float(row, "channel")
        start, end = self._float(row, "start"), self._float(row, "end")
        length = self._float(row, "duration")
        if start is not None and end is None and length is not None and self.value(row, "end") is None:
            end = start + length
        if end is not None and start is None:
            start = 0.0
        if start is not None and (start < 0 or (end is not None and end <= start)):
            raise RowError("BadManifestRow", f"start {start:g} s and end {end} s are no stretch of a recording")
        if channel is not None and (channel < 0 or channel != int(channel)):
            raise RowError("BadManifestRow", f"channel {channel:g} is no channel; count from 0")
        if start is None and channel is None:
            return EVERYWHERE
        rounded = (None if start is None else round(start, 6)), (None if end is None else round(end, 6))
        return (None if channel is None else int(channel), *rounded)

    def seconds(self, row: Mapping[str, Any]) -> float | None:
        """Announced length of the whole recording, when the row is about all of it."""
        return None if "start" in self.of else self._float(row, "duration", strict=False)

    def _float(self, row: Mapping[str, Any], field: str, strict: bool = True) -> float | None:
        value = self.value(row, field)
        if value is None or value == "":
            return None
        number = normal("age_years", value)  # any finite number
        if number is None:
            if strict and value == value:  # NaN means absent
                raise RowError("BadManifestRow", f"{field} {value!r} is no number")
            return None
        return float(number)

    def _dimension(self, field: str, value: Any) -> float | None:
        low, high = self._scales.get(field, (0.0, 1.0))
        number = scaled(value, low, high)
        if number is None and normal(field, value) is not None:
            raise UsageError(
                f"{self._where}: {field} {value} is outside {low:g}..{high:g}; "
                f"say its scale in the recipe: stages.ingest.scales: {{{field}: [1, 7]}}"
            )
        return number


def _parquet(tree: Tree, uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with tree.open(uri) as file:
            table = pq.ParquetFile(file)
            names = [field.name for field in table.schema_arrow if not embeds_audio(field.type)]
            number = 0
            for batch in table.iter_batches(columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RowError("Unreadable", f"no Parquet file: {error}") from None


def embeds_audio(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded audio itself: bytes, or a struct with ``bytes``."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and embeds_audio(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _csv(text: str, delimiter: str | None) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    csv.field_size_limit(1 << 24)
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _delimiter(header, ".csv"))
    names = [name.strip() for name in next(reader, [])]
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield number, RowError("BadManifestRow", f"row {number}: {error}")
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names):
            yield number, RowError("BadManifestRow", f"row {number} has {len(cells)} cells, the header {len(names)}")
            continue
        yield number, dict(zip(names, cells, strict=False))


def _delimiter(header: str, uri: str) -> str:
    if uri.endswith(".tsv"):
        return "\t"
    return max(",;\t|", key=header.count)  # the first of the most frequent


def _jsonl(text: str) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, RowError("BadManifestRow", f"line {number} is no JSON: {str(error)[:100]}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            yield number, RowError("BadManifestRow", f"line {number} is no JSON object")


def _json(text: str) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """A list of objects, or an object of objects by file name (MSP-Podcast)."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError("Unreadable", f"no JSON: {str(error)[:100]}") from None
    if isinstance(data, dict):
        data = [{"file": name, **row} for name, row in data.items() if isinstance(row, dict)]
    for number, row in enumerate(data if isinstance(data, list) else [], start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            yield number, RowError("BadManifestRow", f"entry {number} is no JSON object")
