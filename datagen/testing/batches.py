"""Batches as the engine hands them to a stage, from plain rows: for testing one stage alone.

batch = batch_for(Condense(), [{"clip_id": "a", "recording_id": "r", "speaker": "x/1", "duration": 2.0}])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from datagen import tables
from datagen.stage import Stage

_ADDED = (
    tables.TRANSCRIBE, tables.EMOTION, tables.AGE_GENDER, tables.AFFECT, tables.PROSODY, tables.EVENTS,
    tables.DESCRIBE, tables.AGREEMENT, tables.EMBED, tables.TEXT_EMOTION, tables.FINGERPRINT, tables.NEIGHBOURS,
    tables.CONDENSE, tables.SPLIT,
)  # fmt: skip
_CLIP_FIELDS = {field.name: field for schema in (tables.CLIPS, *_ADDED) for field in schema}


def batch_for(stage: Stage, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of clips -> the columns the stage declares, typed; keys it does not read are left out, absent ones null.

    Raises:
        KeyError: the stage reads a column that no stage on clips writes.
    """
    names = dict.fromkeys(("clip_id", *stage.reads, *stage.optional_reads))
    schema = pa.schema([_CLIP_FIELDS[name] for name in names])
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows], schema=schema)
