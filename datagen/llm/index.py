"""Where in a journal's segments each key stands: 36 bytes a record in memory, the records stay on disk.

Lines are found and keys read with whole arrays; no JSON is parsed until a record is asked for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from datagen.files import Files

#: Every line begins with this, then 32 hexadecimal digits and a quotation mark.
HEAD = b'{"key":"'
DIGITS = 32
_BLOCK = 32 * 2**20

_NIBBLE = np.full(256, 255, dtype=np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def line_key(line: bytes) -> str:
    return line[len(HEAD) : len(HEAD) + DIGITS].decode(errors="replace")


@dataclass(frozen=True, slots=True)
class _Found:
    """Lines of one stretch of bytes: halves of their keys, offsets and lengths in bytes."""

    high: np.ndarray
    low: np.ndarray
    offset: np.ndarray
    length: np.ndarray


class Index:
    """Of all segments that lie in ``folder`` now. Remote ones are fetched into one temporary file."""

    def __init__(self, files: Files, folder: str) -> None:
        names = files.names(folder)
        self._paths: list[Path] = []
        self._spool: IO[bytes] | None = None
        found: list[tuple[int, _Found]] = []
        if files.local:
            for name in names:
                if name.endswith(".jsonl"):
                    self._paths.append(Path(files.path(f"{folder}/{name}")))
                    with self._paths[-1].open("rb") as source:
                        found += [(len(self._paths) - 1, part) for part in _scan(source)]
        else:
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115 (read as long as the index lives)
            for name in names:
                if name.endswith(".jsonl.zst"):
                    self._spool.write(_unpacked(files.read(f"{folder}/{name}")))
            self._spool.flush()
            self._spool.seek(0)
            found = [(0, part) for part in _scan(self._spool)]
        self._fill(found)

    def _fill(self, found: list[tuple[int, _Found]]) -> None:
        def whole(name: str, kind: type) -> np.ndarray:
            return np.concatenate([np.empty(0, kind), *(getattr(part, name) for _, part in found)])

        high = whole("high", np.uint64)
        order = np.argsort(high, kind="stable")  # equal keys stay in the order of segments and positions
        self._high = high[order]
        self._low = whole("low", np.uint64)[order]
        self._offset = whole("offset", np.int64)[order]
        self._length = whole("length", np.int64)[order]
        segments = [np.full(len(part.high), number, np.int32) for number, part in found]
        self._segment = np.concatenate([np.empty(0, np.int32), *segments])[order]

    def __len__(self) -> int:
        """Distinct keys."""
        if len(self._high) == 0:
            return 0
        pairs = np.stack([self._high, self._low], axis=1)
        return len(np.unique(pairs, axis=0))

    def __contains__(self, key: str) -> bool:
        return next(self._rows(key), None) is not None

    def lines(self, key: str) -> Iterator[bytes]:
        """All lines under a key, the one that counts first."""
        for row in self._rows(key):
            offset, length = int(self._offset[row]), int(self._length[row])
            if self._spool is not None:
                yield os.pread(self._spool.fileno(), length, offset)
                continue
            with self._paths[self._segment[row]].open("rb", buffering=0) as source:
                yield os.pread(source.fileno(), length, offset)

    def _rows(self, key: str) -> Iterator[int]:
        high, low = np.uint64(int(key[:16], 16)), int(key[16:], 16)
        row = int(np.searchsorted(self._high, high))
        while row < len(self._high) and self._high[row] == high:
            if int(self._low[row]) == low:
                yield row
            row += 1

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()


def _scan(source: IO[bytes]) -> Iterator[_Found]:
    """Lines of a file from where it stands, block by block; what follows the last newline is a torn tail."""
    start, rest = 0, b""
    while block := source.read(_BLOCK):
        data = rest + block
        end = data.rfind(b"\n") + 1
        if end:
            yield _lines(np.frombuffer(data, np.uint8, end), start)
        start, rest = start + end, data[end:]


def _lines(data: np.ndarray, start: int) -> _Found:
    """Of bytes that end with a newline and lie at ``start`` in their file."""
    ends = np.flatnonzero(data == ord("\n")) + 1
    begins = np.concatenate([[0], ends[:-1]])
    fit = ends - begins > len(HEAD) + DIGITS
    begins, ends = begins[fit], ends[fit]
    head = data[begins[:, None] + np.arange(len(HEAD))]
    nibbles = _NIBBLE[data[begins[:, None] + np.arange(len(HEAD), len(HEAD) + DIGITS)]]
    good = (head == np.frombuffer(HEAD, np.uint8)).all(axis=1) & (nibbles < 16).all(axis=1)
    begins, ends, nibbles = begins[good], ends[good], nibbles[good]
    packed = np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2])
    halves = packed.view(">u8").astype(np.uint64)
    return _Found(halves[:, 0], halves[:, 1], begins + start, ends - begins)


def _unpacked(data: bytes) -> bytes:
    """A zstd segment; what a damaged one holds up to the damage is not used."""
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as source:
            return bytes(source.read())
    except (OSError, pa.ArrowInvalid):
        return b""
