"""A random Whisper in the form in which faster-whisper checkpoints are published, tiny or of a published size.

``config.json``, ``model.bin`` (CTranslate2), ``vocabulary.json``, ``tokenizer.json`` and ``preprocessor_config.json``,
made by the published way: a Transformers checkpoint through CTranslate2's own converter. ``tiny`` is Whisper large-v3
with small numbers: one layer, 64 wide, 2048 tokens of text instead of 50257. In the published order and in full are the
other tokens (100 languages, tasks, 1501 times), and so are the 30 s of 128 mel bands. ``base`` and ``large`` have the
numbers of openai/whisper-base (but for Cantonese, a language it does not know) and of whisper-large-v3, for measuring
speed; as published, their weights are kept in half precision.

The weights are random, but not any: attention is sharp and the embeddings of the sound weigh more than those of the
text, so that different sounds give different texts; the end-of-text token is likelier than others, so that texts end.
A random Whisper still decodes to its limit now and then, 224 tokens per window: give it about 4 tokens per second.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

Size = Literal["tiny", "base", "large"]


@dataclass(frozen=True)
class _Numbers:
    """``layers`` of the encoder and as many of the decoder; ``text_tokens``: the id of <|endoftext|>."""

    layers: int
    width: int
    heads: int
    inner: int
    bands: int
    text_tokens: int


TEXT_TOKENS = 2048  #: of the tiny one
_SIZES: dict[Size, _Numbers] = {
    "tiny": _Numbers(layers=1, width=64, heads=2, inner=128, bands=128, text_tokens=TEXT_TOKENS),
    "base": _Numbers(layers=6, width=512, heads=8, inner=2048, bands=80, text_tokens=50_257),
    "large": _Numbers(layers=32, width=1280, heads=20, inner=5120, bands=128, text_tokens=50_257),
}
_TIMESTAMPS = 1501  # <|0.00|> to <|30.00|>
#: How much longer than others the embeddings of end-of-text, no-speech and of times are.
_ENDS, _SILENT, _TIMES = 1.7, 3.0, 0.2
#: Signs that Whisper never writes (music notes, brackets): as in the published ``suppress_tokens``, by their text.
_NOT_SPEECH = (*'"#()*+/:;<=>@[\\]^_`{|}~', "♩", "♪", "♫", "♬", "♭", "♮", "♯")


def build(folder: str | Path, seed: int = 0, size: Size = "tiny") -> Path:
    """Write the checkpoint into ``folder`` (made if need be), a tiny one in about 5 s; same seed, same weights.

    Returns:
        The folder, for ``faster_whisper.WhisperModel(str(folder))`` or ``whisperx.load_model(str(folder), "cpu")``.
    """
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import WhisperForConditionalGeneration

    folder, numbers = Path(folder), _SIZES[size]
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        ids = _write_tokenizer(source, numbers.text_tokens)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = WhisperForConditionalGeneration(_config(ids, numbers))
            _spread(model, ids)
        model.generation_config = _generation(ids)
        model.save_pretrained(source)
        preprocessor = {
            "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor",
            "feature_size": numbers.bands, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400, "chunk_length": 30,
            "n_samples": 480_000, "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
            "return_attention_mask": False,
        }  # fmt: skip
        (source / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2), "utf-8")
        copied = ["tokenizer.json", "preprocessor_config.json"]
        converter = TransformersConverter(str(source), copy_files=copied)
        converter.convert(str(folder), quantization=None if size == "tiny" else "float16", force=True)
    return folder


# --- Tokens -------------------------------------------------------------------------------------------------


def special_tokens() -> list[str]:
    """All tokens that are not text, in the order of large-v3; the first one follows the last of the text."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    times = [f"{number * 0.02:.2f}" for number in range(_TIMESTAMPS)]
    return [f"<|{name}|>" for name in ("endoftext", "startoftranscript", *LANGUAGES, *tasks, *times)]


def _write_tokenizer(folder: Path, text_tokens: int) -> dict[str, int]:
    """A byte-level tokenizer whose merges make syllables; returns the ids of all tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import WhisperTokenizerFast

    vocabulary = {char: at for at, char in enumerate(_bytes())}
    merges = []
    for left, right in _merges():
        vocabulary[left + right] = len(vocabulary)
        merges.append((left, right))
        if len(vocabulary) == text_tokens - 1:
            break
    vocabulary[""] = text_tokens - 1  # by this token, which says nothing, CTranslate2 knows a multilingual model
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = special_tokens()
    begin = names.index("<|0.00|>")
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names[:begin]])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in names[begin:]])
    end = "<|endoftext|>"
    fast = WhisperTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end,
                                additional_special_tokens=names[1:begin])  # fmt: skip
    fast.save_pretrained(folder)
    ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return ids


def _bytes() -> list[str]:
    """The 256 bytes as byte-level BPE writes them, in GPT-2's order: printable ones first, each as itself."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + at) for at in range(len(others))]


def _merges() -> Iterator[tuple[str, str]]:
    """What to merge: letters to pairs, these with a blank (Ġ) or a capital in front, pairs to syllables and fours."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    pairs = [a + b for a, b in product(letters, letters)]
    yield from product(letters, letters)
    yield from product("Ġ", letters)
    yield from (("Ġ" + a, b) for a, b in product(letters, letters))
    yield from product(letters.upper(), letters)
    yield from product(pairs, letters)
    yield from (("Ġ" + pair, letter) for pair, letter in product(pairs, letters))
    yield from product(pairs, pairs)


# --- Model --------------------------------------------------------------------------------------------------


def _config(ids: dict[str, int], numbers: _Numbers) -> Any:
    from transformers import WhisperConfig

    end = ids["<|endoftext|>"]
    return WhisperConfig(
        vocab_size=len(ids), num_mel_bins=numbers.bands, d_model=numbers.width, encoder_layers=numbers.layers,
        decoder_layers=numbers.layers, encoder_attention_heads=numbers.heads, decoder_attention_heads=numbers.heads,
        encoder_ffn_dim=numbers.inner, decoder_ffn_dim=numbers.inner, max_source_positions=1500,
        max_target_positions=448, decoder_start_token_id=ids["<|startoftranscript|>"], pad_token_id=end,
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip


def _generation(ids: dict[str, int]) -> Any:
    from transformers import GenerationConfig

    names = special_tokens()
    silent = [ids[name] for name in names[1:2] + names[names.index("<|translate|>") : names.index("<|notimestamps|>")]]
    signs = [ids[sign] for sign in _NOT_SPEECH if sign in ids]
    languages = names[2 : names.index("<|translate|>")]
    return GenerationConfig(
        suppress_tokens=sorted(signs + silent), begin_suppress_tokens=[ids["Ġ"], ids["<|endoftext|>"]],
        lang_to_id={name: ids[name] for name in languages}, is_multilingual=True, alignment_heads=[[0, 0]],
        no_timestamps_token_id=ids["<|notimestamps|>"], decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"], max_length=448,
    )  # fmt: skip


def _spread(model: Any, ids: dict[str, int]) -> None:
    """Random weights under which the text follows the sound."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embed_positions" not in name:
                weight.normal_(0.0, (weight[0].numel()) ** -0.5)
            elif name.endswith("bias"):
                weight.zero_()
        encoder, decoder = model.model.encoder, model.model.decoder
        for convolution in (encoder.conv1, encoder.conv2):
            convolution.weight.mul_(6.0)
        for layer in decoder.layers:
            cross = layer.encoder_attn
            cross.q_proj.weight.mul_(5.0)
            cross.k_proj.weight.mul_(5.0)
            cross.out_proj.weight.mul_(8.0)
        decoder.embed_positions.weight.normal_(0.0, 1.0)
        decoder.embed_tokens.weight.normal_(0.0, 0.5)
        for token, factor in (("<|endoftext|>", _ENDS), ("<|nospeech|>", _SILENT)):
            decoder.embed_tokens.weight[ids[token]] *= factor
        decoder.embed_tokens.weight[ids["<|0.00|>"] :] *= _TIMES
        model.tie_weights()
