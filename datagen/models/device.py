"""Where a model runs: device, threads, precision; and that nothing is fetched while it does."""

from __future__ import annotations

import os
from typing import ClassVar, Literal

from pydantic import Field

from datagen.stage import Resources, StageConfig

Device = Literal["auto", "cpu", "cuda"]


class ModelConfig(StageConfig):
    """Settings of every stage that may run a speech model. Where it runs and in how large batches decides no result."""

    #: Where the files lie is no part of a key; what is in them is (``manifest.revision`` in ``semantics``).
    non_semantic: ClassVar[frozenset[str]] = frozenset({"model", "device", "batch_seconds"})

    model: str = Field("", description="name in `datagen models list`, or a folder that holds the model's files")
    device: Device = Field("auto", description="auto = the GPU this worker was given, else the CPU")
    batch_seconds: float = Field(
        160.0, gt=0, description="audio seconds per model batch, on a CPU at most 4; halved where memory is short"
    )


def wants(config: ModelConfig) -> Resources:
    """What a worker with a speech model asks for, unless the recipe says otherwise: one CPU computes, one decodes."""
    return Resources(cpus=2.0, gpus=0.0 if config.device == "cpu" else "auto", recycle_hours=50.0)


def resolve(device: Device) -> str:
    """``"cuda"`` or ``"cpu"``.

    Raises:
        EnvironmentFault: a GPU is asked for and there is none, or none was given to this worker.
    """
    import torch

    from datagen.errors import EnvironmentFault

    if device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault(
            "device: cuda is asked for, but this worker has no GPU that torch can use; give the stage one "
            "(resources.gpus) or set device: auto"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


#: Threads of one model on a CPU. A constant: how a sum is split decides its last digits, and those must not depend on
#: the machine or on how many workers share it (law 5). One, because several stages run side by side: threads that wait
#: for each other on busy cores made tiny models twenty times slower. More cores serve more workers.
THREADS = 1


def settle_threads(count: int = THREADS) -> None:
    """Give torch its threads. Before every use, not once: other stages of the same process may want another number."""
    import torch

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


#: Audio seconds per model batch on a CPU. One clip of 3 s keeps a core busy, and more of them only fill its cache with
#: each other (a batch of eight took a third longer) and pay for padding; shorter clips gain up to a quarter together.
CPU_SECONDS = 4.0


def batch_seconds(asked: float, device: str) -> float:
    """Audio seconds per model batch on ``device`` ("cpu" or "cuda"); an item that is longer has a batch of its own."""
    return min(asked, CPU_SECONDS) if device == "cpu" else asked


def offline() -> None:
    """From here on no model library looks anything up on a network: all files come from the manifest's cache."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[name] = "1"
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # else it reports to its makers; read anew before every report
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
