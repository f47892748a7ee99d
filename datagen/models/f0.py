"""Fundamental frequency: SwiftF0, a small convolutional network with its weights inside the wheel (MIT).

Chosen by measurement among the trackers whose licence fits; see ``docs/prosody.md`` and ``benchmarks/f0.py``.
It runs on 16 kHz mono in frames of 16 ms, on one thread, so that results do not depend on the machine's cores.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from datagen.speech.prosody import Floats, Track, normalise

NAME, LICENCE = "swift-f0", "MIT"
#: Search range in Hz: creaky men to shouting children. The network's own range is 46.9 to 2093.8 Hz.
FLOOR_HZ, CEILING_HZ = 50.0, 700.0
#: The network's confidence is calibrated for a decision at one half.
VOICED_AT = 0.5
HOP_S = 0.016


def missing() -> str | None:
    """Why the tracker cannot run here, with the mend; None when it can."""
    return None if find_spec("swift_f0") else f"the package {NAME} is missing: pip install {NAME}"


def revision() -> str:
    """Version of the package, which is the version of the weights."""
    return version(NAME) if missing() is None else "not installed"


class F0Tracker:
    """Tracks F0 of whole clips; make one per process, it holds the network."""

    def __init__(self, floor_hz: float = FLOOR_HZ, ceiling_hz: float = CEILING_HZ) -> None:
        import swift_f0

        # The default spins on all cores between calls, which starves neighbours.
        self._network: Any = swift_f0.SwiftF0(threads=1, spin=False)
        self._range = (floor_hz, ceiling_hz)

    def track(self, samples: Floats) -> Track:
        """F0 of 16 kHz mono samples. Level does not matter: the clip is brought to one level first, because the
        network has an absolute floor of silence. An empty or silent clip has no voiced frame."""
        if not samples.size or not np.any(samples):
            empty = np.zeros(0)
            return Track(empty, empty, empty.astype(bool))
        found = self._network.detect(normalise(samples).astype(np.float32), 16_000, *self._range)
        return Track(found.timestamps, found.pitch_hz, found.confidence >= VOICED_AT)
