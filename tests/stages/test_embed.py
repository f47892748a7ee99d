import subprocess
import sys

import numpy as np
import pytest

from datagen.models import minilm
from datagen.stages.embed import Embed, EmbedConfig
from datagen.testing.batches import batch_for

ROWS = [
    {"clip_id": "a", "transcript": "Kids are talking by the door.", "speech_lang": "en"},
    {"clip_id": "b", "transcript": "kids are talking by the door", "speech_lang": "en-US", "text_lang": "en"},
    {"clip_id": "c", "transcript": "Der Lappen liegt auf dem Eisschrank.", "speech_lang": "de"},
    {"clip_id": "d", "transcript": "Kids are talking by the door."},
    {"clip_id": "e", "speech_lang": "en"},
    {"clip_id": "f", "transcript": "The children talk at the door, and it is a long evening.", "speech_lang": "en"},
]


@pytest.fixture(scope="module")
def embed():
    stage = Embed()
    if problem := stage.check():
        pytest.fail(problem)
    stage.setup()
    return stage


def _run(stage, rows):
    return stage.process(batch_for(stage, rows)).columns.to_pylist()


def test_equal_words_equal_vectors_other_languages_none(embed):
    rows = _run(embed, ROWS)
    assert [row["text_key"] for row in rows[:5]] == [
        "en|kids are talking by the door",
        "en|kids are talking by the door",
        "de|der lappen liegt auf dem eisschrank",
        "und|kids are talking by the door",
        None,
    ]
    assert [row["text_embedding"] is not None for row in rows] == [True, True, False, False, False, True]
    assert rows[0]["text_embedding"] == rows[1]["text_embedding"]
    assert np.linalg.norm(rows[0]["text_embedding"]) == pytest.approx(1, abs=1e-4)
    assert 0.5 < np.dot(rows[0]["text_embedding"], rows[5]["text_embedding"]) < 0.95


def test_vectors_do_not_depend_on_the_batch(embed):
    embed._known.clear()
    alone = []
    for row in ROWS:
        embed._known.clear()
        alone += _run(embed, [row])
    embed._known.clear()
    assert _run(embed, ROWS[::-1])[::-1] == alone


def test_without_a_model_only_keys_and_no_torch():
    code = (
        "import sys\n"
        "from datagen.stages.embed import Embed, EmbedConfig\n"
        "from datagen.testing.batches import batch_for\n"
        "stage = Embed(EmbedConfig(backend='none')); stage.setup()\n"
        "row = {'clip_id': 'a', 'transcript': 'Yes!', 'speech_lang': 'en'}\n"
        "out = stage.process(batch_for(stage, [row])).columns.to_pylist()\n"
        "assert out == [{'text_embedding': None, 'text_key': 'en|yes'}], out\n"
        "assert 'torch' not in sys.modules and 'sentence_transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_and_licence_are_told():
    assert Embed().semantics()["revision"] == minilm.revision()
    assert [maker.licence for maker in Embed().provenance()] == ["Apache-2.0"]
    assert Embed(EmbedConfig(backend="none")).provenance() == ()
