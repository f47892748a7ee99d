"""Which model files exist, where they come from and what may be done with them: ``schemas/models.yaml``.

A recipe names a model either by its name in the manifest, whose files ``datagen models pull`` puts into one cache
folder, or as a folder of its own. Nothing is fetched while a run works.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from datagen.errors import UsageError
from datagen.registry import did_you_mean
from datagen.resources import folder
from datagen.stage import Provenance

#: Environment variable that names the cache folder.
CACHE_VARIABLE = "DATAGEN_MODELS"


@dataclass(frozen=True)
class File:
    """One file of a model. ``sha256`` and ``size`` null: not known before it is pulled, recorded then."""

    path: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None  #: for origins that are single files


@dataclass(frozen=True)
class Entry:
    """One model of the manifest."""

    name: str
    task: str  #: asr, align, emotion, affect, age_gender, events, diarize
    origin: str  #: "hf:org/repository", "url:", "wheel:package"
    revision: str
    licence: str
    files: tuple[File, ...]
    languages: tuple[str, ...] = ()  #: ISO 639-1; empty = any, or none in particular
    sample_rate: int = 16_000
    memory_gb: float = 0.0  #: on a GPU, at the default batch
    gated: str = ""  #: how to get access, for models that ask for it
    note: str = ""


@dataclass(frozen=True)
class Model:
    """A model as a recipe names it. ``folder`` may not exist yet (see ``missing``)."""

    entry: Entry
    folder: Path
    revision: str
    own: bool = field(default=False)  #: the user's own folder, not the cache's


def cache_folder() -> Path:
    """``$DATAGEN_MODELS``, else ``datagen/models`` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datagen" / "models"


@cache
def _entries(path: Path) -> dict[str, Entry]:
    listed: Mapping[str, Any] = yaml.safe_load(path.read_text("utf-8"))["models"]
    found = {}
    for name, data in listed.items():
        files = tuple(File(item, **(data["files"][item] or {})) for item in data["files"])
        own = {key: value for key, value in data.items() if key not in ("files", "languages")}
        found[name] = Entry(name=name, files=files, languages=tuple(data.get("languages", ())), **own)
    return found


def entries() -> dict[str, Entry]:
    """The manifest, by name."""
    return _entries(folder("schemas") / "models.yaml")


def find(reference: str, like: str) -> Model:
    """What a recipe means by ``reference``: a manifest name (empty = ``like``), or a folder with such files.

    Args:
        like: manifest name of the model whose kind this is; a user's own folder gets its licence and notes.

    Raises:
        UsageError: neither a name of the manifest nor an existing folder.
    """
    name = reference or like
    known = entries()
    if name in known:
        entry = known[name]
        return Model(entry, cache_folder() / name / entry.revision, entry.revision)
    path = Path(name).expanduser()
    if not path.is_dir():
        raise UsageError(f"model '{name}': neither a model of the manifest nor a folder{did_you_mean(name, known)}")
    return Model(known[like], path.resolve(), digest(path.resolve()), own=True)


def missing(model: Model) -> str | None:
    """What to do when files of the model are not there, or None. Cheap: looks, does not read."""
    lacking = [file.path for file in model.entry.files if not (model.folder / file.path).is_file()]
    if not lacking:
        return None
    if model.own:
        return f"{model.folder} lacks {', '.join(lacking)}, which a model like {model.entry.name} has"
    return f"model {model.entry.name} is not here: datagen models pull {model.entry.name}"


@cache
def digest(path: Path) -> str:
    """Revision of a user's own folder: a hash over names and contents of its files."""
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def provenance(model: Model, *columns: str, note: str = "", where: tuple[str, str] | None = None) -> Provenance:
    """Who made ``columns`` (law 6)."""
    return Provenance(model.entry.name, model.revision, model.entry.licence, columns, note or model.entry.note, where)
