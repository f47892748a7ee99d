"""Aligning many segments at once gives what ``whisperx.align`` gives for each alone."""

from __future__ import annotations

import importlib
import itertools
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisperx.alignment as stock
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datagen import models
from datagen.errors import EnvironmentFault
from datagen.models import manifest
from datagen.models.aligner import CPU_SECONDS, Aligner, Segment, for_language
from datagen.models.aligner.acoustic import Acoustic, Bundle
from datagen.models.aligner.checkpoint import load
from datagen.models.aligner.trellis import best_paths
from datagen.models.batching import Floats, pad
from datagen.testing.checkpoints import ctc

#: How far a log-probability in a batch may be from that of the sound alone, for either library and either norm.
TOLERANCE = 1e-4
KINDS: list[tuple[ctc.Kind, ctc.Norm]] = [
    ("torchaudio", "group"), ("torchaudio", "layer"), ("huggingface", "group"), ("huggingface", "layer"),
]  # fmt: skip
TEXTS = [
    "Hello world, it's me!", "In 1984 we paid £5, or 6.50", "a", "The  cat  & the dog sat", " trailing and leading ",
    "Really? Yes. I did!", "naïve 日本 mixture", "İstanbul is one\nwith a line break", "it|is", "...", "a - b",
    "one two three four five six seven eight nine ten",
]  # fmt: skip
#: Samples; the short ones have to be filled up, 401 and 721 are one frame and two.
LENGTHS = st.lists(
    st.one_of(st.integers(16_000, 48_000), st.integers(1, 720), st.sampled_from([399, 400, 401, 719, 720, 721])),
    min_size=2, max_size=5,
)  # fmt: skip


def _sound(samples: int, seed: int) -> Floats:
    """Bursts of gliding tones in noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    glide = 2 * np.pi * (150 * time + draw.uniform(20, 200) * np.sin(time * draw.uniform(1, 6)))
    burst = np.abs(np.sin(time * draw.uniform(3, 15)))
    return (0.3 * burst * np.sin(glide) + 0.03 * draw.standard_normal(samples)).astype(np.float32)


def _model(folder: Path) -> manifest.Model:
    return manifest.find(str(folder), "align-en")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("aligners")
    return {(kind, norm): ctc.build(root / kind / norm, "en", kind, norm) for kind, norm in KINDS}


@pytest.fixture(scope="module")
def acoustics(folders: dict[tuple[str, str], Path]) -> dict[tuple[str, str], Acoustic]:
    return {key: load(folder) for key, folder in folders.items()}


@pytest.fixture(scope="module")
def aligners(folders: dict[tuple[str, str], Path]) -> dict[tuple[str, str], Aligner]:
    built = {key: Aligner(_model(folder), "en") for key, folder in folders.items()}
    for one in built.values():
        one.room.seconds = 160.0  # one batch, as on a GPU
    return built


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """NLTK's data as whisperx wants it: the tables of a sentence splitter that knows no abbreviation."""
    import nltk

    root = tmp_path_factory.mktemp("nltk")
    for language in ("english", "german", "turkish"):
        folder = root / "tokenizers" / "punkt_tab" / language
        folder.mkdir(parents=True)
        for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
            (folder / name).write_text("")
    before, nltk.data.path = nltk.data.path, [str(root)]
    yield
    nltk.data.path = before


def _stock(one: Aligner, segment: Segment, language: str = "en") -> list[dict[str, Any]]:
    """The library's own call, on a clip that begins where the segment does not."""
    acoustic = one._acoustic
    clip = np.concatenate([np.zeros(int(segment.start * 16_000), np.float32), segment.samples])
    kind = "torchaudio" if isinstance(acoustic, Bundle) else "huggingface"
    meta = {"language": language, "dictionary": acoustic.dictionary, "type": kind}
    asked = [{"text": segment.text, "start": segment.start, "end": segment.end}]
    return stock.align(asked, acoustic.model, meta, clip, "cpu")["word_segments"]  # type: ignore[return-value]


def _alone(acoustic: Acoustic, sound: Floats) -> Any:
    """Log-probabilities [frames, codes] as whisperx computes them."""
    wave, lengths = torch.from_numpy(sound)[None], None
    if len(sound) < 400:
        wave, lengths = torch.nn.functional.pad(wave, (0, 400 - len(sound))), torch.tensor([len(sound)])
    with torch.inference_mode():
        if isinstance(acoustic, Bundle):
            logits = acoustic.model(wave, lengths=lengths)[0]
        else:
            logits = acoustic.model(wave).logits
        return torch.log_softmax(logits, -1)[0]


def _same(ours: list[dict[str, Any]] | None, theirs: list[dict[str, Any]], slack: float = 0.0011) -> None:
    """Words and times equal to the millisecond; a score may have been on the other side of a half of its last digit."""
    assert [word["word"] for word in ours or []] == [word["word"] for word in theirs]
    for our, their in zip(ours or [], theirs, strict=True):
        assert (our["start"], our["end"]) == (their.get("start"), their.get("end"))
        assert (our["score"] is None) == ("score" not in their)
        assert abs((our["score"] or 0) - their.get("score", 0)) < slack


# --- Log-probabilities ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KINDS, ids="-".join)
@pytest.mark.parametrize("front_seconds", [0.0, 160.0], ids=["front-one-by-one", "front-together"])
@settings(max_examples=8, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_a_batch_gives_what_each_sound_gives_alone(
    acoustics: dict[tuple[str, str], Acoustic],
    key: tuple[str, str],
    front_seconds: float,
    lengths: list[int],
    seed: int,
) -> None:
    acoustic = acoustics[key]
    sounds = [_sound(length, seed + at) for at, length in enumerate(lengths)]
    acoustic.front_seconds = front_seconds
    together, frames = acoustic.log_probabilities(sounds)
    for at, sound in enumerate(sounds):
        alone = _alone(acoustic, sound)
        assert frames[at] == len(alone)
        torch.testing.assert_close(together[at, : frames[at]], alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("key", KINDS, ids="-".join)
def test_the_answers_spread_and_the_masks_matter(
    acoustics: dict[tuple[str, str], Acoustic], key: tuple[str, str]
) -> None:
    acoustic = acoustics[key]
    short, long = _sound(32_000, 1), _sound(45_000, 2)
    alone = _alone(acoustic, short)
    frames = len(alone)
    assert (alone - _alone(acoustic, long)[:frames]).std() > 100 * TOLERANCE  # between sounds
    assert alone.std(0).mean() > 100 * TOLERANCE  # between frames
    batch = torch.from_numpy(pad([short, long])[0])
    with torch.inference_mode():
        acoustic.front_seconds = 0.0
        features = acoustic._front([short, long], [32_000, 45_000], [frames, acoustic._frames(45_000)])
        heard = torch.tensor([frames, features.shape[1]])
        masked = torch.log_softmax(acoustic._encode(features.clone(), heard), -1)[0, :frames]
        bare = torch.log_softmax(acoustic._encode(features.clone(), None), -1)[0, :frames]
        mixed = acoustic._convolve(batch)[0, :frames]
        own = acoustic._convolve(batch[:1, :32_000])[0]
    acoustic.front_seconds = 160.0
    together, _ = acoustic.log_probabilities([short, long])
    assert (together[0, :frames] - alone).abs().max() < TOLERANCE
    assert (masked - alone).abs().max() < TOLERANCE
    assert (bare - alone).abs().max() > 100 * TOLERANCE
    if key[1] == "group":  # its mean and variance are over all frames, also those of the padding
        assert (mixed - own).abs().max() > 100 * TOLERANCE
    else:
        assert (mixed - own).abs().max() < TOLERANCE


def test_silence_is_a_sound_too(acoustics: dict[tuple[str, str], Acoustic]) -> None:
    for acoustic in acoustics.values():
        acoustic.front_seconds = 160.0
        together, frames = acoustic.log_probabilities([np.zeros(16_000, np.float32), _sound(30_000, 3)])
        assert torch.isfinite(together[0, : frames[0]]).all()
        alone = _alone(acoustic, np.zeros(16_000, np.float32))
        torch.testing.assert_close(together[0, : frames[0]], alone, atol=TOLERANCE, rtol=0)


# --- Paths ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 24)), min_size=1, max_size=5),
    seed=st.integers(0, 10_000),
    ties=st.booleans(),
)
def test_paths_are_the_stock_paths_to_the_bit(shapes: list[tuple[int, int]], seed: int, ties: bool) -> None:
    """Also with ties, and with more characters than frames."""
    draw = torch.Generator().manual_seed(seed)
    emissions, tokens = [], []
    for frames, count in shapes:
        emission = torch.log_softmax(torch.randn(frames, 9, generator=draw) * 3, -1)
        emissions.append((emission * 2).round() / 2 if ties else emission)
        tokens.append(torch.randint(1, 9, (count,), generator=draw).tolist())
    blank = np.zeros((len(shapes), max(frames for frames, _ in shapes)), np.float32)
    chosen = np.full((*blank.shape, max(count for _, count in shapes)), 7.0, np.float32)  # the padding is tempting
    for at, (emission, codes) in enumerate(zip(emissions, tokens, strict=True)):
        blank[at, : len(emission)] = emission[:, 0]
        chosen[at, : len(emission), : len(codes)] = emission[:, codes]

    paths = best_paths(blank, chosen, [frames for frames, _ in shapes], [count for _, count in shapes])

    for path, emission, codes in zip(paths, emissions, tokens, strict=True):
        points = stock.backtrack(stock.get_trellis(emission, codes), emission, codes)
        if points is None:
            assert path is None
            continue
        assert path is not None
        merged = stock.merge_repeats(points, "x" * len(codes))
        assert path.starts == [part.start for part in merged]
        assert path.ends == [part.end for part in merged]
        assert path.scores == [part.score for part in merged]


# --- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KINDS, ids="-".join)
@pytest.mark.usefixtures("sentences")
def test_words_are_those_of_the_stock_call(aligners: dict[tuple[str, str], Aligner], key: tuple[str, str]) -> None:
    one = aligners[key]
    lengths = [33_000, 48_000, 16_000, 41_234, 300, 399, 400, 720, 30_000, 24_001, 17_777, 60_000, 500, 45_000]
    segments = []
    for at, (length, text) in enumerate(zip(lengths, itertools.cycle(TEXTS))):
        start = [0.0, 0.737, 2.125][at % 3]
        segments.append(Segment(_sound(length, at), text, start, start + length / 16_000))
    found = one.align(segments)
    for ours, segment in zip(found, segments, strict=True):
        _same(ours, _stock(one, segment))
    aligned = [words for words in found if words]
    assert len(aligned) >= 9
    # The same words in other sounds: times differ by much more than a millisecond.
    again = one.align([Segment(_sound(len(part.samples), 77), part.text, part.start, part.end) for part in segments])
    moved = [
        abs(one["end"] - other["end"])
        for words, others in zip(found, again, strict=True)
        for one, other in zip(words or [], others or [], strict=True)
    ]
    assert np.mean(moved) > 0.1


@pytest.mark.parametrize("key", KINDS, ids="-".join)
@pytest.mark.usefixtures("sentences")
def test_alone_even_scores_are_the_same(aligners: dict[tuple[str, str], Aligner], key: tuple[str, str]) -> None:
    """Words of two letters: half of their mean scores are on the edge between two roundings."""
    one = aligners[key]
    for seed in range(3):
        segment = Segment(_sound(48_000 + seed, seed), "is it so or no if we go up to my ox at us", 0.5, 3.5)
        (found,) = one.align([segment])
        _same(found, _stock(one, segment), slack=1e-9)


@pytest.mark.usefixtures("sentences")
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(8_000, 40_000), min_size=2, max_size=4),
    text=st.text(alphabet="abe tz'é5|-İß", min_size=1, max_size=24),
    seed=st.integers(0, 99),
)
@example(lengths=[8_000, 15_440], text="5", seed=0)
@example(lengths=[29_855, 30_800], text="-5", seed=0)
def test_words_of_any_text_and_length(
    aligners: dict[tuple[str, str], Aligner], lengths: list[int], text: str, seed: int
) -> None:
    """One at a time: where two paths are equally likely (signs that sound alike), float noise decides in a batch."""
    one = aligners["torchaudio", "group"]
    for at, length in enumerate(lengths):
        end = 0.25 + length / 16_000
        heard = int(end * 16_000) - 4_000  # stock cuts where the float says, which may be a sample short
        segment = Segment(_sound(length, seed + at)[:heard], text, 0.25, end)
        (ours,) = one.align([segment])
        _same(ours, _stock(one, segment))


@pytest.mark.usefixtures("sentences")
@pytest.mark.parametrize(
    ("language", "text"),
    [("zh", "你好 我是7号。"), ("ja", "これは にほんのA。"), ("de", "Schöne Grüße aus Köln"), ("tr", "İyi günler")],
)
def test_other_languages(tmp_path: Path, language: str, text: str) -> None:
    one = Aligner(_model(ctc.build(tmp_path / language, language, norm="layer")), language)
    segments = [Segment(_sound(length, length), text, 0.5, 0.5 + length / 16_000) for length in (32_000, 27_000)]
    found = one.align(segments)
    for ours, segment in zip(found, segments, strict=True):
        _same(ours, _stock(one, segment, language))
    assert found[0] is not None
    if language in ("zh", "ja"):
        assert [word["word"] for word in found[0]] == [letter for letter in text if letter != " "]
        assert {word["flag"] for word in found[0]} == {None, "wildcard"}


@pytest.mark.usefixtures("sentences")
def test_word_times_depend_on_sentences_only_where_two_meet_in_a_word(
    aligners: dict[tuple[str, str], Aligner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stock cuts "Yes?(no)" into "Yes?(" and "(no)". Without its sentences it gives exactly what we give."""
    one = aligners["torchaudio", "group"]
    sound = _sound(48_000, 4)
    parted = Segment(sound, "Is it? Yes. What?! He said so...", 0.0, 3.0)
    meeting = Segment(sound, "Is it Yes?(no) x", 0.0, 3.0)
    _same(one.align([parted])[0], _stock(one, parted))
    assert [word["word"] for word in _stock(one, meeting)] == ["Is", "it", "Yes?(", "(no)", "x"]
    # A word without times gets those of its neighbour, which stock looks for in its own sentence only.
    chinese = Aligner(_model(ctc.build(tmp_path / "zh", "zh")), "zh")
    bar = Segment(sound, "你好. | ! 我是", 0.0, 3.0)
    with_sentences = _stock(chinese, bar, "zh")

    class Whole:
        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text.rstrip()))]

    monkeypatch.setattr(stock, "nltk_load", lambda _: Whole())
    ours = one.align([parted, meeting])
    _same(ours[0], _stock(one, parted))
    _same(ours[1], _stock(one, meeting))
    assert [word["word"] for word in ours[1] or []] == ["Is", "it", "Yes?(no)", "x"]
    (words,) = chinese.align([bar])
    without = _stock(chinese, bar, "zh")
    _same(words, without)
    assert [word for word in with_sentences if word["word"] != "|"] == [word for word in without if word["word"] != "|"]
    assert [word["flag"] for word in words or [] if word["word"] == "|"] == ["interpolated"]


def test_flags_say_how_a_word_got_its_times(aligners: dict[tuple[str, str], Aligner], tmp_path: Path) -> None:
    (words,) = aligners["huggingface", "layer"].align([Segment(_sound(48_000, 1), "no 42 co2 it's", 0.0, 3.0)])
    assert [(word["word"], word["flag"]) for word in words or []] == [
        ("no", None), ("42", "wildcard"), ("co2", "wildcard"), ("it's", None),
    ]  # fmt: skip
    chinese = Aligner(_model(ctc.build(tmp_path / "zh", "zh")), "zh")
    (words,) = chinese.align([Segment(_sound(48_000, 1), "|你|好|我|", 0.0, 3.0)])
    assert words is not None
    bars = [word for word in words if word["word"] == "|"]
    assert {word["flag"] for word in bars} == {"interpolated"} and all(word["score"] is None for word in bars)
    times = [(word["start"], word["end"]) for word in words]
    assert [times[at] for at in (0, 2, 4, 6)] == [times[at] for at in (1, 1, 3, 5)]  # the earlier of two as near


def test_what_cannot_be_aligned_is_none(aligners: dict[tuple[str, str], Aligner]) -> None:
    one = aligners["torchaudio", "group"]
    good = Segment(_sound(32_000, 5), "these words fit", 0.0, 2.0)
    found = one.align(
        [
            Segment(_sound(32_000, 5), "", 0.0, 2.0),
            Segment(_sound(32_000, 5), "  \n", 0.0, 2.0),
            good,
            Segment(_sound(3_200, 5), "far too many words for a fifth of a second", 0.0, 0.2),
            Segment(np.zeros(0, np.float32), "no sound", 2.0, 2.0),
        ]
    )
    assert [words is None for words in found] == [True, True, False, True, True]
    assert one.align([]) == []


# --- Batches --------------------------------------------------------------------------------------------------------


def test_neither_order_nor_batch_size_matters(folders: dict[tuple[str, str], Path]) -> None:
    one = Aligner(_model(folders["huggingface", "group"]), "en")
    lengths = np.random.default_rng(0).integers(9_000, 40_000, 9)
    segments = [Segment(_sound(int(length), at), TEXTS[at], 0.0, length / 16_000) for at, length in enumerate(lengths)]
    assert one.room.seconds == CPU_SECONDS
    small = one.align(segments)
    one.room.seconds = 160.0
    for ours, backwards in zip(small, reversed(one.align(segments[::-1])), strict=True):
        _same(ours, backwards or [])


def test_padding_is_counted(folders: dict[tuple[str, str], Path]) -> None:
    one = Aligner(_model(folders["torchaudio", "layer"]), "en")
    one.align([Segment(_sound(32_000, 1), "ab", 0.0, 2.0), Segment(_sound(24_000, 1), "ab", 0.0, 1.5)])
    assert one.metrics == {"audio_s": 3.5, "padded_s": 4.0}


def test_out_of_memory_halves_the_batch(
    folders: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = Aligner(_model(folders["torchaudio", "group"]), "en")
    one.room.seconds = 160.0
    segments = [Segment(_sound(16_000, at), f"word {at}", 0.0, 1.0) for at in range(7)]
    expected = one.align(segments)
    real, sizes = one._acoustic.log_probabilities, []

    def small(sounds: Sequence[Floats], room: int = 2) -> Any:
        sizes.append(len(sounds))
        if len(sounds) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(sounds)

    monkeypatch.setattr(one._acoustic, "log_probabilities", small)
    for ours, before in zip(one.align(segments), expected, strict=True):
        _same(ours, before or [])
    assert sizes == [7, 4, 2, 2, 3, 2, 1]
    assert [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()] == [
        "align-en: out of memory with 7 sounds of up to 1.0 s; going on with 4 s per batch. Set batch_seconds to that "
        "to be spared this"
    ]
    sizes.clear()
    one.align(segments)
    assert max(sizes) <= 2  # it remembers
    monkeypatch.setattr(one._acoustic, "log_probabilities", lambda sounds: small(sounds, 0))
    with pytest.raises(EnvironmentFault, match=r"1\.0 s of audio alone"):
        one.align(segments)


# --- Around it ------------------------------------------------------------------------------------------------------


def test_every_language_whisperx_knows_has_an_aligner() -> None:
    for language in (*stock.DEFAULT_ALIGN_MODELS_TORCH, *stock.DEFAULT_ALIGN_MODELS_HF):
        assert for_language(language) == f"align-{language}"
    assert for_language("sw") is None


def test_neither_nltk_nor_whisperx_nor_a_network_is_needed(
    folders: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(models, "aligner", models.aligner)  # put back in the end
    for module in ["nltk", "whisperx", *sys.modules]:
        if module.startswith("datagen.models.aligner"):
            monkeypatch.delitem(sys.modules, module)  # loaded anew
        elif module.split(".")[0] in ("nltk", "whisperx"):
            monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    monkeypatch.setattr(socket.socket, "connect", refuse)
    anew = importlib.import_module("datagen.models.aligner")
    assert anew.Aligner is not Aligner
    for kind in (("torchaudio", "group"), ("huggingface", "layer")):
        one = anew.Aligner(_model(folders[kind]), "en")
        (words,) = one.align([anew.Segment(_sound(32_000, 0), "hello you", 0.0, 2.0)])
        assert [word["word"] for word in words] == ["hello", "you"]
    with pytest.raises(ImportError):
        importlib.import_module("whisperx.alignment")
