"""The best way of laying characters over frames, for many segments at once.

The trellis is that of the forced alignment tutorial of PyTorch, which WhisperX follows: a frame either stays with its
character, at the price of a blank, or begins the next one. So are its ties: the earliest of equally good last frames,
and staying rather than going on when both are worth the same. All sums are float32 in the same order, so that the paths
are the same, not merely as good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Path:
    """Where each character lies: frames ``starts[i]`` up to, not including, ``ends[i]``.

    ``scores[i]``, 0..1: mean over these frames of the probability of what the path takes them for, the character where
    it begins and the blank where it lasts.
    """

    starts: list[int]
    ends: list[int]
    scores: list[float]


def best_paths(blank: Floats, characters: Floats, frames: Sequence[int], counts: Sequence[int]) -> list[Path | None]:
    """The best path of each segment; None where its characters do not fit into its frames.

    Args:
        blank: log-probability of the blank, [segments, time].
        characters: log-probability of each character of the text, [segments, time, characters].
        frames: how many frames of each segment are its own; the rest is padding and may hold anything finite.
        counts: the same for the characters; at least one.
    """
    begins, last = _forward(blank, characters, counts)
    paths: list[Path | None] = []
    for at, (length, count) in enumerate(zip(frames, counts, strict=True)):
        end = int(np.argmax(last[: length + 1, at]))
        starts = _backtrack(begins[:, at], end, count)
        paths.append(_path(starts, end, blank[at], characters[at]) if starts else None)
    return paths


def _forward(blank: Floats, characters: Floats, counts: Sequence[int]) -> tuple[Bools, Floats]:
    """Whether each cell is best reached by beginning its character [time, segments, characters], and the worth of
    having reached the last character [time + 1, segments]."""
    segments, time, most = characters.shape
    waited = np.zeros((time + 1, segments), np.float32)
    # torch adds float32 up in double precision; so must we, to the bit.
    waited[1:] = np.cumsum(blank.astype(np.float64), axis=1).T
    by_time = np.ascontiguousarray(characters.transpose(1, 0, 2))
    rows, final = np.arange(segments), np.asarray(counts)
    worth = np.full((segments, most + 1), -np.inf, np.float32)
    worth[:, 0] = waited[0]
    begins = np.empty((time, segments, most), np.bool_)
    last = np.empty((time + 1, segments), np.float32)
    last[0] = worth[rows, final]
    for t in range(time):
        stay = worth[:, 1:] + blank[:, t, None]
        change = worth[:, :-1] + by_time[t]
        np.greater(change, stay, out=begins[t])
        np.maximum(stay, change, out=worth[:, 1:])
        worth[:, 0] = waited[t + 1]
        last[t + 1] = worth[rows, final]
    return begins, last


def _backtrack(begins: Bools, end: int, count: int) -> list[int] | None:
    """First frame of each character, going back from the last; None when the first is never reached.

    Args:
        begins: [time, characters].
        end: frame before which the last character ends.
    """
    starts = [0] * count
    character = count - 1
    for frame in range(end - 1, -1, -1):
        if begins[frame, character]:
            starts[character] = frame
            if character == 0:
                return starts
            character -= 1
    return None


def _path(starts: list[int], end: int, blank: Floats, characters: Floats) -> Path:
    import torch

    ends = [*starts[1:], end]
    taken = blank[starts[0] : end].copy()
    taken[np.array(starts) - starts[0]] = characters[starts, range(len(starts))]
    # Not numpy's exp, which rounds the last bit differently.
    chances = torch.exp(torch.from_numpy(taken)).tolist()
    first = starts[0]
    scores = [
        sum(chances[start - first : stop - first]) / (stop - start) for start, stop in zip(starts, ends, strict=True)
    ]
    return Path(starts, ends, scores)
