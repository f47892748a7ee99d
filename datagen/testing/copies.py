"""Copies of recordings as they are met in the wild, made to order; and the search for them, in one call."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.quality.fingerprint import Prints, pack
from datagen.tables import SAMPLE_RATE
from datagen.testing.rounds import worked

Samples = npt.NDArray[np.float32]


def encoded(samples: Samples, container: str, codec: str, level: float, rate: int = SAMPLE_RATE) -> Samples:
    """Through a lossy codec and back. ``level``: libsndfile's, 0 = best, below 1 = smallest; ``rate`` in Hz."""
    import soundfile
    import soxr

    file = io.BytesIO()
    resampled = soxr.resample(samples, SAMPLE_RATE, rate)
    soundfile.write(file, resampled, rate, format=container, subtype=codec, compression_level=level)
    file.seek(0)
    back, rate = soundfile.read(file, dtype="float32")
    return np.asarray(soxr.resample(back, rate, SAMPLE_RATE), np.float32)


def resampled(samples: Samples, rate: int) -> Samples:
    """To ``rate`` Hz and back."""
    import soxr

    return np.asarray(soxr.resample(soxr.resample(samples, SAMPLE_RATE, rate), rate, SAMPLE_RATE), np.float32)


def faster(samples: Samples, share: float) -> Samples:
    """Played faster by this share, the pitch with it."""
    import soxr

    return np.asarray(soxr.resample(samples, SAMPLE_RATE * (1 + share), SAMPLE_RATE), np.float32)


def noisy(samples: Samples, snr_db: float) -> Samples:
    """With white noise so far below the clip's mean power; every clip has its own, or they would share it."""
    noise = np.random.default_rng(zlib.crc32(samples.tobytes())).normal(
        0, float(np.std(samples)) * 10 ** (-snr_db / 20), len(samples)
    )
    return np.asarray(samples + noise, np.float32)


def cut(samples: Samples, share: float) -> Samples:
    """Without this share of its samples, two thirds of it from the beginning and never on a frame's edge."""
    away = int(share * len(samples))
    return samples[2 * away // 3 + 51 : len(samples) - (away - 2 * away // 3)]


#: What happens to recordings on their way into a second corpus. Bit rates vary with the sound: means over speech.
KINDS: Mapping[str, Callable[[Samples], Samples]] = {
    "gain -26 dB": lambda x: x * np.float32(0.05),
    "22.05 kHz": lambda x: resampled(x, 22_050),
    "8 kHz": lambda x: resampled(x, 8_000),
    "12 bits": lambda x: np.asarray(np.round(x * 2047) / 2047, np.float32),
    "zero-padded": lambda x: np.pad(x, (3333, 5555)),
    "cut by 5 %": lambda x: cut(x, 0.05),
    "cut by 15 %": lambda x: cut(x, 0.15),
    "noise at 30 dB": lambda x: noisy(x, 30),
    "noise at 20 dB": lambda x: noisy(x, 20),
    "MP3 at 66 kb/s": lambda x: encoded(x, "MP3", "MPEG_LAYER_III", 0.0),
    "MP3 at 38 kb/s": lambda x: encoded(x, "MP3", "MPEG_LAYER_III", 0.5),
    "MP3 at 22 kb/s": lambda x: encoded(x, "MP3", "MPEG_LAYER_III", 0.99),
    "Vorbis at 58 kb/s": lambda x: encoded(x, "OGG", "VORBIS", 0.5),
    "Vorbis at 39 kb/s": lambda x: encoded(x, "OGG", "VORBIS", 0.99),
    "Opus at 112 kb/s": lambda x: encoded(x, "OGG", "OPUS", 0.6, 48_000),
    "Opus at 35 kb/s": lambda x: encoded(x, "OGG", "OPUS", 0.9, 48_000),
    "Opus at 11 kb/s": lambda x: encoded(x, "OGG", "OPUS", 0.99, 48_000),
    "22.05 kHz + cut + gain + MP3": lambda x: encoded(
        cut(resampled(x, 22_050), 0.08) * np.float32(0.3), "MP3", "MPEG_LAYER_III", 0.5
    ),
    "1 % faster": lambda x: faster(x, 0.01),
    "2 % faster": lambda x: faster(x, 0.02),
}


def sound_groups(
    prints: Mapping[str, Prints | None], shards: Sequence[int] = (), memory_gb: float = 1.0
) -> tuple[dict[str, str], dict[str, Any]]:
    """Clips that have copies -> the leader of their group, and the figures of the search.

    Args:
        prints: clip_id -> fingerprint.
        shards: clips in each shard but the last.
        memory_gb: for a task.
    """
    from datagen.stages.neighbours.stage import Neighbours, NeighboursConfig

    data = pa.array([None if one is None else pack(one) for one in prints.values()], pa.binary())
    names = pa.array(list(prints), pa.string())
    table = pa.table({"clip_id": names, "audio_fingerprint": data, "text_key": pa.nulls(len(names), pa.string())})
    parts, at = [], 0
    for size in [*shards, len(table)]:
        parts.append(table.slice(at, size))
        at += size
    stage = Neighbours(NeighboursConfig(texts=False, voices=False, memory_gb=memory_gb))
    outputs, figures = worked(stage, parts)
    groups = [one for output in outputs if output.columns for one in output.columns["sound_group"].to_pylist()]
    assert figures is not None
    return {clip: leader for clip, leader in zip(prints, groups, strict=True) if leader is not None}, figures["sounds"]
