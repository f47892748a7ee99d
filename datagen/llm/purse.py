"""What all processes of a run have spent on a language model, so that a cap holds for the whole run directory.

    <folder>/<host>-<pid>-<luck>.json    what one process has spent, written again every second or so

Each process writes its own file and reads the others', those of earlier runs included. So what others spend is known
a moment late, and a cap is overdrawn by that moment and by the calls that are under way.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from typing import NamedTuple

from datagen.files import Files

#: Seconds between two looks at the others, where the run's files are local and where they are not.
EVERY_S, REMOTE_EVERY_S = 1.0, 10.0


class Spent(NamedTuple):
    tokens: float = 0.0
    gpu_seconds: float = 0.0


class Purse:
    """One per process and purpose. ``others`` never waits for a file: a thread looks every now and then."""

    def __init__(self, files: Files, folder: str, every_s: float | None = None) -> None:
        self._files, self._folder = files, folder
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.json"
        self._every_s = every_s or (EVERY_S if files.local else REMOTE_EVERY_S)
        self._own = self._written = Spent()
        self._others = Spent()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, tokens: float = 0.0, gpu_seconds: float = 0.0) -> None:
        with self._lock:
            self._own = Spent(self._own.tokens + tokens, self._own.gpu_seconds + gpu_seconds)
        self.start()

    @property
    def own(self) -> Spent:
        return self._own

    @property
    def others(self) -> Spent:
        """As of the last look; the first is made here."""
        self.start()
        return self._others

    def start(self) -> None:
        """Begin to look and to write; nothing happens the second time."""
        if self._thread is None:
            self._over.clear()
            self.refresh()
            self._thread = threading.Thread(target=self._now_and_then, name="spending", daemon=True)
            self._thread.start()

    def refresh(self) -> None:
        """Write what was spent here, and read what was spent elsewhere."""
        own = self._own
        if own != self._written:
            self._files.write_json(f"{self._folder}/{self._name}", own._asdict())
            self._written = own
        self._others = total(self._files, self._folder, without=self._name)

    def close(self) -> None:
        """What was spent is written."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.refresh()

    def _now_and_then(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self.refresh()
            except Exception:  # a store's bad moment, of whatever kind: there is another look, and one at the end
                continue


def total(files: Files, folder: str, without: str | None = None) -> Spent:
    """Added up over all processes; a file that is spoilt counts as nothing."""
    found = [_read(files, f"{folder}/{name}") for name in files.names(folder) if name != without]
    return Spent(sum(each.tokens for each in found), sum(each.gpu_seconds for each in found))


def _read(files: Files, name: str) -> Spent:
    try:
        data = files.read_json(name)
        return Spent(float(data["tokens"]), float(data["gpu_seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Spent()
