import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from datagen import tables
from datagen.models import manifest
from datagen.quality.licences import published
from datagen.stages.text_emotion import TextEmotion, TextEmotionConfig
from datagen.testing.batches import batch_for
from datagen.testing.checkpoints import text_emotion as checkpoint

ROWS = [
    {"clip_id": "a", "transcript": "I am so happy to see you.", "speech_lang": "en"},
    {"clip_id": "b", "transcript": "I AM SO HAPPY TO SEE YOU!!!", "text_lang": "en"},
    {"clip_id": "c", "transcript": "I am so happy to see you.", "speech_lang": "de"},
    {"clip_id": "d", "transcript": "I am so happy to see you."},
    {"clip_id": "e", "transcript": "I hate this.", "speech_lang": "en", "asr_flags": ["boilerplate"]},
    {"clip_id": "f", "transcript": "I hate this.", "speech_lang": "en", "asr_flags": []},
    {"clip_id": "g", "transcript": "[laughs]", "speech_lang": "en"},
    {"clip_id": "h", "speech_lang": "en"},
]
NOTHING = dict.fromkeys(tables.TEXT_EMOTION.names)


@pytest.fixture(scope="module")
def vader():
    stage = TextEmotion()
    assert stage.check() is None
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def modelled(tmp_path_factory):
    folder = checkpoint.build(tmp_path_factory.mktemp("text_emotion") / "own")
    stage = TextEmotion(
        TextEmotionConfig(backend="transformers", model=str(folder), device="cpu", languages=("en", "de"))
    )
    assert stage.check() is None
    stage.setup()
    return stage


def _run(stage, rows=ROWS):
    return stage.process(batch_for(stage, rows)).columns.to_pylist()


def test_only_words_that_somebody_said_in_a_language_that_is_known(vader):
    rows = _run(vader)
    assert [row["text_sentiment"] for row in rows] == ["positive", "positive", None, None, None, "negative", None, None]
    assert {row["text_emotion"] for row in rows} == {None}
    assert [row for row in rows if row["text_sentiment"] is None] == [NOTHING] * 5


def test_equal_words_are_judged_alike_however_they_are_written(vader, modelled):
    for stage in (vader, modelled):
        rows = _run(stage)
        assert rows[0] == rows[1] and rows[0]["text_emotion_score"] is not None


def test_a_model_of_several_languages_judges_the_unknown_too(modelled):
    have = [row["text_emotion_score"] is not None for row in _run(modelled)]
    assert have == [bool(one) for one in (1, 1, 1, 1, 0, 1, 0, 0)]


def test_company_and_order_change_nothing(modelled):
    assert _run(modelled, ROWS[::-1])[::-1] == [_run(modelled, [row])[0] for row in ROWS]


def test_scores_that_are_not_numbers_are_rejects(modelled, monkeypatch):
    monkeypatch.setattr(modelled._judge, "scores", lambda texts: np.full((len(texts), 28), np.nan))
    out = modelled.process(batch_for(modelled, ROWS))
    assert [(reject.row, reject.error_class) for reject in out.rejects] == [(at, "NotFinite") for at in (0, 1, 2, 3, 5)]
    assert out.columns.to_pylist() == [NOTHING] * len(ROWS)


def test_none_says_nothing_and_loads_nothing():
    stage = TextEmotion(TextEmotionConfig(backend="none"))
    assert stage.check() is None and stage.provenance() == () and stage.semantics() == {}
    stage.setup()
    assert _run(stage) == [NOTHING] * len(ROWS)


def test_what_is_missing_is_named_with_its_mend(monkeypatch, tmp_path):
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    assert "datagen models pull go-emotions" in TextEmotion(TextEmotionConfig(backend="transformers")).check()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install vaderSentiment" in TextEmotion().check()


def test_makers_are_told_and_may_be_used_commercially(modelled):
    known = published()
    for backend in ("vader", "transformers"):
        (maker,) = TextEmotion(TextEmotionConfig(backend=backend)).provenance()
        assert known.permissions(maker.licence).commercial and set(maker.columns) <= set(tables.TEXT_EMOTION.names)
    assert "text_emotion" not in TextEmotion().provenance()[0].columns
    (own,) = modelled.provenance()
    assert not known.permissions(own.licence).commercial


def test_a_wrong_meaning_is_refused_with_the_recipe():
    with pytest.raises(ValidationError, match="'joyful' is none of angry"):
        TextEmotionConfig(backend="transformers", labels={"LABEL_0": {"emotion": "joyful"}})
    with pytest.raises(ValidationError, match="extra"):
        TextEmotionConfig(backend="transformers", labels={"LABEL_0": {"mood": "happy"}})


def test_settings_of_another_backend_are_no_part_of_the_key():
    assert TextEmotionConfig().idle() == {"languages", "min_score", "labels"}
    assert TextEmotionConfig(backend="transformers").idle() == frozenset()


def test_vader_needs_no_torch():
    code = (
        "import sys\n"
        "from datagen.stages.text_emotion import TextEmotion\n"
        "from datagen.testing.batches import batch_for\n"
        "stage = TextEmotion(); stage.setup()\n"
        "row = {'clip_id': 'a', 'transcript': 'How awful!', 'speech_lang': 'en'}\n"
        "(out,) = stage.process(batch_for(stage, [row])).columns.to_pylist()\n"
        "assert out['text_sentiment'] == 'negative', out\n"
        "assert not {'torch', 'transformers', 'requests'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
