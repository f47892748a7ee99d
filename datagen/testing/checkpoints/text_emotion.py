"""RoBERTa text classifiers with random weights, in the files in which the GoEmotions model is published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.testing.checkpoints.sentences import enliven, tokenizer


def build(folder: Path, labels: Sequence[str] = (), seed: int = 0, *, independent: bool = True) -> Path:
    """Write a model into ``folder``, which is made, and return it: 0.1 MB.

    Args:
        labels: empty = the 28 of GoEmotions.
        independent: a sigmoid for each label, as published; else one softmax over them.
    """
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification

    from datagen.models.text_emotion import table

    names = list(labels) or [name for name in table().labels if name not in ("positive", "negative")]
    folder.mkdir(parents=True, exist_ok=True)
    size = tokenizer(folder)
    kind = "multi_label_classification" if independent else "single_label_classification"
    config = RobertaConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=130, pad_token_id=1, id2label=dict(enumerate(names)),
        label2id={name: at for at, name in enumerate(names)}, problem_type=kind,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = RobertaForSequenceClassification(config).eval()
        enliven(network)
    network.save_pretrained(folder, safe_serialization=True)
    return folder
