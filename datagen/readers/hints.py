"""How long a file probably is, without decoding it: for sizing shards and predicting work, never for a fact."""

from __future__ import annotations

import posixpath

from datagen.readers.tree import FileInfo, Tree

#: Bytes of one second, usual encodings of speech.
_BYTES_PER_SECOND = {
    ".wav": 64_000, ".wave": 64_000, ".aif": 96_000, ".aiff": 96_000, ".flac": 18_000, ".mp3": 12_000, ".ogg": 10_000,
    ".oga": 10_000, ".opus": 5_000, ".m4a": 12_000, ".aac": 12_000, ".webm": 8_000, ".mp4": 60_000, ".sph": 32_000,
}  # fmt: skip
_DAY = 86_400.0


def seconds_hint(tree: Tree, uri: str, info: FileInfo) -> float:
    """From the header of a local WAV or FLAC file (one small read), else from the size."""
    suffix = posixpath.splitext(uri)[1].lower()
    if not tree.remote and suffix in {".wav", ".flac"}:
        try:
            with open(tree.path(uri), "rb", buffering=0) as file:  # noqa: PTH123 - ten thousand times
                hint = header_seconds(file.read(48), info.size)
        except OSError:
            hint = None
        if hint is not None:
            return hint
    return guess_seconds(uri, info.size)


def guess_seconds(uri: str, size: int) -> float:
    return round(size / _BYTES_PER_SECOND.get(posixpath.splitext(uri)[1].lower(), 32_000), 2)


def header_seconds(head: bytes, size: int) -> float | None:
    """Seconds announced by a WAV or FLAC header; None when it says nothing, or nothing credible."""
    seconds = None
    if head[:4] == b"RIFF" and head[12:16] == b"fmt " and len(head) >= 32:
        per_second = int.from_bytes(head[28:32], "little")
        seconds = (size - 44) / per_second if per_second else None
    elif head[:4] == b"fLaC" and len(head) >= 26:
        packed = int.from_bytes(head[18:26], "big")  # 20 bits rate, 3 channels, 5 width, 36 frames
        rate, frames = packed >> 44, packed & ((1 << 36) - 1)
        seconds = frames / rate if rate and frames else None
    return round(seconds, 2) if seconds is not None and 0 <= seconds < _DAY else None
