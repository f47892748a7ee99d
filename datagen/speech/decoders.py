"""Decoders behind one face: blocks of samples from libsndfile, and from FFmpeg what libsndfile cannot open."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from datagen.errors import RowError
from datagen.speech.undecodable import is_mpeg, nothing_decodes, refuse_what_cannot_be

Source = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO

#: Sampling rates believed, in Hz. A mutated header may say 1 Hz, which would inflate 16,000-fold.
MIN_RATE, MAX_RATE = 2_000, 768_000

#: Samples (frames x channels) read at once. What fits is resampled in one go, the rest as a stream.
_BLOCK_SAMPLES = 1 << 22

#: The demuxers FFmpeg may use. Without this list it would follow playlists and concat scripts, which open
#: other files and URLs by name: a stranger's text file called ``a.mp3`` could read ours.
_FFMPEG_FORMATS = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,flac,flv,gsm,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,mpc,mpc8,nistsphere,ogg,rm,sox,spx,tak,tta,voc,w64,wav,wv,xwma"
)


@dataclass(slots=True)
class Stream:
    """Decoded blocks [frames, channels], int16 or float32, the first of them already there (``frames`` > 0)."""

    rate: int
    channels: int
    container: str
    blocks: Iterator[npt.NDArray]
    truncated: bool = False


def open_stream(source: Source, name: str) -> Stream:
    """The first decoder that gives at least one sample.

    Raises:
        RowError: neither does.
    """
    if isinstance(source, str | os.PathLike):
        name = name or os.fspath(source)
        source = Path(source).read_bytes()
    file: BinaryIO = _Forgiving(source) if isinstance(source, bytes | bytearray | memoryview) else source
    head = _head(file)
    refuse_what_cannot_be(head, name)
    file.seek(0)
    said: list[Exception] = []
    for opener in (_ffmpeg,) if is_mpeg(head) else (_sndfile, _ffmpeg):
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
    raise nothing_decodes(head, _middle(file), name, str(said[-1]))


def _pull_first(stream: Stream) -> Stream:
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


def limited(stream: Stream, max_seconds: float) -> Iterator[npt.NDArray]:
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


def _sndfile(file: BinaryIO) -> Stream:
    sound = soundfile.SoundFile(file)
    container = f"{sound.format}/{sound.subtype}"
    _check_rate(sound.samplerate, container)
    stream = Stream(sound.samplerate, sound.channels, container, iter(()))
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


def _ffmpeg(file: BinaryIO) -> Stream:
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
    stream = Stream(rate, channels, label, iter(()))

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
