"""The published columns: which there are, their Arrow schema, and how ``datasets`` is told about them.

``schemas/published.yaml`` lists them with meaning, unit and lineage; types come from ``datagen.tables``.

Features are spelt by hand, in the one form that every ``datasets`` from 2.21 to 5.x reads: a list is an array with
one element (newer spellings are unknown to older versions), audio is exactly ``struct<bytes: binary, path: string>``
and a class label exactly ``int64``. A feature that does not match its column is dropped there without a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import yaml

from datagen import tables
from datagen.resources import folder

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
#: As ``datasets`` writes Parquet: chunk boundaries that survive insertions, so that the Hub stores a change only.
CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}

_DERIVED = {"bool": pa.bool_(), "emotion": pa.int64(), "audio": AUDIO}
_DTYPES = {
    pa.string(): "string",
    pa.float64(): "float64",
    pa.float32(): "float32",
    pa.int64(): "int64",
    pa.int32(): "int32",
    pa.bool_(): "bool",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One published column. ``derived`` columns exist in published files only."""

    name: str
    type: pa.DataType
    kind: str  #: "" or, for derived columns, "bool" | "emotion" | "audio"
    unit: str
    about: str
    made_from: tuple[str, ...]
    tables: tuple[str, ...]  #: of "clips" and "samples"

    @property
    def derived(self) -> bool:
        return bool(self.kind)

    def feature(self) -> Any:
        """The column's entry in the ``huggingface`` footer."""
        if self.kind == "audio":
            return {"sampling_rate": tables.SAMPLE_RATE, "_type": "Audio"}
        if self.kind == "emotion":
            return {"names": list(tables.EMOTIONS), "_type": "ClassLabel"}
        return _feature(self.type)

    def yaml_feature(self) -> dict[str, Any]:
        """The same in the spelling of ``dataset_info`` on a dataset card."""
        if self.kind == "audio":
            return {"name": self.name, "dtype": {"audio": {"sampling_rate": tables.SAMPLE_RATE}}}
        if self.kind == "emotion":
            names = {str(number): name for number, name in enumerate(tables.EMOTIONS)}
            return {"name": self.name, "dtype": {"class_label": {"names": names}}}
        return {"name": self.name, **_yaml_feature(self.type)}

    def type_name(self) -> str:
        """Type for readers: ``string``, ``list<{word, start, end, score}>``, ``Audio``, ``ClassLabel``."""
        return {"audio": "Audio", "emotion": "ClassLabel"}.get(self.kind) or _type_name(self.type)


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind.fields}
    return {"dtype": _DTYPES[kind], "_type": "Value"}


def _yaml_feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_yaml_feature(field.type)} for field in kind.fields]}
    if pa.types.is_list(kind):
        inner = _yaml_feature(kind.value_type)
        return {"list": inner.get("struct") or inner.get("dtype") or inner}
    return {"dtype": _DTYPES[kind]}


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(field.name for field in kind.fields) + "}"
    return _DTYPES[kind]


def _run_types() -> dict[str, pa.DataType]:
    """Type of every column a run can hold. A name means one thing everywhere, so the last one found is as good."""
    return {
        field.name: field.type for value in vars(tables).values() if isinstance(value, pa.Schema) for field in value
    }


@cache
def columns() -> tuple[Column, ...]:
    """All published columns in the order they are written."""
    types = _run_types()
    listed = yaml.safe_load((folder("schemas") / "published.yaml").read_text(encoding="utf-8"))["columns"]
    return tuple(
        Column(
            name=entry["name"],
            type=_DERIVED[entry["type"]] if "type" in entry else types[entry["name"]],
            kind=entry.get("type", ""),
            unit=entry.get("unit", ""),
            about=entry["about"],
            made_from=tuple(entry.get("from", ())),
            tables=tuple(entry["in"]),
        )
        for entry in listed
    )


def of(table: str, *, audio: bool = True) -> tuple[Column, ...]:
    """Published columns of ``"clips"`` or ``"samples"``, with or without the sound."""
    return tuple(column for column in columns() if table in column.tables and (audio or column.kind != "audio"))


def lineage() -> Mapping[str, tuple[str, ...]]:
    """Derived column -> columns it was made from; what permissions travel along."""
    return {column.name: column.made_from for column in columns() if column.made_from}


def features(table: str, *, audio: bool = True) -> dict[str, Any]:
    return {column.name: column.feature() for column in of(table, audio=audio)}


def schema(table: str, *, audio: bool = True, about: Mapping[str, Any] | None = None) -> pa.Schema:
    """Arrow schema of a published file, footer included. ``about`` goes under the footer key ``datagen``."""
    metadata = {
        "huggingface": json.dumps({"info": {"features": features(table, audio=audio)}}),
        "datagen": json.dumps(dict(about or {}), sort_keys=True),
        "content_defined_chunking": json.dumps(CHUNKING),
    }
    fields = [pa.field(column.name, column.type) for column in of(table, audio=audio)]
    return pa.schema(fields, metadata=metadata)
