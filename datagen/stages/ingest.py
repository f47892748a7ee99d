"""ingest: every source is decoded before it is believed, and becomes 16 kHz FLAC; what is said of it comes along."""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from hashlib import blake2b
from typing import Any, BinaryIO, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from datagen.errors import RowError
from datagen.readers import describe, scan
from datagen.readers.config import InputConfig
from datagen.readers.contents import Contents
from datagen.speech import audio
from datagen.stage import Kind, Output, Reject, Stage
from datagen.tables import ANNOTATIONS, RECORDINGS


class IngestConfig(InputConfig):
    #: Not part of a unit's key. Where the data lies says nothing about it, and what the layout settings do is visible
    #: in the columns that are read: adding a corpus must not restale the ones that were there.
    non_semantic: ClassVar[frozenset[str]] = frozenset(InputConfig.model_fields)

    channels: Literal["mix", "split"] = Field(default="mix", description="mix all channels, or keep each (dialogues)")
    max_seconds: float = Field(default=audio.MAX_SECONDS, gt=0, description="longer recordings are refused")


class Ingest(Stage):
    name, version, table, kind = "ingest", "1", "sources", Kind.EXPAND
    Config = IngestConfig
    reads = (
        "corpus", "source_uri", "fingerprint", "locator", "licence", "official_split", "metadata", "annotations",
    )  # fmt: skip
    creates = {"recordings": RECORDINGS, "annotations": ANNOTATIONS}
    batch_rows = 64

    config: IngestConfig

    @cached_property
    def _contents(self) -> Contents:
        columns = {corpus.path: corpus.columns.get("audio") for corpus in self.config.corpora.values()}
        return Contents(self.config.input, self.config.hf, columns or {"": self.config.columns.get("audio")})

    def scan(self) -> tuple[pa.Table, pa.Table]:
        """Everything the input holds now, and the entries that cannot become a source; see ``readers.scan``."""
        return scan(self.config)

    def taken_for(self) -> list[str]:
        """What each corpus of the input was taken for, and why."""
        return describe(self.config)

    def process(self, batch: pa.Table) -> Output:
        rejects: list[Reject] = []
        made: list[dict[str, Any]] = []
        kept: list[int] = []
        uris, locators = batch["source_uri"].to_pylist(), batch["locator"].to_pylist()
        for row, (uri, locator) in enumerate(zip(uris, locators, strict=True)):
            try:
                made.append(self._recording(uri, locator))
                kept.append(row)
            except RowError as error:
                rejects.append(Reject(row, error.error_class, error.message))
        parents = batch.take(pa.array(kept, pa.int64()))
        return Output(
            rejects=rejects, created={"recordings": _recordings(parents, made), "annotations": explode(parents)}
        )

    def _recording(self, uri: str, locator: str | None) -> dict[str, Any]:
        data = self._contents.open(uri, locator)
        if isinstance(data, bytes):
            digest = blake2b(data, digest_size=16).hexdigest()
            return {"content_hash": digest, **self._decode(data, uri)}
        with closing(data):
            hasher = blake2b(digest_size=16)
            while block := data.read(1 << 20):
                hasher.update(block)
            return {"content_hash": hasher.hexdigest(), **self._decode(data, uri)}

    def _decode(self, data: bytes | BinaryIO, uri: str) -> dict[str, Any]:
        sound = audio.prepare(data, channels=self.config.channels, name=uri, max_seconds=self.config.max_seconds)
        return {
            "container": sound.container,
            "source_rate_hz": sound.source_rate,
            "source_channels": sound.source_channels,
            "duration": sound.duration,
            "audio": audio.encode_flac(sound.pcm),
        }


def _recordings(parents: pa.Table, made: list[dict[str, Any]]) -> pa.Table:
    columns = []
    for field in RECORDINGS:
        if field.name in parents.column_names:
            columns.append(parents[field.name].cast(field.type))
        else:
            columns.append(pa.array([entry[field.name] for entry in made], field.type))
    return pa.Table.from_arrays(columns, schema=RECORDINGS)


def explode(sources: pa.Table) -> pa.Table:
    """``annotations`` of each source as rows of ``ANNOTATIONS``, in order."""
    lists = sources["annotations"].combine_chunks()
    flat = pc.list_flatten(lists)
    ids = sources["recording_id"].take(pc.list_parent_indices(lists))
    columns = [
        ids.combine_chunks(),
        *(pc.struct_field(flat, field.name) for field in ANNOTATIONS if field.name != "recording_id"),
    ]
    return pa.Table.from_arrays(
        [column.cast(field.type) for column, field in zip(columns, ANNOTATIONS, strict=True)], schema=ANNOTATIONS
    )
