"""What models of text have in common: the languages they know, their weights, and batches in which company changes
nothing.

A text that is padded to its neighbours' length, or multiplied beside more or fewer of them, comes out some 1e-7
different, and after rounding some of its digits do. Then one sentence would have two vectors in two shards. So the
shape of a batch follows from the text alone: its tokens rounded up to a multiple of ``STEP``, and always the same
number of rows, filled up with copies. The same shapes run the same kernels, and a row never sees the others.
``docs/text.md`` has the measurements.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from datagen.errors import EnvironmentFault
from datagen.models import manifest
from datagen.models.device import Device, settle_threads
from datagen.quality.texts import UNDETERMINED
from datagen.stage import Resources, StageConfig

Floats = npt.NDArray[np.float32]

#: Rows of every batch, by device. On a CPU more of them only wait for their kind.
ROWS = {"cpu": 8, "cuda": 64}
#: Tokens are rounded up to a multiple of this.
STEP = 8
#: In a recipe's ``languages``: whatever language a text is in.
ANY = "*"


class TextModelConfig(StageConfig):
    """Settings of every stage that may run a model on transcripts."""

    #: As in ``device.ModelConfig``.
    non_semantic: ClassVar[frozenset[str]] = frozenset({"model", "device"})

    model: str = Field("", description="name in `datagen models list`, or a folder that holds the model's files")
    device: Device = Field("auto", description="auto = the GPU this worker was given, else the CPU")
    languages: tuple[str, ...] | None = Field(
        None, description='what the model knows, ISO 639-1, ["*"] = any; must be said of a folder of your own'
    )


def wants(config: TextModelConfig) -> Resources:
    """What a worker with such a model asks for, unless the recipe says otherwise."""
    return Resources(cpus=1.0, gpus=0.0 if config.device == "cpu" else "auto")


@dataclass(frozen=True)
class Languages:
    """Which texts a model is asked about. Empty ``codes`` = any."""

    codes: frozenset[str]

    def know(self, language: str) -> bool:
        """Whether a text of that language (``texts.language``) is one. Where nobody knows the language, it is one only
        for a model of several: an English model makes something of every text, and nothing good."""
        return not self.codes or language in self.codes or (language == UNDETERMINED and len(self.codes) > 1)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.codes) or [ANY])


def languages(model: manifest.Model, asked: Sequence[str] | None) -> Languages:
    """The recipe's, else the manifest's; of a folder of one's own the manifest knows nothing (see ``missing``)."""
    if asked is not None:
        return Languages(frozenset() if ANY in asked else frozenset(asked))
    return Languages(frozenset({UNDETERMINED}) if model.own else frozenset(model.entry.languages))


def missing(stage: str, model: manifest.Model, packages: Iterable[str], asked: Sequence[str] | None) -> str | None:
    """What has to be installed, fetched or said before ``model`` can run, or None. Imports nothing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"model {model.entry.name} needs the package {package}: install it, or `make setup-main`"
    if model.own and asked is None:
        return (
            f"stages.{stage}: nobody knows which languages the model in {model.folder} knows: say so, "
            'e.g. languages: [en], or ["*"] for any'
        )
    return manifest.missing(model)


def complete(network: Any, file: Path, prefix: str = "", spare: Sequence[str] = ()) -> None:
    """Compare a loaded network with its ``model.safetensors``, name by name: the library fills in what it lacks at
    random and leaves out what it has no place for, with a warning at most.

    Args:
        network: torch module; its state dict's names are the file's, with or without ``prefix``.
        spare: beginnings of names that may be missing or left over, since they are not run.

    Raises:
        EnvironmentFault: weights are missing, left over, of another shape or not finite.
    """
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        there = {name.removeprefix(prefix): tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    counted = {name for name in own.keys() | there.keys() if not name.startswith(tuple(spare))}
    wrong = {
        "missing": sorted(counted & own.keys() - there.keys()),
        "left over": sorted(counted & there.keys() - own.keys()),
        "of another shape": sorted(name for name in counted & own.keys() & there.keys() if own[name] != there[name]),
        "not finite": sorted(name for name, tensor in network.named_parameters() if not tensor.isfinite().all()),
    }
    told = "; ".join(f"{len(names)} {what}: {', '.join(names[:3])}" for what, names in wrong.items() if names)
    if told:
        raise EnvironmentFault(f"{file}: not the weights of the model that config.json describes ({told})")


class FixedShapes:
    """Texts -> one row of numbers each, in batches whose shape depends on the text alone.

    A text of more than ``most`` tokens is cut into halves until the parts fit; its numbers are the mean of theirs,
    weighted by their tokens. Nothing is cut off unseen.

    Args:
        tokenizer: of transformers.
        forward: ``input_ids``, ``attention_mask``, ... [rows, tokens] on ``device`` -> [rows, numbers].
        most: tokens that the network takes.
    """

    def __init__(
        self, tokenizer: Any, forward: Callable[[Mapping[str, Any]], Any], most: int, device: str = "cpu"
    ) -> None:
        self.tokenizer, self.forward, self.most, self.device = tokenizer, forward, most, device

    def __call__(self, texts: Sequence[str]) -> Floats:
        """float32 [texts, numbers].

        Raises:
            ValueError: no texts.
        """
        parts: list[str] = []
        sizes: list[int] = []
        owner: list[int] = []
        for at, text in enumerate(texts):
            for part, size in self._parts(text):
                parts.append(part)
                sizes.append(size)
                owner.append(at)
        found = self._run(parts, sizes)
        weights = np.array(sizes, np.float32)[:, None]
        if len(parts) == len(texts):
            return found
        total = np.zeros((len(texts), found.shape[1]), np.float32)
        share = np.zeros((len(texts), 1), np.float32)
        np.add.at(total, owner, found * weights)
        np.add.at(share, owner, weights)
        return np.asarray(total / share)

    def _parts(self, text: str) -> list[tuple[str, int]]:
        # `verbose`: the tokenizer would warn of lengths that are dealt with here.
        size = len(self.tokenizer(text, verbose=False)["input_ids"])
        if size <= self.most or len(text) < 2:
            return [(text, min(size, self.most))]
        return [part for half in halves(text) for part in self._parts(half)]

    def _run(self, parts: Sequence[str], sizes: Sequence[int]) -> Floats:
        import torch

        settle_threads()
        rows = ROWS[self.device]
        batches: dict[int, list[int]] = {}
        for at, size in enumerate(sizes):
            batches.setdefault(min(-(-size // STEP) * STEP, self.most), []).append(at)
        found: Floats | None = None
        for length, members in sorted(batches.items(), reverse=True):  # what does not fit in memory shows at once
            for begin in range(0, len(members), rows):
                some = members[begin : begin + rows]
                batch = [parts[at] for at in some]
                batch += batch[:1] * (rows - len(batch))
                inputs = self.tokenizer(
                    batch, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
                )
                # TF32 would round to 10 bits.
                with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                    made = self.forward({name: value.to(self.device) for name, value in inputs.items()})
                numbers = made.float().cpu().numpy()
                if found is None:
                    found = np.zeros((len(parts), numbers.shape[1]), np.float32)
                found[some] = numbers[: len(some)]
        if found is None:
            raise ValueError("no texts")
        return found


def halves(text: str) -> tuple[str, str]:
    """The text in two, at the blank nearest its middle; without a blank, in the middle.

    >>> halves("one two three four"), halves("今天很高兴")
    (('one two', 'three four'), ('今天', '很高兴'))
    """
    middle = len(text) // 2
    blanks = [at for at, char in enumerate(text) if char == " "]
    if not blanks:
        return text[:middle], text[middle:]
    cut = min(blanks, key=lambda at: (abs(at - middle), at))
    return text[:cut], text[cut + 1 :]


def tokens_at_most(tokenizer: Any, config: Any) -> int:
    """What a plain transformers model takes: the tokenizer's limit, or the positions it has (RoBERTa keeps two)."""
    positions = int(getattr(config, "max_position_embeddings", 512)) - 2
    return int(min(int(tokenizer.model_max_length), positions))


def read_json(path: Path) -> Any:
    """Raises: EnvironmentFault: no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{path}: cannot be read: {error}") from error
