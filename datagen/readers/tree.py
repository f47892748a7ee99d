"""The input as a tree of files: a local folder or any fsspec URL, never anything outside it.

Names inside the tree are relative to its root and POSIX-like. Symbolic links, ``..``, absolute paths and names that
cannot be told apart from members of an archive are refused here, so that no reader has to think of them.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from typing import Any, BinaryIO, NamedTuple

import fsspec

from datagen.errors import RowError, UsageError

#: Suffixes worth decoding. Raw PCM is among them only to be refused with an explanation.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".spx", ".m4a", ".m4b", ".mp4", ".m4v",
     ".mov", ".3gp", ".aac", ".webm", ".mka", ".mkv", ".avi", ".flv", ".wma", ".ac3", ".aif", ".aiff", ".aifc",
     ".au", ".snd", ".sph", ".nist", ".caf", ".w64", ".rf64", ".amr", ".ape", ".wv", ".tta", ".voc", ".dsf",
     ".pcm", ".raw", ".s16", ".s16le", ".sw", ".l16"}
)  # fmt: skip
#: Separates a container from what is inside: ``shard.tar::member.wav``, ``part.parquet::12``.
INSIDE = "::"
_JUNK = frozenset({"__MACOSX"})
#: Both lie in every run directory. A run written into its own input must not become input of the next call.
_RUN_FILES = ("run.json", "recipe.yaml")


class FileInfo(NamedTuple):
    size: int
    fingerprint: str  #: size with time of change, or with the store's etag


class Refused(NamedTuple):
    """Something in the input that cannot become a source."""

    uri: str
    error_class: str
    message: str


def is_audio(uri: str) -> bool:
    dot = uri.rfind(".")  # faster than splitext, and the same for these suffixes
    return dot > 0 and uri[dot:].lower() in AUDIO_SUFFIXES


def is_url(text: str) -> bool:
    return "://" in text or "::" in text


class Tree:
    """A root and the files under it.

    Args:
        location: a folder, one file (its folder becomes the root), or an fsspec URL of either.
        under: a folder inside the root; only its files are listed, names stay relative to the root.

    Raises:
        UsageError: nothing is there, or the file system cannot be reached.
    """

    def __init__(self, location: str, under: str = "") -> None:
        self.location = location
        self.only: str | None = None
        self.refused: list[Refused] = []
        self._files: dict[str, FileInfo] | None = None
        self._audio: dict[str, FileInfo] | None = None
        self._real_folders: dict[str, str] = {}
        if location.startswith("file://"):
            location = location.removeprefix("file://")
        self.remote = is_url(location)
        if self.remote:
            try:
                self._fs, path = fsspec.core.url_to_fs(location)
                there = self._fs.exists(path)
            except (ImportError, ValueError, OSError) as error:
                raise UsageError(f"input {self.location}: cannot be opened: {error}") from None
            path = str(path).rstrip("/")
            if there and self._fs.isfile(path):
                path, self.only = posixpath.split(path)
        else:
            path = os.path.abspath(os.path.expanduser(location))  # noqa: PTH100, PTH111 - resolve() would follow links
            there = os.path.exists(path)  # noqa: PTH110
            if there and not os.path.isdir(path):  # noqa: PTH112
                path, self.only = os.path.split(path)
            path = os.path.realpath(path)
        if not there:
            raise UsageError(f"input {self.location}: there is nothing here; check the path, or pass --input")
        self.root = path
        self.under = _inside(under) if under else ""

    # --- What is there ---------------------------------------------------------------------------------------

    def files(self) -> dict[str, FileInfo]:
        """Every regular file, by name, sorted; fills ``refused``. Hidden ones and runs of ours are left out."""
        if self._files is None:
            found: dict[str, FileInfo] = {}
            if self.only is not None:
                info = self.info(self.only)
                found = {self.only: info} if info else {}
            elif self.remote:
                self._list_remote(found)
            else:
                self._list_local(found)
            self._files = dict(sorted(_without_runs(found).items()))
        return self._files

    def audio(self) -> dict[str, FileInfo]:
        if self._audio is None:
            self._audio = {uri: info for uri, info in self.files().items() if is_audio(uri)}
        return self._audio

    def mostly(self, name: re.Pattern[str]) -> bool:
        """Whether at least four in five audio files are named like this."""
        audio = self.audio()
        allowed = len(audio) // 5
        for uri in audio:
            allowed -= name.search(uri) is None
            if allowed < 0:
                return False
        return bool(audio)

    def info(self, uri: str) -> FileInfo | None:
        """Of one file, listed or not; None when it is not there.

        Raises:
            RowError: ``UnsafePath``; it lies outside the root.
        """
        if self._files is not None and uri in self._files:
            return self._files[uri]
        if self.remote:
            try:
                return _remote_info(self._fs.info(posixpath.join(self.root, _inside(uri))))
            except FileNotFoundError:
                return None
        try:
            status = os.stat(self.path(uri))  # noqa: PTH116 - ten thousand times
        except OSError:
            return None
        return _local_info(status) if stat.S_ISREG(status.st_mode) else None

    def locate(self, reference: str, folder: str = "") -> str:
        """The name in this tree that a manifest in ``folder`` means by ``reference``.

        Relative references count from the manifest's folder, else from the root; absolute ones must lie inside.

        Raises:
            RowError: ``UnsafePath`` or ``MissingFile``.
        """
        if "\0" in reference or not reference.strip():
            raise RowError("UnsafePath", f"{reference!r} is no file name")
        if is_url(reference) or os.path.isabs(reference):  # noqa: PTH117
            candidates = [self._relative(reference)]
        else:
            plain = reference.replace("\\", "/") if "\\" in reference and "/" not in reference else reference
            candidates = []
            for base in dict.fromkeys((folder, self.under, "")):
                joined = posixpath.normpath(posixpath.join(base, plain))
                if not _leaves(joined):
                    candidates.append(joined)
            if not candidates:
                raise RowError("UnsafePath", f"{reference!r} leaves the input root")
        for uri in candidates:
            if self.info(uri) is not None:
                return uri
        raise RowError("MissingFile", f"{candidates[0]} does not exist")

    def _relative(self, reference: str) -> str:
        path = reference
        if self.remote:
            prefix = f"{self.location.rstrip('/')}/"
            inside = path.removeprefix(prefix) if path.startswith(prefix) else ".."
        elif is_url(path):
            inside = ".."
        else:
            real = os.path.realpath(path)
            inside = os.path.relpath(real, self.root).replace(os.sep, "/")
        inside = posixpath.normpath(inside)
        if _leaves(inside):
            raise RowError("UnsafePath", f"{reference!r} lies outside the input root; point --input at a folder above")
        return inside

    # --- Reading ---------------------------------------------------------------------------------------------

    def path(self, uri: str) -> str:
        """Absolute local path of ``uri``, links resolved.

        Raises:
            RowError: ``UnsafePath``; it lies outside the root.
        """
        inside = _inside(uri)
        folder, name = posixpath.split(inside)
        real = self._real_folders.get(folder)
        if real is None:
            real = self._real_folders[folder] = os.path.realpath(os.path.join(self.root, folder))  # noqa: PTH118
        path = f"{real}/{name}"
        if os.path.islink(path):  # noqa: PTH114
            path = os.path.realpath(path)
        if not path.startswith(self.root.rstrip("/") + "/"):
            raise RowError("UnsafePath", f"{uri} leads out of the input root; copy the file into it")
        return path

    def open(self, uri: str) -> BinaryIO:
        """Seekable.

        Raises:
            RowError: ``UnsafePath``, ``MissingFile`` or ``Unreadable``.
        """
        try:
            if self.remote:
                file: BinaryIO = self._fs.open(posixpath.join(self.root, _inside(uri)), "rb")
                return file
            return open(self.path(uri), "rb")  # noqa: PTH123
        except FileNotFoundError:
            raise RowError("MissingFile", f"{uri} does not exist") from None
        except OSError as error:
            raise self._failed(uri, error) from error

    def read(self, uri: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a file, or of a stretch of it. Raises as ``open``."""
        try:
            if self.remote:
                end = None if size is None else offset + size
                data: bytes = self._fs.cat_file(posixpath.join(self.root, _inside(uri)), start=offset or None, end=end)
                return data
            with self.open(uri) as file:
                file.seek(offset)
                return file.read(-1 if size is None else size)
        except FileNotFoundError:
            raise RowError("MissingFile", f"{uri} does not exist") from None
        except OSError as error:
            raise self._failed(uri, error) from error

    def _failed(self, uri: str, error: OSError) -> Exception:
        """A fault of the file, or the error itself: what a store answers in a bad moment must be tried again."""
        if self.remote and not isinstance(error, PermissionError | IsADirectoryError):
            return error
        return RowError("Unreadable", f"{uri} cannot be read: {error.strerror or error}")

    def text(self, uri: str, *, fallback: str = "cp1252") -> str:
        return decode_text(self.read(uri), fallback)

    def arrow_file(self, uri: str) -> Any:
        """What ``pyarrow.parquet.ParquetFile`` takes: a path, or an open remote file."""
        return self.open(uri) if self.remote else self.path(uri)

    # --- Listing ---------------------------------------------------------------------------------------------

    def _list_local(self, found: dict[str, FileInfo]) -> None:
        start = self.path(self.under) if self.under else self.root
        if not os.path.isdir(start):  # noqa: PTH112
            raise UsageError(f"input {self.location}: there is no folder {self.under!r} in it")
        # os.scandir, not Path.walk: ten thousand files are looked at on every run, also of a finished one
        folders = [(start, f"{self.under}/" if self.under else "")]
        while folders:
            folder, prefix = folders.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                self.refused.append(Refused(prefix.rstrip("/") or ".", "Unreadable", str(error)))
                continue
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name in _JUNK:
                    continue
                uri = prefix + name
                refusal = _bad_name(uri)
                if refusal is not None:
                    if entry.is_dir(follow_symlinks=False) or is_audio(name):
                        self.refused.append(refusal)
                    continue
                if entry.is_symlink():
                    self._link(entry.path, uri, found)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, f"{uri}/"))
                else:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found[uri] = _local_info(status)
        self.refused.sort()

    def _link(self, path: str, uri: str, found: dict[str, FileInfo]) -> None:
        """A link to a file inside the root is that file under another name; one to a folder inside adds nothing."""
        target = os.path.realpath(path)
        if not (target + "/").startswith(self.root.rstrip("/") + "/"):
            if os.path.isdir(target) or is_audio(uri):  # noqa: PTH112
                self.refused.append(
                    Refused(uri, "UnsafePath", f"{uri} is a link out of the input root; copy what it points to")
                )
            return
        try:
            status = os.stat(target)  # noqa: PTH116
        except OSError:
            if is_audio(uri):
                self.refused.append(Refused(uri, "MissingFile", f"{uri} is a link to nothing"))
            return
        if stat.S_ISREG(status.st_mode):
            found[uri] = _local_info(status)

    def _list_remote(self, found: dict[str, FileInfo]) -> None:
        start = posixpath.join(self.root, self.under) if self.under else self.root
        for path, details in self._fs.find(start, detail=True).items():
            uri = str(path)[len(self.root) :].lstrip("/")
            parts = uri.split("/")
            if any(part in _JUNK or (part.startswith(".") and part not in {".", ".."}) for part in parts):
                continue
            refusal = _bad_name(uri)
            if refusal is None:
                found[uri] = _remote_info(details)
            elif is_audio(uri):
                self.refused.append(refusal)
        self.refused.sort()


def _without_runs(found: dict[str, FileInfo]) -> dict[str, FileInfo]:
    """All but what lies in a run directory below the root."""
    mark = f"/{_RUN_FILES[0]}"
    folders = [uri.removesuffix(mark) for uri in found if uri.endswith(mark)]
    runs = tuple(f"{folder}/" for folder in folders if all(f"{folder}/{name}" in found for name in _RUN_FILES))
    return {uri: info for uri, info in found.items() if not uri.startswith(runs)} if runs else found


def decode_text(data: bytes, fallback: str = "cp1252") -> str:
    """Text of unknown encoding: a byte order mark decides, then UTF-8, then ``fallback`` (replacing what fails)."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode(fallback, errors="replace")


def _inside(uri: str) -> str:
    """``uri`` itself.

    Raises:
        RowError: ``UnsafePath``.
    """
    if uri.startswith("/") or "\0" in uri or _leaves(posixpath.normpath(uri)):
        raise RowError("UnsafePath", f"{uri!r} leaves the input root")
    return uri


def _leaves(normal: str) -> bool:
    return normal == ".." or normal.startswith(("../", "/"))


def _bad_name(uri: str) -> Refused | None:
    try:
        uri.encode()
    except UnicodeEncodeError:
        shown = uri.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return Refused(shown, "UnsafePath", f"{shown!r}: the name is not valid UTF-8; rename the file")
    if INSIDE in uri:
        return Refused(uri, "UnsafePath", f"{uri!r}: '::' stands for a member of an archive; rename the file")
    if _leaves(posixpath.normpath(uri)) or ".." in uri.split("/"):
        return Refused(uri, "UnsafePath", f"{uri!r} leaves the input root")
    return None


def _local_info(status: os.stat_result) -> FileInfo:
    return FileInfo(status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


#: What object stores call "this version of the content", best first.
_VERSIONS = ("ETag", "etag", "md5Hash", "contentHash", "checksum", "sha", "blob_id", "LastModified", "mtime",
             "modified", "updated", "created")  # fmt: skip


def _remote_info(details: dict[str, Any]) -> FileInfo:
    size = int(details.get("size") or 0)
    version = next((details[key] for key in _VERSIONS if details.get(key) is not None), "")
    return FileInfo(size, f"{size}-{version}".replace('"', ""))
