"""The built checkpoints are what the published ones are: the real library loads them by their own names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datagen.models import manifest
from datagen.testing.checkpoints import audeering as checkpoints


def names(folder: Path) -> set[str]:
    import torch
    from safetensors.torch import load_file

    safe = folder / "model.safetensors"
    return set(load_file(safe) if safe.is_file() else torch.load(folder / "pytorch_model.bin", weights_only=True))


def test_files_and_names_are_those_of_the_published_model(audeering_folder: Path) -> None:
    assert {path.name for path in audeering_folder.iterdir()} == {
        "config.json", "preprocessor_config.json", "vocab.json", "pytorch_model.bin"
    }  # fmt: skip
    config = json.loads((audeering_folder / "config.json").read_text())
    assert config["id2label"] == {"0": "arousal", "1": "dominance", "2": "valence"}
    assert (config["feat_extract_norm"], config["do_stable_layer_norm"], config["model_type"]) == (
        "layer", True, "wav2vec2"
    )  # fmt: skip
    assert config["vocab_size"] is None
    assert {
        "classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.weight", "classifier.out_proj.bias",
        "wav2vec2.masked_spec_embed", "wav2vec2.encoder.pos_conv_embed.conv.weight_g",
        "wav2vec2.encoder.pos_conv_embed.conv.weight_v", "wav2vec2.feature_extractor.conv_layers.6.layer_norm.weight",
    } <= names(audeering_folder)  # fmt: skip


def test_the_age_gender_model_has_two_heads(age_gender_folder: Path) -> None:
    found = {name for name in names(age_gender_folder) if not name.startswith("wav2vec2.")}
    parts = [f"{layer}.{part}" for layer in ("dense", "out_proj") for part in ("weight", "bias")]
    assert found == {f"{head}.{part}" for head in ("age", "gender") for part in parts}


def test_the_library_knows_every_weight_of_the_body(audeering_folder: Path) -> None:
    from transformers import Wav2Vec2Model

    _, told = Wav2Vec2Model.from_pretrained(audeering_folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["mismatched_keys"]
    assert all(name.startswith("classifier.") for name in told["unexpected_keys"])


@pytest.mark.parametrize("like", ["audeering-dim", "audeering-age-gender-6", "audeering-age-gender-24"])
def test_both_file_formats_satisfy_the_manifest(
    like: str, audeering_folder: Path, age_gender_folder: Path, tmp_path: Path
) -> None:
    for folder in (audeering_folder, age_gender_folder):  # one is .bin, the other .safetensors
        assert manifest.missing(manifest.find(str(folder), like)) is None
    assert manifest.missing(manifest.find(str(tmp_path), like)) is not None


def test_the_same_seed_builds_the_same_weights(tmp_path: Path) -> None:
    one, two, other = (checkpoints.build(tmp_path / str(at), seed=seed) for at, seed in enumerate((3, 3, 4)))
    assert manifest.digest(one) == manifest.digest(two) != manifest.digest(other)
