"""The voice behind ``speech.py``: pulses or noise, formants, and the gains that make syllables.

A band-limited pulse train (closed form of a finite cosine sum, no aliasing) or white noise is cut into overlapping
frames, each is multiplied in the frequency domain with the response of four formant resonators and a spectral slope,
and the frames are added up. Formants of the vowels are the men's averages of Peterson & Barney (1952, JASA 24, table
II); a longer or shorter vocal tract is a factor on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
Floats = NDArray[np.float64]

VOWELS = {  # F1, F2, F3 in Hz (Peterson & Barney 1952, men)
    "i": (270, 2290, 3010),
    "I": (390, 1990, 2550),
    "E": (530, 1840, 2480),
    "A": (660, 1720, 2410),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "V": (640, 1190, 2390),
    "3": (490, 1350, 1690),
}
_BANDWIDTHS = (70.0, 100.0, 140.0, 200.0)
FRICATIVE, STOP, SONORANT = "fricative", "stop", "sonorant"
CONSONANTS = (FRICATIVE, STOP, SONORANT)

_FRAME, _HOP, _FFT = 400, 200, 1024  # samples; a 70 Hz wide resonance has died by 60 dB within the padding


@dataclass(frozen=True, slots=True)
class Syllable:
    """One vowel with what stands before it; ``word`` is the index of its word."""

    vowel: str
    consonant: str
    word: int


def range_st(f0: Floats) -> float:
    """Distance of the 5th and 95th percentile of F0 values in Hz, in semitones."""
    low, high = np.percentile(12 * np.log2(f0), [5, 95])
    return float(high - low)


def gains(
    syllables: Sequence[Syllable], starts: Floats, lengths: Floats, time: Floats, whispered: bool
) -> tuple[Floats, Floats, Floats]:
    """Per sample: gain of the voiced source, of the noise source, and 0..1 how much a consonant it is."""
    at = np.clip(np.searchsorted(starts, time, side="right") - 1, 0, len(starts) - 1)
    place = (time - starts[at]) / lengths[at]  # 0..1 within the syllable, above 1 in the pause after it
    inside = (time >= starts[0]) & (place < 1.0)
    kind = np.array([CONSONANTS.index(s.consonant) for s in syllables])[at]
    onset = np.where(inside, np.clip((0.30 - place) / 0.06, 0, 1), 0.0)  # consonant: the first 0.3 of a syllable
    nucleus = np.where(inside & (place > 0.24), np.sin(np.pi * np.clip((place - 0.24) / 0.76, 0, 1)) ** 0.6, 0.0)
    sonorant = onset * (kind == CONSONANTS.index(SONORANT))
    # Sonorants keep the voice going at -14 dB, so that syllables are humps in level and F0 does not break.
    voiced = nucleus + 0.2 * sonorant * np.clip(place / 0.05, 0, 1)
    burst = (kind == CONSONANTS.index(STOP)) * (place > 0.16) * (place < 0.26)
    hiss = (kind == CONSONANTS.index(FRICATIVE)) * np.sin(np.pi * np.clip(place / 0.3, 0, 1))
    noise = np.where(inside, 0.35 * hiss + 0.5 * burst, 0.0) * (0.6 if whispered else 1.0)
    return voiced, noise, onset * (kind != CONSONANTS.index(SONORANT))


def f0_contour(
    time: Floats, starts: Floats, ends: Floats, voiced: NDArray[np.bool_], f0_hz: float, range_st: float,
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """Falling line with an accent on each syllable; median and range over voiced samples as asked, exactly."""
    middles = (starts + ends) / 2
    accents = rng.normal(0.0, 1.0, len(starts))
    knots = np.concatenate([starts, middles, ends])
    fall = 2.0 * (knots - starts[0]) / max(ends[-1] - starts[0], 1e-9)
    values = np.concatenate([0.3 * accents, 0.8 + accents, 0.3 * accents - 0.4]) - fall
    order = np.argsort(knots, kind="stable")
    shape = np.interp(time, knots[order], values[order])
    seen = shape[voiced]
    spread = float(np.subtract(*np.percentile(seen, [95, 5])))
    semitones = (shape - np.median(seen)) * (range_st / spread if spread > 1e-9 else 0.0)
    return np.asarray(f0_hz * 2 ** (np.clip(semitones, -24, 24) / 12))


def pulses(f0: Floats) -> Floats:
    """Unit-RMS pulse train: all harmonics below 7.6 kHz at equal strength, as sin((2N+1)x/2)/sin(x/2) - 1."""
    phase = np.pi * (np.cumsum(f0) / SAMPLE_RATE % 1.0)
    harmonics = np.floor(7600.0 / f0)
    below = np.sin(phase)
    near = np.abs(below) < 1e-6
    train = np.where(near, 2 * harmonics + 1, np.sin((2 * harmonics + 1) * phase) / np.where(near, 1.0, below)) - 1
    return np.asarray(train / np.sqrt(2 * harmonics))


def shaped(
    source: Floats,
    syllables: Sequence[Syllable],
    starts: Floats,
    ends: Floats,
    consonant: Floats,
    scale: float,
    tilt: float,
) -> Floats:
    """Time-varying formants and slope by overlap-add; ``consonant`` blends towards a hiss without formants."""
    total = len(source)
    frames = total // _HOP + 2
    padded = np.zeros((frames + 1) * _HOP)
    padded[_HOP : _HOP + total] = source
    cut = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    frames = len(cut)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)
    spectrum = np.fft.rfft(cut * window, _FFT, axis=1)

    centres = (np.arange(frames) * _HOP + _FRAME / 2 - _HOP) / SAMPLE_RATE
    targets = np.array([VOWELS[s.vowel] for s in syllables], float)
    knots = starts + 0.6 * (ends - starts)
    hertz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    squared = hertz**2
    response = np.ones((frames, len(hertz)), np.complex64)
    for formant, width in enumerate(_BANDWIDTHS):
        if formant < 3:
            track = np.interp(centres, knots, targets[:, formant]) * scale
        else:
            track = np.full(frames, 3500.0 * scale)
        squares = (track**2)[:, None]
        response *= (squares / (squares - squared + 1j * hertz * width)).astype(np.complex64)
    # The resonances above the fourth are left out, what they add below 5 kHz is not (Fant 1960, correction KR4).
    place = np.minimum(hertz / scale, 5000.0) / 500.0
    slope = 10 ** ((0.54 * place**2 + 0.00143 * place**4) / 20) * np.maximum(hertz / 200.0, 1.0) ** (tilt / 6.0206)
    slope[hertz < 60] = 0.0
    hiss = (0.1 * (hertz / (hertz + 3000.0)) ** 2)[None, :]
    share = np.interp(centres, np.arange(total) / SAMPLE_RATE, consonant)[:, None]
    filtered = spectrum * ((1 - share) * response * slope + share * hiss)

    out = np.zeros((frames + _FFT // _HOP + 1) * _HOP)
    pieces = np.fft.irfft(filtered, _FFT, axis=1)
    pieces = np.pad(pieces, ((0, 0), (0, -_FFT % _HOP)))
    for part in range(pieces.shape[1] // _HOP):  # six shifted sums instead of one per frame
        block = pieces[:, part * _HOP : (part + 1) * _HOP].reshape(-1)
        out[part * _HOP : part * _HOP + len(block)] += block
    return out[_HOP : _HOP + total]


def fade(speaking: NDArray[np.bool_]) -> Floats:
    """1 in speech, 0 in pauses, with 10 ms ramps inside the speech; pauses are digitally silent."""
    ramp = int(0.01 * SAMPLE_RATE)
    sums = np.concatenate([[0.0], np.cumsum(np.pad(speaking.astype(float), ramp))])
    share = (sums[2 * ramp + 1 :] - sums[: -2 * ramp - 1]) / (2 * ramp + 1)
    return np.asarray(np.clip(2 * share - 1, 0, 1) * speaking)
