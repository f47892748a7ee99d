"""WebDataset: tar files whose members are grouped by name up to the first dot.

Only headers are read here, and the small ``.json`` and ``.txt`` sidecars; the audio is fetched later by offset.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from typing import Any, BinaryIO

from datagen.errors import RowError
from datagen.readers.config import LayoutConfig
from datagen.readers.hints import guess_seconds
from datagen.readers.rows import EVERYWHERE, Rows
from datagen.readers.tabular import Columns
from datagen.readers.tree import INSIDE, FileInfo, Tree, decode_text, is_audio

_SIDECAR_BYTES = 16 << 20


def find_tars(tree: Tree) -> list[str]:
    return [uri for uri in tree.files() if uri.lower().endswith((".tar", ".tar.gz", ".tgz"))]


def read_webdataset(tree: Tree, rows: Rows, config: LayoutConfig) -> None:
    for uri in find_tars(tree):
        if not uri.lower().endswith(".tar"):
            rows.refuse(uri, "Unreadable", f"{uri} is compressed, its members cannot be read by offset: gunzip it")
            continue
        try:
            with tree.open(uri) as file:
                _read_tar(uri, tree.files()[uri], file, rows, config)
        except RowError as error:
            rows.refuse(uri, error.error_class, error.message)
        except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError) as error:
            rows.refuse(uri, "Unreadable", f"{uri} is damaged; its members up to there are kept: {error}")


def _read_tar(uri: str, tar: FileInfo, file: BinaryIO, rows: Rows, config: LayoutConfig) -> None:
    audio: dict[str, list[tarfile.TarInfo]] = {}
    sidecars: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile remembers all; a shard may hold millions
                _take(uri, archive, member, rows, audio, sidecars)
    finally:  # a damaged end does not undo the members before it
        _add_members(uri, tar, rows, config, audio, sidecars)


def _take(
    uri: str,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    rows: Rows,
    audio: dict[str, list[tarfile.TarInfo]],
    sidecars: dict[str, dict[str, Any]],
) -> None:
    if member.isdir():
        return
    name = member.name
    try:
        name.encode()
    except UnicodeEncodeError:
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        rows.refuse(f"{uri}{INSIDE}{name}", "UnsafePath", f"{uri}: member {name!r} has no valid UTF-8 name")
        return
    plain = posixpath.normpath(name)
    if name.startswith("/") or "\0" in name or INSIDE in name or plain == ".." or plain.startswith("../"):
        rows.refuse(f"{uri}{INSIDE}{name}", "UnsafePath", f"{uri}: member {name!r} leaves the archive")
        return
    if not member.isreg() or member.issparse():
        rows.refuse(f"{uri}{INSIDE}{name}", "UnsafePath", f"{uri}: member {name!r} is a link, a device or sparse")
        return
    folder, base = posixpath.split(plain)
    if base.startswith("."):
        return
    key = posixpath.join(folder, base.split(".", 1)[0])
    if is_audio(base):
        audio.setdefault(key, []).append(member)
    elif base.endswith((".json", ".txt")) and member.size <= _SIDECAR_BYTES:
        stream = archive.extractfile(member)
        text = decode_text(stream.read() if stream is not None else b"")
        about = sidecars.setdefault(key, {})
        if base.endswith(".txt"):
            about.setdefault("text", text.strip())
            return
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError) as error:
            message = f"{uri}: sidecar {name!r} is no JSON: {str(error)[:80]}; its recording is kept without it"
            rows.refuse(f"{uri}{INSIDE}{name}", "BadManifestRow", message)
            return
        if isinstance(parsed, dict):
            about.update(parsed)


def _add_members(
    uri: str,
    tar: FileInfo,
    rows: Rows,
    config: LayoutConfig,
    audio: dict[str, list[tarfile.TarInfo]],
    sidecars: dict[str, dict[str, Any]],
) -> None:
    seen: dict[tuple[str, ...], Columns] = {}  # sidecars of one shard mostly have the same keys
    for key, members in audio.items():
        about = sidecars.get(key, {})
        columns = seen.get(tuple(about))
        if columns is None:
            settings = config.model_copy(update={"columns": _present(config, about)})
            columns = seen[tuple(about)] = Columns(settings, list(about), uri)
        for member in members:
            name = f"{uri}{INSIDE}{posixpath.normpath(member.name)}"
            if name in rows:
                rows.refuse(f"{name}#{member.offset}", "UnsafePath", f"{name}: the archive holds this name twice")
                continue
            try:
                span = columns.span(about)
            except RowError as error:
                rows.refuse(name, error.error_class, f"{name}: {error.message}")
                continue
            facts, rest = columns.facts(about), {**columns.rest(about), **columns.reworded(about)}
            rows.add(
                name,
                FileInfo(member.size, f"{tar.fingerprint}@{member.offset_data}"),
                facts if span == EVERYWHERE else None,
                spans=() if span == EVERYWHERE else [(span, facts)],
                metadata=rest,
                split=columns.value(about, "split"),
                licence=columns.value(about, "licence"),
                seconds=columns.seconds(about) or guess_seconds(member.name, member.size),
                locator=f"{member.offset_data}+{member.size}",
                corpus=columns.value(about, "corpus"),
            )


def _present(config: LayoutConfig, about: dict[str, Any]) -> dict[str, str | None]:
    """A sidecar may lack a column that others have; only the audio column is no column here."""
    return {field: name for field, name in config.columns.items() if name is None or name in about} | {"audio": None}
