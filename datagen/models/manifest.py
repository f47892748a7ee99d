"""Which model files exist, where they come from and what may be done with them: ``schemas/models.yaml``.

A recipe names a model either by its name in the manifest, whose files ``datagen models pull`` puts into one cache
folder, or as a folder of its own. Nothing is fetched while a run works.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from datagen.errors import UsageError
from datagen.registry import did_you_mean
from datagen.resources import folder
from datagen.stage import Provenance

#: Environment variable that names the cache folder.
CACHE_VARIABLE = "DATAGEN_MODELS"
#: Revision of a folder that is not there: a plan or a status can still be asked for.
ABSENT = "absent"
#: Lies in every pulled model's folder: what was fetched, from where.
RECORD = "datagen-model.json"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST = re.compile(r"[0-9a-f]{32}")
#: A file that was written just now may be written again within the same tick of the file system's clock.
SETTLED_NS = 2_000_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class File:
    """One file of a model. ``sha256`` and ``size`` null: not known before it is pulled, recorded then."""

    path: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None  #: for origins that are single files
    optional: bool = False  #: fetched where the repository has it, not missed where it has not
    unless: str | None = None  #: wanted only where that other file is not there (weights published in two formats)


@dataclass(frozen=True)
class Entry:
    """One model of the manifest."""

    name: str
    task: str  #: asr, align, emotion, affect, age_gender, events, diarize, embed, text_emotion
    origin: str  #: "hf:org/repository", or "url:" where each file has its own address
    revision: str
    licence: str
    files: tuple[File, ...]
    languages: tuple[str, ...] = ()  #: ISO 639-1; empty = any, or none in particular
    sample_rate: int = 16_000
    memory_gb: float = 0.0  #: on a GPU, at the default batch
    gated: str = ""  #: how to get access, for models that ask for it
    note: str = ""
    prompt: str = ""  #: what a sentence embedding wants before every text

    @property
    def repository(self) -> str | None:
        """``org/repository`` on the Hugging Face Hub, None for other origins."""
        return self.origin.removeprefix("hf:") if self.origin.startswith("hf:") else None


@dataclass(frozen=True)
class Fetched:
    """What a file turned out to be when it was pulled."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """``datagen-model.json``: what lies in a pulled model's folder. ``files`` by path."""

    name: str
    origin: str
    asked: str  #: the revision as the manifest names it
    revision: str  #: what that was when it was pulled: a commit; or a hash over the files where there are no commits
    files: Mapping[str, Fetched]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", "utf-8")


@dataclass(frozen=True)
class Model:
    """A model as a recipe names it. ``folder`` may not exist yet (see ``missing``)."""

    entry: Entry
    folder: Path
    revision: str
    own: bool = field(default=False)  #: the user's own folder, not the cache's
    asked: str = ""  #: what the recipe says, for messages about ``own`` ones

    @property
    def licence(self) -> str:
        """As on the card; what the user's own files may be used for is known to nobody here (law 6)."""
        return f"licence of {self.folder.name}" if self.own else self.entry.licence


def cache_folder() -> Path:
    """``$DATAGEN_MODELS``, else ``datagen/models`` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datagen" / "models"


def home(entry: Entry) -> Path:
    """The folder of the cache that the model's files are pulled into."""
    return cache_folder() / entry.name / entry.revision


def pinned(revision: str) -> bool:
    """Whether this names one commit for ever, and not whatever a branch or tag points at."""
    return _COMMIT.fullmatch(revision) is not None


def safe(path: str) -> bool:
    """Whether a file's path stays inside the folder it is put into, and out of what the Hub's client keeps there."""
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and not path.startswith("/") and not set(path) & set("\\:\0\n")
    return bool(parts) and plain and ".." not in parts and not parts[0].startswith(".") and path != RECORD


@cache
def _entries(path: Path, changed_ns: int) -> dict[str, Entry]:
    listed: Mapping[str, Any] = yaml.safe_load(path.read_text("utf-8"))["models"]
    return {name: _entry(path.name, name, data) for name, data in listed.items()}


def _entry(source: str, name: str, data: Mapping[str, Any]) -> Entry:
    try:
        files = tuple(File(item, **(more or {})) for item, more in data["files"].items())
        own = {key: value for key, value in data.items() if key not in ("files", "languages")}
        entry = Entry(name=name, files=files, languages=tuple(data.get("languages", ())), **own)
    except (TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{source}: {name}: {error}") from error
    problem = _problem(entry)
    if problem:
        raise UsageError(f"{source}: {name}: {problem}")
    return entry


def _problem(entry: Entry) -> str | None:
    """What an entry must not say, as a sentence."""
    paths = {file.path for file in entry.files}
    for part in (entry.name, entry.revision):
        if not isinstance(part, str) or not _NAME.fullmatch(part):
            return f"'{part}': name and revision become folders: letters, digits, dots, dashes and underscores only"
    repository = entry.repository
    if repository is None and entry.origin != "url:":
        return f"origin '{entry.origin}' is neither hf:organisation/repository nor url:"
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        return f"origin '{entry.origin}' is not hf:organisation/repository"
    if not entry.files:
        return "it lists no files; only listed ones are ever fetched"
    for file in entry.files:
        if not safe(file.path):
            return f"file '{file.path}' leads out of the model's folder"
        if repository is None and not file.url:
            return f"file '{file.path}' has no url"
        if file.sha256 is not None and not _SHA256.fullmatch(file.sha256):
            return f"file '{file.path}': sha256 is 64 lower-case hexadecimal digits"
        if file.unless is not None and (file.unless not in paths or file.unless == file.path):
            return f"file '{file.path}': unless '{file.unless}' is no other file of this model"
    return None


def entries() -> dict[str, Entry]:
    """The manifest, by name.

    Raises:
        UsageError: an entry that cannot be meant so, e.g. a file path that leads out of the model's folder.
    """
    path = folder("schemas") / "models.yaml"
    return _entries(path, path.stat().st_mtime_ns)


def known(name: str) -> Entry:
    """The entry of that name.

    Raises:
        UsageError: there is none.
    """
    listed = entries()
    if name not in listed:
        raise UsageError(f"model '{name}': not in the manifest{did_you_mean(name, listed)}")
    return listed[name]


def find(reference: str, like: str) -> Model:
    """What a recipe means by ``reference``: a manifest name (empty = ``like``), or a folder with such files.

    The revision of a pulled model is the commit that was fetched, also where the manifest names a branch.

    Args:
        like: manifest name of the model whose kind this is; a folder need not exist yet (see ``missing``).

    Raises:
        UsageError: a model of the manifest that is for another task.
    """
    name = reference or like
    listed = entries()
    kind = known(like)
    if name not in listed:
        path = Path(name).expanduser().resolve()
        return Model(kind, path, digest(path) if path.is_dir() else ABSENT, own=True, asked=name)
    if listed[name].task != kind.task:
        others = ", ".join(entry.name for entry in listed.values() if entry.task == kind.task)
        raise UsageError(f"model '{name}' is for {listed[name].task}, not for {kind.task}; for that there is: {others}")
    return cached(listed[name])


def cached(entry: Entry) -> Model:
    """A model of the manifest, in the cache folder."""
    found = record(home(entry))
    return Model(entry, home(entry), found.revision if found else entry.revision)


def record(path: Path) -> Record | None:
    """What was pulled into that folder; None where nothing was, or where the record cannot be read."""
    try:
        data = json.loads((path / RECORD).read_text("utf-8"))
        files = {name: Fetched(int(file["size"]), str(file["sha256"])) for name, file in data["files"].items()}
        found = Record(data["name"], data["origin"], data["asked"], data["revision"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if isinstance(found.revision, str) and all(map(safe, files)) else None


def wanted(files: Iterable[File], there: Iterable[str]) -> tuple[list[File], list[str]]:
    """Which of ``files`` to have, given the paths that are ``there``; and the paths that are sorely missed."""
    present = set(there)
    due = [file for file in files if file.unless not in present]
    return [file for file in due if file.path in present], [
        file.path for file in due if file.path not in present and not file.optional
    ]


def missing(model: Model) -> str | None:
    """What to do when files of the model are not there, or None. Cheap: looks, does not read."""
    if problem := nowhere(model):
        return problem
    there = [file.path for file in model.entry.files if (model.folder / file.path).is_file()]
    have, lacking = wanted(model.entry.files, there)
    if model.own and not lacking:
        return None
    if model.own:
        return f"{model.folder} lacks {', '.join(lacking)}, which a model like {model.entry.name} has"
    found = record(model.folder)
    if lacking or found is None or found.origin != model.entry.origin:
        ask = f" (gated: {model.entry.gated})" if model.entry.gated else ""
        return f"model {model.entry.name} is not here: {command([model.entry.name])}{ask}"
    for file in have:
        if file.sha256 and file.path in found.files and found.files[file.path].sha256 != file.sha256:
            again = command([model.entry.name], again=True)
            return f"model {model.entry.name}: {file.path} is not the one that the manifest names: {again}"
    return None


def nowhere(model: Model) -> str | None:
    """Of a model that is to be a folder: that there is none, and what was perhaps meant."""
    if not model.own or model.folder.is_dir():
        return None
    if "/" in model.asked or model.asked.startswith(("~", ".")):
        return f"model '{model.asked}': there is no such folder ({model.folder})"
    meant = difflib.get_close_matches(model.asked, entries(), n=1)
    more = f" - did you mean '{meant[0]}'?" if meant else "; `datagen models list` names the models"
    return f"model '{model.asked}': neither a model of the manifest nor a folder{more}"


def memory_gb(model: Model) -> float:
    """What the model takes at the default batch, roughly: as the manifest says, less where its files are smaller."""
    sizes = [path.stat().st_size for file in model.entry.files if (path := model.folder / file.path).is_file()]
    return min(model.entry.memory_gb, 1.0 + 3.0 * sum(sizes) / 1e9) if sizes else model.entry.memory_gb


def command(names: Iterable[str], *, again: bool = False) -> str:
    """The exact command that fetches these models."""
    return f"datagen models pull {'--again ' if again else ''}{' '.join(names)}"


def absent(models: Iterable[Model]) -> list[str]:
    """Names of those that ``datagen models pull`` would have to fetch, each once."""
    names = [model.entry.name for model in models if not model.own and missing(model)]
    return list(dict.fromkeys(names))


def digest(path: Path) -> str:
    """Revision of a user's own folder: a hash over names and contents of its files.

    What was hashed once is known from then on, also to other processes, until a name, size or time of change differs:
    a large model takes seconds to read, and every command and every worker asks.
    """
    files = sorted(item for item in path.rglob("*") if item.is_file())
    looks = [(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file in files]
    return _digest(path, tuple(looks))


@cache
def _digest(path: Path, files: tuple[tuple[str, int, int, int], ...]) -> str:
    looks = hashlib.sha256(repr((str(path), files)).encode("utf-8", "surrogateescape"))
    remembered = cache_folder() / ".digests" / looks.hexdigest()
    with suppress(OSError, UnicodeDecodeError):
        if _DIGEST.fullmatch(known_as := remembered.read_text("ascii")):
            return known_as
    total = hashlib.blake2b(digest_size=16)
    for file in (Path(name) for name, *_ in files):
        total.update(file.relative_to(path).as_posix().encode() + b"\0")
        total.update(bytes.fromhex(sha256(file)))
    if time.time_ns() - max((changed_ns for *_, changed_ns in files), default=0) > SETTLED_NS:
        with suppress(OSError):  # read-only: it is hashed again next time
            remembered.parent.mkdir(parents=True, exist_ok=True)
            own = remembered.with_name(f"{remembered.name}.{os.getpid()}")
            own.write_text(total.hexdigest(), "ascii")
            own.rename(remembered)
    return total.hexdigest()


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def provenance(model: Model, *columns: str, note: str = "", where: tuple[str, str] | None = None) -> Provenance:
    """Who made ``columns`` (law 6). A folder of the user's own is not passed off as the model it is like."""
    if not model.own:
        return Provenance(model.entry.name, model.revision, model.licence, columns, note or model.entry.note, where)
    told = f"a model of the user's own, like {model.entry.name}; export.licences says what its licence permits"
    return Provenance(model.folder.name, model.revision, model.licence, columns, note or told, where)
