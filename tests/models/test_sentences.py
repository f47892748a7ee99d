"""Sentence embeddings on tiny random checkpoints and on the embedded model, against the library's own call."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.errors import EnvironmentFault
from datagen.models import sentences
from datagen.models.sentences import DECIMALS, Sentences
from datagen.models.text_model import ROWS, halves
from datagen.testing.checkpoints import sentences as checkpoint

TEXTS = [
    "kids are talking by the door", "dogs", "i am so happy to see you tonight", "der lappen liegt auf dem eisschrank",
    "今天很高兴", "say the word again", "no", "when did you come home and why did you not call me",
]  # fmt: skip


@pytest.fixture(scope="module", params=["bert", "mpnet"])
def folder(request, tmp_path_factory):
    return checkpoint.build(tmp_path_factory.mktemp("sentences") / request.param, request.param)


@pytest.fixture(scope="module")
def model(folder):
    return Sentences(folder)


def stock(folder, texts):
    """Unit vectors of the library's own call, one text at a time, with its own choice of attention."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.concatenate([loaded.encode([text], show_progress_bar=False) for text in texts])


def test_vectors_are_the_library_s(model, folder):
    mine, theirs = model.embed(TEXTS), stock(folder, TEXTS)
    assert np.abs(mine - theirs).max() < 1.5 * 10**-DECIMALS
    assert np.abs(mine[0] - mine[1:]).max(axis=1).min() > 0.05, "a model that always says the same proves nothing"
    assert np.linalg.norm(mine, axis=1) == pytest.approx(1, abs=1e-4)


def test_the_embedded_model_s_vectors_are_the_library_s():
    mine, theirs = Sentences(sentences.embedded()).embed(TEXTS), stock(sentences.embedded(), TEXTS)
    assert mine.shape == (len(TEXTS), 384)
    assert np.abs(mine - theirs).max() < 1.5 * 10**-DECIMALS


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text("abc dé很", min_size=1, max_size=50).filter(str.strip), min_size=1, max_size=2 * ROWS["cpu"] + 3)
)
def test_company_and_order_change_not_a_bit(model, texts):
    """Before rounding already: what differs in the last digit would differ after it now and then."""
    alone = np.concatenate([model._run([text]) for text in texts])
    assert np.array_equal(model._run(texts), alone)
    turned = list(range(len(texts)))
    random.Random(len(texts)).shuffle(turned)
    assert np.array_equal(model._run([texts[at] for at in turned]), alone[turned])


def test_the_library_s_own_batches_would_fail_that_test(folder):
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    together = loaded.encode(TEXTS, show_progress_bar=False)
    assert not np.array_equal(together, stock(folder, TEXTS))


def test_a_text_longer_than_the_model_takes_is_heard_to_its_end(model, folder):
    start = " ".join(["kids are talking"] * 12)  # 168 tokens of 64
    one, other = start + " by the door", start + " not in my house you are not"
    mine = model.embed([one, other, TEXTS[0]])
    assert np.abs(mine[0] - mine[1]).max() > 0.001
    assert np.array_equal(mine[2], model.embed([TEXTS[0]])[0])
    cut = stock(folder, [one, other])
    assert np.abs(cut[0] - cut[1]).max() < 1e-6, "the library cuts both off at the same place"


@given(
    st.text("ab ", min_size=2, max_size=30).map(lambda text: " ".join(text.split())).filter(lambda text: len(text) > 1)
)
def test_halves_lose_nothing(text):
    first, second = halves(text)
    assert first and second
    assert first + second == text or f"{first} {second}" == text


def test_a_prompt_goes_before_every_text(model, folder):
    asked = Sentences(folder, prompt="query: ").embed(TEXTS[:2])
    assert np.array_equal(asked, model.embed([f"query: {text}" for text in TEXTS[:2]]))
    assert not np.allclose(asked, model.embed(TEXTS[:2]), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("encoder.layer.1.output.dense.weight"), "1 missing: encoder.layer.1.output.dense.weight"),
        (lambda w: w.update(extra=w["embeddings.word_embeddings.weight"].clone()), "1 left over: extra"),
        (lambda w: w["embeddings.word_embeddings.weight"].fill_(float("nan")), "1 not finite"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(tmp_path, folder, change, says):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    change(weights)
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=says):
        Sentences(tmp_path / "model")


@pytest.mark.parametrize("kind", ["evil.Module", "sentence_transformers.models.CLIPModel", "os.system"])
def test_code_beside_a_model_is_not_run(tmp_path, folder, kind):
    shutil.copytree(folder, tmp_path / "model")
    ran = tmp_path / "ran"
    (tmp_path / "model" / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Module: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = kind
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EnvironmentFault, match="code that comes with a model never is"):
        Sentences(tmp_path / "model")
    assert not ran.exists()


def test_a_module_may_not_lie_elsewhere(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../1_Pooling"
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EnvironmentFault, match="leads out of the model's folder"):
        Sentences(tmp_path / "model")


def test_the_checkpoint_is_the_same_each_time_and_leaves_the_random_state_alone(tmp_path):
    import torch

    before = torch.random.get_rng_state()
    one, other = (checkpoint.build(tmp_path / name) for name in ("one", "other"))
    assert torch.equal(before, torch.random.get_rng_state())
    for path in sorted(file.relative_to(one) for file in one.rglob("*") if file.is_file()):
        assert (one / path).read_bytes() == (other / path).read_bytes(), path
