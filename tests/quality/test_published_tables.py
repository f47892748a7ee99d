"""Tables that are published with the data and decide labels: what they say is in the key of whoever reads them."""

from __future__ import annotations

import shutil

import pytest

from datagen.models import tagger
from datagen.quality import agreement, emotions
from datagen.resources import folder
from datagen.speech import hallucination

TABLES = {
    "emotion_labels.yaml": (emotions, emotions.emotion_table, lambda: emotions.emotion_table().version),
    "emotion_quadrants.yaml": (agreement, agreement.quadrants, lambda: agreement.quadrants().version),
    "event_labels.yaml": (tagger, tagger.vocabulary, lambda: tagger.vocabulary().version),
    "hallucinations.yaml": (hallucination, hallucination._data, hallucination.version),
}


@pytest.mark.parametrize(
    ("file", "before", "after", "other"),
    [
        ("emotion_labels.yaml", "# From the labels", "# Of the labels", False),
        ("emotion_labels.yaml", "\nnames:\n", "\nother: [x]\nnames:\n", True),
        ("emotion_quadrants.yaml", "valence: low", "valence: any", True),
        ("event_labels.yaml", "giggling, ", "", True),
        ("hallucinations.yaml", "\nfarewells:\n", "\nfarewells:\n  xx: [so long]\n", True),
    ],
)
def test_a_change_counts_whether_or_not_the_version_was_raised(monkeypatch, tmp_path, file, before, after, other):
    module, cached, version = TABLES[file]
    first = version()
    shutil.copytree(folder("schemas"), tmp_path / "schemas")
    text = (tmp_path / "schemas" / file).read_text("utf-8")
    assert before in text
    (tmp_path / "schemas" / file).write_text(text.replace(before, after, 1), "utf-8")
    monkeypatch.setattr(module, "folder", lambda name: tmp_path / name)
    cached.cache_clear()
    try:
        assert (version() != first) == other
    finally:
        cached.cache_clear()
