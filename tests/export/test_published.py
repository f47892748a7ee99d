"""The published columns are documented, typed as the run types them, and told to `datasets` in the portable form."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from datagen import tables
from datagen.export import published
from datagen.stages.export import Export


def test_every_column_says_what_it_means():
    for column in published.columns():
        assert column.about.endswith("."), column.name
        assert set(column.tables) <= {"clips", "samples"} and column.tables
        assert "<" not in column.about and "|" not in column.about, column.name  # it stands in a Markdown table


def test_lineage_names_columns_of_a_run():
    known = {field.name for value in vars(tables).values() if isinstance(value, pa.Schema) for field in value}
    for column, sources in published.lineage().items():
        assert set(sources) <= known, column


@pytest.mark.parametrize("raw", ["arousal", "dominance", "valence"])
def test_everything_made_of_a_raw_affect_score_says_so(raw):
    from datagen.quality.licences import origins

    for name in (raw, f"{raw}_pct", f"{raw}_level"):
        assert f"{raw}_raw" in origins(name, published.lineage())


@pytest.mark.parametrize(
    ("column", "maker"),
    [
        ("text_cluster", "text_embedding"),  # a licence of the model of sentences binds what was found with it
        ("contrast_group_id", "text_embedding"), ("contrast_type", "arousal_raw"),
        ("contrast_emotions", "emotion"), ("cue_relation", "text_emotion"), ("cue_relation", "transcript"),
        ("stratum", "emotion"), ("sampling_weight", "emotion"),
    ],
)  # fmt: skip
def test_what_condense_decides_rests_on_what_it_looked_at(column, maker):
    from datagen.quality.licences import origins

    assert maker in origins(column, published.lineage())


def test_the_sound_comes_last():
    for table in ("clips", "samples"):
        assert published.schema(table).names[-1] == "audio"
        assert "audio" not in published.schema(table, audio=False).names


def test_features_are_spelt_portably():
    footer = json.loads(published.schema("clips").metadata[b"huggingface"])["info"]["features"]
    assert footer["audio"] == {"sampling_rate": 16000, "_type": "Audio"}
    assert footer["emotion_id"] == {"names": list(tables.EMOTIONS), "_type": "ClassLabel"}
    assert footer["contrast_emotions"] == [{"dtype": "string", "_type": "Value"}]
    assert footer["words"][0]["start"] == {"dtype": "float64", "_type": "Value"}
    assert published.schema("clips").field("audio").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert "List" not in json.dumps(footer) and "large" not in str(published.schema("clips"))


def test_the_stage_declares_what_it_publishes():
    assert {"transcript", "audio", "question", "licence", "split"} <= set(Export.optional_reads)
    assert not {"commercial_ok", "emotion_id"} & set(Export.optional_reads)
