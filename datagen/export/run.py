"""What an export needs to know of a finished run, whoever keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa


class RunReader(Protocol):
    """A finished run, read shard by shard.

    Live rows are those whose status is ``ok`` in every stage that applies to them. The order of rows and of shards
    does not matter: an export sorts by id.
    """

    @property
    def shards(self) -> Sequence[int]:
        """Numbers of the shards; one number names a shard of every table: a sample lives where its clip does."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe as resolved: all defaults and overrides filled in, JSON-able."""

    @property
    def provenance(self) -> Sequence[Mapping[str, Any]]:
        """Makers of labels: ``stage, model, revision, licence, columns, note, config_hash`` each."""

    @property
    def counts(self) -> Sequence[Mapping[str, Any]]:
        """Per stage, in the order data flows: ``name, rows_in, ok, rejected, dropped, seconds``, and where a stage
        counts anything itself ``metrics`` (``Output.metrics``, added up)."""

    @property
    def artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        """Name of a barrier -> what it fitted or found (``calibrate``, ``condense``)."""

    @property
    def datagen_version(self) -> str: ...

    def read(self, table: str, shard: int, columns: list[str]) -> pa.Table:
        """Live rows of one shard: exactly ``columns``, in that order.

        Columns of a parent table are joined in (``transcript`` of a sample is its clip's), heavy ones such as
        ``audio`` included. Columns that no stage wrote come back as nulls of their type in ``datagen.tables``.
        """

    def rejects(self) -> pa.Table:
        """All refused rows of the run (``tables.REJECTS``)."""
