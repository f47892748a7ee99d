"""From what a corpus says about a file to a row of ``SOURCES``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from datagen.readers.tree import FileInfo, Refused
from datagen.speech.labels import sex
from datagen.speech.text import language
from datagen.tables import ANNOTATION, REJECTS, SOURCES

#: Dimensions that must lie in 0..1; a corpus with another scale says so (``scales``).
DIMENSIONS = ("arousal", "dominance", "valence")

_SPLIT = (
    (re.compile(r"^train"), "train"),
    (re.compile(r"^(dev|val|eval(?:uation)?$|devel)"), "validation"),
    (re.compile(r"^test"), "test"),
)

#: (channel, start, end); None = all of the recording.
Span = tuple[int | None, float | None, float | None]
EVERYWHERE: Span = (None, None, None)


def recording_id(corpus: str, uri: str) -> str:
    """128 bits of BLAKE2b over corpus and source URI, in hex."""
    return blake2b(f"{corpus}\0{uri}".encode(), digest_size=16).hexdigest()


def canonical_json(value: Any) -> str:
    """Sorted, compact, without NaN (null instead): equal values are equal text."""
    return json.dumps(_finite(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def split_name(raw: Any) -> str | None:
    """``train``, ``validation`` or ``test`` for a corpus's own name of a split (Development, Test2, evaluation)."""
    text = str(raw or "").strip().lower()
    return next((name for pattern, name in _SPLIT if pattern.match(text)), None)


def scaled(value: Any, low: float, high: float) -> float | None:
    """A rating on ``low..high`` as 0..1, six decimals; None when it is no number or off its scale."""
    number = _number(value)
    if number is None or not low <= number <= high:
        return None
    return round((number - low) / (high - low), 6)


def normal(field: str, value: Any) -> str | None:
    """The text form of a value, as stages expect it: sex, language and ages in one spelling, no empty strings."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if field == "sex":
        return sex(str(value))
    if field == "language":
        return language(str(value))
    if field in {"age_years", *DIMENSIONS}:
        number = _number(value)
        return None if number is None else repr(round(number, 6))
    if isinstance(value, list | dict):
        return canonical_json(value)
    if isinstance(value, float) and value.is_integer() and field in {"speaker", "intensity"}:
        value = int(value)  # a column of ids with gaps arrives as floats
    text = str(value).strip()
    return text or None


class Rows:
    """Collects rows of ``SOURCES`` and of ``REJECTS``; columns, not dicts, because a scan must take a second.

    Args:
        corpus, licence, lang: what holds for every row that does not say otherwise itself.
    """

    def __init__(self, corpus: str, licence: str | None = None, lang: str | None = None) -> None:
        self.corpus = corpus
        self.licence = licence
        self.language = lang
        self._row: dict[tuple[str, str], int] = {}
        self._uris: set[str] = set()
        self._columns: dict[str, list[Any]] = {name: [] for name in SOURCES.names}
        self._refused: dict[tuple[str, str], tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._columns["recording_id"])

    def __contains__(self, uri: str) -> bool:
        return uri in self._uris

    def add(
        self,
        uri: str,
        info: FileInfo,
        facts: Mapping[str, Any] | None = None,
        *,
        spans: Iterable[tuple[Span, Mapping[str, Any]]] = (),
        metadata: Mapping[str, Any] | None = None,
        split: Any = None,
        licence: str | None = None,
        seconds: float | None = None,
        locator: str | None = None,
        corpus: str | None = None,
    ) -> None:
        """One source, or more about one already there (then only facts and metadata are added to it).

        Args:
            facts: annotation field -> value, about the whole recording.
            spans: the same about stretches of it, ``((channel, start, end), facts)``; seconds.
            metadata: the corpus's own columns.
            split: the corpus's name of the split.
        """
        name = str(corpus or self.corpus)
        key = (name, uri)
        row = self._row.get(key)
        if row is None:
            row = self._row[key] = len(self)
            self._uris.add(uri)
            columns = self._columns
            columns["recording_id"].append(recording_id(name, uri))
            columns["corpus"].append(name)
            columns["source_uri"].append(uri)
            columns["fingerprint"].append(info.fingerprint)
            columns["size_bytes"].append(info.size)
            columns["seconds_hint"].append(seconds)
            columns["licence"].append(str(licence) if licence else self.licence)
            columns["official_split"].append(split_name(split))
            columns["metadata"].append({})
            columns["annotations"].append({})
            columns["locator"].append(locator)
        if metadata:
            self._columns["metadata"][row].update(metadata)
        said: dict[tuple[Span, str, str], None] = self._columns["annotations"][row]
        for span, about in ((EVERYWHERE, facts or {}), *spans):
            for field, value in about.items():
                text = normal(field, value)
                if text is not None:
                    said[span, field, text] = None  # a dict: the same said twice is said once, in order

    def refuse(self, uri: str, error_class: str, message: str) -> None:
        self._refused.setdefault((self.corpus, uri), (error_class, message))

    def refuse_all(self, refused: Iterable[Refused]) -> None:
        for refusal in refused:
            self.refuse(*refusal)

    def sources(self) -> pa.Table:
        """``SOURCES``, in the order of (corpus, source URI)."""
        columns = dict(self._columns)
        columns["metadata"] = [canonical_json(entry) if entry else None for entry in columns["metadata"]]
        columns["annotations"] = self._annotations()
        arrays = [
            values if isinstance(values, pa.Array) else pa.array(values, SOURCES.field(name).type)
            for name, values in columns.items()
        ]
        table = pa.Table.from_arrays(arrays, schema=SOURCES)
        return table.sort_by([("corpus", "ascending"), ("source_uri", "ascending")])

    def _annotations(self) -> pa.Array:
        offsets = [0]
        parts: dict[str, list[Any]] = {field.name: [] for field in ANNOTATION}
        for corpus, said in zip(self._columns["corpus"], self._columns["annotations"], strict=True):
            entries: Sequence[tuple[Span, str, str]] = list(said)
            if self.language and not any(field == "language" for _, field, _ in entries):
                entries = [*entries, (EVERYWHERE, "language", self.language)]
            for (channel, start, end), field, value in entries:
                parts["channel"].append(channel)
                parts["start"].append(start)
                parts["end"].append(end)
                parts["field"].append(field)
                parts["value"].append(value)
                parts["source"].append(corpus)
            offsets.append(len(parts["field"]))
        flat = [pa.array(parts[field.name], field.type) for field in ANNOTATION]
        structs = pa.StructArray.from_arrays(flat, fields=list(ANNOTATION))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)

    def rejects(self) -> pa.Table:
        """``REJECTS``: what can never become a source. The id is that of the recording it would have been."""
        refused = sorted(self._refused.items())
        return pa.Table.from_pylist(
            [
                {
                    "id": recording_id(corpus, uri),
                    "table": "sources",
                    "stage": "ingest",
                    "error_class": error_class,
                    "message": message,
                    "attempt": 1,
                }
                for (corpus, uri), (error_class, message) in refused
            ],
            schema=REJECTS,
        )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value
