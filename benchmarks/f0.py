"""Which F0 tracker: accuracy on synthetic voices whose F0 is known, agreement on real speech, and speed on one core.

    python benchmarks/f0.py                       every tracker that is installed
    python benchmarks/f0.py --trackers swift,reaper --clips 4
    python benchmarks/f0.py --audio FOLDER        adds agreement with the other trackers on real speech

Only trackers are tried whose licence fits an Apache-2.0 product. The one in use (``swift``) is a dependency; the
others are looked for and left out when absent: pyworld, pyreaper, pysptk, librosa, AMFM_decompy.

Exits 1 when the tracker in use misses a goal: a gross error below 5 % and a voicing error below 15 % over the
conditions without added noise, a median F0 within a semitone in 95 % of these clips, and 20 x real time.

The voices here are made pulse by pulse (not by ``datagen.testing``), because jitter, shimmer and creak are
properties of single periods: pulses at the whole turns of the phase of a known contour, each moved and scaled at
random, two real poles for the glottis, cascaded formant resonators, aspiration noise, unvoiced fricatives between.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly

Floats = NDArray[np.float64]
Tracker = Callable[[Floats], tuple[Floats, Floats]]  # samples -> frame times in s, F0 in Hz (0 = unvoiced)

RATE = 16_000
STEP_S = 0.01
LOWEST_HZ, HIGHEST_HZ = 50.0, 700.0
IN_USE = "swift"

VOWELS = ((270, 2290, 3010), (530, 1840, 2480), (730, 1090, 2440), (570, 840, 2410), (300, 870, 2240))


@dataclass(frozen=True)
class Condition:
    """How a voice speaks; F0 glides between syllable targets drawn log-uniformly from ``low``..``high`` Hz."""

    name: str
    low: float
    high: float
    tract: float = 1.0
    jitter: float = 0.01
    shimmer: float = 0.05
    breath: float = 0.03
    noise: str = ""  # "", "white" or "pink"
    snr_db: float = 99.0


CONDITIONS = (
    Condition("male", 80, 180),
    Condition("female", 150, 350, 1.16),
    Condition("child", 220, 500, 1.35),
    Condition("shouted", 300, 600, 1.16, jitter=0.02, shimmer=0.1),
    Condition("hoarse", 90, 300, 1.08, jitter=0.04, shimmer=0.2, breath=0.1),
    Condition("breathy", 90, 300, 1.08, breath=0.2),
    Condition("half whisper", 90, 300, 1.08, breath=0.5),
    Condition("creaky", 52, 85, jitter=0.12, shimmer=0.3),
    *(
        Condition(f"{noise} {snr} dB", 90, 300, 1.08, noise=noise, snr_db=snr)
        for noise in ("white", "pink")
        for snr in (20, 10, 0)
    ),
)
CLEAN = tuple(c.name for c in CONDITIONS if not c.noise and c.name not in ("creaky", "half whisper"))


# --- Voices with a known F0 ---------------------------------------------------------------------------------


def voice(condition: Condition, seed: int, syllables: int = 14) -> tuple[Floats, Floats]:
    """Samples at 16 kHz, and F0 in Hz every 10 ms (0 where nothing vibrates)."""
    rng = np.random.default_rng(seed)
    pieces, tracks = [np.zeros(3200)], [np.zeros(3200)]
    targets = np.exp(rng.uniform(np.log(condition.low), np.log(condition.high), syllables + 1))
    for index in range(syllables):
        if rng.random() < 0.5:
            count = int(rng.uniform(0.06, 0.14) * RATE)
            hiss = lfilter([1, -0.95], [1, 0.3], rng.standard_normal(count)) * np.hanning(count)
            pieces.append(0.03 * hiss)
            tracks.append(np.zeros(count))
        if rng.random() < 0.2:
            pieces.append(np.zeros(int(rng.uniform(0.15, 0.4) * RATE)))
            tracks.append(np.zeros(len(pieces[-1])))
        count = int(rng.uniform(0.12, 0.32) * RATE)
        glide = np.exp(np.linspace(np.log(targets[index]), np.log(targets[index + 1]), count))
        sound = _vowel(glide, condition, VOWELS[int(rng.integers(len(VOWELS)))], rng)
        ramp = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.015 * RATE))
        pieces.append(sound / np.sqrt(np.mean(sound**2)) * ramp * rng.uniform(0.5, 1.0) * 0.1)
        tracks.append(glide)
    pieces.append(np.zeros(3200))
    tracks.append(np.zeros(3200))
    samples, track = np.concatenate(pieces), np.concatenate(tracks)
    if condition.noise:
        noise = rng.standard_normal(len(samples))
        if condition.noise == "pink":
            spectrum = np.fft.rfft(noise)
            noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(samples))
        speech = np.sqrt(np.mean(samples[track > 0] ** 2))
        samples = samples + noise / np.sqrt(np.mean(noise**2)) * speech * 10 ** (-condition.snr_db / 20)
    return samples, track[:: int(STEP_S * RATE)]


def _vowel(f0: Floats, condition: Condition, formants: tuple[int, int, int], rng: np.random.Generator) -> Floats:
    over = 4  # pulses are set on a grid of 64 kHz, so that their places are not rounded audibly
    phase = np.cumsum(f0) / RATE
    turns = np.arange(1, int(phase[-1]) + 1)
    times = np.interp(turns, phase, np.arange(len(f0)))
    times = times + rng.standard_normal(len(times)) * condition.jitter * RATE / np.interp(times, np.arange(len(f0)), f0)
    train = np.zeros(len(f0) * over)
    at = np.clip(np.round(times * over).astype(int), 0, len(train) - 1)
    np.add.at(train, at, np.maximum(0.1, 1 + condition.shimmer * rng.standard_normal(len(at))))
    sound = np.asarray(resample_poly(train, 1, over)[: len(f0)])
    sound = lfilter([1], [1, -0.96], lfilter([1], [1, -0.9], sound))  # glottis: about -12 dB per octave
    sound = sound / (np.sqrt(np.mean(sound**2)) + 1e-12)
    breath = lfilter([1], [1, -0.5], rng.standard_normal(len(f0)))
    sound = (1 - condition.breath) * sound + condition.breath * breath / np.sqrt(np.mean(breath**2))
    sound = lfilter([1, -0.98], [1], sound)  # lips
    for hertz, width in zip((*formants, 3500), (70, 100, 140, 200), strict=True):
        radius = np.exp(-np.pi * width / RATE)
        angle = 2 * np.pi * min(hertz * condition.tract, 7500) / RATE
        poles = [1, -2 * radius * np.cos(angle), radius**2]
        sound = lfilter([sum(poles)], poles, sound)
    return np.asarray(sound)


# --- Trackers -----------------------------------------------------------------------------------------------


def _swift() -> Tracker:
    from datagen.models.f0 import F0Tracker

    tracker = F0Tracker(LOWEST_HZ, HIGHEST_HZ)

    def track(samples: Floats) -> tuple[Floats, Floats]:
        found = tracker.track(samples)
        return found.times, np.where(found.voiced, found.hertz, 0.0)

    return track


def _harvest() -> Tracker:
    import pyworld

    def track(samples: Floats) -> tuple[Floats, Floats]:
        f0, times = pyworld.harvest(samples, RATE, LOWEST_HZ, HIGHEST_HZ, 10.0)
        return times, f0

    return track


def _dio() -> Tracker:
    import pyworld

    def track(samples: Floats) -> tuple[Floats, Floats]:
        f0, times = pyworld.dio(samples, RATE, LOWEST_HZ, HIGHEST_HZ, frame_period=10.0)
        return times, pyworld.stonemask(samples, f0, times, RATE)

    return track


def _reaper() -> Tracker:
    import pyreaper

    def track(samples: Floats) -> tuple[Floats, Floats]:
        whole = np.clip(samples / np.abs(samples).max() * 30_000, -32_768, 32_767).astype(np.int16)
        _, _, times, f0, _ = pyreaper.reaper(whole, RATE, LOWEST_HZ, HIGHEST_HZ, frame_period=STEP_S)
        return times.astype(float), np.maximum(f0.astype(float), 0)

    return track


def _rapt() -> Tracker:
    import pysptk

    def track(samples: Floats) -> tuple[Floats, Floats]:
        whole = (samples / np.abs(samples).max() * 30_000).astype(np.float32)
        f0 = pysptk.rapt(whole, RATE, 160, LOWEST_HZ, HIGHEST_HZ)
        return np.arange(len(f0)) * STEP_S, np.asarray(f0, np.float64)

    return track


def _swipe() -> Tracker:
    import pysptk

    def track(samples: Floats) -> tuple[Floats, Floats]:
        f0 = pysptk.swipe(samples.astype(np.float64), RATE, 160, LOWEST_HZ, HIGHEST_HZ)
        return np.arange(len(f0)) * STEP_S, np.asarray(f0, np.float64)

    return track


def _pyin() -> Tracker:
    import librosa

    def track(samples: Floats) -> tuple[Floats, Floats]:
        f0, _, _ = librosa.pyin(samples, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=RATE, hop_length=160)
        return np.arange(len(f0)) * STEP_S, np.asarray(np.nan_to_num(f0), np.float64)

    return track


def _yaapt() -> Tracker:
    from amfm_decompy import basic_tools, pYAAPT

    def track(samples: Floats) -> tuple[Floats, Floats]:
        found = pYAAPT.yaapt(basic_tools.SignalObj(samples, RATE), f0_min=LOWEST_HZ, f0_max=HIGHEST_HZ)
        return found.frames_pos / RATE, np.asarray(found.samp_values, float)

    return track


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "swift": _swift, "harvest": _harvest, "dio": _dio, "reaper": _reaper, "rapt": _rapt, "swipe": _swipe,
    "pyin": _pyin, "yaapt": _yaapt,
}  # fmt: skip


def on_grid(times: Floats, f0: Floats, count: int) -> Floats:
    """Nearest frame for each point of the 10 ms grid."""
    if not len(times):
        return np.zeros(count)
    wanted = np.arange(count) * STEP_S
    right = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    right = np.minimum(right, len(times) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(times[left] - wanted) <= np.abs(times[right] - wanted), left, right)
    return np.asarray(f0[nearest], float)


# --- Scores -------------------------------------------------------------------------------------------------


@dataclass
class Score:
    """Sums over clips; F0 errors over frames that both sides call voiced."""

    frames: int = 0
    voiced: int = 0
    both: int = 0
    voicing_errors: int = 0
    gross: int = 0
    octave: int = 0
    clips: int = 0
    median_off: int = 0  # clips whose median is more than a semitone off, or was not found
    range_error_st: float = 0.0

    def add(self, truth: Floats, found: Floats) -> None:
        is_voiced, said = truth > 0, found > 0
        both = is_voiced & said
        self.frames += len(truth)
        self.voiced += int(is_voiced.sum())
        self.both += int(both.sum())
        self.voicing_errors += int((is_voiced != said).sum())
        ratio = found[both] / truth[both]
        self.gross += int((np.abs(ratio - 1) > 0.2).sum())
        self.octave += int(((np.abs(ratio / 2 - 1) < 0.2) | (np.abs(ratio * 2 - 1) < 0.2)).sum())
        self.clips += 1
        off = 12 * abs(np.log2(np.median(found[said]) / np.median(truth[is_voiced]))) if said.any() else 99.0
        self.median_off += int(off > 1.0)
        spans = [
            np.subtract(*np.percentile(12 * np.log2(x), [95, 5])) for x in (truth[is_voiced], found[said]) if len(x)
        ]
        self.range_error_st += abs(spans[1] - spans[0]) if len(spans) == 2 else 12.0

    def row(self) -> tuple[float, float, float, float, float]:
        both, clips = max(self.both, 1), max(self.clips, 1)
        return (100 * self.gross / both, 100 * self.octave / both, 100 * self.voicing_errors / max(self.frames, 1),
                100 * self.median_off / clips, self.range_error_st / clips)  # fmt: skip

    def __iadd__(self, other: Score) -> Score:
        for key, value in vars(other).items():
            setattr(self, key, getattr(self, key) + value)
        return self


def real_speech(folder: Path, limit: int) -> Iterator[Floats]:
    import soundfile

    files = sorted(folder.rglob("*.flac"))
    for file in files[:: max(1, len(files) // limit)][:limit]:
        samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
        if rate == RATE:
            yield samples[:, 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trackers", default=",".join(TRACKERS))
    parser.add_argument("--clips", type=int, default=6, help="clips per condition")
    parser.add_argument("--audio", type=Path, help="folder of 16 kHz FLAC files for agreement on real speech")
    parser.add_argument("--files", type=int, default=60, help="files of --audio to use, evenly spread")
    options = parser.parse_args()

    trackers: dict[str, Tracker] = {}
    for name in options.trackers.split(","):
        try:
            trackers[name] = TRACKERS[name]()
        except ImportError as error:
            print(f"{name}: not installed ({error})", file=sys.stderr)
    if not trackers:
        print("no tracker is installed", file=sys.stderr)
        return 1

    data = {c: [voice(c, 1000 * i + n) for n in range(options.clips)] for i, c in enumerate(CONDITIONS)}
    seconds = sum(len(samples) for clips in data.values() for samples, _ in clips) / RATE
    scores: dict[str, dict[str, Score]] = {}
    speed: dict[str, float] = {}
    for name, track in trackers.items():
        track(data[CONDITIONS[0]][0][0])  # the first call may compile or load
        spent = 0.0
        for condition, clips in data.items():
            score = scores.setdefault(name, {}).setdefault(condition.name, Score())
            for samples, truth in clips:
                started = time.process_time()
                times, f0 = track(samples)
                spent += time.process_time() - started
                score.add(truth, on_grid(times, f0, len(truth)))
        speed[name] = seconds / spent

    print(f"{len(CONDITIONS)} conditions x {options.clips} clips, {seconds:.0f} s of speech\n")
    print("GPE: both voiced, F0 more than 20 % off; OCT: of these an octave; VDE: voicing wrong, of all frames;")
    print("MED: clips whose median F0 is more than a semitone off; RNG: mean error of the 5-95 % range, semitones\n")
    print(f"| {'condition':12} | {'tracker':8} | GPE % | OCT % | VDE % | MED % | RNG st |")
    print(f"| {'-' * 12} | {'-' * 8} | ----- | ----- | ----- | ----- | ------ |")
    totals: dict[str, dict[str, Score]] = {name: {"clean": Score(), "all": Score()} for name in trackers}
    for condition in CONDITIONS:
        for name in trackers:
            score = scores[name][condition.name]
            totals[name]["all"] += score
            if condition.name in CLEAN:
                totals[name]["clean"] += score
            _print(condition.name, name, score)
    for group in ("clean", "all"):
        for name in trackers:
            _print(f"= {group}", name, totals[name][group])
    print("\nspeed, times real time on one core: " + ", ".join(f"{name} {x:.0f}" for name, x in speed.items()))

    if options.audio:
        _agreement(trackers, options.audio, options.files)

    if IN_USE not in trackers:
        return int(IN_USE in options.trackers.split(","))  # asked for and not there: not measured
    gross, _, voicing, median_off, _ = totals[IN_USE]["clean"].row()
    misses = [f"{what} {value:.1f} (goal {goal})" for what, value, goal, bad in (
        ("gross error %", gross, "< 5", gross >= 5), ("voicing error %", voicing, "< 15", voicing >= 15),
        ("medians off %", median_off, "<= 5", median_off > 5), ("speed", speed[IN_USE], ">= 20", speed[IN_USE] < 20),
    ) if bad]  # fmt: skip
    print(f"\n{IN_USE}: " + ("goals met" if not misses else "MISSED: " + "; ".join(misses)))
    return 1 if misses else 0


def _print(condition: str, name: str, score: Score) -> None:
    gross, octave, voicing, median_off, span = score.row()
    print(
        f"| {condition:12} | {name:8} | {gross:5.1f} | {octave:5.1f} | {voicing:5.1f} | {median_off:5.0f} "
        f"| {span:6.1f} |"
    )


def _agreement(trackers: dict[str, Tracker], folder: Path, limit: int) -> None:
    """Real speech has no known F0: each tracker against the median of the *others*, where most of them are voiced."""
    tracks: list[dict[str, Floats]] = []
    for samples in real_speech(folder, limit):
        count = int(len(samples) / RATE / STEP_S)
        tracks.append({name: on_grid(*track(samples), count) for name, track in trackers.items()})
    print(f"\nagreement on {len(tracks)} real files: against the median of the other trackers, where most are voiced")
    for name in trackers:
        total = Score()
        for found in tracks:
            others = np.stack([f0 for other, f0 in found.items() if other != name])
            voiced = (others > 0).mean(axis=0) > 0.5
            with np.errstate(all="ignore"):
                middle = np.nanmedian(np.where(others > 0, others, np.nan), axis=0)
            if voiced.any():
                total.add(np.where(voiced, middle, 0.0), found[name])
        _print("real", name, total)


if __name__ == "__main__":
    sys.exit(main())
