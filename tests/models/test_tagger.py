"""The AST tagger on a tiny random checkpoint, against transformers' own pipeline on one window after another."""

from __future__ import annotations

import json
import shutil
import socket
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import RowError, RunError
from datagen.models import tagger
from datagen.models.tagger import Event, spans, thresholds, vocabulary, windows
from datagen.tables import SAMPLE_RATE
from datagen.testing.checkpoints import tagger as checkpoint

TOLERANCE = 1e-4


def sound(seconds, seed):
    """Noise whose colour and loudness follow the seed: sounds that a model tells apart."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=round(seconds * SAMPLE_RATE))
    kernel = np.ones(1 + seed % 7 * 3) / (1 + seed % 7 * 3)
    return (np.convolve(noise, kernel, "same") * 10 ** random.uniform(-2.5, -0.5)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tagger_folder):
    return tagger.Tagger(tagger_folder, batch_seconds=5 * tagger.WINDOW_COST_S)


@pytest.fixture(scope="module")
def stock(tagger_folder):
    """Class scores of one sound as transformers' own pipeline gives them, in the order of the classes."""
    from transformers import ASTFeatureExtractor, ASTForAudioClassification, pipeline
    from transformers.pipelines import audio_classification

    # It imports torchcodec to ask whether the input is one of its decoders, and that needs FFmpeg; arrays do not.
    patch = pytest.MonkeyPatch()
    patch.setattr(audio_classification, "is_torchcodec_available", lambda: False)
    loaded = ASTForAudioClassification.from_pretrained(tagger_folder)
    ask = pipeline(
        "audio-classification", model=loaded, feature_extractor=ASTFeatureExtractor.from_pretrained(tagger_folder)
    )

    def scores(samples):
        answers = {a["label"]: a["score"] for a in ask(samples, top_k=None, function_to_apply="sigmoid")}
        return np.array([answers[loaded.config.id2label[at]] for at in range(loaded.config.num_labels)])

    yield scores
    patch.undo()


LENGTHS = (0.05, 0.3, 0.7, 1.0, 1.5, 2.0, 2.0, 2.0, 3.3, 6.0, 10.24, 12.0)


def test_a_batch_of_any_lengths_gives_what_the_stock_pipeline_gives_one_by_one(model, stock):
    sounds = [sound(seconds, seed) for seed, seconds in enumerate(LENGTHS)]
    together = model.classes(sounds)
    alone = np.stack([stock(samples) for samples in sounds])
    assert np.abs(together - alone).max() < TOLERANCE
    spread = np.median(together.max(axis=0) - together.min(axis=0))
    assert spread > 100 * TOLERANCE, "a model that always says the same proves nothing"


def test_padding_other_than_the_model_s_own_would_fail_this_test(model, stock):
    """Sounds filled up with zeros to the longest, as one would batch them otherwise: the silence is heard."""
    sounds = [sound(seconds, seed) for seed, seconds in enumerate((0.5, 1.0, 3.0))]
    padded = [np.pad(samples, (0, 3 * SAMPLE_RATE - len(samples))) for samples in sounds]
    alone = np.stack([stock(samples) for samples in sounds])
    assert np.abs(model.classes(padded)[:2] - alone[:2]).max() > 100 * TOLERANCE


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.03, 4.0), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_company_and_order_change_nothing(model, lengths, random):
    sounds = [sound(seconds, seed) for seed, seconds in enumerate(lengths)]
    order = list(range(len(sounds)))
    random.shuffle(order)
    low = thresholds(0.05, {})
    together = model([sounds[at] for at in order], 1.0, 0.5, low)
    for at, found in zip(order, together, strict=True):
        (alone,) = model([sounds[at]], 1.0, 0.5, low)
        assert [event[:3] for event in found] == [event[:3] for event in alone]
        assert [event.score for event in found] == pytest.approx([event.score for event in alone], abs=TOLERANCE)


def test_events_are_the_named_classes_and_nothing_else(model, tagger_folder):
    sounds = [sound(2.0, seed) for seed in range(6)]
    classes, scores = model.classes(sounds), model.scores(sounds)
    names = {int(at): name for at, name in json.loads((tagger_folder / "config.json").read_text())["id2label"].items()}
    for column, event in enumerate(model.events):
        meant = [at for at, name in names.items() if vocabulary().labels.get(name) == event]
        assert np.allclose(scores[:, column], classes[:, meant].max(axis=1), atol=1e-6)
    assert "speech" not in model.events and not {"Speech", "Dog", "Music"} & set(vocabulary().labels)
    assert np.array_equal(scores, np.round(scores, 6))


def test_labels_are_found_by_name_whatever_their_order(tmp_path, tagger_folder):
    shutil.copytree(tagger_folder, tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    names = list(config["id2label"].values())
    turned = names[1:] + names[:1]
    config["id2label"] = {str(at): name for at, name in enumerate(turned)}
    config["label2id"] = {name: at for at, name in enumerate(turned)}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    sounds = [sound(2.0, seed) for seed in range(3)]
    one, other = tagger.Tagger(tagger_folder), tagger.Tagger(tmp_path / "other")
    assert np.allclose(one.classes(sounds), other.classes(sounds))
    cough = one.events.index("cough"), other.events.index("cough")
    at = names.index("Cough")
    assert np.allclose(one.scores(sounds)[:, cough[0]], one.classes(sounds)[:, at], atol=1e-6)
    assert np.allclose(other.scores(sounds)[:, cough[1]], one.classes(sounds)[:, turned.index("Cough")], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("classifier.dense.weight"), "missing keys"),
        (lambda w: w.update(extra=w["classifier.dense.bias"].clone()), "unexpected keys"),
        (
            lambda w: w.update({"classifier.dense.weight": w["classifier.dense.weight"][:-1].clone()}),
            "does not fit config.json",
        ),
        (lambda w: w["classifier.dense.bias"].fill_(float("nan")), "1 weights .* are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(tmp_path, tagger_folder, change, says):
    from safetensors.torch import load_file, save_file

    shutil.copytree(tagger_folder, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    change(weights)
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match=says):
        tagger.Tagger(tmp_path / "model")


def test_scores_that_are_no_numbers_are_refused(model):
    """Not a number is under no threshold: each such window would hold every event there is."""
    broken = sound(1.0, 0)
    broken[100] = np.nan
    with pytest.raises(RowError, match="not numbers"):
        model([sound(1.0, 1), broken], 2.0, 1.0, thresholds(0.3, {}))


def test_out_of_memory_halves_the_batch_and_loses_nothing(tagger_folder, caplog):
    model = tagger.Tagger(tagger_folder, batch_seconds=8 * tagger.WINDOW_COST_S)
    sounds = [sound(1.0, seed) for seed in range(9)]
    whole = model.classes(sounds)
    forward, sizes = model.model.forward, []

    def tight(values, **options):
        sizes.append(len(values))
        if len(values) > 2:
            raise RuntimeError("CUDA out of memory")
        return forward(values, **options)

    model.model.forward = tight
    assert np.abs(model.classes(sounds) - whole).max() < TOLERANCE
    assert sizes[:3] == [8, 4, 2] and "out of memory" in caplog.text


def test_nothing_is_looked_up_on_a_network(tagger_folder, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("somebody asks the network"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("somebody asks for an address"))
    assert tagger.Tagger(tagger_folder).classes([sound(1.0, 0)]).shape[0] == 1


def test_the_checkpoint_is_the_same_each_time_and_leaves_the_random_state_alone(tmp_path, tagger_folder):
    import torch

    before = torch.random.get_rng_state()
    again = checkpoint.build(tmp_path / "again")
    assert torch.equal(before, torch.random.get_rng_state())
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        assert (again / name).read_bytes() == (tagger_folder / name).read_bytes()


# --- Windows and spans, without a model ---------------------------------------------------------------------


@given(st.integers(400, 400_000), st.floats(0.1, 10.0), st.floats(0.05, 3.0))
def test_windows_lie_in_the_clip_and_leave_no_sound_unheard(samples, window_s, hop_s):
    found = windows(samples, window_s, hop_s)
    assert found[0][0] == 0 and found[-1][1] == samples
    assert all(0 <= begin < end <= samples for begin, end in found)
    assert all(later[0] > earlier[0] for earlier, later in pairwise(found))
    if hop_s <= window_s:
        assert all(later[0] <= earlier[1] for earlier, later in pairwise(found))
    assert len({end - begin for begin, end in found}) == 1


def test_a_clip_too_short_to_hear_anything_in_has_no_windows():
    assert windows(399, 2.0, 1.0) == [] and windows(400, 2.0, 1.0) == [(0, 400)]


def test_neighbouring_windows_become_one_span_with_the_best_score():
    times = windows(5 * SAMPLE_RATE, 2.0, 1.0)  # 0-2, 1-3, 2-4, 3-5
    scores = np.array([[0.5, 0.1], [0.9, 0.4], [0.1, 0.1], [0.6, 0.4]])
    found = spans(("laughter", "cough"), times, scores, {"laughter": 0.5, "cough": 0.3})
    assert found == [
        Event("laughter", 0.0, 3.0, 0.9), Event("cough", 1.0, 3.0, 0.4),
        Event("cough", 3.0, 5.0, 0.4), Event("laughter", 3.0, 5.0, 0.6),
    ]  # fmt: skip
    assert spans(("laughter",), [(0, 12_345)], np.array([[0.4]]), {"laughter": 0.3}) == [
        Event("laughter", 0.0, 0.771, 0.4)
    ]


def test_the_vocabulary_is_unambiguous_and_holds_the_words_the_prompts_have():
    from datagen.writing.asks import SOUNDS

    names = vocabulary()
    assert set(SOUNDS) <= set(names.events)
    assert set(names.labels.values()) | {"yawn", "lip_smack"} == set(names.events)
    assert names.lookup("[Laughter]") == names.lookup("laughs") == "laughter"
    assert names.lookup("Door slam") == "door_slam"
    assert names.lookup("crying") == names.lookup("Crying, sobbing") == "crying"
