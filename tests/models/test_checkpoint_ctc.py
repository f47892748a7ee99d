"""Tiny aligners are in the published formats, and the loader takes nothing that does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

from datagen.errors import EnvironmentFault
from datagen.models import manifest
from datagen.models.aligner.acoustic import Bundle, HuggingFace
from datagen.models.aligner.checkpoint import load
from datagen.testing.checkpoints import ctc


@pytest.fixture(scope="module")
def huggingface(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ctc.build(tmp_path_factory.mktemp("huggingface"), "pl", norm="layer")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ctc.build(tmp_path_factory.mktemp("bundle"), "en")


def _state(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.pth")
    return torch.load(file, weights_only=True)  # type: ignore[no-any-return]


def test_a_language_gets_the_files_its_entry_in_the_manifest_names(huggingface: Path, bundle: Path) -> None:
    for folder, language in ((huggingface, "pl"), (bundle, "en")):
        assert manifest.missing(manifest.find(str(folder), f"align-{language}")) is None


def test_transformers_loads_the_folder_whole(huggingface: Path) -> None:
    assert "wav2vec2.encoder.pos_conv_embed.conv.weight_g" in load_file(huggingface / "model.safetensors")
    model, report = Wav2Vec2ForCTC.from_pretrained(huggingface, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    vocabulary = Wav2Vec2Processor.from_pretrained(huggingface).tokenizer.get_vocab()
    assert len(vocabulary) == model.config.vocab_size
    assert vocabulary["<pad>"] == 0


def test_torchaudio_loads_the_state_dict_whole(bundle: Path) -> None:
    said = json.loads((bundle / "bundle.json").read_text())
    state = _state(bundle)
    assert "encoder.transformer.pos_conv_embed.conv.weight_g" in state
    torchaudio.models.wav2vec2_model(**said["params"]).load_state_dict(state)  # strict
    assert said["labels"] == list(torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H.get_labels())


def test_the_seed_decides_the_weights(tmp_path: Path, bundle: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    same, other = _state(ctc.build(tmp_path / "a", "en")), _state(ctc.build(tmp_path / "b", "en", seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(same[name], value) for name, value in _state(bundle).items())
    assert not torch.equal(same["aux.weight"], other["aux.weight"])


def test_the_files_tell_the_kind(huggingface: Path, bundle: Path) -> None:
    hf, ta = load(huggingface), load(bundle)
    assert isinstance(hf, HuggingFace) and isinstance(ta, Bundle)
    assert hf.blank == 0 and hf.dictionary["|"] == 4 and hf.dictionary["z"] > 4
    assert ta.blank == 0 and ta.dictionary["-"] == 0 and ta.dictionary["e"] == 2


@pytest.mark.parametrize("language", ["en", "de", "it"])
def test_a_published_bundle_is_known_by_its_file_name(tmp_path: Path, language: str) -> None:
    """The real sizes, each tensor written as one number repeated; surplus outputs of the published head go."""
    published = getattr(torchaudio.pipelines, ctc.BUNDLES[language])
    with torch.device("meta"):
        shapes = torchaudio.models.wav2vec2_model(**published._params).state_dict()
    state = {
        ctc.published_name(name): torch.full((1,), 0.01).expand(shape.shape).requires_grad_(False)
        for name, shape in shapes.items()
    }
    surplus = published._remove_aux_axis
    rows = len(published.get_labels()) + len(surplus)
    numbers = torch.arange(rows, dtype=torch.float32)
    state |= {"aux.weight": numbers[:, None].expand(rows, 768), "aux.bias": numbers.clone()}
    torch.save(state, tmp_path / published._path)

    acoustic = load(tmp_path)

    kept = acoustic.model.aux.bias.tolist()
    assert kept == [row for row in range(rows) if row not in surplus]
    assert len(kept) == len(published.get_labels()) == len(acoustic.dictionary)
    assert sum(weight.numel() for weight in acoustic.model.parameters()) > 94e6


def test_a_missing_weight_is_an_error(tmp_path: Path, huggingface: Path, bundle: Path) -> None:
    hf, ta = _copy(huggingface, tmp_path / "hf"), _copy(bundle, tmp_path / "ta")
    weights = load_file(hf / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, hf / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=r"missing: lm_head\.weight"):
        load(hf)
    state = _state(ta)
    del state["aux.weight"]
    torch.save(state, next(ta.glob("*.pth")))
    with pytest.raises(EnvironmentFault, match=r"missing: aux\.weight"):
        load(ta)


def test_a_weight_left_over_is_an_error(tmp_path: Path, huggingface: Path, bundle: Path) -> None:
    hf, ta = _copy(huggingface, tmp_path / "hf"), _copy(bundle, tmp_path / "ta")
    weights = load_file(hf / "model.safetensors") | {"classifier.weight": torch.zeros(2)}
    save_file(weights, hf / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=r"left over: classifier\.weight"):
        load(hf)
    torch.save(_state(ta) | {"classifier.weight": torch.zeros(2)}, next(ta.glob("*.pth")))
    with pytest.raises(EnvironmentFault, match=r"left over: classifier\.weight"):
        load(ta)


def test_the_mask_of_pretraining_may_be_there_or_not(tmp_path: Path, huggingface: Path) -> None:
    folder = _copy(huggingface, tmp_path / "hf")
    weights = load_file(folder / "model.safetensors")
    assert weights.pop("wav2vec2.masked_spec_embed").shape == (32,)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).blank == 0


def test_other_sizes_and_other_names_are_errors(tmp_path: Path, bundle: Path) -> None:
    folder = _copy(bundle, tmp_path / "sizes")
    (folder / "bundle.json").unlink()  # now its name says that it is the published, large one
    with pytest.raises(EnvironmentFault, match="size mismatch"):
        load(folder)
    next(folder.glob("*.pth")).rename(folder / "mine.pth")
    with pytest.raises(EnvironmentFault, match=r"no bundle\.json"):
        load(folder)
    with pytest.raises(EnvironmentFault, match="no aligner is here"):
        load(tmp_path)


def test_more_letters_than_outputs_are_an_error(tmp_path: Path, huggingface: Path) -> None:
    folder = _copy(huggingface, tmp_path / "hf")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"ż": len(vocabulary)}))
    with pytest.raises(EnvironmentFault, match="go beyond"):
        load(folder)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, bundle: Path) -> None:
    folder = _copy(bundle, tmp_path / "evil")
    torch.save({"aux.weight": Path("/")}, next(folder.glob("*.pth")))  # any object but a tensor
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load(folder)


def _copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to
