"""Batched answers are those of the library's own classes, one clip at a time; what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import EnvironmentFault, RowError
from datagen.models import audeering
from datagen.models.batching import Floats, pad
from datagen.testing.checkpoints import audeering as checkpoints

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def group_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build(tmp_path_factory.mktemp("group"), norm="group", seed=2)


def sound(length: int, seed: int) -> Floats:
    """Anything from hiss to a deep swelling tone."""
    dice = np.random.default_rng(seed)
    time = np.arange(length) / 16_000
    tone = sum(np.sin(2 * np.pi * dice.uniform(80, 2000) * time + k) for k in range(5))
    swell = 1 + np.sin(2 * np.pi * dice.uniform(0.5, 8) * time)
    mixed = swell * (tone * dice.uniform(0, 0.1) + dice.normal(0, dice.uniform(0.001, 0.1), length))
    return np.asarray(mixed, np.float32)


SOUNDS = st.lists(
    st.builds(sound, st.one_of(st.integers(400, 2_000), st.integers(2_000, 24_000)), st.integers(0, 10_000)),
    min_size=1,
    max_size=6,
)


def stock(folder: Path) -> Callable[[Floats], np.ndarray]:
    """The way of the model cards: classes of one's own around the library's, one clip at a time."""
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2PreTrainedModel

    class Head(torch.nn.Module):
        def __init__(self, size: int, outputs: int) -> None:
            super().__init__()
            self.dense, self.out_proj = torch.nn.Linear(size, size), torch.nn.Linear(size, outputs)

        def forward(self, x: Any) -> Any:
            return self.out_proj(torch.tanh(self.dense(x)))

    class Emotion(Wav2Vec2PreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.wav2vec2, self.classifier = Wav2Vec2Model(config), Head(config.hidden_size, 3)
            self.post_init()

        def forward(self, values: Any) -> Any:
            return self.classifier(self.wav2vec2(values)[0].mean(1))

    class AgeGender(Wav2Vec2PreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.wav2vec2 = Wav2Vec2Model(config)
            self.age, self.gender = Head(config.hidden_size, 1), Head(config.hidden_size, 3)
            self.post_init()

        def forward(self, values: Any) -> Any:
            pooled = self.wav2vec2(values)[0].mean(1)
            return torch.cat([self.age(pooled) * 100, torch.softmax(self.gender(pooled), 1)], 1)

    two_heads = json.loads((folder / "config.json").read_text())["finetuning_task"] == "age-gender"
    model = (AgeGender if two_heads else Emotion).from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def run(samples: Floats) -> np.ndarray:
        values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.inference_mode():
            return np.asarray(model(values)[0].double().numpy())

    return run


def values(answers: Sequence[audeering.Answer]) -> np.ndarray:
    return np.array([list(answer.values()) for answer in answers], np.float64)


def unmasked(network: audeering.Network, sounds: Sequence[Floats]) -> np.ndarray:
    """What comes out when padding is taken for sound."""
    import torch

    batch, _ = pad([audeering.normalised(each) for each in sounds])
    with torch.inference_mode():
        pooled = network.parts["wav2vec2"](torch.from_numpy(batch)).last_hidden_state.mean(1)
        head = network.parts["classifier"]
        return np.asarray(head["out_proj"](torch.tanh(head["dense"](pooled))).numpy())


VARIED = [sound(length, seed) for seed, length in enumerate((400, 2_000, 5_000, 9_000, 16_000, 24_000, 24_000, 12_345))]


# --- As exact as the library ----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_batches_of_any_lengths_give_the_stock_values(norm: str, audeering_folder: Path, group_folder: Path) -> None:
    folder = audeering_folder if norm == "layer" else group_folder
    one_by_one, batched = stock(folder), audeering.Dimensions(folder, "cpu")
    seen: list[np.ndarray] = []

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(SOUNDS)
    def same(sounds: list[Floats]) -> None:
        expected = np.array([one_by_one(each) for each in sounds])
        np.testing.assert_allclose(values(batched(sounds)), expected, rtol=0, atol=TOLERANCE)
        seen.extend(expected)

    same()
    assert np.ptp(seen, axis=0).min() > 100 * TOLERANCE


def test_age_and_sex_are_those_of_the_stock_classes(age_gender_folder: Path) -> None:
    expected = np.array([stock(age_gender_folder)(each) for each in VARIED])
    found = audeering.AgeGender(age_gender_folder, "cpu")(VARIED)
    assert [list(answer) for answer in found] == [["age", "female", "male", "child"]] * len(VARIED)
    np.testing.assert_allclose(values(found)[:, 1:], expected[:, 1:], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(values(found)[:, 0], expected[:, 0], rtol=0, atol=100 * TOLERANCE)  # years
    assert np.ptp(expected[:, 1:], axis=0).min() > 100 * TOLERANCE and np.ptp(expected[:, 0]) > 100 * 100 * TOLERANCE
    np.testing.assert_allclose(expected[:, 1:].sum(1), 1)


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_the_comparison_can_fail(norm: str, audeering_folder: Path, group_folder: Path) -> None:
    """Answers differ a hundred times more than is tolerated, and without the mask they are wrong."""
    folder = audeering_folder if norm == "layer" else group_folder
    batched = audeering.Dimensions(folder, "cpu")
    right = values(batched(VARIED))
    assert np.ptp(right, axis=0).min() > 100 * TOLERANCE
    wrong = unmasked(batched.network, VARIED)
    longest = max(map(len, VARIED))
    padded = [len(each) < longest for each in VARIED]
    assert np.abs(wrong - right)[padded].max(1).min() > 10 * TOLERANCE
    # The longest are not padded; where the norm runs over time, not even a mask behind it would save the others.
    np.testing.assert_allclose(wrong[~np.array(padded)], right[~np.array(padded)], atol=TOLERANCE)


def test_loudness_and_offset_do_not_leak_through_padding(audeering_folder: Path) -> None:
    batched = audeering.Dimensions(audeering_folder, "cpu")
    shifted = [VARIED[2] * 3 + np.float32(0.25), VARIED[5]]
    # 1e-7 is added to the variance, so that loudness is not quite without effect.
    np.testing.assert_allclose(values(batched(shifted))[0], values(batched(VARIED[2:3]))[0], atol=50 * TOLERANCE)
    loud = [VARIED[2], VARIED[5] * 3 + np.float32(0.25)]
    np.testing.assert_allclose(values(batched(loud))[0], values(batched(VARIED[2:3]))[0], atol=TOLERANCE)


def test_too_short_for_a_frame_is_unknown_and_spoils_no_neighbour(audeering_folder: Path, group_folder: Path) -> None:
    for folder in (audeering_folder, group_folder):
        batched = audeering.Dimensions(folder, "cpu")
        short, empty = sound(399, 1), np.zeros(0, np.float32)
        found = batched([short, VARIED[3], empty])
        assert set(found[0].values()) == set(found[2].values()) == {None}
        np.testing.assert_allclose(values(found[1:2]), values(batched([VARIED[3]])), atol=TOLERANCE)
        assert set(batched([short])[0].values()) == {None}


# --- Loading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize("safetensors", [True, False])
def test_both_spellings_and_both_formats_load(old_names: bool, safetensors: bool, tmp_path: Path) -> None:
    folder = checkpoints.build(tmp_path, seed=5, old_names=old_names, safetensors=safetensors)
    expected = np.array([stock(folder)(each) for each in VARIED])
    np.testing.assert_allclose(values(audeering.Dimensions(folder, "cpu")(VARIED)), expected, atol=TOLERANCE)
    assert np.ptp(expected, axis=0).min() > 100 * TOLERANCE


def test_outputs_are_known_by_name(tmp_path: Path, audeering_folder: Path) -> None:
    """The same head with its rows in another order, and named so, says the same."""
    import torch

    order = [2, 0, 1]
    turned = tmp_path / "turned"
    shutil.copytree(audeering_folder, turned)
    state = torch.load(turned / "pytorch_model.bin", weights_only=True)
    for part in ("weight", "bias"):
        state[f"classifier.out_proj.{part}"] = state[f"classifier.out_proj.{part}"][order]
    torch.save(state, turned / "pytorch_model.bin")
    relabel(turned, [audeering.DIMENSIONS[at] for at in order])
    straight, found = (audeering.Dimensions(folder, "cpu")(VARIED[:2]) for folder in (audeering_folder, turned))
    np.testing.assert_allclose(values(found), values(straight), atol=TOLERANCE)
    relabel(turned, ["LABEL_0", "LABEL_1", "LABEL_2"])  # nothing is named: the published order
    moved = audeering.Dimensions(turned, "cpu")(VARIED[:1])[0]
    assert moved["arousal"] == pytest.approx(straight[0]["valence"], abs=TOLERANCE)


@pytest.mark.parametrize("labels", [["arousal", "valence", "liking"], ["angry", "happy", "sad"]])
def test_other_outputs_are_refused(labels: list[str], tmp_path: Path) -> None:
    relabel(checkpoints.build(tmp_path), labels)
    with pytest.raises(EnvironmentFault, match="names the outputs"):
        audeering.Dimensions(tmp_path, "cpu")


def relabel(folder: Path, labels: list[str]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"id2label": dict(enumerate(labels)), "label2id": {name: at for at, name in enumerate(labels)}}
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda state: state.pop("classifier.dense.weight"), "1 missing: classifier.dense.weight"),
        (lambda state: state.update({"lm_head.weight": state["classifier.dense.weight"]}), "1 left over: lm_head"),
        (lambda state: state.update({"classifier.out_proj.bias": state["classifier.dense.bias"]}), "another shape"),
        (lambda state: state.pop("wav2vec2.encoder.pos_conv_embed.conv.weight_g"), "1 missing: .*original0"),
    ],
    ids=["no head", "something else", "another size", "half a weight norm"],
)
def test_a_head_is_never_random(spoil: Callable[[dict[str, Any]], Any], told: str, tmp_path: Path) -> None:
    import torch

    file = checkpoints.build(tmp_path) / "pytorch_model.bin"
    state = torch.load(file, weights_only=True)
    spoil(state)
    torch.save(state, file)
    with pytest.raises(EnvironmentFault, match=told):
        audeering.Dimensions(tmp_path, "cpu")


def test_weights_that_are_no_numbers_are_an_error_and_not_a_column_of_nulls(tmp_path: Path) -> None:
    import torch

    file = checkpoints.build(tmp_path) / "pytorch_model.bin"
    state = torch.load(file, weights_only=True)
    state["classifier.dense.bias"][0] = torch.nan
    torch.save(state, file)
    with pytest.raises(EnvironmentFault, match=r"1 not finite: classifier\.dense\.bias"):
        audeering.Dimensions(tmp_path, "cpu")


def test_an_answer_that_is_no_number_is_refused(audeering_folder: Path) -> None:
    broken = VARIED[0].copy()
    broken[100] = np.nan
    with pytest.raises(RowError, match="not a number"):
        audeering.Dimensions(audeering_folder, "cpu")([broken, VARIED[1]])


def test_one_model_is_not_taken_for_the_other(audeering_folder: Path, age_gender_folder: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"left over: age\.dense"):
        audeering.Dimensions(age_gender_folder, "cpu")
    with pytest.raises(EnvironmentFault, match=r"left over: classifier\.dense"):
        audeering.AgeGender(audeering_folder, "cpu")


@pytest.mark.parametrize("there", [True, False])
def test_what_only_training_uses_may_be_there_or_not(there: bool, tmp_path: Path) -> None:
    import torch

    folder = checkpoints.build(tmp_path)
    expected = values(audeering.Dimensions(folder, "cpu")(VARIED[:2]))
    if there:  # a config without masking has no place for it
        config = json.loads((folder / "config.json").read_text()) | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
        (folder / "config.json").write_text(json.dumps(config))
    else:
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        del state["wav2vec2.masked_spec_embed"]
        torch.save(state, folder / "pytorch_model.bin")
    np.testing.assert_array_equal(values(audeering.Dimensions(folder, "cpu")(VARIED[:2])), expected)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    import torch

    folder = checkpoints.build(tmp_path)
    torch.save({"classifier": Path("somewhere")}, folder / "pytorch_model.bin")
    with pytest.raises(EnvironmentFault, match="cannot be read as weights"):
        audeering.Dimensions(folder, "cpu")
