"""Where to cut a recording: pure functions on spans of seconds. A cut falls into a pause, never into a word.

A *region* is a stretch that must not be cut without need: a word where word times are known, else a run of speech
frames. Regions are in order and do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Span = tuple[float, float]
Floats = npt.NDArray[np.float32]

#: A frame counts as the end of speech when its probability falls this far below the threshold for its beginning.
_HYSTERESIS = 0.15
#: A pause this much longer than ``split_pause`` is cut even when that leaves a short piece.
_SURELY = 2.5


@dataclass(frozen=True, slots=True)
class Limits:
    """All in seconds. ``longest`` is a hard limit, padding included."""

    longest: float
    split_pause: float
    shortest: float
    pad: float


def runs(speech: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end (exclusive) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], speech.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def speech_regions(probability: Floats, frame_s: float, threshold: float, bridge_s: float = 0.1) -> list[Span]:
    """Runs of speech frames in seconds; holes shorter than ``bridge_s`` (stop consonants) are closed."""
    maybe = runs(probability >= threshold - _HYSTERESIS)
    sure = [(a, b) for a, b in maybe if np.any(probability[a:b] >= threshold)]
    regions: list[Span] = []
    for begin, end in ((a * frame_s, b * frame_s) for a, b in sure):
        if regions and begin - regions[-1][1] < bridge_s:
            regions[-1] = (regions[-1][0], end)
        else:
            regions.append((begin, end))
    return regions


def pieces(
    regions: Sequence[Span], limits: Limits, bounds: Span, probability: Floats | None = None, frame_s: float = 1.0
) -> list[Span]:
    """Stretches of at most ``limits.longest`` seconds within ``bounds`` that hold all regions.

    Cut first where the pause is longest: everywhere it lasts ``split_pause`` and leaves no piece under ``shortest``,
    and wherever a piece would otherwise be too long. A region that is itself too long (no pause in it) is cut where
    ``probability`` of speech is lowest in its middle half, at its middle when that is not known.
    """
    core = max(limits.longest - 2 * limits.pad, limits.longest / 2)
    inside = [(max(a, bounds[0]), min(b, bounds[1])) for a, b in regions if b > bounds[0] and a < bounds[1]]
    todo = [inside] if inside else []
    done: list[Span] = []
    while todo:
        part = todo.pop()
        begin, end = part[0][0], part[-1][1]
        at = _cut(part, limits, too_long=end - begin > core)
        if at is not None:
            todo += [part[at:], part[:at]]
        elif end - begin > core:
            middle = _quietest(begin, end, probability, frame_s)
            todo += [[(middle, end)], [(begin, middle)]]
        else:
            done.append((begin, end))
    return _padded(done, limits.pad, bounds)


def _cut(part: Sequence[Span], limits: Limits, *, too_long: bool) -> int | None:
    """Index of the region before which to cut, or None."""
    best: tuple[bool, float, float] | None = None
    found = None
    begin, end = part[0][0], part[-1][1]
    for at in range(1, len(part)):
        left, right = part[at - 1][1], part[at][0]
        pause = right - left
        roomy = min(left - begin, end - right) >= limits.shortest
        if not too_long and pause < limits.split_pause * (1 if roomy else _SURELY):
            continue
        rank = (roomy, round(pause, 4), -abs((left + right) - (begin + end)))
        if best is None or rank > best:
            best, found = rank, at
    return found


def _quietest(begin: float, end: float, probability: Floats | None, frame_s: float) -> float:
    quarter = (end - begin) / 4
    first, last = int((begin + quarter) / frame_s), int((end - quarter) / frame_s)
    if probability is None or last <= first:
        return (begin + end) / 2
    window = probability[first:last]
    lowest = np.flatnonzero(window == window.min())
    nearest = lowest[np.argmin(np.abs(lowest - len(window) / 2))]
    return float((first + nearest + 0.5) * frame_s)


def _padded(done: Sequence[Span], pad: float, bounds: Span) -> list[Span]:
    """Room around each piece: ``pad``, but no more than half the pause to the neighbour."""
    padded = []
    for at, (begin, end) in enumerate(done):
        before = (begin - done[at - 1][1]) / 2 if at else begin - bounds[0]
        after = (done[at + 1][0] - end) / 2 if at + 1 < len(done) else bounds[1] - end
        padded.append((begin - min(pad, max(before, 0.0)), end + min(pad, max(after, 0.0))))
    return padded
