"""A whole folder, put in place at once.

What is written goes to a hidden sibling of the target, is synced, and changes places with the target by renames.
Killed at any moment this leaves the old folder or none at the target's name, never half of a new one, and the next
export mends what is left lying about. Only a folder that carries our mark is ever replaced.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datagen.errors import UsageError
from datagen.files import FULL, full, sync_to_disk

#: Present in every exported folder: what it is and which files belong to it.
MARK = "datagen.json"
_PARTS = ("new", "old", "scratch")


@contextmanager
def replacing(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yields ``(staging, scratch)``: what stands in ``staging`` at the end becomes ``target``, ``scratch`` goes.

    Both lie beside the target, on its file system. The caller writes ``MARK`` into the staging folder last.

    Raises:
        UsageError: the target is a file, or a folder with something in it that no export has written.
        EnvironmentFault: the disk is full.
    """
    target = target.absolute()
    refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging, old, scratch = (target.parent / f".{target.name}.datagen-{part}" for part in _PARTS)
    for folder in (staging, old, scratch):
        if folder.is_symlink():
            raise UsageError(f"{folder}: a link, where this export keeps its work in progress. Remove it.")
    _put_back(old, target)
    try:
        for folder in (staging, old, scratch):
            _remove(folder)
        staging.mkdir()
        scratch.mkdir()
        yield staging, scratch
        _sync(staging)
        if target.exists():
            target.rename(old)
        staging.rename(target)
        sync_to_disk(target.parent)
    except OSError as error:
        if error.errno in FULL:
            raise full(str(target), error) from error
        raise
    finally:
        _put_back(old, target)
        for folder in (staging, old, scratch):
            _remove(folder)


def _put_back(old: Path, target: Path) -> None:
    """Mend what a death between the two renames leaves behind."""
    if old.exists() and not target.exists():
        old.rename(target)


def refuse_foreign(target: Path) -> None:
    """Raise ``UsageError`` unless ``target`` is absent, an empty folder, or one that an export has written."""
    if target.is_symlink():
        raise UsageError(f"{target}: is a link; an export replaces the whole folder. Name the folder itself.")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; choose a folder that is empty or does not exist.")
    if target.is_dir() and not (target / MARK).is_file() and any(target.iterdir()):
        raise UsageError(
            f"{target}: holds files that no export has written, and an export replaces the whole folder. "
            "Choose a folder that is empty or does not exist."
        )


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)


def _sync(folder: Path) -> None:
    """Everything below ``folder`` to the disk, files before the folders that name them."""
    for base, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_to_disk(Path(base) / name)
        sync_to_disk(Path(base))
