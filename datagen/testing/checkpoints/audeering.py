"""Checkpoints in the form of audEERING's: wav2vec 2.0 with heads, arousal/dominance/valence or age with sex.

``config.json``, ``preprocessor_config.json``, ``vocab.json`` and the weights, named as the published ones are. The
weights are random; the heads are set so that their answers lie about 0..1 and differ clearly between sounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datagen.models.audeering import AGE_GENDER_HEADS, DIMENSION_HEADS, DIMENSIONS, normalised
from datagen.tables import SAMPLE_RATE

Size = Literal["tiny", "base", "large"]
Norm = Literal["layer", "group"]
#: hidden size, layers, attention heads, inner size, convolution channels, groups of the positional convolution.
#: "large" is the published wav2vec2-large-robust, cut to 12 layers.
SIZES: dict[Size, tuple[int, int, int, int, int, int]] = {
    "tiny": (32, 2, 2, 64, 32, 4),
    "base": (768, 12, 12, 3072, 512, 16),
    "large": (1024, 12, 16, 4096, 512, 16),
}


def build(
    folder: Path, size: Size = "tiny", seed: int = 0, *, norm: Norm = "layer", old_names: bool = True,
    safetensors: bool = False, names: Sequence[str] = DIMENSIONS,
) -> Path:  # fmt: skip
    """A model of arousal, dominance, valence.

    Args:
        norm: of the convolutions: "layer" as published, "group" as in the smaller wav2vec 2.0 models.
        old_names: the positional convolution's weight norm as ``weight_g``/``weight_v``, as published.
        safetensors: ``model.safetensors`` instead of ``pytorch_model.bin``.
        names: outputs in the order of the head's rows.
    """
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    config = {"finetuning_task": "wav2vec2_reg", "pooling_mode": "mean", "problem_type": "regression", **labels}
    return _build(folder, DIMENSION_HEADS, size, seed, norm, old_names, safetensors, config)


def build_age_gender(
    folder: Path, size: Size = "tiny", seed: int = 1, *, norm: Norm = "layer", old_names: bool = True,
    safetensors: bool = True,
) -> Path:  # fmt: skip
    """A model of age (hundreds of years) and of female, male, child. See ``build``."""
    config = {"finetuning_task": "age-gender"}
    return _build(folder, AGE_GENDER_HEADS, size, seed, norm, old_names, safetensors, config)


def _build(
    folder: Path, heads: Mapping[str, Sequence[str]], size: Size, seed: int, norm: Norm, old_names: bool,
    safetensors: bool, config: Mapping[str, Any],
) -> Path:  # fmt: skip
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    hidden, layers, attention, inner, channels, groups = SIZES[size]
    settings = Wav2Vec2Config(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=attention, intermediate_size=inner,
        conv_dim=(channels,) * 7, conv_bias=norm == "layer", feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer", num_conv_pos_embeddings=128, num_conv_pos_embedding_groups=groups,
        mask_time_prob=0.05, **config,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = Wav2Vec2Model(settings).eval()
        if size == "tiny":
            _enliven(body)
        state = {f"wav2vec2.{name}": tensor for name, tensor in body.state_dict().items()}
        pooled = _pooled(body, _probes(seed))
        for name, outputs in heads.items():
            state |= {f"{name}.{key}": tensor for key, tensor in _head(pooled, len(outputs)).items()}
    if old_names:
        state = {
            name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): tensor
            for name, tensor in state.items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    if safetensors:
        from safetensors.torch import save_file

        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(state, folder / "pytorch_model.bin")
    described = settings.to_dict() | {"architectures": ["Wav2Vec2ForSpeechClassification"], "vocab_size": None}
    _write(folder / "config.json", described)
    _write(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
            "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True, "sampling_rate": SAMPLE_RATE,
        },
    )  # fmt: skip
    _write(folder / "vocab.json", {})
    return folder


def _enliven(body: Any) -> None:
    """A few small layers of fresh weights hardly tell one sound from another; larger weights do."""
    import torch

    with torch.no_grad():
        for name, weight in body.named_parameters():
            if weight.dim() == 2 and "encoder" in name:
                weight.mul_(8.0)


def _probes(seed: int, count: int = 12) -> list[Any]:
    """Sounds that differ as voices do: tones with overtones, noise, swells, 0.3 to 1 s."""
    dice = np.random.default_rng(seed)
    probes = []
    for at in range(count):
        time = np.arange(int(dice.uniform(0.3, 1.0) * SAMPLE_RATE)) / SAMPLE_RATE
        tone = sum(np.sin(2 * np.pi * dice.uniform(80, 400) * k * time) / k for k in range(1, 12))
        sound = tone * dice.uniform(0, 1) + dice.normal(0, dice.uniform(0.05, 1), len(time))
        probes.append((sound * np.sin(np.pi * (at % 4 + 1) * time) * 0.1).astype(np.float32))
    return probes


def _pooled(body: Any, sounds: Sequence[Any]) -> Any:
    import torch

    with torch.inference_mode():
        return torch.stack([body(torch.from_numpy(normalised(s))[None]).last_hidden_state[0].mean(0) for s in sounds])


def _head(pooled: Any, outputs: int) -> dict[str, Any]:
    """Random dense and out_proj; over ``pooled`` the one's sums are about standard normal, the other's 0.5 +- 0.2."""
    import torch

    def spread(weight: Any, values: Any, centre: float, width: float) -> tuple[Any, Any]:
        sums = values @ weight.T
        scale = width / sums.std(0).clamp_min(1e-6)
        return weight * scale[:, None], centre - sums.mean(0) * scale

    size = pooled.shape[1]
    dense, dense_bias = spread(torch.randn(size, size), pooled, 0.0, 1.0)
    hidden = torch.tanh(pooled @ dense.T + dense_bias)
    out, out_bias = spread(torch.randn(outputs, size), hidden, 0.5, 0.2)
    return {"dense.weight": dense, "dense.bias": dense_bias, "out_proj.weight": out, "out_proj.bias": out_bias}


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
