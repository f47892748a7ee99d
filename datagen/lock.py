"""One driver per run directory.

Local: an OS lock, gone with its process however that ends. Object stores: a lease object, made with a conditional
PUT and renewed by a heartbeat; a lease nobody has renewed for ``LEASE_S`` is dead and may be taken over, aloud.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen.errors import UsageError
from datagen.files import Files

LEASE_S = 60.0
HEARTBEAT_S = 15.0


class RunLock:
    """Hold with ``with RunLock(files, say):``.

    Raises:
        UsageError: another driver holds the directory; says which and since when.
    """

    def __init__(self, files: Files, say: Callable[[str], None] = print) -> None:
        self._files, self._say = files, say
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "id": uuid.uuid4().hex}
        self._descriptor = -1
        self._stop = threading.Event()
        self._beat: threading.Thread | None = None
        self.lost = False  #: a remote lease that somebody took over while we hung

    def __enter__(self) -> RunLock:
        if self._files.local:
            self._lock_file()
        else:
            self._take_lease()
        return self

    def __exit__(self, *_: object) -> None:
        if self._files.local:
            os.close(self._descriptor)
            return
        self._stop.set()
        if self._beat:
            self._beat.join()
        if not self.lost:
            self._files.delete("lock")

    def _lock_file(self) -> None:
        path = self._files.path("lock")
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(
                f"{self._files.url}: cannot be written to: {error.strerror}; choose another --output"
            ) from None
        os.set_inheritable(self._descriptor, False)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _parse(os.pread(self._descriptor, 4096, 0))
            os.close(self._descriptor)
            raise UsageError(_busy(self._files.url, holder)) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(self._me).encode(), 0)

    def _take_lease(self) -> None:
        if not self._create():
            holder = self._read()
            age = time.time() - float(holder.get("beat", holder.get("since", 0)))
            if age < LEASE_S:
                raise UsageError(_busy(self._files.url, holder))
            self._say(f"taking over {self._files.url}: its driver {_who(holder)} has been silent for {age:.0f} s")
            self._files.delete("lock")
            if not self._create():
                raise UsageError(_busy(self._files.url, self._read()))
        self._beat = threading.Thread(target=self._renew, daemon=True)
        self._beat.start()

    def _create(self) -> bool:
        """Conditional PUT where the store knows it (S3: If-None-Match); elsewhere look, write, look again."""
        data = json.dumps(self._me | {"beat": time.time()}).encode()
        path = self._files.path("lock")
        try:
            self._files.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except (TypeError, ValueError):  # a file system that has no exclusive create
            if self._files.exists("lock"):
                return False
            self._files.write("lock", data)
        self._files.fs.invalidate_cache()
        return bool(self._read().get("id") == self._me["id"])

    def _read(self) -> dict[str, Any]:
        try:
            return _parse(self._files.read("lock"))
        except FileNotFoundError:
            return {}

    def _renew(self) -> None:
        beat = time.time()
        while not self._stop.wait(HEARTBEAT_S):
            try:
                if self._read().get("id") == self._me["id"]:
                    now = time.time()
                    self._files.write("lock", json.dumps(self._me | {"beat": now}).encode())
                    beat = now
                    continue
            except Exception:  # a store's bad moment, of whatever kind: the lease lasts a while yet
                if time.time() - beat < LEASE_S:
                    continue
            self.lost = True
            return


def _parse(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _who(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def _busy(url: str, holder: dict[str, Any]) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(float(holder.get("since", time.time()))))
    return f"{url} is in use by {_who(holder)} since {since}; wait for it or choose another --output"
