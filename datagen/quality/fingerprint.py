"""Says whether two clips are the same recording, whatever happened to the file in between.

A fingerprint holds two 32-bit words per 10 ms, made of the signs of how the spectrum's tilt between neighbouring
bands changes over time (the idea of Haitsma & Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002,
with bands and windows chosen for speech):

- the *find* word: 24 signs over a window of 256 ms, so sluggish that many survive a codec unchanged: a key to look
  copies up by, but a trained voice repeats a sentence so well that 21 % of them may differ between two takes;
- the *check* word: 32 signs over a window of 64 ms. Copies differ in about 15 % of them, takes in 37 % and more,
  because nobody repeats a movement of the mouth within 10 ms.

Codecs, gain and resampling change few of the signs. Measured figures: ``docs/data-quality.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from datagen.tables import SAMPLE_RATE

HOP = SAMPLE_RATE // 100  #: 10 ms
FIND_BITS, CHECK_BITS = 24, 32
_FIND_WINDOW, _CHECK_WINDOW = 4096, 1024  # samples: 256 ms and 64 ms
_LOW_HZ, _HIGH_HZ = 250.0, 3500.0  # what telephone bands and every codec keep
_STEP = 4  # frames between the two spectra of a find word; check words compare neighbours
_FLOOR_DB = 35.0  # below a clip's loudest frame there is room noise: other bits in every encoding
_STILL = 0.02  # natural log; a spectrum that changes less is a steady tone, whose signs are rounding noise
_SOUNDING = np.uint32(1 << 31)  # flag beside the find word
_FIND = np.uint32((1 << FIND_BITS) - 1)
_PLAIN = 3  # ones or zeros up to which a find word is a common one
_CHUNK = 1024  # frames transformed at a time: bounds memory, changes nothing else

#: Share of differing check bits up to which two aligned clips are one recording.
MAX_BIT_ERROR = 0.27
#: Share of the longer clip's sounding frames that must lie in the overlap: re-cut edges yes, an excerpt no.
MIN_OVERLAP = 0.8
#: Fewest sounding frames in the overlap: with less than 0.4 s nothing can be said.
MIN_FRAMES = 40

Prints = npt.NDArray[np.uint32]  #: ``(frames, 2)``: find word with flag, check word


@lru_cache(maxsize=2)
def _bands(window: int, count: int) -> npt.NDArray[np.float32]:
    """``(bins, count)``: log-spaced bands, each bin counted by the part of it that lies in the band."""
    edges = np.geomspace(_LOW_HZ, _HIGH_HZ, count + 1)
    width = SAMPLE_RATE / window
    centre = np.fft.rfftfreq(window, 1 / SAMPLE_RATE)[:, None]
    upper = np.minimum(edges[1:], centre + width / 2)
    lower = np.maximum(edges[:-1], centre - width / 2)
    return np.asarray(np.clip(upper - lower, 0, None), np.float32)


def _power(samples: npt.NDArray[np.float32], window: int, bands: int) -> npt.NDArray[np.float32]:
    """``(frames, bands)`` of spectral power, one frame per hop, centred on it."""
    padded = np.pad(samples, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP]
    taper = np.hanning(window).astype(np.float32)
    parts = [
        np.square(np.abs(np.fft.rfft(frames[at : at + _CHUNK] * taper, axis=1))) @ _bands(window, bands)
        for at in range(0, len(frames), _CHUNK)
    ]
    return np.concatenate(parts)


def _change(power: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """How the log tilt between neighbouring bands changes over ``step`` frames."""
    tilt = np.diff(np.log(power + 1e-10 * power.max() + 1e-30), axis=1)
    return np.asarray(tilt[step:] - tilt[:-step])


def _words(signs: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    return (signs @ (np.uint64(1) << np.arange(signs.shape[1], dtype=np.uint64))).astype(np.uint32)


def fingerprint(samples: npt.NDArray[np.float32]) -> Prints:
    """Mono samples at 16 kHz -> ``(frames, 2)`` words, one row per 10 ms; no rows for silence or under 50 ms."""
    samples = np.asarray(samples, np.float32)
    if len(samples) < HOP * (_STEP + 1) or not np.any(samples):
        return np.zeros((0, 2), np.uint32)
    fine = _power(samples, _CHECK_WINDOW, CHECK_BITS + 1)
    find = _change(_power(samples, _FIND_WINDOW, FIND_BITS + 1), _STEP)
    check = _change(fine, 1)[_STEP // 2 : _STEP // 2 + len(find)]
    loudness = 10 * np.log10(fine.sum(axis=1) + 1e-30)
    loud = (loudness > loudness.max() - _FLOOR_DB)[_STEP // 2 : _STEP // 2 + len(find)]
    sounding = loud & (np.median(np.abs(find), axis=1) > _STILL) & (np.median(np.abs(check), axis=1) > _STILL)
    flagged = _words(find > 0) | np.where(sounding, _SOUNDING, np.uint32(0))
    return np.stack([flagged, _words(check > 0)], axis=1)


def pack(prints: Prints) -> bytes:
    """Words to the little-endian bytes a column holds: 8 per 10 ms."""
    return prints.astype("<u4").tobytes()


def unpack(data: bytes | None) -> Prints:
    """Inverse of ``pack``; None gives an empty fingerprint."""
    return np.frombuffer(data or b"", "<u4").astype(np.uint32).reshape(-1, 2)


def sounding(prints: Prints) -> npt.NDArray[np.bool_]:
    """Which frames hold more than room noise or a steady tone."""
    return np.asarray(prints[:, 0] & _SOUNDING != 0)


def tell(prints: Prints) -> npt.NDArray[np.bool_]:
    """Which find words are worth looking up: words of nearly equal signs are common and say little."""
    ones = np.bitwise_count(prints[:, 0] & _FIND)
    return np.asarray(sounding(prints) & (ones > _PLAIN) & (ones < FIND_BITS - _PLAIN))


@dataclass(frozen=True, slots=True)
class Alignment:
    """How well two fingerprints agree where they agree best."""

    bit_error: float  #: share of differing bits over frames that sound in both, 0..1
    overlap: float  #: those frames over the sounding frames of the clip that has more, 0..1
    frames: int
    offset: int  #: frame of ``a`` on which frame 0 of ``b`` falls, 10 ms each

    @property
    def same_recording(self) -> bool:
        return self.frames >= MIN_FRAMES and self.bit_error <= MAX_BIT_ERROR and self.overlap >= MIN_OVERLAP


_NOTHING = Alignment(1.0, 0.0, 0, 0)
_REPEATS = 8  # occurrences of a find word in one clip that are looked at: a tone held for long has one word
_SLACK = 4  # frames by which hits of one alignment may disagree
_PEAKS = 3  # offsets tried: a sound that repeats itself fits itself in several places


def align(a: Prints, b: Prints, offsets: npt.ArrayLike) -> Alignment:
    """The best of the given offsets: fewest bit errors among those with enough frames; ties: first tried."""
    sounding_a, sounding_b = sounding(a), sounding(b)
    most = max(int(sounding_a.sum()), int(sounding_b.sum()))
    best = _NOTHING
    for offset in np.asarray(offsets, np.int64).tolist():
        first, end = max(0, offset), min(len(a), offset + len(b))
        if end - first < MIN_FRAMES:
            continue
        both = sounding_a[first:end] & sounding_b[first - offset : end - offset]
        frames = int(np.count_nonzero(both))
        if frames < MIN_FRAMES:
            continue
        wrong = np.bitwise_count(a[first:end, 1] ^ b[first - offset : end - offset, 1])
        error = int(wrong[both].sum(dtype=np.int64)) / (CHECK_BITS * frames)
        if error < best.bit_error:
            best = Alignment(error, frames / most, frames, offset)
    return best


def likely_offsets(a: Prints, b: Prints) -> list[int]:
    """At most three offsets at which most find words of two clips coincide, the likeliest first; none = no hit."""
    at_a, at_b = np.flatnonzero(tell(a)), np.flatnonzero(tell(b))
    word_a, word_b = a[at_a, 0] & _FIND, b[at_b, 0] & _FIND
    order = np.argsort(word_a, kind="stable")
    word_a = word_a[order]
    first = np.searchsorted(word_a, word_b)
    times = np.minimum(np.searchsorted(word_a, word_b, "right") - first, _REPEATS)
    hit = np.repeat(np.arange(len(word_b)), times)
    if not len(hit):
        return []
    nth = np.arange(len(hit)) - np.repeat(np.cumsum(times) - times, times)
    votes = np.bincount(at_a[order[first[hit] + nth]] - at_b[hit] + len(b), minlength=len(a) + len(b))
    near = np.convolve(votes, np.ones(2 * _SLACK + 1, np.int64), "same")
    peaks: list[int] = []
    while len(peaks) < _PEAKS and near.max() > 0:
        peak = int(near.argmax())
        peaks.append(peak - len(b))
        near[max(0, peak - 2 * _SLACK) : peak + 2 * _SLACK + 1] = 0
    return peaks


def compare(a: Prints, b: Prints) -> Alignment:
    """Whether two clips are one recording: tried where their find words coincide, until one place fits."""
    best = _NOTHING
    for peak in likely_offsets(a, b):
        found = align(a, b, range(peak - _SLACK, peak + _SLACK + 1))
        if found.same_recording:
            return found
        best = min(best, found, key=lambda alignment: alignment.bit_error)
    return best
