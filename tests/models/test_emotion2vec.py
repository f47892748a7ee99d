"""Clips side by side get what FunASR gives them one by one; a folder that does not fit together is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import EnvironmentFault, RowError
from datagen.models.batching import Floats
from datagen.models.emotion2vec import Emotion2vec
from datagen.models.emotion2vec.loading import conv_layers, receptive_field
from datagen.testing.checkpoints import emotion2vec as checkpoints
from datagen.testing.speech import synth

TOLERANCE = 1e-4
Stock = Callable[[Sequence[Floats]], tuple[np.ndarray, np.ndarray]]


def sound(length: int, seed: int) -> Floats:
    """Anything from hiss to a deep swelling tone."""
    dice = np.random.default_rng(seed)
    time = np.arange(length) / 16_000
    tone = sum(np.sin(2 * np.pi * dice.uniform(80, 2000) * time + k) for k in range(5))
    swell = 1 + np.sin(2 * np.pi * dice.uniform(0.5, 8) * time)
    mixed = swell * (tone * dice.uniform(0, 0.1) + dice.normal(0, dice.uniform(0.001, 0.1), length))
    return np.asarray(mixed, np.float32)


def stock(folder: Path) -> Stock:
    """FunASR's own call, which takes clips one after another."""
    from funasr import AutoModel

    model = AutoModel(model=str(folder), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)

    def generate(sounds: Sequence[Floats]) -> tuple[np.ndarray, np.ndarray]:
        answers = model.generate(list(sounds), granularity="utterance")
        return np.array([a["scores"] for a in answers]), np.array([a["feats"] for a in answers])

    return generate


def scores(model: Emotion2vec, sounds: Sequence[Floats]) -> np.ndarray:
    return np.array([prediction.scores for prediction in model(sounds)])


VARIED = [
    *(synth(3 + at, f0_hz=80 * 1.25**at, rate=3 + at / 2, breathiness=at / 6, seed=at)[0] for at in range(5)),
    *(sound(length, seed) for seed, length in enumerate((400, 1_000, 5_000, 16_001, 30_000))),
]


@pytest.fixture(scope="module")
def model(emotion2vec_folder: Path) -> Emotion2vec:
    return Emotion2vec(emotion2vec_folder, "cpu", 1)


@pytest.fixture(scope="module")
def one_by_one(emotion2vec_folder: Path) -> Stock:
    return stock(emotion2vec_folder)


@pytest.fixture(scope="module")
def group_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build(tmp_path_factory.mktemp("group"), seed=2, extractor="default")


def assert_same(model: Emotion2vec, one_by_one: Stock, sounds: Sequence[Floats]) -> None:
    """Scores and embeddings are the stock call's, and the sounds' scores lie far enough apart to tell."""
    expected, vectors = one_by_one(sounds)
    assert np.ptp(expected, axis=0).max() >= 100 * TOLERANCE
    found = model(sounds)
    np.testing.assert_allclose([p.scores for p in found], expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose([p.embedding for p in found], vectors, rtol=0, atol=TOLERANCE)


# --- The stock call's numbers --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(sound, st.one_of(st.integers(400, 2_000), st.integers(2_000, 32_000)), st.integers(0, 10_000)),
        min_size=1,
        max_size=5,
    )
)
@pytest.mark.parametrize("together", [False, True], ids=["convolutions alone", "convolutions together"])
def test_any_lengths_in_one_batch_are_the_stock_calls(
    model: Emotion2vec, one_by_one: Stock, together: bool, sounds: list[Floats]
) -> None:
    before, model._alone = model._alone, not together  # on a GPU they run together
    try:
        assert_same(model, one_by_one, [*sounds, VARIED[0], VARIED[-1]])
    finally:
        model._alone = before


def test_a_norm_over_time_is_the_stock_calls_too(group_folder: Path) -> None:
    assert_same(Emotion2vec(group_folder, "cpu", 1), stock(group_folder), VARIED)


def test_a_norm_over_time_would_not_survive_padding(group_folder: Path) -> None:
    model = Emotion2vec(group_folder, "cpu", 1)
    right = scores(model, VARIED)
    model._alone = False
    assert np.abs(scores(model, VARIED) - right).max() > 10 * TOLERANCE


def test_base_size_is_the_stock_calls(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = checkpoints.build(tmp_path_factory.mktemp("base"), "base")
    try:
        sounds = [voice[: 5_000 + 4_000 * at] for at, voice in enumerate(VARIED[:3])]
        assert_same(Emotion2vec(folder, "cpu", 1), stock(folder), [*sounds, VARIED[7]])
    finally:
        (folder / "model.pt").unlink()  # 370 MB


# --- What would go wrong without each of the masks -----------------------------------------------------------------


def test_without_zeros_before_every_positional_layer_scores_change(
    model: Emotion2vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, positions = scores(model, VARIED), model._positions
    monkeypatch.setattr(model, "_positions", lambda x, padding: positions(x, None))
    assert np.abs(scores(model, VARIED) - right).max() > 10 * TOLERANCE


def test_without_a_mask_on_attention_scores_change(model: Emotion2vec, monkeypatch: pytest.MonkeyPatch) -> None:
    right = scores(model, VARIED)
    for block in (*model._model.blocks, *model._encoder.context_encoder.blocks):
        attention = block.attn.forward
        monkeypatch.setattr(block.attn, "forward", lambda x, padding, bias, attend=attention: attend(x, None, bias))
    assert np.abs(scores(model, VARIED) - right).max() > 10 * TOLERANCE


def test_without_a_mask_on_the_mean_scores_change(model: Emotion2vec, monkeypatch: pytest.MonkeyPatch) -> None:
    right = scores(model, VARIED)
    monkeypatch.setattr(model, "_mean", lambda states, lengths: states.mean(dim=1))
    assert np.abs(scores(model, VARIED) - right).max() > 10 * TOLERANCE


def test_the_librarys_own_mask_is_not_enough(emotion2vec_folder: Path, one_by_one: Stock) -> None:
    """Why there is a forward pass of our own: the library, given the padding, answers something else."""
    import torch
    from funasr import AutoModel
    from torch.nn import functional

    library = AutoModel(model=str(emotion2vec_folder), device="cpu", ncpu=1, disable_update=True).model
    normalised = [functional.layer_norm(torch.from_numpy(s), (len(s),)) for s in VARIED]
    batch = torch.nn.utils.rnn.pad_sequence(normalised, batch_first=True)
    padding = torch.arange(batch.shape[1])[None] >= torch.tensor([len(s) for s in VARIED])[:, None]
    with torch.no_grad():
        out = library.extract_features(batch, padding_mask=padding)
        kept = ~out["padding_mask"][..., None]
        pooled = (out["x"] * kept).sum(dim=1) / kept.sum(dim=1)
        answered = library.proj(pooled).softmax(dim=-1).numpy()
    assert np.abs(answered - one_by_one(VARIED)[0]).max() > 10 * TOLERANCE


# --- Single clips --------------------------------------------------------------------------------------------------


def test_one_frame_is_heard_and_less_is_refused(model: Emotion2vec) -> None:
    assert model.min_samples == 400 == receptive_field(conv_layers("[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8,2,2)] * 2"))
    assert (model.frames(400), model.frames(719), model.frames(720)) == (1, 1, 2)
    assert len(model([VARIED[0][:400]])) == 1
    with pytest.raises(RowError, match=r"24\.9 ms of audio; emotion2vec hears nothing under 25 ms"):
        model([VARIED[0], VARIED[0][:399]])


def test_scores_that_are_no_numbers_are_refused(model: Emotion2vec) -> None:
    broken = VARIED[0].copy()
    broken[100] = np.nan
    with pytest.raises(RowError, match="not numbers"):
        model([broken, VARIED[1]])


def test_labels_are_known_by_their_english_names(model: Emotion2vec) -> None:
    assert [label.raw for label in model.labels] == list(checkpoints.TOKENS)
    assert [label.name for label in model.labels] == [
        "angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised", "unknown",
    ]  # fmt: skip


def test_labels_marked_unused_are_silenced_as_in_the_library(emotion2vec_folder: Path, tmp_path: Path) -> None:
    folder = copied(emotion2vec_folder, tmp_path)
    tokens = [f"unuse_{at}" if at in (1, 5) else token for at, token in enumerate(checkpoints.TOKENS)]
    (folder / "tokens.txt").write_text("\n".join(tokens), "utf-8")
    model = Emotion2vec(folder, "cpu", 1)
    assert len(model.labels) == 7
    assert_same(model, stock(folder), VARIED)


# --- What does not fit together ------------------------------------------------------------------------------------


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "model"))


def edited(folder: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy with other weights."""
    import torch

    copy = copied(folder, to)
    state = torch.load(copy / "model.pt", weights_only=True)
    change(state["model"])
    torch.save(state, copy / "model.pt")
    return copy


def test_missing_weights_are_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    folder = edited(emotion2vec_folder, tmp_path, lambda weights: weights.pop("proj.bias"))
    with pytest.raises(EnvironmentFault, match=r"1 weights are missing \(proj.bias\). Pull the model again"):
        Emotion2vec(folder, "cpu", 1)


def test_weights_left_over_are_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    def deepen(weights: dict[str, Any]) -> None:
        weights["d2v_model.blocks.2.norm1.bias"] = weights["d2v_model.blocks.1.norm1.bias"]

    folder = edited(emotion2vec_folder, tmp_path, deepen)
    with pytest.raises(EnvironmentFault, match=r"1 are left over \(blocks.2.norm1.bias\)"):
        Emotion2vec(folder, "cpu", 1)


def test_weights_of_another_shape_are_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    def widen(weights: dict[str, Any]) -> None:
        weights["d2v_model.blocks.1.norm1.bias"] = weights["d2v_model.blocks.1.norm1.bias"].repeat(2)

    folder = edited(emotion2vec_folder, tmp_path, widen)
    with pytest.raises(EnvironmentFault, match=r"1 have another shape \(blocks.1.norm1.bias\)"):
        Emotion2vec(folder, "cpu", 1)


def test_weights_that_are_no_numbers_are_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights["proj.bias"][0] = float("inf")

    with pytest.raises(EnvironmentFault, match=r"1 are not finite \(proj\.bias\)"):
        Emotion2vec(edited(emotion2vec_folder, tmp_path, spoil), "cpu", 1)


def test_a_decoder_of_pretraining_is_neither_missed_nor_minded(emotion2vec_folder: Path, tmp_path: Path) -> None:
    def add(weights: dict[str, Any]) -> None:
        weights["d2v_model.modality_encoders.AUDIO.decoder.proj.bias"] = weights["proj.bias"]

    folder = edited(emotion2vec_folder, tmp_path, add)
    np.testing.assert_array_equal(
        scores(Emotion2vec(folder, "cpu", 1), VARIED), scores(Emotion2vec(emotion2vec_folder, "cpu", 1), VARIED)
    )


def test_a_head_of_another_size_is_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    """FunASR leaves such a head random without a word."""
    folder = copied(emotion2vec_folder, tmp_path)
    (folder / "tokens.txt").write_text("\n".join(("无聊/bored", *checkpoints.TOKENS)), "utf-8")
    with pytest.raises(EnvironmentFault, match=r"the head knows 9 labels, tokens.txt has 10\."):
        Emotion2vec(folder, "cpu", 1)


def test_labels_with_one_name_are_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    folder = copied(emotion2vec_folder, tmp_path)
    tokens = ("愤怒/angry", checkpoints.TOKENS[0], *checkpoints.TOKENS[2:])
    (folder / "tokens.txt").write_text("\n".join(tokens), "utf-8")
    with pytest.raises(EnvironmentFault, match="told apart by name"):
        Emotion2vec(folder, "cpu", 1)


def test_damaged_files_are_an_error(emotion2vec_folder: Path, tmp_path: Path) -> None:
    folder = copied(emotion2vec_folder, tmp_path)
    data = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(EnvironmentFault, match="damaged"):
        Emotion2vec(folder, "cpu", 1)
    (folder / "config.yaml").write_text("model: Paraformer\n", "utf-8")
    with pytest.raises(EnvironmentFault, match="not the configuration of an emotion2vec"):
        Emotion2vec(folder, "cpu", 1)


# --- Nothing in a folder is run ------------------------------------------------------------------------------------


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_objects_in_the_weights_are_not_unpickled(emotion2vec_folder: Path, tmp_path: Path) -> None:
    import torch

    folder, trace = copied(emotion2vec_folder, tmp_path), tmp_path / "ran"
    state = torch.load(folder / "model.pt", weights_only=True)
    torch.save(state | {"cfg": _Touch(trace)}, folder / "model.pt")
    with pytest.raises(EnvironmentFault, match="holds Python objects beside its tensors"):
        Emotion2vec(folder, "cpu", 1)
    assert not trace.exists()


def test_code_and_files_named_in_the_configuration_are_not_run(emotion2vec_folder: Path, tmp_path: Path) -> None:
    folder, trace = copied(emotion2vec_folder, tmp_path), tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\n")
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    config |= {"trust_remote_code": True, "remote_code": str(folder / "evil.py"), "init_param": "/nowhere/model.pt"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    assert_same(Emotion2vec(folder, "cpu", 1), stock(emotion2vec_folder), VARIED)
    assert not trace.exists()


@pytest.mark.parametrize(
    "spec",
    ["__import__('os').getcwd()", "[(8, 10, 5)] * 10**9", "[(8, 10)]", "[]", "(", "[(8, 10, 5)] + x", "[('8', 1, 1)]",
     "[(8, 0, 5)]", "[[(8, 10, 5)]]", "9", "[(8, 3, 2)] * 65", "[(8, 1, 1)] + [(8, 1, 1)].copy()", None],
)  # fmt: skip
def test_a_specification_that_is_no_list_of_layers_is_refused(spec: Any) -> None:
    with pytest.raises(EnvironmentFault, match="not a list of"):
        conv_layers(spec)


def test_the_published_specification_is_understood() -> None:
    layers = conv_layers("[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]")
    assert layers == [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]
