"""``export``: the finished run as a dataset folder that ``datasets`` and the Hub load as it is.

Rows whose audio or labels may not be passed on are kept by default, because most exports stay where they are made;
the card then says "not for publication" on its first line. ``require`` leaves such rows out, with counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from datagen.errors import RunError
from datagen.escape import plain
from datagen.export import card, hub, published
from datagen.export.run import RunReader
from datagen.stage import Kind, Output, Stage, StageConfig

Permission = Literal["redistribute_audio", "redistribute_labels", "derivatives", "commercial"]


class ExportConfig(StageConfig):
    target: Literal["hub"] = "hub"
    audio: Literal["auto", "embed", "clips"] = Field(
        "auto",
        description="sound in every item (embed) or once per clip (clips); auto = embed up to embed_limit_gb",
    )
    embed_limit_gb: float = Field(2.0, gt=0)
    require: tuple[Permission, ...] = Field((), description="leave out rows that do not permit all of these")
    tasks: tuple[str, ...] | None = Field(None, description="which tasks to publish; null = all")
    licences: dict[str, str] = Field(
        default_factory=dict, description="your corpora's spelling of a licence -> its name in schemas/licences.yaml"
    )
    title: str = card.About.title
    description: str = ""
    citation: str = ""
    consent: str = Field("", description="what the speakers agreed to, for the data card")
    max_file_mb: int = Field(500, ge=1, description="uncompressed")
    max_row_group_mb: int = Field(100, ge=1)
    audio_rows_per_group: int = Field(100, ge=1)


class Export(Stage):
    name = "export"
    version = "2"
    table = "samples"
    kind = Kind.SINK
    Config = ExportConfig
    optional_reads = tuple(
        dict.fromkeys(column.name for column in published.columns() if not column.derived or column.name == "audio")
    )

    def write(self, run: RunReader, out: Path) -> dict[str, Any]:
        """Write the folder ``out`` whole, or leave what was there.

        Returns:
            ``output`` (path), ``audio`` ("embed" or "clips"), ``predicted_audio_bytes`` per way of storing it,
            ``configs`` (config -> split -> rows, num_bytes), ``left_out`` (table -> reason -> rows), ``files``
            (name -> bytes, sha256) and ``warnings``.

        Raises:
            UsageError: ``out`` holds something that is not an export; a licence in ``licences`` does not exist.
            RunError: nothing is left to publish.
            EnvironmentFault: the disk is full.
        """
        settings = self.config
        options = hub.Options(
            audio=settings.audio,
            embed_limit=int(settings.embed_limit_gb * 1e9),
            require=settings.require,
            tasks=settings.tasks,
            aliases=settings.licences,
            file_bytes=settings.max_file_mb * 1_000_000,
            group_bytes=settings.max_row_group_mb * 1_000_000,
            group_rows_audio=settings.audio_rows_per_group,
        )
        about = card.About(settings.title, settings.description, settings.citation, settings.consent)
        result, mark = hub.write(
            run, out, options, lambda folder, found: card.write(folder, run, found, about, settings.require)
        )
        return {
            "output": str(out),
            "audio": result.audio,
            "predicted_audio_bytes": dict(result.predicted),
            "configs": mark["configs"],
            "left_out": result.left_out,
            "files": mark["files"],
            "warnings": warnings(result, run.provenance),
        }

    def process(self, batch: pa.Table) -> Output:
        raise RunError("export is a sink: it is given the whole run through write(), not batches")


def warnings(result: hub.Published, makers: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What the person at the terminal should know before handing the folder on."""
    told = []
    for name, what in (("redistribute_audio_ok", "audio"), ("redistribute_labels_ok", "labels or texts")):
        rows = sum(part.num_rows - sum(part.column(name).to_pylist()) for part in (result.clips, result.samples))
        if rows:
            told.append(
                f"{rows:,} rows hold {what} that may not be passed on: not for publication (see the README there)"
            )
    if unknown := sorted(_unknown(result)):
        names = ", ".join(plain(name, 60) for name in unknown[:10])
        told.append(f"unknown licences, so nothing is permitted: {names}; say under export.licences what they are")
    unsaid = {maker["model"]: maker["licence"] for maker in makers if result.licences.find(maker["licence"]) is None}
    if unsaid:
        names = ", ".join(
            f"{plain(name, 80)} ({plain(spelling, 60)})" for name, spelling in sorted(unsaid.items())[:10]
        )
        told.append(
            f"licences of models that are not known, so nothing made by them is permitted: {names}; say llm.licence "
            "for a language model, else under export.licences what they are"
        )
    return told


def _unknown(result: hub.Published) -> set[str]:
    spellings = {
        value for part in (result.clips, result.samples) for value in part.column("licence").unique().to_pylist()
    }
    return {spelling or "none given" for spelling in spellings if result.licences.find(spelling) is None}
