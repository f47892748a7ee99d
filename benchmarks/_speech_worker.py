"""One side of a comparison in a process of its own, so that memory is its own; asked over a pipe, one round at a time.

    python _speech_worker.py MODEL VARIANT FOLDER cpu|cuda

Reads one JSON object per line ({"file", "nominal", "first"}) and answers each with one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import _speech_clips
import _speech_models
from _speech_models import Said

from datagen.models import device


class Side(Protocol):
    """What runs one model one way."""

    def run(self, file: Path, nominal: float, first: int | None = None) -> dict[str, Any]:
        """One round over the clips of ``file`` (or the ``first`` of them): ``seconds`` it took (on a CPU those of the
        processor), ``said``, ``metrics``, ``peak_mb`` of memory since the start (on a GPU of its memory, beyond CUDA's
        own)."""
        ...

    def close(self) -> None: ...


class Here:
    """In this process: for tests."""

    def __init__(self, model: str, variant: str, folder: Path, where: str) -> None:
        self._gpu = _GpuMemory() if where == "cuda" else None
        # One thread computes: its processor time is what it would take if nobody else wanted the core.
        self._clock = time.process_time if where == "cpu" else time.perf_counter
        self._run = _speech_models.load(model, variant, folder, where)

    def run(self, file: Path, nominal: float, first: int | None = None) -> dict[str, Any]:
        clips = _speech_clips.read(nominal, file)
        if first is not None:
            clips = clips.first(first)
        started = self._clock()
        result = self._run(clips)
        took = self._clock() - started
        peak = self._gpu.peak_mb() if self._gpu else _resident_mb()
        return {"seconds": took, "said": [asdict(one) for one in result.said], "metrics": dict(result.metrics),
                "peak_mb": peak}  # fmt: skip

    def close(self) -> None:
        pass


class Apart:
    """In a process of its own."""

    def __init__(self, model: str, variant: str, folder: Path, where: str) -> None:
        command = [sys.executable, __file__, model, variant, str(folder), where]
        self._log = (folder.parent / f"{model}-{variant.replace(', ', '-')}.log").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(device.THREADS)},
        )  # fmt: skip
        self._answer()  # loaded

    def run(self, file: Path, nominal: float, first: int | None = None) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"file": str(file), "nominal": nominal, "first": first}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"{' '.join(self._process.args[1:])} failed:\n{self._log.read()[-4000:]}")
        return json.loads(line)

    def close(self) -> None:
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _resident_mb() -> float:
    """Most memory this process ever held. Not ``ru_maxrss``, which a child inherits from what started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


class _GpuMemory:
    """Watches the device's free memory from another thread: torch's blocks and CTranslate2's are both seen so.

    The process that is measured is the only one at work; what others hold meanwhile does not change.
    """

    def __init__(self) -> None:
        import torch

        torch.cuda.init()
        self._before = self._least = torch.cuda.mem_get_info()[0]
        threading.Thread(target=self._watch, args=(torch.cuda.mem_get_info,), daemon=True).start()

    def _watch(self, free: Any) -> None:
        while True:
            self._least = min(self._least, free()[0])
            time.sleep(0.01)

    def peak_mb(self) -> float:
        return (self._before - self._least) / 2**20


def said(answer: dict[str, Any]) -> list[Said]:
    return [Said(**one) for one in answer["said"]]


def main(model: str, variant: str, folder: str, where: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries talk on standard output
    side = Here(model, variant, Path(folder), where)
    print(json.dumps({}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        found = side.run(Path(asked["file"]), asked["nominal"], asked["first"])
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
