"""Prosody of one clip as pure functions of its samples: level, speech and pauses, syllable nuclei, F0 statistics.

All take 16 kHz mono float samples; levels are in dB relative to full scale (a full-scale sine is -3), times in
seconds. Frames are 32 ms long, every 10 ms, centred on ``n * 0.01`` s. No value but a level depends on the gain.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datagen.speech.cuts import runs

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

RATE = 16_000
HOP_S = 0.01
_HOP, _FRAME = 160, 512
SILENCE_DB = -120.0  #: level of digital silence

MIN_PAUSE_S = 0.2  #: shorter silences are closures of stops, not pauses (Goldman-Eisler 1968 takes 0.25)
_MIN_SPEECH_S = 0.05  #: a louder stretch shorter than this is a click
_BELOW_TOP_DB = 28.0  #: what lies this far below the loud frames is silence
_NUCLEUS_BELOW_TOP_DB = 25.0  #: a syllable's peak is not weaker than this (de Jong & Wempe 2009)
_NUCLEUS_DIP_DB = 2.0  #: two nuclei have a dip of at least this between them (ibid.)
#: Less between loud and soft frames than this: noise, hum or music covers the pauses ...
MIN_DYNAMICS_DB = 12.0
#: ... and less than this is no speech, whatever periodic there is in it.
MIN_SPEECH_DYNAMICS_DB = 6.0
MIN_VOICED_S = 0.15  #: F0 statistics need at least this much
MIN_VOICED_RATIO = 0.1  #: less voiced speech than this is whisper
MIN_SPEECH_S = 0.3
MIN_NUCLEI = 3  #: a rate of fewer syllables is a coincidence


@dataclass(frozen=True, slots=True)
class Track:
    """F0 over time. Equal lengths; ``hertz`` means something only where ``voiced``."""

    times: Floats
    hertz: Floats
    voiced: Mask


class Tracker(Protocol):
    """What tracks F0; ``datagen/models/f0.py`` has the one in use."""

    def track(self, samples: Floats) -> Track: ...


@dataclass(frozen=True, slots=True)
class Frames:
    """Short-time analysis. ``power`` is (frames, 257) in full-scale units squared, so that a row sums to the mean
    square of its windowed frame; ``hertz`` names the 257 bins; ``level`` is dBFS over 80..8000 Hz."""

    power: Floats
    hertz: Floats
    level: Floats

    def band_db(self, low: float, high: float) -> Floats:
        """Level in ``low <= f < high`` Hz for each frame, dBFS."""
        inside = (self.hertz >= low) & (self.hertz < high)
        return decibel(self.power[:, inside].sum(axis=1))


@dataclass(frozen=True, slots=True)
class Speech:
    """Where a clip speaks: ``active`` per 10 ms frame, pauses bridged only when shorter than ``MIN_PAUSE_S``."""

    active: Mask
    dynamics_db: float  #: loud (95th percentile) over soft (5th percentile) frames

    @property
    def seconds(self) -> float:
        return float(self.active.sum()) * HOP_S

    @property
    def pauses(self) -> Floats:
        """Lengths in seconds of the silences between first and last speech."""
        found = itertools.pairwise(runs(self.active))
        return np.array([(b - a) * HOP_S for (_, a), (b, _) in found])

    @property
    def span_s(self) -> float:
        """From the first to the last speech."""
        at = np.flatnonzero(self.active)
        return float(at[-1] - at[0] + 1) * HOP_S if len(at) else 0.0


def decibel(power: Floats) -> Floats:
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10))))


def normalise(samples: Floats, level_db: float = -20.0) -> Floats:
    """Scale so that the loud frames (95th percentile of RMS) lie at ``level_db``; silence stays silence."""
    count = max(1, len(samples) // _HOP)
    hops = samples[: count * _HOP].reshape(count, -1) if len(samples) >= _HOP else samples[None, :]
    loud = float(np.percentile(np.sqrt(np.mean(np.square(hops, dtype=np.float64), axis=1)), 95))
    loud = loud or float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return np.asarray(samples * (10 ** (level_db / 20) / loud), np.float64) if loud > 0 else samples.astype(np.float64)


def analyse(samples: NDArray[np.floating]) -> Frames:
    """Hann-windowed power spectra of overlapping frames. A clip of any length has at least one."""
    count = len(samples) // _HOP + 1
    padded = np.zeros(count * _HOP + _FRAME)
    padded[_FRAME // 2 : _FRAME // 2 + len(samples)] = samples
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_FRAME) + 0.5) / _FRAME)
    cut = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][:count]
    power = np.square(np.abs(np.fft.rfft(cut * window, axis=1))).astype(np.float64)
    power[:, 1:-1] *= 2  # the negative frequencies
    power /= _FRAME * np.sum(window**2)
    hertz = np.fft.rfftfreq(_FRAME, 1 / RATE).astype(np.float64)
    return Frames(power, hertz, decibel(power[:, hertz >= 80].sum(axis=1)))


def track_f0(samples: NDArray[np.floating], tracker: Tracker) -> NDArray[np.float32]:
    """F0 in Hz in each 10 ms frame of ``analyse``, 0 where unvoiced: column ``f0_track``, rounded as it is stored."""
    track, count = tracker.track(samples.astype(np.float64)), len(samples) // _HOP + 1
    if not len(track.times):
        return np.zeros(count, np.float32)
    middles = (track.times[1:] + track.times[:-1]) / 2
    nearest = np.searchsorted(middles, np.arange(count) * HOP_S)
    return np.where(track.voiced, np.round(track.hertz, 2), 0)[nearest].astype(np.float32)


def find_speech(frames: Frames, voiced: Mask) -> Speech:
    """Frames that speak: louder than a threshold between the clip's own soft and loud frames, or voiced near it."""
    soft, loud = (float(x) for x in np.percentile(frames.level, [5, 95]))
    soft = max(soft, loud - 60)
    dynamics = loud - soft
    threshold = max(loud - _BELOW_TOP_DB, soft + min(8.0, dynamics / 3))
    active = (frames.level > threshold) | (voiced & (frames.level > threshold - 6))
    if loud <= SILENCE_DB + 20:
        active[:] = False
    for start, end in runs(active):
        if (end - start) * HOP_S < _MIN_SPEECH_S and not voiced[start:end].any():
            active[start:end] = False
    for start, end in runs(~active):
        if start > 0 and end < len(active) and (end - start) * HOP_S < MIN_PAUSE_S:
            active[start:end] = True
    return Speech(active, dynamics)


def syllable_nuclei(frames: Frames, voiced: Mask) -> int:
    """Number of syllable nuclei: voiced peaks of intensity with dips between them.

    After de Jong & Wempe (2009, Behavior Research Methods 41), on the band 250..2500 Hz, where vowels stand out from
    fricatives and from voiced closures.
    """
    level = smooth(frames.band_db(250, 2500), 5)
    if not voiced.any():
        return 0
    top = float(np.percentile(level[voiced], 95))
    peaks = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])) + 1
    kept: list[int] = []
    for peak in peaks[level[peaks] > top - _NUCLEUS_BELOW_TOP_DB]:
        if not voiced[max(0, peak - 2) : peak + 3].any():
            continue
        if kept:
            dip = float(level[kept[-1] : peak + 1].min())
            if min(level[kept[-1]], level[peak]) - dip < _NUCLEUS_DIP_DB:
                if level[peak] > level[kept[-1]]:  # a shoulder of the same syllable
                    kept[-1] = int(peak)
                continue
        kept.append(int(peak))
    return len(kept)


def smooth(values: Floats, width: int) -> Floats:
    """Hann-weighted moving average over ``width`` frames, ends repeated."""
    weights = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(values, width // 2, mode="edge"), weights / weights.sum(), mode="valid")


def steady_f0(hertz: Floats, voiced: Mask) -> Floats:
    """F0 values one can trust: runs of at least 40 ms, and inside the clip's own range.

    The range is 0.6 times the lower to 2 times the upper quartile: what Hirst (2007) takes to set a tracker's limits,
    somewhat wider for expressive speech; it removes octave slips and creak at the ends of phrases.
    """
    trusted = voiced.copy()
    for start, end in runs(voiced):
        if end - start < 4:
            trusted[start:end] = False
    values = hertz[trusted]
    if not len(values):
        return values
    lower, upper = np.percentile(values, [25, 75])
    return np.asarray(values[(values >= 0.6 * lower) & (values <= 2.0 * upper)])


def range_semitones(hertz: Floats) -> float:
    """Distance of the 5th and 95th percentile in semitones."""
    low, high = np.percentile(12 * np.log2(hertz), [5, 95])
    return float(high - low)


# --- One clip -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """What one clip's samples say. ``f0`` holds the trusted values in Hz, or nothing and ``f0_reason`` says why;
    ``pauses_reason`` likewise says why neither pauses nor nuclei can be believed."""

    frames: Frames
    speech: Speech
    hertz: Floats  #: F0 in each frame, 0 where unvoiced
    voiced: Mask  #: voiced frames of speech
    f0: Floats
    f0_reason: str | None
    pauses_reason: str | None

    @property
    def voiced_ratio(self) -> float | None:
        """Share of the speech that is voiced; about 0.5 to 0.8 in modal voice, 0 in whisper."""
        return float(self.voiced.sum() / self.speech.active.sum()) if self.speech.active.any() else None


def measure(samples: NDArray[np.floating], f0_track: NDArray[np.floating]) -> Measured:
    """Everything prosody and arousal need. Never raises on odd sound; reasons say what is missing.

    Args:
        f0_track: F0 of the same samples, as ``track_f0`` gives it.
    """
    frames = analyse(samples)
    hertz = f0_track.astype(np.float64)
    found = hertz > 0
    speech = find_speech(frames, found)
    voiced = found & speech.active
    f0 = steady_f0(hertz, voiced)
    reason = None
    pauses_reason = None
    if not speech.active.any() or speech.dynamics_db < MIN_SPEECH_DYNAMICS_DB:
        reason = pauses_reason = "no speech" if not speech.active.any() else "noisy"
    elif speech.seconds < MIN_SPEECH_S:
        reason = pauses_reason = "too short"
    else:
        if voiced.sum() < MIN_VOICED_RATIO * speech.active.sum():
            reason = "hardly voiced"
        elif len(f0) * HOP_S < MIN_VOICED_S:
            reason = "too short"
        if speech.dynamics_db < MIN_DYNAMICS_DB:
            pauses_reason = "noisy"
    return Measured(frames, speech, hertz, voiced, f0 if reason is None else f0[:0], reason, pauses_reason)
