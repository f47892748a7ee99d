"""Datasets of the ``datasets`` library: a folder that ``save_to_disk`` wrote, or a repository on the Hub.

A source is named ``hf:<split>::<row>``. The audio column is never decoded by ``datasets`` (that would need torch).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from datagen.errors import RowError, UsageError
from datagen.readers.config import HuggingFaceConfig, LayoutConfig
from datagen.readers.hints import guess_seconds
from datagen.readers.rows import EVERYWHERE, Rows
from datagen.readers.tabular import Columns, embeds_audio
from datagen.readers.tree import INSIDE, FileInfo, Tree, is_url

PREFIX = "hf:"
_ALL = "all"  # the "split" of a dataset that has none


def is_saved(tree: Tree) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    names = tree.files()
    return not tree.remote and ("dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= names.keys())


def load(location: str, config: HuggingFaceConfig) -> dict[str, Any]:
    """Split name -> dataset with undecoded audio.

    Raises:
        UsageError: ``datasets`` cannot load it.
    """
    import datasets

    try:
        folder = Path(location).expanduser()
        if not is_url(location) and (folder / "dataset_dict.json").is_file() | (folder / "state.json").is_file():
            _refuse_escapes(folder, _saved_names(folder))
            loaded = datasets.load_from_disk(str(folder))
        else:
            _refuse_escapes(folder, _card_names(folder))
            loaded = datasets.load_dataset(location, config.name, revision=config.revision)
    except UsageError:
        raise
    except Exception as error:  # the hub, the disk and a dozen builders each have their own
        raise UsageError(f"input {location}: datasets cannot load it: {str(error)[:300]}") from None
    parts = dict(loaded) if isinstance(loaded, dict) else {_ALL: loaded}
    if config.split is not None:
        if config.split not in parts:
            raise UsageError(f"input {location}: hf.split: no {config.split!r}; there are: {', '.join(parts)}")
        parts = {config.split: parts[config.split]}
    return {name: _undecoded(part) for name, part in parts.items()}


def _saved_names(folder: Path) -> list[Any]:
    """What ``load_from_disk`` would open: splits and files that the folder's own JSON names."""
    splits = folder / "dataset_dict.json"
    names = list(json.loads(splits.read_text("utf-8"))["splits"]) if splits.is_file() else []
    for state in (folder / "state.json", *folder.glob("*/state.json")):
        if state.is_file():
            names += [entry["filename"] for entry in json.loads(state.read_text("utf-8"))["_data_files"]]
    return names


def _card_names(folder: Path) -> list[Any]:
    """What ``load_dataset`` would open in a local folder because its card says so."""
    card = folder / "README.md"
    parts = card.read_text("utf-8", errors="replace").split("---", 2) if card.is_file() else []
    about = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    found, todo = [], [about.get("configs") if isinstance(about, dict) else None]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
        elif value is not None:
            found.append(value)
    return found


def _refuse_escapes(folder: Path, names: list[Any]) -> None:
    """Raises:
    UsageError: a name is that of something outside the folder.
    """
    for name in map(str, names):
        if "\\" in name or is_url(name) or name.startswith("/") or ".." in name.split("/"):
            raise UsageError(f"input {folder}: its own description names {name!r}, which leads out of the folder")


def audio_feature(dataset: Any, wanted: str | None = None) -> str | None:
    """The column with audio: an ``Audio`` feature, else encoded bytes."""
    import datasets

    if wanted is not None:
        return wanted if wanted in dataset.column_names else None
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Audio):
            return str(name)
    return next((field.name for field in dataset.features.arrow_schema if embeds_audio(field.type)), None)


def read_huggingface(location: str, rows: Rows, config: LayoutConfig) -> None:
    """One source per row of every split.

    Raises:
        UsageError: it cannot be loaded, or no column holds audio.
    """
    for split, dataset in load(location, config.hf).items():
        audio = audio_feature(dataset, config.columns.get("audio"))
        if audio is None:
            raise UsageError(
                f"input {location}: split {split} has no audio column; name it with stages.ingest.columns: "
                f"{{audio: ...}}; there are: {', '.join(dataset.column_names)}"
            )
        plain = dataset.remove_columns([audio])
        settings = config.model_copy(update={"columns": {**config.columns, "audio": None}})
        columns = Columns(settings, list(plain.column_names), f"{location} ({split})")
        size = int(dataset.data.nbytes / max(1, len(dataset)))
        for number, row in enumerate(plain if plain.column_names else [{}] * len(dataset)):
            name = f"{PREFIX}{split}{INSIDE}{number}"
            try:
                span = columns.span(row)
            except RowError as error:
                rows.refuse(name, error.error_class, f"{name}: {error.message}")
                continue
            facts = columns.facts(row)
            rows.add(
                name,
                FileInfo(size, f"{dataset._fingerprint}#{number}"),
                facts if span == EVERYWHERE else None,
                spans=() if span == EVERYWHERE else [(span, facts)],
                metadata={**columns.rest(row), **columns.reworded(row)},
                split=columns.value(row, "split") or (None if split == _ALL else split),
                licence=columns.value(row, "licence"),
                seconds=columns.seconds(row) or guess_seconds(".flac", size),
                locator=str(number),
                corpus=columns.value(row, "corpus"),
            )


def row_bytes(dataset: Any, audio: str, number: int, tree: Tree | None) -> bytes:
    """Encoded audio of one row.

    Raises:
        RowError: there is none, or it is a path outside the input.
    """
    value = dataset[number][audio]
    if isinstance(value, dict):
        if value.get("bytes") is not None:
            return bytes(value["bytes"])
        value = value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise RowError("MissingFile", f"row {number} holds neither audio nor a path")
    if tree is None:
        raise RowError("UnsafePath", f"row {number} points to {os.path.basename(value)!r} outside the data set")  # noqa: PTH119
    return tree.read(tree.locate(value))


def _undecoded(dataset: Any) -> Any:
    import datasets

    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Audio):
            dataset = dataset.cast_column(name, datasets.Audio(decode=False))
    return dataset
