"""wav2vec 2.0 aligners with random weights, in the two file formats aligners are published in.

The architecture is the real one (seven convolutions that make 50 frames a second, positional convolution, transformer,
CTC head); ``tiny`` is narrow and shallow, ``base`` and ``large`` have the published numbers, for measuring speed.
Weights are drawn wide enough for the answers to depend on the sound.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["huggingface", "torchaudio"]
Norm = Literal["group", "layer"]
Size = Literal["tiny", "base", "large"]

#: Languages whose aligner torchaudio publishes, and as which bundle.
BUNDLES = {
    "en": "WAV2VEC2_ASR_BASE_960H",
    "fr": "VOXPOPULI_ASR_BASE_10K_FR",
    "de": "VOXPOPULI_ASR_BASE_10K_DE",
    "es": "VOXPOPULI_ASR_BASE_10K_ES",
    "it": "VOXPOPULI_ASR_BASE_10K_IT",
}
#: Written as published: some in capitals, others not.
_ALPHABETS = {
    "de": "abcdefghijklmnopqrstuvwxyzäöüß",
    "ja": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん日本語",
    "zh": "你好我是人在有这他们中大上国个到说时要就出会可也",
}
_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
_KERNELS = (10, 3, 3, 3, 3, 2, 2)
_STRIDES = (5, 2, 2, 2, 2, 2, 2)


@dataclass(frozen=True)
class _Numbers:
    """``reach`` and ``groups`` are those of the positional convolution."""

    width: int
    channels: int
    layers: int
    heads: int
    inner: int
    reach: int
    groups: int


_SIZES: dict[Size, _Numbers] = {
    "tiny": _Numbers(width=32, channels=16, layers=2, heads=2, inner=64, reach=16, groups=4),
    "base": _Numbers(width=768, channels=512, layers=12, heads=12, inner=3072, reach=128, groups=16),
    "large": _Numbers(width=1024, channels=512, layers=24, heads=16, inner=4096, reach=128, groups=16),
}


def build(
    folder: Path,
    language: str = "en",
    kind: Kind | None = None,
    norm: Norm = "group",
    seed: int = 0,
    size: Size = "tiny",
) -> Path:  # fmt: skip
    """Write a checkpoint into ``folder``, which is made, and return it.

    Args:
        language: ISO 639-1; decides the characters.
        kind: None = as the language's aligner is published.
        norm: of the convolutions: "group" as in base models, "layer" as in large ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (kind or ("torchaudio" if language in BUNDLES else "huggingface")) == "torchaudio":
        _torchaudio(folder, language, norm, seed, _SIZES[size])
    else:
        _huggingface(folder, language, norm, seed, _SIZES[size])
    return folder


def _huggingface(folder: Path, language: str, norm: Norm, seed: int, numbers: _Numbers) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    delimiter = [] if language in ("ja", "zh") else ["|"]
    labels = ["<pad>", "<s>", "</s>", "<unk>", *delimiter, *_ALPHABETS.get(language, _LATIN)]
    config = Wav2Vec2Config(
        vocab_size=len(labels), hidden_size=numbers.width, num_hidden_layers=numbers.layers,
        num_attention_heads=numbers.heads, intermediate_size=numbers.inner, conv_dim=(numbers.channels,) * 7,
        conv_kernel=_KERNELS, conv_stride=_STRIDES, conv_bias=norm == "layer", feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer", num_conv_pos_embeddings=numbers.reach,
        num_conv_pos_embedding_groups=numbers.groups, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        architectures=["Wav2Vec2ForCTC"],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = Wav2Vec2ForCTC(config)
    weights = _published_names(_draw(model, seed))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    _json(folder / "vocab.json", {label: code for code, label in enumerate(labels)})
    _json(folder / "special_tokens_map.json", special)
    _json(
        folder / "tokenizer_config.json",
        special | {"do_lower_case": False, "word_delimiter_token": "|", "tokenizer_class": "Wav2Vec2CTCTokenizer"},
    )
    _json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
            "padding_side": "right", "padding_value": 0.0, "return_attention_mask": norm == "layer",
            "sampling_rate": 16_000,
        },
    )  # fmt: skip


def _torchaudio(folder: Path, language: str, norm: Norm, seed: int, numbers: _Numbers) -> None:
    import torch
    import torchaudio

    bundle = getattr(torchaudio.pipelines, BUNDLES.get(language, BUNDLES["en"]))
    labels = list(bundle.get_labels())
    params = bundle._params | {
        "extractor_mode": f"{norm}_norm",
        "extractor_conv_layer_config": [[numbers.channels, *shape] for shape in zip(_KERNELS, _STRIDES, strict=True)],
        "extractor_conv_bias": norm == "layer",
        "encoder_embed_dim": numbers.width,
        "encoder_pos_conv_kernel": numbers.reach,
        "encoder_pos_conv_groups": numbers.groups,
        "encoder_num_layers": numbers.layers,
        "encoder_num_heads": numbers.heads,
        "encoder_ff_interm_features": numbers.inner,
        "encoder_layer_norm_first": norm == "layer",
        "aux_num_out": len(labels),
    }
    with torch.random.fork_rng(devices=[]):
        model = torchaudio.models.wav2vec2_model(**params)
    torch.save(_published_names(_draw(model, seed)), folder / bundle._path)
    _json(folder / "bundle.json", {"params": params, "labels": labels})


def _draw(model: Any, seed: int) -> dict[str, Any]:
    """A state dict like the model's: matrices that keep the variance, a head that makes up its mind."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, old in model.state_dict().items():
        noise = torch.randn(old.shape, generator=generator)
        if name.endswith("original0"):
            state[name] = torch.ones_like(old)
        elif old.dim() > 1:
            gain = 4.0 if name.startswith(("aux", "lm_head")) else 1.5
            state[name] = noise * gain / math.sqrt(old[0].numel())
        else:
            norm = "norm" in name and name.endswith("weight")
            state[name] = noise * 0.1 + float(norm)
        if name in ("aux.bias", "lm_head.bias"):
            state[name][0] += 12.0  # the blank: the likeliest of all, as in trained models
    return state


def _published_names(state: dict[str, Any]) -> dict[str, Any]:
    return {published_name(name): value.contiguous() for name, value in state.items()}


def published_name(name: str) -> str:
    """Weight normalisation is called by the name it had when these checkpoints were made."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


def _json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
