"""Sound in, 16 kHz sound out: decode anything, resample without aliases, encode FLAC.

libsndfile decodes first, FFmpeg (through PyAV) what libsndfile cannot open. Nothing a header says is believed:
a duration is what was decoded, and samples are read in blocks under a limit, so that a header that announces
two thousand million samples, or a file that inflates to days of silence, costs nothing.

Everything here raises ``RowError`` for a fault of the data, with one of the classes in ``ERROR_CLASSES``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from datagen.errors import RowError
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]
Pcm = npt.NDArray[np.int16]
Source = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO

#: Every way a recording can be refused here; short and stable, because people group rejects by them.
ERROR_CLASSES = {
    "EmptyFile": "zero bytes",
    "GitLfsPointer": "a pointer file of Git LFS or git-annex stands where the audio should be",
    "HeaderlessPcm": "raw samples without a header",
    "NotAudio": "no audio format that libsndfile or FFmpeg knows",
    "Undecodable": "an audio format, but nothing in it decodes",
    "NoSamples": "a sound file without a single sample, or a video without sound",
    "NonFiniteSamples": "NaN or infinity among the samples",
    "TooLong": "more seconds than max_seconds allows",
    "UnsupportedRate": "a sampling rate outside MIN_RATE..MAX_RATE",
    "UnsupportedChannels": "more channels than can be kept apart",
}

#: Default limit on the length of a recording, in seconds (4 h).
MAX_SECONDS = 4 * 3600.0
#: Sampling rates believed, in Hz. A mutated header may say 1 Hz, which would inflate 16,000-fold.
MIN_RATE, MAX_RATE = 2_000, 768_000
#: FLAC holds at most eight channels, so at most that many can be kept apart.
MAX_SPLIT_CHANNELS = 8

#: Samples (frames x channels) read at once. What fits is resampled in one go, the rest as a stream.
_BLOCK_SAMPLES = 1 << 22
_RESAMPLER = "HQ"

#: The demuxers FFmpeg may use. Without this list it would follow playlists and concat scripts, which open
#: other files and URLs by name: a stranger's text file called ``a.mp3`` could read ours.
_FFMPEG_FORMATS = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,flac,flv,gsm,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,mpc,mpc8,nistsphere,ogg,rm,sox,spx,tak,tta,voc,w64,wav,wv,xwma"
)

#: First bytes of what is certainly a container, at offset 0 (``ftyp`` of MP4 is at 4).
_MAGIC = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"NIST_1A", b"caff", b"#!AMR",
    b"\x1aE\xdf\xa3", b"wvpk", b"MAC ", b"Creative Voice File", b"\x30\x26\xb2\x75", b"FLV",
)  # fmt: skip
_RAW_SUFFIXES = frozenset({".pcm", ".raw", ".s16", ".s16le", ".sw", ".l16", ".ul", ".al"})


@dataclass(frozen=True, slots=True)
class Decoded:
    """``samples``: float32 [frames, channels], full scale = 1. ``truncated``: decoding stopped at an error."""

    samples: Floats
    rate: int
    container: str
    truncated: bool = False

    @property
    def duration(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording as the pipeline keeps it. ``pcm``: int16 [frames, channels] at 16 kHz; [frames, 1] when mixed.

    ``duration`` in seconds is what was decoded, ``clipped`` counts samples beyond full scale after resampling.
    """

    pcm: Pcm
    source_rate: int
    source_channels: int
    duration: float
    container: str
    truncated: bool
    clipped: int


def decode(source: Source, *, name: str = "", max_seconds: float = MAX_SECONDS) -> Decoded:
    """Decode a whole file at its own rate and with all its channels.

    Args:
        source: bytes, a seekable binary file, or a path.
        name: the file's name for messages and for telling raw PCM by its suffix.

    Raises:
        RowError: nothing decodes, or a limit is passed; see ``ERROR_CLASSES``.
    """
    stream = _open(source, name)
    blocks = [_as_float(block) for block in _limit(stream, max_seconds)]
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return Decoded(samples, stream.rate, stream.container, stream.truncated)


def prepare(
    source: Source, *, channels: Literal["mix", "split"] = "mix", name: str = "", max_seconds: float = MAX_SECONDS
) -> Prepared:
    """Decode, mix (or keep the channels apart), resample to 16 kHz and round to 16 bit, in bounded memory.

    ``max_seconds`` limits the seconds kept over all channels, so a split recording counts once per channel.

    Raises:
        RowError: as ``decode``; also ``UnsupportedChannels`` when more than eight are to be kept apart.
    """
    stream = _open(source, name)
    keep = stream.channels if channels == "split" else 1
    if keep > MAX_SPLIT_CHANNELS:
        raise RowError(
            "UnsupportedChannels",
            f"{stream.channels} channels; at most {MAX_SPLIT_CHANNELS} can be kept apart: use channels: mix",
        )
    frames = clipped = 0
    parts: list[Pcm] = []
    resampler: soxr.ResampleStream | None = None
    pending: npt.NDArray | None = None
    for block in _limit(stream, max_seconds / keep):
        frames += len(block)
        kept = block if channels == "split" else _mix_block(block)
        if pending is not None:  # a second block: this one is long, resample it as a stream
            if resampler is None and stream.rate != SAMPLE_RATE:
                resampler = soxr.ResampleStream(stream.rate, SAMPLE_RATE, keep, dtype="float32", quality=_RESAMPLER)
            clipped += _append(parts, _flow(resampler, pending, last=False))
        pending = kept
    if pending is not None:
        out = to_16k(pending, stream.rate) if not parts else _flow(resampler, pending, last=True)
        clipped += _append(parts, out)
    pcm = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if not len(pcm):
        raise RowError(
            "NoSamples", f"{frames} samples at {stream.rate} Hz are less than one sample at {SAMPLE_RATE} Hz"
        )
    return Prepared(
        pcm, stream.rate, stream.channels, round(frames / stream.rate, 6), stream.container, stream.truncated, clipped
    )


def mix(samples: npt.NDArray) -> Floats:
    """[frames, channels] float32 or int16 -> [frames, 1] float32, the mean of the channels."""
    out = _mix_block(samples)
    return out if out.dtype == np.float32 else (out / np.float32(32768)).astype(np.float32, copy=False)


def to_16k(samples: npt.NDArray, rate: int) -> npt.NDArray:
    """Resample [frames, channels] from ``rate`` Hz to 16 kHz; alias-free (soxr HQ: -137 dB for 10 kHz at 48 kHz).

    16-bit samples that already are at 16 kHz come back untouched; everything else as float32.
    """
    if rate == SAMPLE_RATE:
        return samples
    floats = _as_float(samples)
    one = floats.shape[1] == 1  # as a vector: soxr takes it without a copy per channel
    out: npt.NDArray = soxr.resample(floats[:, 0] if one else floats, rate, SAMPLE_RATE, quality=_RESAMPLER)
    return out[:, None] if one else out


def to_int16(samples: npt.NDArray) -> tuple[Pcm, int]:
    """Round float32 samples to 16 bit, half to even; beyond full scale they are clipped and counted, never wrapped."""
    if samples.dtype == np.int16:
        return samples, 0
    with np.errstate(over="ignore"):  # 1e38 becomes inf, and is clipped like all else
        scaled = samples * np.float32(32768)
    np.rint(scaled, out=scaled)
    low, high = float(scaled.min(initial=0.0)), float(scaled.max(initial=0.0))
    clipped = 0
    if low < -32768 or high > 32767:
        clipped = int(np.count_nonzero((scaled < -32768) | (scaled > 32767)))
        np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype(np.int16), clipped


def encode_flac(samples: npt.NDArray, rate: int = SAMPLE_RATE) -> bytes:
    """[frames] or [frames, channels], int16 or float32 (full scale 1) -> FLAC, 16 bit, without tags."""
    pcm, _ = to_int16(samples)
    out = io.BytesIO()
    soundfile.write(out, pcm, rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def decode_flac(data: bytes) -> Floats:
    """Our own FLAC (``encode_flac``) -> float32: [frames] when it has one channel, else [frames, channels].

    Raises:
        RowError: ``Undecodable``; the bytes were written by somebody else or damaged.
    """
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise RowError("Undecodable", f"stored FLAC does not decode: {error.error_string}") from None
    if rate != SAMPLE_RATE:
        raise RowError("UnsupportedRate", f"stored FLAC has {rate} Hz, not {SAMPLE_RATE} Hz")
    return samples  # type: ignore[no-any-return]


# --- Streams ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Stream:
    """Decoded blocks [frames, channels], int16 or float32, the first of them already there (``frames`` > 0)."""

    rate: int
    channels: int
    container: str
    blocks: Iterator[npt.NDArray]
    truncated: bool = False


def _open(source: Source, name: str) -> _Stream:
    """The first decoder that gives at least one sample.

    Raises:
        RowError: neither does.
    """
    if isinstance(source, str | os.PathLike):
        name = name or os.fspath(source)
        source = Path(source).read_bytes()
    file: BinaryIO = _Forgiving(source) if isinstance(source, bytes | bytearray | memoryview) else source
    head = _head(file)
    _refuse_what_cannot_be(head, name)
    file.seek(0)
    said: list[Exception] = []
    for opener in (_ffmpeg,) if _is_mpeg(head) else (_sndfile, _ffmpeg):
        file.seek(0)
        try:
            return _pull_first(opener(file))
        except Exception as error:  # libsndfile and FFmpeg raise a zoo; each of them means: does not decode
            if isinstance(error, MemoryError) and not type(error).__module__.startswith("av"):
                raise  # ours, not FFmpeg's refusal of the billions of bytes that a header asks for
            said.append(error)
    refusals = [error for error in said if isinstance(error, RowError)]
    if refusals:  # an opinion about the content tells more than "without a sample"
        raise next((error for error in refusals if error.error_class != "NoSamples"), refusals[0])
    raise _nothing_decodes(head, _middle(file), name, str(said[-1]))


def _pull_first(stream: _Stream) -> _Stream:
    """The stream with its first block fetched, and with errors from then on turned into its early end."""
    first = next(stream.blocks, None)
    if first is None:
        raise RowError("NoSamples", f"{stream.container} without a single sample")
    rest = stream.blocks

    def blocks() -> Iterator[npt.NDArray]:
        yield first
        try:
            yield from rest
        except (RowError, MemoryError):
            raise
        except Exception:  # cut or damaged in the middle: what decoded so far is kept
            stream.truncated = True

    stream.blocks = blocks()
    return stream


def _limit(stream: _Stream, max_seconds: float) -> Iterator[npt.NDArray]:
    most, frames = max_seconds * stream.rate, 0
    for block in stream.blocks:
        frames += len(block)
        if frames > most:
            raise RowError(
                "TooLong",
                f"more than {most / stream.rate:g} s of audio; cut it, or raise stages.ingest.max_seconds",
            )
        with np.errstate(invalid="ignore"):  # inf - inf
            finite = block.dtype != np.float32 or bool(np.isfinite(np.sum(block, dtype=np.float64)))
        if not finite:
            raise RowError("NonFiniteSamples", f"{stream.container} holds NaN or infinite samples")
        yield block


def _check_rate(rate: int, container: str) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise RowError(
            "UnsupportedRate", f"{container} says {rate} Hz; believed are {MIN_RATE} to {MAX_RATE} Hz: mend the header"
        )


def _sndfile(file: BinaryIO) -> _Stream:
    sound = soundfile.SoundFile(file)
    container = f"{sound.format}/{sound.subtype}"
    _check_rate(sound.samplerate, container)
    stream = _Stream(sound.samplerate, sound.channels, container, iter(()))
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"
    whole = 0 <= sound.frames * sound.channels <= _BLOCK_SAMPLES
    size = sound.frames if whole else max(1, _BLOCK_SAMPLES // sound.channels)

    def blocks() -> Iterator[npt.NDArray]:
        with sound:
            announced = sound.frames
            done = 0
            while done < announced:
                block = sound.read(min(size, announced - done), dtype=dtype, always_2d=True)
                if not len(block):
                    break
                done += len(block)
                yield block
            stream.truncated = done < announced

    stream.blocks = blocks()
    return stream


def _ffmpeg(file: BinaryIO) -> _Stream:
    import av
    import av.error

    container = av.open(file, metadata_errors="ignore", options={"format_whitelist": _FFMPEG_FORMATS})
    try:
        if not container.streams.audio:
            raise RowError("NoSamples", f"{container.format.name} without an audio track")
        track = container.streams.audio[0]
        label = f"{container.format.name}/{track.codec_context.name}"
        frames = _ffmpeg_frames(container, track)
        first = next(frames, None)
        if first is None:
            raise RowError("NoSamples", f"{label} without a single sample")
    except BaseException:
        container.close()
        raise
    # The first frame, not the header: HE-AAC announces half its rate, and a header may say anything.
    rate, channels = first.sample_rate, first.layout.nb_channels
    _check_rate(rate, label)
    stream = _Stream(rate, channels, label, iter(()))

    def blocks() -> Iterator[npt.NDArray]:
        with container:
            interleave = av.AudioResampler(format="flt") if first.format.is_planar and channels >= 8 else None
            frame, held, count = first, [], 0
            while frame is not None:
                if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                    stream.truncated = True  # another format from here on: these are not the same recording's samples
                    break
                # PyAV looks for a null after the last plane; with eight planes there is none and it reads on (it
                # crashes). Interleaved frames have one plane.
                parts = [frame] if interleave is None else interleave.resample(frame)
                held += [_frame_samples(part, channels) for part in parts]
                count += frame.samples * channels
                if count >= _BLOCK_SAMPLES:
                    yield np.concatenate(held)
                    held, count = [], 0
                frame = next(frames, None)
            if held:
                yield np.concatenate(held)

    stream.blocks = blocks()
    return stream


def _ffmpeg_frames(container: object, track: object) -> Iterator:
    """Frames of one track; a damaged packet is left out, as FFmpeg's own player does."""
    import av.error

    packets = container.demux(track)  # type: ignore[attr-defined]
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in decoded:
            if frame.samples:
                yield frame


def _frame_samples(frame: object, channels: int) -> npt.NDArray:
    """One frame of FFmpeg -> [frames, channels], int16 for 16-bit formats, else float32 with full scale 1."""
    data: npt.NDArray = frame.to_ndarray()  # type: ignore[attr-defined]
    data = data.T if frame.format.is_planar else data.reshape(-1, channels)  # type: ignore[attr-defined]
    if data.dtype in (np.int16, np.float32):
        return np.ascontiguousarray(data)
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / np.float32(128)
    if data.dtype.kind == "i":
        return (data / float(-int(np.iinfo(data.dtype).min))).astype(np.float32)
    with np.errstate(over="ignore"):
        return data.astype(np.float32)


# --- Arithmetic ---------------------------------------------------------------------------------------------


def _mix_block(block: npt.NDArray) -> npt.NDArray:
    """Mean of the channels, [frames, 1]. Summed column by column: NumPy's mean over a short axis is 30 x slower."""
    channels = block.shape[1]
    if channels == 1:
        return block
    total = block[:, 0].astype(np.float32)
    for channel in range(1, channels):
        total += block[:, channel]
    total *= np.float32(1 / channels if block.dtype == np.float32 else 1 / (channels * 32768))
    return total[:, None]


def _as_float(samples: npt.NDArray) -> Floats:
    return samples * np.float32(1 / 32768) if samples.dtype == np.int16 else samples


def _flow(resampler: soxr.ResampleStream | None, block: npt.NDArray, *, last: bool) -> npt.NDArray:
    if resampler is None:
        return block
    floats = _as_float(block)
    one = floats.shape[1] == 1
    out: npt.NDArray = resampler.resample_chunk(floats[:, 0] if one else floats, last=last)
    return out[:, None] if one else out


def _append(parts: list[Pcm], samples: npt.NDArray) -> int:
    pcm, clipped = to_int16(samples)
    parts.append(pcm)
    return clipped


# --- What is it, when it is not audio? ------------------------------------------------------------------------


class _Forgiving(io.BytesIO):
    """A damaged header may seek before the start; that must be a failed seek, not an exception inside a C callback."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _head(file: BinaryIO, size: int = 8192) -> bytes:
    file.seek(0)
    return file.read(size)


def _middle(file: BinaryIO, size: int = 1 << 16) -> bytes:
    """Bytes around the middle, from an even offset: recordings often begin with silence."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, (length - size) // 2) & ~1)
    return file.read(size)


def _refuse_what_cannot_be(head: bytes, name: str) -> None:
    """Before any decoder sees it: what is known not to be audio, and what a decoder might mistake for audio."""
    if not head:
        raise RowError("EmptyFile", "the file has zero bytes: copy it again")
    if head.startswith(b"version https://git-lfs"):
        raise RowError("GitLfsPointer", "a Git LFS pointer, not the audio: run `git lfs pull` in the corpus")
    if len(head) < 1024 and b"annex/objects/" in head:
        raise RowError("GitLfsPointer", "a git-annex pointer, not the audio: run `git annex get` in the corpus")
    if Path(name).suffix.lower() in _RAW_SUFFIXES and not _known(head):
        raise _headerless(name)


def _is_mpeg(head: bytes) -> bool:
    """MPEG audio is left to FFmpeg: libsndfile stops where the Xing header says, and its mpg123 writes every
    oddity of a file to stderr."""
    return head.startswith(b"ID3") or (head[0] == 0xFF and len(head) > 1 and head[1] >= 0xE0)


def _known(head: bytes) -> bool:
    return head.startswith(_MAGIC) or head[4:8] == b"ftyp" or _is_mpeg(head)


def _headerless(name: str) -> RowError:
    shown = Path(name).name or "FILE"
    return RowError(
        "HeaderlessPcm",
        "raw samples without a header; say what they are and add one, for instance "
        f"`sox -t raw -r 16000 -e signed -b 16 -c 1 {shown} out.wav`",
    )


def _nothing_decodes(head: bytes, middle: bytes, name: str, decoder_says: str) -> RowError:
    if _known(head):
        return RowError("Undecodable", f"begins like audio, but nothing in it decodes ({_one_line(decoder_says)})")
    if Path(name).suffix.lower() in {".wav", ".wave"} and _looks_like_pcm(middle):
        return _headerless(name)
    kind = "text" if _is_text(head) else "no known audio format"
    return RowError("NotAudio", f"not audio: {kind}, beginning {head[:16]!r}")


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in head[:512])


def _looks_like_pcm(data: bytes) -> bool:
    """Neighbouring samples of sound resemble each other; the bytes of ciphers and archives do not.

    Lag one for one channel, lag two for two interleaved ones; 16 bit little endian, the usual raw format.
    """
    if _is_text(data) or len(data) < 512:
        return False
    samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float64)
    samples -= samples.mean()
    power = float(np.dot(samples, samples))
    alike = max(float(np.dot(samples[lag:], samples[:-lag])) for lag in (1, 2))
    return power > 0 and alike / power > 0.4


def _one_line(text: str, most: int = 120) -> str:
    return " ".join(text.split())[:most]
