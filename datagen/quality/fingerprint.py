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


def align(a: Prints, b: Prints, offsets: npt.ArrayLike) -> Alignment:
    """The best of the given offsets: fewest bit errors among those with enough frames; ties: first tried."""
    tried = np.asarray(offsets, np.int64)
    if not len(a) or not len(b) or not len(tried):
        return Alignment(1.0, 0.0, 0, 0)
    frame = np.arange(len(a)) - tried[:, None]  # of b under each frame of a
    inside = (frame >= 0) & (frame < len(b))
    under = b[np.where(inside, frame, 0)]
    sounding_a, sounding_b = a[:, 0] & _SOUNDING != 0, b[:, 0] & _SOUNDING != 0
    both = inside & sounding_a & (under[..., 0] & _SOUNDING != 0)
    frames = both.sum(axis=1)
    wrong = (np.bitwise_count(a[:, 1] ^ under[..., 1]) * both).sum(axis=1, dtype=np.int64)
    error = np.where(frames >= MIN_FRAMES, wrong / np.maximum(CHECK_BITS * frames, 1), 1.0)
    best = int(error.argmin())
    if error[best] >= 1.0:
        return Alignment(1.0, 0.0, 0, 0)
    overlap = int(frames[best]) / max(int(sounding_a.sum()), int(sounding_b.sum()))
    return Alignment(float(error[best]), overlap, int(frames[best]), int(tried[best]))


_NEIGHBOURS = 8  # entries of one posting list that each entry is paired with: keeps the cost linear
_SLACK = 4  # frames by which hits of one alignment may disagree
_CLIP_BITS, _FRAME_BITS = 24, 16  # 16 million clips, 11 minutes


def candidates(prints: list[Prints]) -> npt.NDArray[np.int64]:
    """Pairs worth aligning: ``(pairs, 3)`` of index, higher index, offset in frames; sorted.

    Two clips are worth it when at least two different words stand in both at the same distance. The order of
    ``prints`` matters only where more than ``_NEIGHBOURS`` clips share a word: put the preferred clips first.

    Raises:
        ValueError: more clips, or a longer clip, than the packed keys can hold.
    """
    lengths = [len(rows) for rows in prints]
    if len(prints) >= 1 << _CLIP_BITS or max(lengths, default=0) >= 1 << (_FRAME_BITS - 1):
        raise ValueError(
            f"too many clips ({len(prints)}) or too long a clip ({max(lengths)} frames) to compare at once"
        )
    if not sum(lengths):
        return np.zeros((0, 3), np.int64)
    word = np.concatenate([rows[:, 0] for rows in prints])
    place = np.concatenate([np.arange(n, dtype=np.uint64) | np.uint64(i << _FRAME_BITS) for i, n in enumerate(lengths)])
    # Words of nearly equal signs are common and say little.
    ones = np.bitwise_count(word & _FIND)
    use = (word & _SOUNDING != 0) & (ones > 3) & (ones < FIND_BITS - 3)
    # One integer per entry (word, clip, frame): sorting it sorts by all three.
    shift = np.uint64(_CLIP_BITS + _FRAME_BITS)
    entries = np.sort((word[use] & _FIND).astype(np.uint64) << shift | place[use])
    in_clip = entries >> np.uint64(_FRAME_BITS)
    first = np.diff(in_clip, prepend=np.uint64(1 << 63)) != 0  # neighbouring frames of a clip often repeat a word
    entries = entries[first]
    key = (entries >> shift).astype(np.uint32)
    clip = (entries >> np.uint64(_FRAME_BITS)).astype(np.int64) & ((1 << _CLIP_BITS) - 1)
    frame = entries.astype(np.int64) & ((1 << _FRAME_BITS) - 1)
    found = []
    for step in range(1, _NEIGHBOURS + 1):
        hit = np.flatnonzero(key[step:] == key[:-step])
        pair = clip[hit].astype(np.uint64) << np.uint64(_CLIP_BITS) | clip[hit + step].astype(np.uint64)
        offset = (frame[hit] - frame[hit + step] + (1 << (_FRAME_BITS - 1))).astype(np.uint64)
        found.append(pair << np.uint64(_FRAME_BITS) | offset)
    hits = np.sort(np.concatenate(found))
    pair = hits >> np.uint64(_FRAME_BITS)
    near = (pair[1:] == pair[:-1]) & (hits[1:] - hits[:-1] <= _SLACK)
    chosen = np.unique(hits[1:][near])
    mask = np.uint64((1 << _CLIP_BITS) - 1)
    columns = (
        chosen >> np.uint64(_CLIP_BITS + _FRAME_BITS),
        chosen >> np.uint64(_FRAME_BITS) & mask,
        chosen & np.uint64((1 << _FRAME_BITS) - 1),
    )
    pairs = np.stack([column.astype(np.int64) for column in columns], axis=1)
    pairs[:, 2] -= 1 << (_FRAME_BITS - 1)
    return pairs


def same_recordings(prints: list[Prints]) -> dict[tuple[int, int], Alignment]:
    """All pairs (lower index, higher index) that are one recording."""
    pairs = candidates(prints)
    same: dict[tuple[int, int], Alignment] = {}
    if not len(pairs):
        return same
    starts = np.flatnonzero(np.any(np.diff(pairs[:, :2], axis=0, prepend=-1) != 0, axis=1))
    for rows in np.split(pairs, starts[1:]):
        left, right = int(rows[0, 0]), int(rows[0, 1])
        offsets = np.unique(rows[:, 2, None] + np.arange(-_SLACK, _SLACK + 1))
        alignment = align(prints[left], prints[right], offsets)
        if alignment.same_recording:
            same[left, right] = alignment
    return same
