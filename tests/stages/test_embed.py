import subprocess
import sys

import numpy as np
import pytest

from datagen.errors import EnvironmentFault
from datagen.models import manifest, sentences
from datagen.stages.embed import Embed, EmbedConfig
from datagen.testing.batches import batch_for
from datagen.testing.checkpoints import sentences as checkpoint

WORD = {"word": "x", "start": 0.0, "end": 0.1, "score": 1.0, "flag": None}
ROWS = [
    {"clip_id": "a", "transcript": "Kids are talking by the door.", "speech_lang": "en", "words": [WORD] * 6},
    {"clip_id": "b", "transcript": "kids are talking by the door", "speech_lang": "en-US", "text_lang": "en"},
    {"clip_id": "c", "transcript": "Der Lappen liegt auf dem Eisschrank.", "speech_lang": "de"},
    {"clip_id": "d", "transcript": "Kids are talking by the door."},
    {"clip_id": "e", "speech_lang": "en"},
    {"clip_id": "f", "transcript": "The children talk at the door, and it is a long evening.", "speech_lang": "en"},
    {"clip_id": "g", "transcript": "[laughs] Kids are talking by the door!", "speech_lang": "en",
     "words": [WORD, WORD | {"start": None}]},
    {"clip_id": "h", "transcript_reason": "nobody speaks, says silero", "speech_lang": "en"},
    {"clip_id": "i", "transcript": "[laughs]", "speech_lang": "en", "words": []},
]  # fmt: skip


@pytest.fixture(scope="module")
def embed():
    stage = Embed()
    if problem := stage.check():
        pytest.fail(problem)
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint.build(tmp_path_factory.mktemp("embed") / "own")


def _run(stage, rows=ROWS):
    return stage.process(batch_for(stage, rows)).columns.to_pylist()


def test_equal_words_equal_vectors_other_languages_none(embed):
    rows = _run(embed)
    assert [row["text_key"] for row in rows] == [
        "en|kids are talking by the door",
        "en|kids are talking by the door",
        "de|der lappen liegt auf dem eisschrank",
        "und|kids are talking by the door",
        None,
        "en|the children talk at the door and it is a long evening",
        "en|kids are talking by the door",
        None,
        None,
    ]
    assert [row["text_embedding"] is not None for row in rows] == [bool(have) for have in (1, 1, 0, 0, 0, 1, 1, 0, 0)]
    assert rows[0]["text_embedding"] == rows[1]["text_embedding"] == rows[6]["text_embedding"]
    assert np.linalg.norm(rows[0]["text_embedding"]) == pytest.approx(1, abs=1e-4)
    assert 0.5 < np.dot(rows[0]["text_embedding"], rows[5]["text_embedding"]) < 0.95


def test_words_are_counted_and_their_times_too(embed):
    rows = _run(embed)
    assert [row["word_count"] for row in rows] == [6, 6, 6, 6, None, 12, 6, 0, 0]
    assert [row["word_coverage"] for row in rows] == [1.0, None, None, None, None, None, 0.5, None, None]


def test_vectors_do_not_depend_on_the_batch(embed):
    alone = []
    for row in ROWS:
        embed._known.clear()
        alone += _run(embed, [row])
    embed._known.clear()
    assert _run(embed, ROWS[::-1])[::-1] == alone


def test_what_is_remembered_is_bounded_and_changes_nothing(embed, monkeypatch):
    expected = _run(embed)
    monkeypatch.setattr("datagen.stages.embed._REMEMBERED", 1)
    embed._known.clear()
    assert [_run(embed, [row])[0] for row in ROWS] == expected
    assert len(embed._known) == 1


def test_a_model_of_several_languages_hears_them_all_and_the_unknown(folder):
    config = EmbedConfig(backend="sentence-transformers", model=str(folder), device="cpu", languages=("en", "de"))
    stage = Embed(config)
    assert stage.check() is None
    stage.setup()
    rows = _run(stage, [*ROWS, {"clip_id": "z", "transcript": "Oui", "speech_lang": "fr"}])
    have = [row["text_embedding"] is not None for row in rows]
    assert have == [bool(one) for one in (1, 1, 1, 1, 0, 1, 1, 0, 0, 0)]
    assert {len(row["text_embedding"]) for row in rows if row["text_embedding"]} == {32}
    (maker,) = stage.provenance()
    assert maker.licence == "licence of own" and maker.columns == ("text_embedding",)
    anything = Embed(config.model_copy(update={"languages": ("*",)}))
    assert anything.languages.know("fr") and not stage.languages.know("fr")
    assert anything.semantics() != stage.semantics()


def test_a_folder_of_one_s_own_must_say_its_languages(folder):
    stage = Embed(EmbedConfig(backend="sentence-transformers", model=str(folder), device="cpu"))
    assert "languages: [en]" in stage.check()
    with pytest.raises(EnvironmentFault, match="languages"):
        stage.setup()


def test_the_manifest_s_models_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    default = Embed(EmbedConfig(backend="sentence-transformers"))
    assert "datagen models pull multilingual-minilm" in default.check()
    assert {"en", "de", "zh", "th", "no"} <= set(default.languages) and default.languages.know("und")
    e5 = Embed(EmbedConfig(backend="sentence-transformers", model="multilingual-e5-small"))
    assert e5.prompt == "query: " and e5.semantics()["prompt"] == "query: "
    english = Embed(EmbedConfig(backend="sentence-transformers", model="mpnet-en"))
    assert list(english.languages) == ["en"] and not english.languages.know("und")
    assert {stage.provenance()[0].licence for stage in (default, english)} == {"Apache-2.0"}
    assert e5.provenance()[0].licence == "MIT"


def test_a_vector_without_a_direction_is_a_reject(embed, monkeypatch):
    nothing = np.full((1, 384), np.nan, np.float32)
    monkeypatch.setattr(embed._model, "embed", lambda texts: np.repeat(nothing, len(texts), axis=0))
    embed._known.clear()
    rejects = embed.process(batch_for(embed, ROWS)).rejects
    embed._known.clear()
    assert [(reject.row, reject.error_class) for reject in rejects] == [(row, "NotFinite") for row in (0, 1, 5, 6)]


def test_settings_of_another_backend_are_no_part_of_the_key():
    assert EmbedConfig().idle() == {"languages", "prompt"}
    assert EmbedConfig(backend="sentence-transformers").idle() == frozenset()


def test_without_a_model_only_keys_and_no_torch():
    code = (
        "import sys\n"
        "from datagen.stages.embed import Embed, EmbedConfig\n"
        "from datagen.testing.batches import batch_for\n"
        "stage = Embed(EmbedConfig(backend='none')); stage.setup()\n"
        "row = {'clip_id': 'a', 'transcript': 'Yes!', 'speech_lang': 'en'}\n"
        "(out,) = stage.process(batch_for(stage, [row])).columns.to_pylist()\n"
        "assert out == {'text_embedding': None, 'text_key': 'en|yes', 'word_count': 1, 'word_coverage': None}, out\n"
        "assert 'torch' not in sys.modules and 'sentence_transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_and_licence_are_told():
    assert Embed().semantics()["revision"] == sentences.revision()
    assert [maker.licence for maker in Embed().provenance()] == ["Apache-2.0"]
    assert Embed(EmbedConfig(backend="none")).provenance() == ()
