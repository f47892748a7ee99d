"""Where somebody speaks: the silero voice activity model, as shipped inside the faster-whisper wheel (ONNX).

The model hears 16 kHz in frames of 512 samples (32 ms), each with the last 64 samples of the frame before, and carries
a state along. One thread: the same sound gives the same numbers however many workers there are.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.stage import Provenance
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

FRAME = 512
FRAME_S = FRAME / SAMPLE_RATE
_CONTEXT = 64
_BLOCK_FRAMES = 4096
#: The loud frames are brought to this level before the model listens: it was not trained on whispers at -60 dBFS.
_LEVEL_DBFS = -23.0
_MAX_GAIN_DB = 60.0


def model_path() -> Path | None:
    """The ONNX file, found without importing faster-whisper (which would import its whole inference engine)."""
    spec = find_spec("faster_whisper")
    if spec is None or not spec.submodule_search_locations:
        return None
    files = sorted((Path(spec.submodule_search_locations[0]) / "assets").glob("silero_vad_v*.onnx"))
    return files[-1] if files else None


def revision() -> str:
    """Name of the model's file and version of the wheel it came in."""
    path = model_path()
    return f"{path.stem if path else 'missing'} (faster-whisper {version('faster-whisper')})"


def provenance(*columns: str) -> Provenance:
    return Provenance("silero-vad", revision(), "MIT", columns)


class Silero:
    """Raises ``FileNotFoundError`` when the wheel carries no model file where it used to."""

    def __init__(self) -> None:
        import onnxruntime

        path = model_path()
        if path is None:
            raise FileNotFoundError("no silero_vad_v*.onnx in the faster-whisper package; reinstall faster-whisper")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, samples: Floats) -> Floats:
        """Probability of speech in each frame of 32 ms of ``samples`` (float32 [n], 16 kHz, full scale 1).

        Returns:
            float32 [ceil(n / 512)], rounded to 4 decimals.
        """
        count = -(-len(samples) // FRAME)
        if not count:
            return np.zeros(0, np.float32)
        frames = np.zeros((count, FRAME), np.float32)
        frames.reshape(-1)[: len(samples)] = samples
        frames *= np.float32(10 ** (_gain_db(frames) / 20))
        np.clip(frames, -1, 1, out=frames)
        hidden = cell = np.zeros((1, 1, 128), np.float32)
        parts = []
        for begin in range(0, count, _BLOCK_FRAMES):
            block = frames[begin : begin + _BLOCK_FRAMES]
            context = np.zeros((len(block), _CONTEXT), np.float32)
            context[1:] = block[:-1, -_CONTEXT:]
            if begin:
                context[0] = frames[begin - 1, -_CONTEXT:]
            inputs = {"input": np.concatenate([context, block], axis=1), "h": hidden, "c": cell}
            speech, hidden, cell = self._session.run(None, inputs)
            parts.append(speech.reshape(-1))
        return np.round(np.concatenate(parts), 4)


def _gain_db(frames: Floats) -> float:
    """Gain that brings the loud frames (95th percentile of the power) to the usual level; 0 for digital silence."""
    power = np.percentile(np.mean(np.square(frames), axis=1), 95)
    if power <= 1e-12:
        return 0.0
    return float(min(_LEVEL_DBFS - 10 * np.log10(power), _MAX_GAIN_DB))
