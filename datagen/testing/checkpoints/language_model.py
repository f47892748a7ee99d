"""A Qwen2 chat model with random weights, in the files in which the real ones are published: what vLLM serves in tests.

What it writes is noise, but it writes into any grammar, and the same for the same prompt and seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: vLLM has kernels for head sizes of real models only; 64 is the smallest that it takes on a CPU.
HEAD_SIZE = 64

END = "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
#: The tokenizer learns a few merges from these, so that a token is more than a byte here and there.
TEXT = (
    "The speaker sounds happy, and the voice is high and fast.",
    '{"question": "How does the speaker feel?", "answer": "The pitch is low, the words are slow: sad."}',
)


def build(folder: Path, seed: int = 0, *, context: int = 16384) -> Path:
    """Write a model and its tokenizer into ``folder``, which is made, and return it: 1 MB.

    Args:
        context: most tokens of a prompt and its answer together.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    size, end = tokenizer(folder)
    config = Qwen2Config(
        vocab_size=size, hidden_size=2 * HEAD_SIZE, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=2,
        intermediate_size=4 * HEAD_SIZE, max_position_embeddings=context, eos_token_id=end, pad_token_id=end,
        tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = Qwen2ForCausalLM(config)
        network.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    return folder


def tokenizer(folder: Path) -> tuple[int, int]:
    """Write a byte-level BPE with a chat template, which knows printable ASCII and passes over the rest.

    Only what is plain text in any grammar can be written then: vLLM's grammar of a string with a length lets a model
    write control characters as they are, which no JSON has, bytes that are no UTF-8, and special tokens that the text
    lacks in the end. A trained model does not; noise does all the time.

    Returns:
        number of tokens, and the id of the one that ends a turn.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = ["\u0120", *map(chr, range(0x21, 0x7F))]  # a space as a byte-level tokenizer shows it
    pieces.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=384, special_tokens=[END], initial_alphabet=alphabet)
    )
    whole = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=END, pad_token=END)
    whole.chat_template = TEMPLATE
    whole.save_pretrained(folder)
    return len(whole), int(whole.eos_token_id)
