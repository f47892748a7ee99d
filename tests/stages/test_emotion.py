import pyarrow as pa

from datagen import tables
from datagen.quality.emotions import emotion_table
from datagen.stages.emotion import Emotion
from datagen.testing.batches import batch_for


def test_gold_labels_have_no_scores_and_no_margin():
    labels = [{"field": "emotion", "value": "W", "source": "labels", "reason": None}]
    stage = Emotion()
    out = stage.process(batch_for(stage, [{"clip_id": "a", "corpus": "emodb", "labels": labels}, {"clip_id": "b"}]))
    assert out.columns.schema == tables.EMOTION
    assert out.columns.to_pylist() == [
        {"emotion": "angry", "emotion_raw": "W", "emotion_scores": None, "emotion_margin": None,
         "label_source": "gold", "sentiment": "negative"},
        dict.fromkeys(tables.EMOTION.names),
    ]  # fmt: skip


def test_empty_batch_and_columns_of_nulls():
    stage = Emotion()
    assert stage.process(batch_for(stage, [])).columns.num_rows == 0
    nulls = pa.table({"clip_id": ["a"], "corpus": pa.nulls(1), "labels": pa.nulls(1)})
    assert stage.process(nulls).columns["emotion"].null_count == 1


def test_the_tables_version_is_part_of_the_key():
    assert Emotion().semantics() == {"emotion_labels": emotion_table().version}
