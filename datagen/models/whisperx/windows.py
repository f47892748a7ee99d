"""Log-mel spectrograms of Whisper's windows: 30 s each, whatever is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

HOP, SPAN = 160, 400  #: samples from frame to frame, and under one frame
FRAMES = 3000
SAMPLES = HOP * FRAMES


def mel(samples: Floats, bands: int) -> Floats:
    """What ``whisperx.audio.log_mel_spectrogram`` makes of ``samples`` padded with zeros to 30 s.

    Most of the 30 s of a short clip are padding, and every frame of it is the same: only one is computed, the others
    are its copies. What is longer than 30 s is cut there.

    Args:
        samples: float32 [n], 16 kHz.
        bands: mel bands of the model, 80 or 128.

    Returns:
        float32 [bands, 3000].
    """
    from whisperx.audio import log_mel_spectrogram

    samples = np.ascontiguousarray(samples[:SAMPLES])
    silence = SPAN + -(len(samples) + SPAN) % HOP
    silence = min(silence, SAMPLES - len(samples))
    short: Any = log_mel_spectrogram(samples, bands, padding=silence).numpy()
    full = np.empty((bands, FRAMES), np.float32)
    full[:, : short.shape[1]] = short
    full[:, short.shape[1] :] = short[:, -1:]
    return full
