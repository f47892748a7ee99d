"""``datagen models pull`` and ``verify``: model files into the cache folder, whole and checked, or not at all.

Files are gathered in a folder beside the final one, so that an interrupted pull goes on where it stopped. Each is
hashed, compared with the manifest (where it states a hash) and with what the Hub says of it, and written down in
``datagen-model.json``; then the folder is renamed into place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from datagen.errors import RunError
from datagen.files import FULL, full, sync_to_disk
from datagen.models import https, hub, manifest
from datagen.models.https import WrongFile
from datagen.models.hub import Listing, Remote
from datagen.models.manifest import RECORD, Entry, Fetched, File, Record

#: Told while files arrive: bytes here, bytes in all (None = not known).
Watch = Callable[[int, int | None], None]

_PARTIAL = ".partial"
_OLD = ".old"
_EVERY_S = 0.5


def pull(entry: Entry, *, again: bool = False, watch: Watch | None = None) -> Record:
    """The model's files in its folder of the cache; nothing is fetched when they are there.

    Args:
        again: fetch them even so, e.g. after ``verify`` found them damaged, or for what a branch points at now.
        watch: called about twice a second from another thread.

    Raises:
        RunError: not reachable, no access, files that are not in the repository or not the ones the manifest names
            (then nothing of them is kept).
        UsageError: the environment forbids lookups.
        EnvironmentFault: the disk is full.
    """
    home = manifest.home(entry)
    try:
        with _alone(home.parent, entry.name):
            found = manifest.record(home)
            if found is not None and not again and manifest.missing(manifest.cached(entry)) is None:
                return found
            return _pull(entry, home, watch)
    except OSError as error:
        if error.errno in FULL:
            raise full(str(home), error) from error
        raise RunError(f"{home}: {error.strerror or error}") from error


def _pull(entry: Entry, home: Path, watch: Watch | None) -> Record:
    listing = hub.listing(entry) if entry.repository else _addresses(entry)
    folder = home.parent / f"{_PARTIAL}-{listing.commit[:16]}"
    for other in home.parent.glob(f"{_PARTIAL}-*"):
        if other != folder:  # of a commit that the branch has left
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    total = _total(listing)
    _room(entry, folder, total)
    try:
        with _watched(folder, total, watch):
            files = {file.path: _one(entry, listing, file, folder) for file in listing.files}
    except WrongFile:
        shutil.rmtree(folder)
        raise
    _clean(folder, files)
    revision = listing.commit if entry.repository else _of_files(entry, files)
    record = Record(entry.name, entry.origin, entry.revision, revision, files)
    record.write(folder / RECORD)
    _sync(folder)
    _swap(folder, home)
    return record


def _one(entry: Entry, listing: Listing, file: File, folder: Path) -> Fetched:
    """One file, there and checked."""
    path = folder / file.path
    if entry.repository:
        hub.fetch(entry, listing.commit, file, folder)
    elif not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        https.fetch(str(file.url), path, file.size)
    if not path.resolve().is_relative_to(folder.resolve()) or path.is_symlink() or not path.is_file():
        raise WrongFile(f"{entry.name}: {file.path} is not a plain file inside {folder}")
    got = Fetched(path.stat().st_size, manifest.sha256(path))
    remote = listing.remote.get(file.path, Remote(None, None))
    for size, source in ((file.size, "schemas/models.yaml"), (remote.size, "the Hub")):
        if size is not None and size != got.size:
            raise WrongFile(
                f"{entry.name}: {file.path}: {got.size:,} bytes instead of the {size:,} that {source} states"
            )
    for sha256, source in ((file.sha256, "schemas/models.yaml"), (remote.sha256, "the Hub")):
        if sha256 is not None and sha256 != got.sha256:
            raise WrongFile(
                f"{entry.name}: {file.path} is not the file that {source} names (sha256 {got.sha256} instead of "
                f"{sha256}); nothing of it was kept"
            )
    return got


def _addresses(entry: Entry) -> Listing:
    """The listing of an entry whose files have addresses of their own; its "commit" is a hash over them."""
    stated = "".join(f"{file.path}\0{file.url}\0{file.sha256}\0" for file in entry.files)
    return Listing(hashlib.sha256(stated.encode()).hexdigest(), entry.files, {})


def _of_files(entry: Entry, files: dict[str, Fetched]) -> str:
    """The manifest's revision where it names every file by hash; else with a hash over what arrived."""
    if all(file.sha256 for file in entry.files):
        return entry.revision
    total = hashlib.sha256("".join(f"{path}\0{files[path].sha256}\0" for path in sorted(files)).encode())
    return f"{entry.revision}+{total.hexdigest()[:16]}"


def _total(listing: Listing) -> int | None:
    sizes = [file.size or listing.remote.get(file.path, Remote(None, None)).size for file in listing.files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _room(entry: Entry, folder: Path, total: int | None) -> None:
    here, free = _bytes(folder), shutil.disk_usage(folder).free
    if total is not None and total - here > free:
        raise RunError(
            f"{entry.name}: {(total - here) / 1e9:.1f} GB to come, {free / 1e9:.1f} GB are free at {folder.parent}: "
            f"make room, or name another folder in {manifest.CACHE_VARIABLE}"
        )


def _clean(folder: Path, files: dict[str, Fetched]) -> None:
    """Nothing stays that was not asked for."""
    hub.tidy(folder)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in files:
            path.unlink()


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        sync_to_disk(path)


def _swap(folder: Path, home: Path) -> None:
    """``folder`` becomes ``home``; what was there before goes."""
    old = home.parent / f"{_OLD}-{home.name}"
    shutil.rmtree(old, ignore_errors=True)  # of a pull that was killed right here
    if home.exists():
        home.rename(old)
    folder.rename(home)
    sync_to_disk(home.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """One pull of a model at a time on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{name} is being pulled by another process") from error
        yield


@contextmanager
def _watched(folder: Path, total: int | None, watch: Watch | None) -> Iterator[None]:
    """Tell ``watch`` how much lies in ``folder``, whoever writes it."""
    if watch is None:
        yield
        return
    done = threading.Event()

    def look() -> None:
        while not done.wait(_EVERY_S):
            watch(_bytes(folder), total)

    watch(_bytes(folder), total)
    thread = threading.Thread(target=look, name="pull-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        watch(_bytes(folder), total)


def _bytes(folder: Path) -> int:
    """Size of all files; those that vanish meanwhile count nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def verify(entry: Entry) -> Record:
    """Hash every file of a pulled model again and compare with its record and with the manifest.

    Raises:
        RunError: not here; or a file is damaged, missing, not the manifest's, or was never pulled.
    """
    home = manifest.home(entry)
    found = manifest.record(home)
    if found is None:
        raise RunError(manifest.missing(manifest.cached(entry)) or f"{home}: no {RECORD}")
    stated = {file.path: file.sha256 for file in entry.files}
    wrong = [f"{home / path}: {why}" for path, want in found.files.items() if (why := _wrong(home, path, want, stated))]
    there = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_symlink() or not path.is_dir()}
    wrong += [
        f"{home / path}: did not come with the model; delete it" for path in sorted(there - {RECORD, *found.files})
    ]
    _, lacking = manifest.wanted(entry.files, found.files)
    wrong += [f"{home / path}: is not there" for path in lacking]
    if wrong:
        raise RunError("\n".join([*wrong, f"to fetch them anew: {manifest.command([entry.name], again=True)}"]))
    return found


def _wrong(home: Path, path: str, want: Fetched, stated: dict[str, str | None]) -> str | None:
    file = home / path
    if file.is_symlink() or not file.is_file():
        return "is not there"
    size = file.stat().st_size
    if size != want.size:
        return f"{size:,} bytes instead of {want.size:,}"
    got = manifest.sha256(file)
    for sha256, source in ((want.sha256, "when it was pulled"), (stated.get(path), "in schemas/models.yaml")):
        if sha256 is not None and got != sha256:
            return f"sha256 is {got}, {source} it was {sha256}"
    return None
