"""Whole files, written atomically, on a local directory or any fsspec URL.

Local: temporary name, fsync, rename, fsync of the directory. Object stores: one PUT, which is atomic there.
Nothing else in the package writes into a run.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import EnvironmentFault, UsageError

#: Errors of the machine: no row and no stage is to blame.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class Files:
    """A directory tree addressed by relative POSIX paths."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or "/"
        self.local = "://" not in url or url.startswith("file://")
        if self.local:
            self.root = str(Path(url.removeprefix("file://")).absolute())
            self.fs: Any = None
        else:
            import fsspec

            try:
                self.fs, self.root = fsspec.core.url_to_fs(self.url)
            except (ImportError, ValueError) as error:
                raise UsageError(f"{url}: {error}") from error

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (Files, (self.url,))

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str) -> bool:
        return Path(self.path(name)).exists() if self.local else bool(self.fs.exists(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """Names (not paths) directly inside ``folder``, sorted; empty if there is none."""
        try:
            if self.local:
                return sorted(entry.name for entry in Path(self.path(folder)).iterdir() if entry.suffix != ".tmp")
            entries = self.fs.ls(self.path(folder), detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except TypeError:  # a file system without `refresh`
            entries = self.fs.ls(self.path(folder), detail=False)
        return sorted(
            {entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry.rstrip("/") != self.path(folder)}
        )

    def read(self, name: str) -> bytes:
        if self.local:
            return Path(self.path(name)).read_bytes()
        return bytes(self.fs.cat_file(self.path(name)))

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write(self, name: str, data: bytes) -> None:
        with self.writing(name) as sink:
            sink.write(data)

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode())

    def write_table(self, name: str, table: pa.Table, **options: Any) -> None:
        with self.writing(name) as sink:
            pq.write_table(table, sink, **({"compression": "zstd", "compression_level": 3} | options))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file's columns (all of them by default), with exactly the schema it was written with."""
        if self.local:
            return pq.read_table(self.path(name), columns=columns, memory_map=True, partitioning=None)
        with self.fs.open(self.path(name), "rb") as file:
            return pq.read_table(file, columns=columns)

    def write_arrow(self, name: str, table: pa.Table) -> None:
        """Arrow's own file format, uncompressed: what is written once and mapped into memory."""
        with self.writing(name) as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    def map_arrow(self, name: str) -> pa.Table:
        """A table of ``write_arrow``, mapped into memory; of a store that is elsewhere, from a copy without a name."""
        if self.local:
            return pa.ipc.open_file(pa.memory_map(self.path(name))).read_all()
        with tempfile.NamedTemporaryFile() as copy:  # it lives until nobody looks at the table any more
            self.fs.get_file(self.path(name), copy.name)
            return pa.ipc.open_file(pa.memory_map(copy.name)).read_all()

    def row_count(self, name: str) -> int:
        """Rows of a Parquet file; reads its footer only."""
        if self.local:
            return int(pq.read_metadata(self.path(name)).num_rows)
        with self.fs.open(self.path(name), "rb") as file:
            return int(pq.read_metadata(file).num_rows)

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A binary sink whose content appears under ``name`` whole, or not at all."""
        target = self.path(name)
        try:
            if not self.local:
                buffer = io.BytesIO()
                yield buffer
                self.fs.pipe_file(target, buffer.getvalue())
                self.fs.invalidate_cache()
                return
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(f"{target}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                with temporary.open("wb") as sink:
                    yield sink
                    sink.flush()
                    os.fsync(sink.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_to_disk(folder)
        except OSError as error:
            if error.errno in FULL:
                raise full(self.url, error) from error
            raise

    def put(self, name: str, source: Path) -> None:
        """Send a local file there (object stores; large ones in parts)."""
        self.fs.put_file(str(source), self.path(name))
        self.fs.invalidate_cache()

    def delete(self, name: str) -> None:
        """Remove a file or a folder with all that is in it; nothing happens if it is not there."""
        target = self.path(name)
        if not self.local:
            if self.fs.exists(target):
                self.fs.rm(target, recursive=True)
                self.fs.invalidate_cache()
        elif Path(target).is_dir():
            shutil.rmtree(target)
        else:
            Path(target).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Delete what killed writers left under temporary names (local only; call it while nobody writes)."""
        tops = ("units", "scratch", "ledger") if self.local else ()
        left = [path for top in tops for path in Path(self.path(top)).rglob("*.tmp")]
        size = sum(path.stat().st_size for path in left)
        for path in left:
            path.unlink()
        return size

    def size(self, name: str) -> int:
        """Bytes of a file, or of everything below a folder."""
        target = self.path(name)
        if not self.local:
            return int(self.fs.du(target)) if self.fs.exists(target) else 0
        return sum(path.stat().st_size for path in [Path(target), *Path(target).rglob("*")] if path.is_file())


def full(where: str, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(f"{where}: {os.strerror(error.errno or 0)}. Make room and run the same command again.")


def sync_to_disk(path: Path) -> None:
    """fsync of a file, or of a folder's own entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
