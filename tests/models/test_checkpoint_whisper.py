"""The tiny Whisper: read by the real loaders, laid out like the published ones, and not deaf."""

import json

import ctranslate2
import numpy as np
import pytest
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer

from datagen.testing.checkpoints import whisper
from datagen.testing.speech import SENTENCES, synth


@pytest.fixture(scope="module")
def loaded(whisper_folder):
    return WhisperModel(str(whisper_folder), device="cpu", compute_type="float32", cpu_threads=1)


def heard(model, samples):
    segments, info = model.transcribe(
        samples, without_timestamps=True, temperature=0, beam_size=2, max_new_tokens=16, no_speech_threshold=None
    )
    return info.language, info.language_probability, "".join(segment.text for segment in segments)


def test_files_are_those_that_faster_whisper_fetches(whisper_folder):
    names = {"config.json", "model.bin", "tokenizer.json", "vocabulary.json", "preprocessor_config.json"}
    assert {path.name for path in whisper_folder.iterdir()} == names
    assert json.loads((whisper_folder / "preprocessor_config.json").read_text("utf-8"))["feature_size"] == 128
    assert sum(path.stat().st_size for path in whisper_folder.iterdir()) < 4e6


def test_it_is_multilingual_with_all_languages_and_tokens_in_the_published_order(loaded):
    assert loaded.model.is_multilingual and loaded.model.num_languages == 100 and loaded.model.n_mels == 128
    tokenizer = Tokenizer(loaded.hf_tokenizer, True, "transcribe", "de")
    first = whisper.TEXT_TOKENS
    # As large-v3, where the first is 50257: end, start, 100 languages, translate, transcribe, ..., times.
    assert (tokenizer.eot, tokenizer.sot, tokenizer.language) == (first, first + 1, first + 4)
    assert (tokenizer.translate, tokenizer.transcribe) == (first + 102, first + 103)
    assert (tokenizer.no_speech, tokenizer.no_timestamps) == (first + 106, first + 107)
    assert tokenizer.timestamp_begin == first + 108
    assert loaded.hf_tokenizer.token_to_id("<|30.00|>") == loaded.hf_tokenizer.get_vocab_size() - 1
    assert all(loaded.hf_tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES)


@pytest.mark.parametrize("text", [" Nobody told me.", "Tröte – 'quoted'", "今日は。", "\x00\x07 ~"])
def test_the_tokenizer_gives_every_text_back(loaded, text):
    tokenizer = Tokenizer(loaded.hf_tokenizer, True, "transcribe", "en")
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and max(tokens) < tokenizer.eot
    assert len(tokenizer.encode(" nobody")) < len(" nobody")


def test_vocabulary_and_tokenizer_agree(loaded, whisper_folder):
    listed = json.loads((whisper_folder / "vocabulary.json").read_text("utf-8"))
    ids = loaded.hf_tokenizer.get_vocab(with_added_tokens=True)
    assert [token for token, _ in sorted(ids.items(), key=lambda item: item[1])] == listed


def test_other_sounds_give_other_texts_and_languages(loaded):
    sounds = [synth(text, f0_hz=90 + 25 * at, seed=at)[0] for at, text in enumerate(SENTENCES)]
    answers = [heard(loaded, samples) for samples in sounds]
    assert len({text for _, _, text in answers}) >= 6
    assert np.ptp([probability for _, probability, _ in answers]) > 0.05
    assert heard(loaded, sounds[0]) == answers[0]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(whisper_folder, tmp_path):
    other = whisper.build(tmp_path / "other", seed=1)
    again = whisper.build(tmp_path / "again")
    weights = [(folder / "model.bin").read_bytes() for folder in (whisper_folder, again, other)]
    assert weights[0] == weights[1] != weights[2]
    assert ctranslate2.models.Whisper(str(other)).is_multilingual
