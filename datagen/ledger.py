"""The shard ledger: which input belongs to which shard, for ever.

Append-only segments of ``add``/``change``/``remove`` events. Adding files opens new shards and moves nothing;
a changed file stays in its shard and makes it stale; a removed one leaves a tombstone and, should it come back,
finds its old place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from datagen import digest
from datagen.config import ShardConfig
from datagen.files import Files
from datagen.tables import SOURCES, cast

LEDGER = pa.schema([*SOURCES, ("shard", pa.int32()), ("event", pa.string())])
#: Assumed when an input does not say how long it is: 16-bit mono at 16 kHz.
BYTES_PER_SECOND = 32_000


@dataclass(frozen=True)
class Changes:
    """What a look at the input found, in counts of recordings."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    left_for_later: int = 0  #: not taken because of ``--limit``


class Ledger:
    """The state after all events. ``shard(n)`` gives the live sources of one shard, in the order they joined."""

    def __init__(self, files: Files, folder: str = "ledger") -> None:
        self._files, self._folder = files, folder
        self._segments = [name for name in files.names(folder) if name.endswith(".parquet")]
        tables = [files.read_table(f"{folder}/{name}") for name in self._segments]
        self._fold(pa.concat_tables(tables) if tables else LEDGER.empty_table())

    def _fold(self, events: pa.Table) -> None:
        """Latest event per recording, ordered by when the recording was first seen."""
        self._events = events
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for index, name in enumerate(events["recording_id"].to_pylist()):
            first.setdefault(name, index)
            last[name] = index
        ordered = sorted(last, key=first.__getitem__)
        self._known = events.take(pa.array([last[name] for name in ordered], pa.int64()))
        self._live = self._known.filter(pc.not_equal(self._known["event"], "remove"))
        self._digests: dict[int, dict[str, str]] = {}

    @property
    def live(self) -> pa.Table:
        return self._live

    @property
    def segments(self) -> int:
        """How many times the ledger has grown."""
        return len(self._segments)

    @property
    def shards(self) -> list[int]:
        """Ids of shards that hold at least one live source."""
        return sorted(pc.unique(self._live["shard"]).to_pylist())

    def shard(self, number: int) -> pa.Table:
        return cast(self._live.filter(pc.equal(self._live["shard"], number)), SOURCES)

    def digests(self, number: int) -> dict[str, str]:
        """Hash per column of ``shard(number)``."""
        if number not in self._digests:
            self._digests[number] = digest.of_table(self.shard(number))
        return self._digests[number]

    def update(self, found: pa.Table, sharding: ShardConfig, limit: int | None = None, save: bool = True) -> Changes:
        """Compare what is there now with what the ledger knows, and append the difference.

        Args:
            found: ``SOURCES``, everything the input holds now, in any order.
            limit: take new recordings only until the ledger holds this many (a pilot); what was taken stays.
            save: False only computes the difference (``datagen plan``), in memory.
        """
        found = cast(found, SOURCES).sort_by([("corpus", "ascending"), ("source_uri", "ascending")])
        known = dict(zip(self._known["recording_id"].to_pylist(), _signatures(self._known), strict=True))
        gone = dict(zip(self._known["recording_id"].to_pylist(), self._known["event"].to_pylist(), strict=True))
        shard_of = dict(zip(self._known["recording_id"].to_pylist(), self._known["shard"].to_pylist(), strict=True))
        ids = found["recording_id"].to_pylist()
        new, back, changed = [], [], []
        for index, (name, signature) in enumerate(zip(ids, _signatures(found), strict=True)):
            if name not in known:
                new.append(index)
            elif gone[name] == "remove":
                back.append(index)
            elif known[name] != signature:
                changed.append(index)
        later = 0
        if limit is not None:
            # recording ids are hashes: the smallest are a fair sample, the same one for any order of the input
            room = max(0, limit - (len(self._live)))
            chosen = set(sorted(new, key=ids.__getitem__)[:room])
            later = len(new) - len(chosen)
            new = [index for index in new if index in chosen]
        present = set(ids)
        removed = [i for i, name in enumerate(self._live["recording_id"].to_pylist()) if name not in present]

        parts = [
            _event(found.take(pa.array(new, pa.int64())), self._deal(found, new, sharding), "add"),
            _event(found.take(pa.array(back, pa.int64())), [shard_of[ids[i]] for i in back], "add"),
            _event(found.take(pa.array(changed, pa.int64())), [shard_of[ids[i]] for i in changed], "change"),
            _event(
                self._live.take(pa.array(removed, pa.int64())).select(SOURCES.names),
                [self._live["shard"][i].as_py() for i in removed],
                "remove",
            ),
        ]
        events = pa.concat_tables(parts)
        if len(events):
            if save:
                name = f"{len(self._segments):06d}.parquet"
                self._files.write_table(f"{self._folder}/{name}", events)
                self._segments.append(name)
            self._fold(pa.concat_tables([self._events, events]))
        taken = len(new) + len(back)
        return Changes(taken, len(changed), len(removed), len(found) - taken - len(changed) - later, later)

    def _deal(self, found: pa.Table, new: Sequence[int], sharding: ShardConfig) -> list[int]:
        """Shard numbers for new rows: consecutive runs of at most ``rows`` and about ``seconds``."""
        number = (pc.max(self._known["shard"]).as_py() if len(self._known) else -1) + 1
        hints, sizes = found["seconds_hint"].to_pylist(), found["size_bytes"].to_pylist()
        shards, seconds, rows = [], 0.0, 0
        for index in new:
            length = hints[index] if hints[index] is not None else (sizes[index] or 0) / BYTES_PER_SECOND
            if rows and (rows >= sharding.rows or seconds + length > sharding.seconds):
                number, seconds, rows = number + 1, 0.0, 0
            shards.append(number)
            seconds, rows = seconds + length, rows + 1
        return shards


def _event(rows: pa.Table, shards: Sequence[int], event: str) -> pa.Table:
    rows = cast(rows, SOURCES)
    return cast(
        rows.append_column("shard", pa.array(shards, pa.int32())).append_column(
            "event", pa.array([event] * len(rows), pa.string())
        ),
        LEDGER,
    )


def _signatures(rows: pa.Table) -> list[str]:
    """One string per row that changes when anything about the source does."""
    light = rows.select([name for name in SOURCES.names if name not in {"annotations", "seconds_hint"}])
    said = rows["annotations"].to_pylist()
    return [f"{list(row.values())}{about or ''}" for row, about in zip(light.to_pylist(), said, strict=True)]
