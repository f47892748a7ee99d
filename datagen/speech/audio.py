"""Sound in, 16 kHz sound out: decode anything, resample without aliases, encode FLAC.

libsndfile decodes first, FFmpeg (through PyAV) what libsndfile cannot open. Nothing a header says is believed:
a duration is what was decoded, and samples are read in blocks under a limit, so that a header that announces
two thousand million samples, or a file that inflates to days of silence, costs nothing.

Everything here raises ``RowError`` for a fault of the data, with one of the classes in ``ERROR_CLASSES``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from datagen.errors import RowError
from datagen.speech.decoders import Source, limited, open_stream
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]
Pcm = npt.NDArray[np.int16]

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
    "UnsupportedRate": "a sampling rate outside decoders.MIN_RATE..MAX_RATE",
    "UnsupportedChannels": "more channels than can be kept apart",
}

#: Default limit on the length of a recording, in seconds (4 h).
MAX_SECONDS = 4 * 3600.0
#: FLAC holds at most eight channels, so at most that many can be kept apart.
MAX_SPLIT_CHANNELS = 8

_RESAMPLER = "HQ"


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
    stream = open_stream(source, name)
    blocks = [_as_float(block) for block in limited(stream, max_seconds)]
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
    stream = open_stream(source, name)
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
    for block in limited(stream, max_seconds / keep):
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
