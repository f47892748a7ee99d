"""Clips to condense, and what becomes of them, for the tests of ``condense``."""

import json

import pyarrow as pa

from datagen import tables
from datagen.stages.condense import Condense, CondenseConfig
from datagen.stages.neighbours.stage import Neighbours
from datagen.testing.batches import batch_for
from datagen.testing.rounds import worked

TAKE = {"level_dbfs": -25.0, "f0_median_hz": 120.0, "f0_range_st": 5.0, "rate_syl_s": 4.5, "duration": 2.0}


def clip(number, **changes):
    row = {"clip_id": f"c{number:03}", "recording_id": f"r{number}", "corpus": "toy", "speaker": "toy/1",
           "sex": "female", "speech_lang": "en", "audio_hash": f"h{number}", "snr_db": 30.0, "label_source": "gold",
           "emotion": "neutral", "text_key": "en|kids are talking by the door", **TAKE}  # fmt: skip
    return row | changes


def condense(rows, seed=0, previous=None, **config):
    stage = Condense(CondenseConfig(**config), seed=seed)
    stage.previous = previous
    out = stage.process(batch_for(stage, rows))
    assert out.columns.schema == tables.CONDENSE
    columns = out.columns.to_pylist()
    assert out.dropped.to_pylist() == [column["drop_reason"] for column in columns]
    json.dumps(out.artifact, allow_nan=False)
    return {row["clip_id"]: column for row, column in zip(rows, columns, strict=True)}, out.artifact


def neighboured(rows, size=None):
    """The rows, searched in shards of ``size``, with the columns that the stage ``neighbours`` writes."""
    stage = Neighbours()
    size = size or len(rows)
    outputs, _ = worked(stage, [batch_for(stage, rows[start : start + size]) for start in range(0, len(rows), size)])
    found = pa.concat_tables([output.columns for output in outputs]).to_pylist()
    return [row | columns for row, columns in zip(rows, found, strict=True)]


def kept(result):
    return {clip_id for clip_id, column in result.items() if column["drop_reason"] is None}


def committed(result):
    """What the engine hands to the next run as ``previous``."""
    rows = [{"clip_id": clip_id, **column} for clip_id, column in result.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema([pa.field("clip_id", pa.string()), *tables.CONDENSE]))
