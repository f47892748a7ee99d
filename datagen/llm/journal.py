"""Finished calls, kept as they finish, so that nobody pays for one twice.

    <folder>/<milliseconds>-<pid>-<luck>.jsonl              local: one append-only segment per process
    <folder>/<milliseconds>-<pid>-<luck>-000007.jsonl.zst   remote: whole segments, a new one every second

A record is with the operating system before the caller has the outcome: a killed process loses nothing that it was
given, a machine that loses power what was not yet written out. Remotely a kill loses the last second. Workers write
segments of their own side by side; of two records with one key the first counts, by segment name and then by position.
A torn or spoilt line is as if it were not there.

Plain text locally, because a torn tail then costs one line; remotely zstd, a third of the size.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from datagen.files import FULL, Files, full
from datagen.llm.answers import Reply
from datagen.llm.index import HEAD, Index, line_key

#: Seconds between two remote segments.
EVERY_S = 1.0
#: Records that are held back at most, so that a busy loop writes several at once.
HELD = 32


class Journal:
    """Calls finished by anybody who wrote to ``folder`` before this was first read, and those added since."""

    def __init__(self, files: Files, folder: str) -> None:
        self.files, self.folder = files, folder
        self._index: Index | None = None
        self._own: dict[str, tuple[int, int]] = {}  #: key -> offset and length in ``_sink``
        self._sink: IO[bytes] | None = None
        self._end = 0
        self._held: list[bytes] = []
        self._outbox: _Outbox | None = None

    def __reduce__(self) -> tuple[type, tuple[Files, str]]:
        return (Journal, (self.files, self.folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Distinct keys, those whose record is spoilt included."""
        index = self._opened()
        return len(index) + sum(key not in index for key in self._own)

    def get(self, key: str) -> Reply | None:
        """The first whole record under this key."""
        for line in self._opened().lines(key):
            if reply := _record(line):
                return reply
        if key in self._own:
            self.flush()
            assert self._sink is not None
            offset, length = self._own[key]
            return _record(os.pread(self._sink.fileno(), length, offset))
        return None

    def add(self, key: str, reply: Reply, *, hold: bool = False) -> None:
        """Keep a finished call; with ``hold``, not before ``flush`` or a few more of them.

        Raises:
            EnvironmentFault: there is no room.
        """
        text = json.dumps(reply.as_dict(), ensure_ascii=False, separators=(",", ":"))
        line = HEAD + key.encode() + b'","reply":' + text.encode() + b"}\n"
        self._own.setdefault(key, (self._end, len(line)))
        self._end += len(line)
        self._held.append(line)
        if not hold or len(self._held) >= HELD:
            self.flush()

    def flush(self) -> None:
        """What was held back is with the operating system.

        Raises:
            EnvironmentFault: there is no room.
        """
        if not self._held:
            return
        lines, self._held = b"".join(self._held), []
        try:
            if self._sink is None:
                self._begin()
            assert self._sink is not None
            written = self._sink.write(lines)
            if written != len(lines):  # the file system took a part of it: it is full, or nearly so
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._abandon()
            if error.errno in FULL:
                raise full(self.files.path(self.folder), error) from error
            raise
        if self._outbox:
            self._outbox.put(lines)

    def refresh(self) -> None:
        """Look again at what others have written."""
        if self._index:
            self._index.close()
        self._index = None

    def close(self) -> None:
        """Everything added is with the operating system, or sent."""
        self.flush()
        if self._outbox:
            self._outbox.close()
        if self._sink is not None:
            self._sink.close()
        if self._index:
            self._index.close()
        self._sink, self._outbox, self._index, self._own, self._end = None, None, None, {}, 0

    def _abandon(self) -> None:
        """The torn line ends this segment: another would be glued to it. What was whole is read like anybody's."""
        sink, outbox, self._sink, self._outbox = self._sink, self._outbox, None, None
        self._own, self._end, self._held = {}, 0, []
        if sink is not None:
            sink.close()
        if outbox is not None:
            outbox.close()
        self.refresh()

    def _opened(self) -> Index:
        if self._index is None:
            self._index = Index(self.files, self.folder)
        return self._index

    def _begin(self) -> None:
        name = f"{time.time_ns() // 1_000_000:013d}-{os.getpid()}-{secrets.token_hex(4)}"
        if self.files.local:
            path = Path(self.files.path(f"{self.folder}/{name}.jsonl"))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = path.open("ab+", buffering=0)
        else:
            self._sink = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (to be read again; what is sent counts)
            self._outbox = _Outbox(self.files, f"{self.folder}/{name}")


def _record(line: bytes) -> Reply | None:
    try:
        data: Any = json.loads(line)
        return Reply.of(data["reply"]) if line_key(line) == data["key"] else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class _Outbox:
    """Sends lines as segments from a thread of its own, so that a slow store holds up nobody."""

    def __init__(self, files: Files, stem: str) -> None:
        self._files, self._stem = files, stem
        self._lines: list[bytes] = []
        self._sent = 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_now_and_then, name="journal", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Raises what went wrong with what was put before."""
        if self._error:
            raise self._error
        with self._lock:
            self._lines.append(line)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _send_now_and_then(self) -> None:
        while not self._over.wait(EVERY_S):
            if not self._send():
                return
        self._send()

    def _send(self) -> bool:
        import pyarrow as pa

        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            try:
                packed = pa.BufferOutputStream()
                with pa.CompressedOutputStream(packed, "zstd") as sink:
                    sink.write(b"".join(lines))
                self._files.write(f"{self._stem}-{self._sent:06d}.jsonl.zst", packed.getvalue().to_pybytes())
            except Exception as error:
                self._error = error
                return False
            self._sent += 1
        return True
