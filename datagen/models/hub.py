"""Files of a model from the Hugging Face Hub, through its own client, at one commit.

Only files that the manifest lists are asked for. The user's own login (``hf auth login``, or ``HF_TOKEN``) is used by
the client as it is and is never read here.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.errors import RunError, UsageError
from datagen.files import FULL
from datagen.models import manifest
from datagen.models.manifest import Entry, File
from datagen.redact import hidden

#: What the client keeps inside a folder that it downloads to.
BOOKKEEPING = ".cache"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Remote:
    """A file as the Hub lists it. ``sha256`` is known for large files only."""

    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """A repository at one commit, reduced to the files that are wanted. ``remote`` by path."""

    commit: str
    files: tuple[File, ...]
    remote: dict[str, Remote]


def listing(entry: Entry) -> Listing:
    """What to fetch for ``entry``, one request.

    Raises:
        UsageError: lookups are switched off by the environment.
        RunError: no access, no network, no such repository or revision, or listed files are not in it.
    """
    from huggingface_hub import HfApi

    with _told(entry):
        info = HfApi(endpoint=_endpoint()).model_info(
            _repository(entry), revision=entry.revision, files_metadata=True, timeout=30
        )
    commit = str(info.sha)
    if not manifest.pinned(commit) or (manifest.pinned(entry.revision) and commit != entry.revision):
        raise RunError(f"{entry.origin}: asked for {entry.revision}, the Hub answered with '{commit}', another commit")
    remote = {file.rfilename: _remote(file) for file in info.siblings or ()}
    files, lacking = manifest.wanted(entry.files, remote)
    if lacking:
        raise RunError(f"{entry.origin} at {commit} has no {', '.join(lacking)}, which schemas/models.yaml lists")
    return Listing(commit, tuple(files), {file.path: remote[file.path] for file in files})


def fetch(entry: Entry, commit: str, file: File, into: Path) -> None:
    """One file of that commit into ``into``, going on where an earlier call was interrupted.

    Raises: as ``listing``.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    quiet = are_progress_bars_disabled()
    disable_progress_bars()  # ours shows the whole model
    try:
        with _told(entry):
            # A cache folder of its own: nothing is copied out of the user's Hub cache unseen.
            hf_hub_download(
                _repository(entry), file.path, revision=commit, local_dir=into, endpoint=_endpoint(),
                cache_dir=into / BOOKKEEPING / "hub",
            )  # fmt: skip
    finally:
        if not quiet:
            enable_progress_bars()


def tidy(folder: Path) -> None:
    """Remove what the client kept for itself in ``folder``."""
    shutil.rmtree(folder / BOOKKEEPING, ignore_errors=True)


def _remote(file: Any) -> Remote:
    large = file.lfs
    return Remote(file.size, large.sha256 if large else None)


def _repository(entry: Entry) -> str:
    assert entry.repository is not None, entry.origin
    return entry.repository


def _endpoint() -> str | None:
    """Another address of the Hub (a mirror), read at each call: the client reads it only when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _told(entry: Entry) -> Iterator[None]:
    """Errors of the client as one sentence with the mend."""
    from huggingface_hub import constants

    off = next((name for name in _OFFLINE if os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}), None)
    if off or constants.HF_HUB_OFFLINE:
        raise UsageError(f"{off or _OFFLINE[0]} is set, so nothing can be fetched from the Hub; unset it for the pull")
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)  # its warnings about retries would tear the progress line apart
    try:
        yield
    except OSError as error:  # which all errors of the client and of its HTTP library are
        if error.errno in FULL:
            raise
        raise RunError(f"{entry.name}: {_sentence(entry, error)}") from error
    finally:
        log.setLevel(level)


def _sentence(entry: Entry, error: Exception) -> str:
    """What went wrong and what to do; the client wraps the reason up to three times."""
    from huggingface_hub import errors

    cause: BaseException = error
    while isinstance(cause, errors.LocalEntryNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    where = f"https://huggingface.co/{entry.repository}"
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(cause, errors.GatedRepoError) or (entry.gated and status in {401, 403}):
        return f"access must be asked for: {entry.gated or where}; then log in with `hf auth login`"
    if isinstance(cause, errors.RepositoryNotFoundError):
        return f"{where} does not exist, or is private and you are not logged in (`hf auth login`)"
    if isinstance(cause, errors.RevisionNotFoundError):
        return f"{where} has no revision {entry.revision}"
    return f"not fetched from {where}: {_reason(cause)}; the same command goes on where this stopped"


def _reason(cause: BaseException) -> str:
    """First line of the innermost cause, without credentials."""
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return hidden(lines[0])
