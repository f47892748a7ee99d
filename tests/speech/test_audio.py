"""Decoding, limits, resampling; every way a file can be broken, and thousands of ways nobody thought of."""

from __future__ import annotations

import io
import json
import random
import resource
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from datagen.errors import RowError
from datagen.speech import decoders
from datagen.speech.audio import ERROR_CLASSES, decode, decode_flac, encode_flac, mix, prepare, to_16k, to_int16
from datagen.testing.corpora import encoded, tone

BROKEN = Path(__file__).parents[3] / "shared" / "corpora" / "broken"


def via_ffmpeg(
    samples: np.ndarray,
    container: str,
    codec: str,
    rate: int = 16_000,
    tags: dict[str, str] | None = None,
    layout: str = "mono",
) -> bytes:
    """[frames, channels] encoded by FFmpeg at 48 kHz or at ``rate``."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        file.metadata.update(tags or {})
        stream = file.add_stream(codec, rate=48_000 if codec == "libopus" else rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=stream.codec_context.sample_rate
        )
        size = stream.codec_context.frame_size or 1024
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            fifo.write(part)
        while (part := fifo.read(size)) or (part := fifo.read(size, partial=True)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return out.getvalue()


def refused(data: bytes, name: str = "", **options: Any) -> str:
    with pytest.raises(RowError) as error:
        prepare(data, name=name, **options)
    assert error.value.error_class in ERROR_CLASSES
    assert error.value.message and "\n" not in error.value.message
    return error.value.error_class


def level_db(samples: np.ndarray) -> float:
    middle = np.asarray(samples, np.float64)[len(samples) // 8 : -(len(samples) // 8)]
    return float(10 * np.log10(np.mean(middle**2) + 1e-30))


# --- What decodes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
     ("WAV", "ULAW"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"), ("NIST", "PCM_16"), ("W64", "PCM_16"), ("CAF", "ALAC_16"),
     ("AU", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")],
)  # fmt: skip
@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (16_000, 1), (44_100, 2)])
def test_any_container_width_and_rate(format: str, subtype: str, rate: int, channels: int) -> None:
    samples = tone(20, 0.5, rate, channels)
    sound = prepare(encoded(samples, rate, format, subtype))
    assert (sound.source_rate, sound.source_channels, sound.clipped) == (rate, channels, 0)
    assert sound.pcm.dtype == np.int16 and sound.pcm.shape[1] == 1
    assert sound.duration == pytest.approx(0.5, abs=0.001)
    assert len(sound.pcm) == pytest.approx(8000, abs=16)
    clean = to_16k(mix(samples), rate)[:, 0]
    got = sound.pcm[: len(clean), 0] / 32768
    loss = level_db(got - clean[: len(got)]) - level_db(clean)
    assert loss < (-15 if subtype in {"VORBIS", "MPEG_LAYER_III", "PCM_U8", "ULAW"} else -60)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "aac"), ("adts", "aac"), ("webm", "libopus"), ("matroska", "aac"), ("ogg", "flac"), ("mov", "aac")],
)
def test_what_only_ffmpeg_opens(container: str, codec: str) -> None:
    sound = prepare(via_ffmpeg(tone(20, 1.0), container, codec), name="a.wav")
    assert sound.duration == pytest.approx(1.0, abs=0.15)
    assert level_db(sound.pcm / 32768) == pytest.approx(level_db(tone(20)), abs=1.0)


def test_tags_that_are_not_utf8() -> None:
    data = via_ffmpeg(tone(3, 0.5), "mp4", "aac", tags={"title": "QQQQQQQQ"})
    assert b"QQQQQQQQ" in data
    assert prepare(data.replace(b"QQQQQQQQ", b"v\xeddeo\xff\xfe!")).duration > 0.4


def test_eight_channels_of_aac() -> None:
    """PyAV walks off the list of planes when there are eight of them, and crashes."""
    eight = tone(4, 0.5, 48_000, channels=8)
    data = via_ffmpeg(eight, "mp4", "aac", rate=48_000, layout="7.1")
    assert prepare(data).pcm.shape[1] == 1
    split = prepare(data, channels="split")
    assert split.pcm.shape[1] == 8
    pitches = [int(np.argmax(np.abs(np.fft.rfft(split.pcm[:, channel])))) for channel in range(8)]
    assert len(set(pitches)) >= 7  # the low-frequency channel loses its tone


def test_split_keeps_channels_apart_and_mix_is_their_mean() -> None:
    stereo = tone(1, 0.5, 16_000, channels=2)
    data = encoded(stereo)
    split = prepare(data, channels="split").pcm
    assert (
        np.array_equal(split, np.rint(stereo * 32768).clip(-32768, 32767).astype(np.int16))
        or np.abs(split / 32768 - stereo).max() < 2 / 32768
    )
    mixed = prepare(data).pcm[:, 0]
    assert np.array_equal(mixed, np.rint(split.astype(np.float64).mean(axis=1)).astype(np.int16))


def test_sixteen_bit_16k_mono_passes_bit_exact() -> None:
    pcm = (tone(7, 0.4) * 32768).round().astype(np.int16)
    assert np.array_equal(prepare(encoded(pcm)).pcm, pcm)
    stored = encode_flac(pcm)
    assert np.array_equal(np.rint(decode_flac(stored) * 32768).astype(np.int16), pcm[:, 0])
    assert stored == encode_flac(pcm.astype(np.float32) / 32768)


def test_no_alias_of_what_16k_cannot_hold() -> None:
    time = np.arange(48_000) / 48_000
    high = (0.5 * np.sin(2 * np.pi * 10_000 * time)).astype(np.float32)[:, None]
    assert level_db(prepare(encoded(high, 48_000, subtype="FLOAT")).pcm[:, 0] / 32768) < -80
    low = (0.5 * np.sin(2 * np.pi * 3_000 * time)).astype(np.float32)[:, None]
    assert level_db(prepare(encoded(low, 48_000)).pcm[:, 0] / 32768) == pytest.approx(level_db(low), abs=0.05)


def test_clipping_is_counted_and_never_wraps() -> None:
    loud = np.float32([[0.5], [1.5], [-1.5], [-1.0], [1e38]])
    pcm, clipped = to_int16(loud)
    assert pcm[:, 0].tolist() == [16384, 32767, -32768, -32768, 32767]
    assert clipped == 3
    sound = prepare(encoded(np.repeat(loud, 100, axis=0), subtype="FLOAT"))
    assert sound.clipped == 300 and sound.pcm.min() == -32768 and sound.pcm.max() == 32767


@pytest.mark.parametrize(("format", "subtype"), [
    ("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ("WAV", "FLOAT"),
])  # fmt: skip
def test_long_files_are_streamed_to_the_same_sound(format: str, subtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(tone(30, 2.0, 48_000, channels=2), 48_000, format, subtype)
    whole, all_of_it = prepare(data), decode(data)
    monkeypatch.setattr(decoders, "_BLOCK_SAMPLES", 20_000)
    parts, blocks = prepare(data), decode(data)
    assert np.array_equal(blocks.samples, all_of_it.samples)
    assert parts.duration == whole.duration
    assert abs(len(parts.pcm) - len(whole.pcm)) <= 1
    size = min(len(parts.pcm), len(whole.pcm))
    assert np.abs(parts.pcm[:size].astype(int) - whole.pcm[:size].astype(int)).max() <= 2


# --- What does not ------------------------------------------------------------------------------------------


def test_reject_reasons() -> None:
    rng = np.random.default_rng(0)
    wav = encoded(tone(2))
    assert refused(b"") == "EmptyFile"
    assert refused(encoded(np.zeros((0, 1), np.float32))) == "NoSamples"
    assert refused(b"this is a text\n", "a.mp3") == "NotAudio"
    assert refused(rng.bytes(4000), "a.wav") == "NotAudio"
    assert refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a.wav") == "GitLfsPointer"
    assert refused(b"/annex/objects/MD5E-s1--0.wav\n", "a.wav") == "GitLfsPointer"
    assert refused(wav[44:], "a.wav") == "HeaderlessPcm"
    assert refused(encoded(tone(2, 0.3, channels=2))[44:], "a.wav") == "HeaderlessPcm"
    assert refused(wav[44:], "a.pcm") == "HeaderlessPcm"
    assert refused(bytes(3000), "a.pcm") == "HeaderlessPcm"
    assert refused(wav[:20], "a.wav") == "Undecodable"
    assert refused(encoded(np.full((100, 1), np.nan, np.float32), subtype="FLOAT")) == "NonFiniteSamples"
    assert refused(encoded(np.full((100, 1), np.inf, np.float32), subtype="DOUBLE")) == "NonFiniteSamples"
    assert refused(encoded(tone(2, 2.0)), max_seconds=1.0) == "TooLong"
    assert refused(encoded(tone(2, 2.0, channels=2)), max_seconds=3.0, channels="split") == "TooLong"
    assert refused(encoded(tone(2, 0.1, channels=9)), channels="split") == "UnsupportedChannels"
    assert prepare(encoded(tone(2, 0.1, channels=9))).source_channels == 9
    assert refused(wav[:24] + struct.pack("<I", 1) + wav[28:]) == "UnsupportedRate"
    assert refused(wav[:24] + struct.pack("<I", 2_000_000_000) + wav[28:]) == "UnsupportedRate"


def test_silence_is_a_recording() -> None:
    sound = prepare(encoded(np.zeros((8000, 1), np.float32)))
    assert len(sound.pcm) == 8000 and not sound.pcm.any()


def test_a_video_without_sound() -> None:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    assert refused(out.getvalue(), "a.mp4") == "NoSamples"


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile secret.wav\n", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n"])
def test_playlists_open_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would: a concat script opens what it names, relative to the working directory."""
    (tmp_path / "secret.wav").write_bytes(encoded(tone(1)))
    monkeypatch.chdir(tmp_path)
    assert refused(text.encode(), "a.mp3") == "NotAudio"


# --- Headers lie ----------------------------------------------------------------------------------------------


def test_duration_is_what_decodes_not_what_is_announced() -> None:
    wav = encoded(tone(2, 0.5))
    for announced in (2_147_483_647, 0xFFFFFFFF, 0xFFFFFFF0):  # as streaming writers leave it
        lying = wav[:40] + struct.pack("<I", announced) + wav[44:]
        assert prepare(lying).duration == 0.5
    flac = bytearray(encoded(tone(2, 0.5), format="FLAC"))
    flac[21] |= 0x0F  # total samples, 36 bits: 64 thousand million
    flac[22:26] = b"\xff\xff\xff\xf0"
    assert prepare(bytes(flac)).duration == 0.5
    mp3 = encoded(tone(2, 2.0), format="MP3", subtype="MPEG_LAYER_III")
    whole = prepare(mp3).duration
    half = prepare(mp3[: len(mp3) // 2])  # the Xing header still announces two seconds
    assert 0.3 * whole < half.duration < 0.7 * whole


@pytest.mark.parametrize(("format", "subtype"), [
    ("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("MP3", "MPEG_LAYER_III"),
])  # fmt: skip
def test_a_file_cut_in_the_middle_keeps_its_first_half(format: str, subtype: str) -> None:
    noise = np.random.default_rng(1).standard_normal((64_000, 1)).astype(np.float32) * 0.05
    data = encoded(tone(9, 4.0) + noise, 16_000, format, subtype)
    sound = prepare(data[: len(data) // 2])
    assert 0.5 < sound.duration < 3.0
    assert level_db(sound.pcm[:, 0] / 32768) == pytest.approx(level_db(tone(9)), abs=1.0)


def test_a_compressed_bomb_stops_at_the_limit() -> None:
    """Ten hours of digital silence are a small file; decoding stops at the limit, in blocks."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", 48_000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(40):
            file.write(np.zeros(48_000 * 10, np.int16))
    data = out.getvalue()
    assert len(data) < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(data, max_seconds=300) == "TooLong"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


# --- Property: any bytes at all -------------------------------------------------------------------------------


def _seeds() -> dict[str, bytes]:
    noise = np.random.default_rng(5).standard_normal((3000, 1)).astype(np.float32) * 0.02
    samples = tone(5, 3000 / 16_000) + noise
    seeds = {
        f"{format}/{subtype}": encoded(samples, 16_000, format, subtype)
        for format, subtype in (
            ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"),
            ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("NIST", "PCM_16"),
        )
    }  # fmt: skip
    seeds["m4a"] = via_ffmpeg(samples, "mp4", "aac")
    seeds["adts"] = via_ffmpeg(samples, "adts", "aac")
    seeds["webm"] = via_ffmpeg(samples, "webm", "libopus")
    return seeds


def _mutate(data: bytes, rng: random.Random) -> bytes:
    """Cut it, overwrite a few bytes (mostly of the header), insert some, or all of it."""
    mutant = bytearray(data)
    kind = rng.random()
    if kind < 0.3:
        del mutant[rng.randrange(len(mutant)) :]
    else:
        reach = min(len(mutant), 128) if kind < 0.85 else len(mutant)
        for _ in range(rng.choice((1, 2, 4, 16))):
            mutant[rng.randrange(reach)] = rng.choice((0, 127, 128, 255, rng.randrange(256)))
    if rng.random() < 0.1:
        place = rng.randrange(len(mutant) + 1)
        mutant[place:place] = rng.randbytes(8)
    return bytes(mutant)


def test_thousands_of_mutants_decode_or_are_refused() -> None:
    rng = random.Random(20)
    seeds = _seeds()
    for data in seeds.values():
        assert prepare(data).duration > 0.1
    names = sorted(seeds)
    outcomes: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(5000):
        mutant = _mutate(seeds[names[number % len(names)]], rng)
        try:
            sound = prepare(mutant, max_seconds=120)
        except RowError as error:
            assert error.error_class in ERROR_CLASSES, error.error_class
            outcomes[error.error_class] += 1
        else:
            assert sound.pcm.dtype == np.int16 and len(sound.pcm) and 0 < sound.duration <= 120
            outcomes["decoded"] += 1
    assert outcomes["decoded"] > 1000 and outcomes["Undecodable"] > 300, outcomes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


# --- Real broken files ------------------------------------------------------------------------------------------

REFUSED = {
    "empty_0bytes.wav": "EmptyFile",
    "invalid_22bytes.wav": "Undecodable",  # a RIFF header cut off after 22 bytes
    "header_only_44bytes.wav": "NoSamples",
    "header_only_16k.wav": "NoSamples",
    "text_in_mp3.mp3": "NotAudio",
    "lfs_pointer.wav": "GitLfsPointer",
    "missing_wav_header.wav": "HeaderlessPcm",
    "headerless_16k_s16le.pcm": "HeaderlessPcm",
    "wrong_labels_emodb.csv": "NotAudio",
}
#: Seconds where libsndfile's announced frames, noted in the manifest, are not what decodes.
DURATIONS = {"narrowband_8k.mp3": 89_856 / 8000, "common_voice.mp3": 114_048 / 48_000}


def _noted(entry: dict) -> tuple[int, int, float] | None:
    """(rate, channels, seconds) by whoever opened the file when the corpus was made."""
    for says in (entry["libsndfile"], entry["ffmpeg"]):
        if not says.startswith("ERROR"):
            _, rate, _, channels, _, frames, _ = says.split()
            return int(rate), int(channels), int(frames) / int(rate)
    return None


@pytest.mark.shared
@pytest.mark.skipif(not BROKEN.is_dir(), reason="the shared corpora are not beside this checkout")
def test_every_broken_file_is_a_correct_clip_or_the_right_reject() -> None:
    entries = [json.loads(line) for line in (BROKEN / "manifest.jsonl").read_text().splitlines()]
    assert len(entries) > 50
    for entry in entries:
        name = entry["file"]
        data = (BROKEN / name).read_bytes()
        if name in REFUSED:
            assert refused(data, name) == REFUSED[name], name
            continue
        sound = prepare(data, name=name)
        noted = _noted(entry)
        if noted is not None:
            rate, channels, seconds = noted
            assert (sound.source_rate, sound.source_channels) == (rate, channels), name
            assert sound.duration == pytest.approx(DURATIONS.get(name, seconds), abs=0.001), name
        assert len(sound.pcm) == pytest.approx(sound.duration * 16_000, abs=2), name
        assert (np.abs(sound.pcm).max() > 1) == (name != "silence_1.5s.wav"), name


@pytest.mark.shared
@pytest.mark.skipif(not BROKEN.is_dir(), reason="the shared corpora are not beside this checkout")
def test_same_words_in_other_encodings_sound_the_same() -> None:
    reference = prepare((BROKEN / "speech_16k_reference.wav").read_bytes()).pcm[:, 0].astype(float)
    for name, least in (("mulaw_16k.wav", 0.999), ("speech_16k.mp3", 0.98)):
        other = prepare((BROKEN / name).read_bytes()).pcm[:, 0].astype(float)
        assert np.corrcoef(reference, other[: len(reference)])[0, 1] > least
    one = prepare((BROKEN / "speech_44k_stereo.wav").read_bytes()).pcm
    two = prepare((BROKEN / "speech_44k_stereo.aiff").read_bytes()).pcm
    assert np.array_equal(one, two)
