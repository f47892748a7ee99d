"""split: train, validation and test that share no speaker, no recording and no copy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import field_validator

from datagen import tables
from datagen.errors import RunError, UsageError
from datagen.quality.splits import HOLDOUT, assign, find_groups, official_split, pinned, unfillable
from datagen.stage import Kind, Output, Stage, StageConfig

_SHARD = re.compile(r"^(\w+)-\d+-of-\d+\.parquet$")


#: The shares where none are asked for.
USUAL = {"train": 0.9, "validation": 0.05, "test": 0.05}


class SplitConfig(StageConfig):
    fractions: dict[str, float] | None = None
    """Share of each split. Shares that are asked for are kept or refused. Unset: ``USUAL``, and what a corpus of one
    or two speakers cannot fill stays empty, with a note."""
    by: Literal["seconds", "clips"] = "seconds"
    official: bool = True
    """Keep a corpus's own splits. False: split all of it anew."""
    holdout: tuple[str, ...] = ()
    """Corpora never trained on; they, and whoever else is in one group with them, get the split ``holdout``."""
    disjoint_texts: bool = False
    """No words in two splits, as far as ``condense`` knows near-same words. Hopeless on parallel texts."""
    previous: str | None = None
    """A Parquet file or a folder of them (a published dataset) whose assignment is kept: columns ``clip_id`` and/or
    ``speaker``, and ``split`` unless the file names say it (``train-00000-of-00001.parquet``)."""

    @field_validator("fractions")
    @classmethod
    def _sane(cls, fractions: dict[str, float] | None) -> dict[str, float] | None:
        if fractions is None:
            return None
        bad = [name for name, share in fractions.items() if not re.fullmatch(r"\w+", name) or not 0 <= share <= 1]
        if bad or HOLDOUT in fractions:
            raise ValueError(
                f"{', '.join(bad) or HOLDOUT}: a split has a plain name (not {HOLDOUT}) and a share in 0..1"
            )
        if abs(sum(fractions.values()) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {sum(fractions.values()):g} instead of 1")
        return fractions


class Split(Stage):
    """Groups go by luck (hash of seed and name); what an earlier run assigned stays."""

    name: ClassVar[str] = "split"
    version: ClassVar[str] = "1"
    table: ClassVar[str] = "clips"
    kind: ClassVar[Kind] = Kind.BARRIER
    Config: ClassVar[type[StageConfig]] = SplitConfig

    writes = tables.SPLIT
    seeded: bool = True

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        needed = ("recording_id", "corpus", "speaker", "duration", "official_split")
        self.reads = (*needed, "text_cluster") if self.config.disjoint_texts else needed
        self.optional_reads = ("dup_of",)

    def semantics(self) -> dict[str, Any]:
        if self.config.previous is None:
            return {}
        digest = blake2b(digest_size=16)
        for path in _files(self.config.previous):
            digest.update(path.name.encode() + path.read_bytes())
        return {"previous": digest.hexdigest()}

    def check(self) -> str | None:
        try:
            if self.config.previous is not None:
                _files(self.config.previous)
        except UsageError as error:
            return str(error)
        return None

    def process(self, batch: pa.Table) -> Output:
        seconds = np.nan_to_num(batch["duration"].to_numpy().astype(np.float64))
        size = seconds if self.config.by == "seconds" else np.ones(batch.num_rows)
        corpora = batch["corpus"].to_pylist()
        strange = sorted(set(self.config.holdout) - set(corpora))
        groups = find_groups(batch, size, texts=self.config.disjoint_texts)
        held = {int(groups.label[row]) for row, corpus in enumerate(corpora) if corpus in self.config.holdout}
        # Whoever shares a voice or a recording with a benchmark would leak it: the whole group is held out.
        bound = dict.fromkeys(sorted(held), HOLDOUT)
        bound |= pinned(groups, self._wishes(batch), [g for g in range(len(groups.names)) if g not in held])
        everything = len(held) == len(groups.names)
        splits = [HOLDOUT] * len(groups.names)
        fractions, notes = self.config.fractions or USUAL, []
        if not everything:
            if self._lenient() and (empty := unfillable(groups, fractions, bound)):
                fractions = {name: share for name, share in fractions.items() if name not in empty}
                notes = [_too_small([name for g, name in enumerate(groups.names) if g not in held], empty)]
            splits = assign(groups, fractions, bound, seed=self.seed)
        elif groups.names:
            raise RunError(
                f"split.holdout ({', '.join(self.config.holdout)}) covers every clip: nothing is left to train on. "
                "Add other corpora, or shorten the list"
            )
        column = [splits[group] for group in groups.label.tolist()]
        artifact = _report(batch, column, groups.label, seconds)
        artifact["holdout_not_in_input"] = strange
        artifact["notes"] = notes
        columns = pa.table({"split": pa.array(column, pa.string())})
        return Output(tables.cast(columns, self.writes), artifact=artifact)

    def _lenient(self) -> bool:
        """Whether nobody asked for particular splits, nor for disjoint texts, which may join everything."""
        return self.config.fractions is None and not self.config.disjoint_texts

    def _wishes(self, batch: pa.Table) -> dict[str, list[str | None]]:
        """Who binds which row to which split: this run's last commit, ``previous``, the corpora themselves."""
        ids = batch["clip_id"].to_pylist()
        wishes: dict[str, list[str | None]] = {}
        if self.previous is not None:
            before = dict(zip(self.previous["clip_id"].to_pylist(), self.previous["split"].to_pylist(), strict=True))
            wishes["the last run"] = _not_held(before.get(clip) for clip in ids)
        if self.config.previous is not None:
            clips, speakers = read_assignment(self.config.previous)
            named = zip(ids, batch["speaker"].to_pylist(), strict=True)
            found = (clips.get(clip) or speakers.get(speaker or "") for clip, speaker in named)
            wishes[f"split.previous, {self.config.previous}"] = _not_held(found)
        if self.config.official:
            wishes["official split"] = [official_split(name) for name in batch["official_split"].to_pylist()]
        return wishes


def _not_held(splits: Iterable[str | None]) -> list[str | None]:
    """A corpus no longer held out is free again."""
    return [None if split == HOLDOUT else split for split in splits]


def _files(where: str) -> list[Path]:
    path = Path(where).expanduser()
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise UsageError(f"split.previous: {where} is neither a Parquet file nor a folder that holds any")
    return found


def read_assignment(where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Splits by clip and by speaker from Parquet.

    Raises:
        UsageError: no such file, no usable columns, or one clip or speaker in two splits.
    """
    import pyarrow.parquet as pq

    clips: dict[str, str] = {}
    speakers: dict[str, str] = {}
    for path in _files(where):
        present = pq.read_schema(path).names
        keys = [name for name in ("clip_id", "speaker") if name in present]
        named = _SHARD.match(path.name)
        if not keys or ("split" not in present and named is None):
            raise UsageError(f"split.previous: {path} needs a column clip_id or speaker, and split: it has {present}")
        table = pq.read_table(path, columns=[*keys, *(["split"] if "split" in present else [])])
        splits = table["split"].to_pylist() if named is None or "split" in present else [named[1]] * table.num_rows
        for key in keys:
            known = clips if key == "clip_id" else speakers
            for value, split in zip(table[key].to_pylist(), splits, strict=True):
                if value is None or split is None:
                    continue
                if known.setdefault(value, split) != split:
                    raise UsageError(f"split.previous: {path} has {key} {value} in {known[value]} and in {split}")
    return clips, speakers


def _too_small(groups: list[str], empty: list[str]) -> str:
    shown = ", ".join(groups[:3]) + (f" and {len(groups) - 3} more" if len(groups) > 3 else "")
    return (
        f"no {' and no '.join(empty)} split: clips of one speaker or one recording stay together, and here that leaves "
        f"{len(groups)} group{'s' * (len(groups) != 1)} ({shown}). Whatever is trained on this cannot be measured on "
        "it; add recordings of other speakers, or name the speakers if the input does not"
    )


def _report(batch: pa.Table, splits: list[str], label: Any, seconds: Any) -> dict[str, Any]:
    speakers = batch["speaker"].to_pylist()
    report: dict[str, Any] = {}
    for name in sorted(set(splits)):
        rows = [row for row, split in enumerate(splits) if split == name]
        report[name] = {
            "clips": len(rows),
            "hours": round(float(seconds[rows].sum()) / 3600, 6),
            "groups": len({int(label[row]) for row in rows}),
            "speakers": len({speakers[row] for row in rows} - {None}),
            "clips_of_unknown_speakers": sum(speakers[row] is None for row in rows),
        }
    return {"splits": report}
