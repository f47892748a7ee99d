"""Sentence-embedding models with random weights, in the folder layout of sentence-transformers.

Three modules as published: a transformer (BERT as in the multilingual MiniLM, or MPNet), the mean over a text's tokens,
unit length. The vocabulary is letters, so any text has tokens, and how many of them is how long it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

Architecture = Literal["bert", "mpnet"]
_LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßéèñçłąęабвгдежзийклмнопрстуфхцчшщыьэюя今天很高兴我你好สวัสดีकखगनमस्ते0123456789'"
_WIDTH, _LAYERS, _HEADS = 32, 2, 2


def build(folder: Path, architecture: Architecture = "bert", seed: int = 0, tokens: int = 64) -> Path:
    """Write a model into ``folder``, which is made, and return it: 0.1 MB, 32 dimensions.

    Args:
        tokens: that it takes at once.
    """
    import torch
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

    folder.mkdir(parents=True, exist_ok=True)
    size = tokenizer(folder)
    sizes: dict[str, Any] = {
        "vocab_size": size, "hidden_size": _WIDTH, "num_hidden_layers": _LAYERS, "num_attention_heads": _HEADS,
        "intermediate_size": 2 * _WIDTH, "max_position_embeddings": 130, "pad_token_id": 1,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = BertModel(BertConfig(**sizes)) if architecture == "bert" else MPNetModel(MPNetConfig(**sizes))
        enliven(network)
    network.save_pretrained(folder, safe_serialization=True)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": _WIDTH, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", pooling)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": tokens, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.0.0"}})
    return folder


def tokenizer(folder: Path, most: int = 512) -> int:
    """``tokenizer.json`` and its configuration: one token per letter, ``<s>`` and ``</s>`` around them. Its size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {token: at for at, token in enumerate([*special, *dict.fromkeys(_LETTERS)])}
    made: Any = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("", behavior="isolated")]
    )
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    made.save(str(folder / "tokenizer.json"))
    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    write_json(
        folder / "tokenizer_config.json",
        names | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": most},
    )
    return len(vocabulary)


def enliven(network: Any) -> None:
    """A few small layers of fresh weights hardly tell one text from another; larger weights do."""
    import torch

    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() == 2:
                weight.normal_(std=0.5 if "embeddings" in name else 2.0 / weight.shape[1] ** 0.5)


def write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
