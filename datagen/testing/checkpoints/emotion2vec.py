"""A random emotion2vec in the form in which emotion2vec_plus_seed, _base and _large are published.

``config.yaml``, ``configuration.json``, ``tokens.txt`` and ``model.pt``: the folder that FunASR's ``AutoModel`` loads.
As in the published files, the weights lie under ``model``, those of the encoder behind ``d2v_model.``, and the decoder
that only pre-training uses is in the configuration but not in the weights (FunASR says "miss key in ckpt" of it, even
of the published base model). The nine labels are the published ones in their order.

``tiny`` keeps every part of the architecture, with small numbers; ``base`` and ``large`` are the published sizes.
The weights are random. The head is fitted to the spread of the encoder's answers to a few synthetic sounds, or its
scores would hardly depend on the sound.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from datagen.testing.speech import synth

TOKENS = (
    "生气/angry", "厌恶/disgusted", "恐惧/fearful", "开心/happy", "中立/neutral", "其他/other", "难过/sad",
    "吃惊/surprised", "<unk>",
)  # fmt: skip
Size = Literal["tiny", "base", "large"]
Extractor = Literal["layer_norm", "default"]


@dataclass(frozen=True)
class _Numbers:
    """What tells the sizes apart; kernels, strides, positional depth and extra tokens are the same for all."""

    width: int
    heads: int
    channels: int
    prenet: int
    blocks: int
    groups: int
    decoder: int


_SIZES = {
    "tiny": _Numbers(width=48, heads=4, channels=24, prenet=1, blocks=2, groups=4, decoder=16),
    "base": _Numbers(width=768, heads=12, channels=512, prenet=4, blocks=8, groups=16, decoder=384),
    "large": _Numbers(width=1024, heads=16, channels=512, prenet=4, blocks=8, groups=16, decoder=768),
}


def build(folder: str | Path, size: Size = "tiny", seed: int = 0, extractor: Extractor = "layer_norm") -> Path:
    """Write the checkpoint into ``folder`` (made if need be); same seed, same weights.

    tiny takes under a second once FunASR is imported, base about 6 s and 380 MB of disk, large about 12 s and 650 MB.

    Args:
        extractor: ``layer_norm`` as published; ``default`` is the other feature extractor that the library has, with
            a group norm over time in its first layer.

    Returns:
        The folder, for ``funasr.AutoModel(model=str(folder))``.
    """
    import torch
    from funasr import AutoModel

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(_SIZES[size], extractor)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    (folder / "tokens.txt").write_text("\n".join(TOKENS), "utf-8")
    (folder / "configuration.json").write_text(json.dumps(_CONFIGURATION, indent=2), "utf-8")
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    model, _ = AutoModel.build_model(
        model=config["model"], model_conf=config["model_conf"], tokenizer=config["tokenizer"],
        tokenizer_conf={"token_list": list(TOKENS)}, device="cpu", ncpu=threads, seed=seed,
    )  # fmt: skip
    with torch.inference_mode():
        _fit_head(model, seed)
    torch.set_rng_state(state)
    weights = {
        name if name.startswith("proj.") else f"d2v_model.{name}": tensor.clone()
        for name, tensor in model.state_dict().items()
        if ".decoder." not in name
    }
    torch.save({"args": None, "model": weights, "extra_state": {"epoch": 1}}, folder / "model.pt")
    return folder


def _fit_head(model: Any, seed: int) -> None:
    """A head whose logits have zero mean and a standard deviation of about 2 over a handful of sounds."""
    import torch
    from torch.nn import functional

    for name, parameter in model.named_parameters():
        if name.endswith("alibi_scale"):
            parameter.mul_(0.5)  # as trained, neither 1 nor the same for all heads
            parameter.add_(torch.linspace(0, 1, parameter.numel()).view(parameter.shape))
    pooled = []
    for sound in _sounds(seed):
        source = torch.from_numpy(sound)
        source = functional.layer_norm(source, source.shape).view(1, -1)
        pooled.append(model.extract_features(source)["x"].mean(dim=1)[0])
    answers = torch.stack(pooled)
    mean, spread = answers.mean(dim=0), answers.std(dim=0).clamp_min(1e-3)
    directions = torch.randn(len(TOKENS), answers.shape[1], generator=torch.Generator().manual_seed(seed))
    weight = directions / spread
    weight = 2.0 * weight / (weight @ (answers - mean).T).std(dim=1, keepdim=True)
    model.proj.weight.copy_(weight)
    model.proj.bias.copy_(-(weight @ mean))


def _sounds(seed: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Seven synthetic voices that differ in pitch, rate and breath, and a noise."""
    voices = [
        synth(3, f0_hz=80 * 1.2**at, rate=3 + at / 2, breathiness=at / 7, whispered=at == 6, seed=seed + at)[0]
        for at in range(7)
    ]
    noise = np.random.default_rng(seed).standard_normal(16_000) * 0.1
    return [*voices, noise.astype(np.float32)]


_CONFIGURATION = {
    "framework": "pytorch",
    "task": "emotion-recognition",
    "pipeline": {"type": "funasr-pipeline"},
    "model": {"type": "funasr"},
    "file_path_metas": {
        "init_param": "model.pt",
        "tokenizer_conf": {"token_list": "tokens.txt"},
        "config": "config.yaml",
    },
    "model_name_in_hub": {"ms": "iic/emotion2vec_base", "hf": ""},
}


def _config(numbers: _Numbers, extractor: Extractor) -> dict[str, Any]:
    """The published ``config.yaml`` as far as the model is built from it; losses and the other modalities left out."""
    channels = numbers.channels
    audio = {
        "type": "AUDIO",
        "extractor_mode": extractor,
        "feature_encoder_spec": (
            f"[({channels}, 10, 5)] + [({channels}, 3, 2)] * 4 + [({channels},2,2)] + [({channels},2,2)]"
        ),
        "conv_pos_width": 95,
        "conv_pos_groups": numbers.groups,
        "conv_pos_depth": 5,
        "conv_pos_pre_ln": False,
        "num_extra_tokens": 10,
        "init_extra_token_zero": True,
        "use_alibi_encoder": True,
        "alibi_scale": 1.0,
        "alibi_max_pos": None,
        "learned_alibi": False,
        "learned_alibi_scale": True,
        "learned_alibi_scale_per_head": True,
        "learned_alibi_scale_per_layer": False,
        "num_alibi_heads": numbers.heads,
        "model_depth": numbers.blocks,
        "prenet_depth": numbers.prenet,
        "prenet_layerdrop": 0.0,
        "prenet_dropout": 0.1,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "local_grad_mult": 1.0,
        "mask_prob": 0.55,
        "mask_length": 5,
        "mask_noise_std": 0.01,
        "mask_channel_prob": 0.0,
        "encoder_zero_mask": True,
        "keep_masked_pct": 0.0,
        "decoder": {
            "add_positions_all": False,
            "add_positions_masked": False,
            "decoder_dim": numbers.decoder,
            "decoder_groups": numbers.groups,
            "decoder_kernel": 7,
            "decoder_layers": 4,
            "decoder_residual": True,
            "input_dropout": 0.1,
            "projection_layers": 1,
            "projection_ratio": 2.0,
        },
    }
    return {
        "model": "Emotion2vec",
        "model_conf": {
            "depth": numbers.blocks,
            "embed_dim": numbers.width,
            "num_heads": numbers.heads,
            "mlp_ratio": 4.0,
            "norm_eps": 1e-05,
            "norm_affine": True,
            "layer_norm_first": False,
            "end_of_block_targets": False,
            "encoder_dropout": 0.1,
            "attention_dropout": 0.1,
            "activation_dropout": 0.0,
            "post_mlp_drop": 0.1,
            "dropout_input": 0.0,
            "layerdrop": 0.0,
            "start_drop_path_rate": 0.0,
            "end_drop_path_rate": 0.0,
            "average_top_k_layers": 16,
            "loss_beta": 0.0,
            "loss_scale": None,
            "clone_batch": 12,
            "normalize": True,
            "supported_modality": "AUDIO",
            "modalities": {"audio": audio},
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
        "scope_map": ["d2v_model.", "none"],
    }
