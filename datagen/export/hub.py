"""The Hub layout: one folder that ``datasets`` loads as it is.

    clips/train-00000-of-00001.parquet     every clip with what was measured, and its sound
    qa/train-00000-of-00001.parquet        one folder per task, each mode a value of the column `mode`
    figures/*.png, README.md, LICENSE.md   the data card
    datagen.json                           what belongs to the export: sizes, hashes, counts

Rows are in the order of their ids, one file never holds two splits, and the same run gives the same bytes. Each
shard of the run is read once; memory holds one shard, or ten thousand rows without their sound, whichever is larger.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen import tables
from datagen.errors import RunError
from datagen.export import published
from datagen.export.parquet import cuts, write_file
from datagen.export.run import RunReader
from datagen.export.spool import AudioSpool, Rows, TableSpool, table_row_bytes
from datagen.export.swap import MARK, replacing
from datagen.quality import licences as licensing

FORMAT = "datagen-hub"
FORMAT_VERSION = 1
#: What a file that still has no split is called: a recipe without a split stage trains on everything.
DEFAULT_SPLIT = "train"
_SPLIT = re.compile(r"\w+(\.\w+)*", re.ASCII)  # what `datasets` accepts in a file name
_TASK = re.compile(r"[a-z][a-z0-9_]*")
#: Rows without their sound gathered at once, of which memory holds two copies.
_GATHER_ROWS = 10_000
_RESERVED = {"clips", "data", "figures"}

Audio = Literal["auto", "embed", "clips"]


@dataclass(frozen=True)
class Options:
    """How to publish. Sizes in bytes, uncompressed."""

    audio: Audio = "auto"
    embed_limit: int = 2_000_000_000
    require: tuple[str, ...] = ()
    tasks: tuple[str, ...] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    file_bytes: int = 500_000_000
    group_bytes: int = 100_000_000
    group_rows_audio: int = 100
    group_rows_text: int = 10_000


@dataclass(frozen=True, slots=True)
class SplitInfo:
    rows: int
    num_bytes: int  #: uncompressed
    files: int
    file_bytes: int  #: as written


@dataclass
class Published:
    """What was written; what the card and the caller's report are made from."""

    audio: Literal["embed", "clips"]
    predicted: Mapping[str, int]  #: bytes of sound per way of storing it
    configs: dict[str, dict[str, SplitInfo]]
    left_out: dict[str, dict[str, int]]  #: table -> reason -> rows
    clips: pa.Table  #: light columns of the published clips, for statistics
    samples: pa.Table  #: light columns of the published samples
    licences: licensing.Licences
    empty: tuple[str, ...]  #: columns of clips without a single value

    def denied(self, column: str) -> int:
        """Rows of clips and samples together that lack a permission, e.g. ``"commercial_ok"``."""
        return sum(part.num_rows - (pc.sum(part.column(column)).as_py() or 0) for part in (self.clips, self.samples))


#: Columns the statistics of the card need.
CLIP_STATISTICS = (
    "clip_id", "corpus", "split", "speaker", "sex", "speech_lang", "duration", "licence", "emotion", "label_source",
    "sentiment", "arousal", "f0_median_hz", "f0_pct", "contrast_group_id", *licensing.COLUMNS,
)  # fmt: skip
SAMPLE_STATISTICS = (
    "task", "mode", "split", "question_type", "route", "corpus", "emotion", "speech_lang", "duration", "licence",
    "writer", "prompt_hash", *licensing.COLUMNS,
)  # fmt: skip


class _Config:
    """Rows of one config on their way: put aside, then fetched by id."""

    def __init__(self, table: str, path: Path) -> None:
        self.table = table
        schema = published.schema(table, audio=False).remove_metadata()
        self.spool = TableSpool(path, schema)
        self._sizes: list[Rows] = []
        self._sound: list[Rows] = []

    def append(self, rows: pa.Table, sound: Rows) -> None:
        """``sound``: the row's number in the audio spool."""
        self.spool.append(rows)
        self._sizes.append(table_row_bytes(rows))
        self._sound.append(sound)

    def seal(self) -> None:
        self.spool.seal()
        self.sizes = np.concatenate([np.zeros(0, np.int64), *self._sizes])
        self.sound = np.concatenate([np.zeros(0, np.int64), *self._sound])
        light = pa.Table.from_batches(list(self.spool.batches()), self.spool.schema)
        self.ids, self.splits = light.column(tables.ID[self.table]), light.column("split")
        self.light = light
        if pc.count_distinct(self.ids).as_py() != len(self.ids):
            raise RunError(f"export: an id of table '{self.table}' stands in two shards; the run is damaged")

    def sound_bytes(self, sound: AudioSpool) -> int:
        """Bytes of sound if every row that is to be published carried its own."""
        rows = self.sound[pc.is_valid(self.splits).to_numpy()]
        return int(np.maximum(sound.sizes[rows], 0).sum())

    def rows_of(self, split: str) -> Rows:
        """Numbers of the rows of a split, in the order of their ids."""
        rows = np.flatnonzero(pc.equal(self.splits, split).fill_null(False).to_numpy())
        ordered: Rows = rows[pc.sort_indices(self.ids.take(pa.array(rows))).to_numpy()]
        return ordered


def write(
    run: RunReader, out: Path, options: Options, decorate: Callable[[Path, Published], None]
) -> tuple[Published, dict[str, Any]]:
    """Write the folder ``out`` whole, or leave what was there.

    Args:
        decorate: called with (staging folder, Published) when all data files stand; adds the card.

    Returns:
        what was published, and the content of ``datagen.json``.

    Raises:
        UsageError: ``out`` holds something else; an alias of a licence leads nowhere.
        RunError: nothing is left to export; the run's rows contradict each other.
        EnvironmentFault: the disk is full.
    """
    licences = licensing.published(options.aliases)
    with replacing(out) as (staging, scratch), ExitStack() as stack:
        sound = stack.enter_context(AudioSpool(scratch / "audio"))
        configs, left_out = _collect(run, scratch, sound, options, licences, stack)
        embedded = {name: config.sound_bytes(sound) for name, config in configs.items()}
        predicted = {"embed": sum(embedded.values()), "clips": embedded["clips"]}
        way: Literal["embed", "clips"] = (
            ("embed" if predicted["embed"] <= options.embed_limit else "clips")
            if options.audio == "auto"
            else options.audio
        )
        if way == "clips":
            _leave_out_orphans(configs, left_out)
        about = {"format": FORMAT, "format_version": FORMAT_VERSION, "datagen_version": run.datagen_version}
        infos = {
            name: _write_config(
                staging, name, config, sound, options, about, with_audio=name == "clips" or way == "embed"
            )
            for name, config in configs.items()
        }
        infos = {name: info for name, info in infos.items() if info}
        if not infos:
            raise RunError(f"export: no row is left to publish ({reasons(left_out)})")
        light = configs["clips"].light
        result = Published(
            audio=way,
            predicted=predicted,
            configs=infos,
            left_out=left_out,
            clips=light.select(CLIP_STATISTICS).filter(pc.is_valid(configs["clips"].splits)),
            samples=_samples(configs),
            licences=licences,
            empty=tuple(name for name in light.column_names if light.column(name).null_count == light.num_rows),
        )
        decorate(staging, result)
        mark = about | _mark(staging, result)
        (staging / MARK).write_text(json.dumps(mark, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return result, mark


# --- Reading ------------------------------------------------------------------------------------------------


def _collect(
    run: RunReader,
    scratch: Path,
    sound: AudioSpool,
    options: Options,
    licences: licensing.Licences,
    stack: ExitStack,
) -> tuple[dict[str, _Config], dict[str, dict[str, int]]]:
    """All rows of the run into spools. Rows that are not to be published are there too, with a null split."""
    wanted = {
        table: [column.name for column in published.of(table, audio=False) if not column.derived]
        for table in ("clips", "samples")
    }
    found = {"clips": _Config("clips", scratch / "clips")}
    left_out: dict[str, Counter[str]] = {"clips": Counter(), "samples": Counter()}
    default = None if _has_splits(run) else DEFAULT_SPLIT
    makers = run.provenance
    lineage = published.lineage()

    emotions = pa.array(tables.EMOTIONS, pa.string())

    def complete(rows: pa.Table, table: str) -> pa.Table:
        rows = rows.append_column("emotion_id", pc.index_in(rows.column("emotion"), emotions).cast(pa.int64()))
        for column in (permissions := licensing.of_rows(rows, makers, lineage, licences)).column_names:
            rows = rows.append_column(column, permissions.column(column))
        if default:
            rows = _with(rows, "split", pa.array([default] * rows.num_rows, pa.string()))
        rows = rows.select([column.name for column in published.of(table, audio=False)])
        rows = _leave_out(rows, np.zeros(rows.num_rows, dtype=bool), "", left_out[table], nulls_because="no split")
        for name in options.require:
            refused = ~rows.column(f"{name}_ok").to_numpy()
            rows = _leave_out(rows, refused, f"not permitted: {name}", left_out[table])
        return rows

    seen = 0
    for shard in run.shards:
        clips = run.read("clips", shard, [*wanted["clips"], "audio"])
        sound.append(clips.column("audio"))
        found["clips"].append(complete(clips.drop_columns(["audio"]), "clips"), np.arange(seen, seen + clips.num_rows))

        samples = run.read("samples", shard, wanted["samples"])
        clip_of = pc.index_in(samples.column("clip_id"), clips.column("clip_id").combine_chunks())
        if clip_of.null_count:
            lost = samples.column("sample_id").filter(pc.is_null(clip_of))[0].as_py()
            raise RunError(f"export: sample {lost} has no live clip in its shard ({shard}); the run is damaged")
        rows = complete(samples, "samples")
        dropped = pc.equal(rows.column("route"), "drop").fill_null(False).to_numpy()
        rows = _leave_out(rows, dropped, "route: drop", left_out["samples"])
        if options.tasks is not None:
            others = ~pc.is_in(rows.column("task"), pa.array(options.tasks, pa.string())).to_numpy()
            rows = _leave_out(rows, others, "task not asked for", left_out["samples"])
        numbers = clip_of.to_numpy().astype(np.int64) + seen
        for task in pc.unique(rows.column("task")).to_pylist():
            if _task(task) not in found:
                found[task] = _Config("samples", scratch / f"task-{task}")
            here = pc.equal(rows.column("task"), task).to_numpy()
            found[task].append(rows.filter(pa.array(here)), numbers[here])
        seen += clips.num_rows
    sound.seal()
    for config in found.values():
        stack.callback(config.spool.close)
        config.seal()
    order = {task: number for number, task in enumerate(("clips", *tables.TASKS))}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return {name: found[name] for name in names}, {table: dict(sorted(why.items())) for table, why in left_out.items()}


def _has_splits(run: RunReader) -> bool:
    """Whether any clip was given a split; if none was, there was no split stage."""
    columns = (run.read("clips", shard, ["split"]).column("split") for shard in run.shards)
    return any(column.null_count < len(column) for column in columns)


def _task(name: str | None) -> str:
    if not _TASK.fullmatch(name or "") or name in _RESERVED:
        reserved = ", ".join(sorted(_RESERVED))
        raise RunError(f"export: {name!r} cannot be a task's name: small letters, digits and '_', and not {reserved}")
    return str(name)


def _with(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


def _leave_out(
    rows: pa.Table, refused: NDArray[np.bool_], why: str, counts: Counter[str], nulls_because: str = ""
) -> pa.Table:
    """Take ``refused`` rows out by giving them a null split; each is counted once, under its first reason."""
    absent = pc.is_null(rows.column("split")).to_numpy()
    if nulls_because and absent.any():
        counts[nulls_because] += int(absent.sum())
    fresh = refused & ~absent
    if not fresh.any():
        return rows
    counts[why] += int(fresh.sum())
    return _with(rows, "split", pc.if_else(pa.array(fresh), pa.scalar(None, pa.string()), rows.column("split")))


def _leave_out_orphans(configs: Mapping[str, _Config], left_out: dict[str, dict[str, int]]) -> None:
    """Where samples carry no sound, leave out those whose clip is not published: nobody could ever hear them."""
    present = pc.is_valid(configs["clips"].splits).to_numpy()
    for name, config in configs.items():
        if name == "clips":
            continue
        orphan = ~present[config.sound] & pc.is_valid(config.splits).to_numpy()
        if orphan.any():
            reasons = left_out["samples"]
            reasons["its clip is left out"] = reasons.get("its clip is left out", 0) + int(orphan.sum())
            config.splits = pc.if_else(pa.array(orphan), pa.scalar(None, pa.string()), config.splits)


# --- Writing ------------------------------------------------------------------------------------------------


def _write_config(
    staging: Path,
    name: str,
    config: _Config,
    sound: AudioSpool,
    options: Options,
    about: Mapping[str, Any],
    *,
    with_audio: bool,
) -> dict[str, SplitInfo]:
    schema = published.schema(config.table, audio=with_audio, about=about)
    splits = [split for split in pc.unique(config.splits).to_pylist() if split is not None]
    order = {split: number for number, split in enumerate(tables.SPLITS)}
    infos = {}
    for split in sorted(splits, key=lambda split: (order.get(split, len(order)), split)):
        if not _SPLIT.fullmatch(split):
            raise RunError(f"export: {split!r} cannot be a split's name: letters, digits, '_' and single dots only")
        rows = config.rows_of(split)
        sizes = config.sizes[rows]
        if with_audio:
            sizes = sizes + np.maximum(sound.sizes[config.sound[rows]], 0)
        files = cuts(sizes, options.file_bytes, len(rows))
        (staging / name).mkdir(exist_ok=True)
        written = 0
        for number, (start, stop) in enumerate(files):
            path = staging / name / f"{split}-{number:05d}-of-{len(files):05d}.parquet"
            here = slice(start, stop)
            groups = _groups(config, rows[here], sizes[here], sound if with_audio else None, options)
            write_file(path, schema, groups)
            written += path.stat().st_size
        infos[split] = SplitInfo(len(rows), int(sizes.sum()), len(files), written)
    return infos


def _groups(
    config: _Config, rows: Rows, sizes: NDArray[np.int64], sound: AudioSpool | None, options: Options
) -> Iterator[pa.Table]:
    limit = options.group_rows_audio if sound else options.group_rows_text
    gathered = 0
    for start, stop in cuts(sizes, options.group_bytes, limit):
        if stop > gathered:  # several groups at once: each look-up passes over all shards
            first, gathered = start, max(stop, min(len(rows), start + _GATHER_ROWS))
            table = config.spool.take(rows[start:gathered])
        group = table.slice(start - first, stop - start)
        if sound:
            data = sound.take(config.sound[rows[start:stop]])
            paths = pa.array([file_name(clip_id) for clip_id in group.column("clip_id").to_pylist()], pa.string())
            # A clip without sound is a null, not a struct of nulls: `datasets` would try to decode the latter.
            struct = pa.StructArray.from_arrays([data, paths], fields=list(published.AUDIO.fields), mask=data.is_null())
            group = group.append_column("audio", struct)
        yield group


def file_name(clip_id: str) -> str:
    """The name a clip's sound goes by: a plain file name whatever the id holds."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", clip_id).lstrip(".") + ".flac"


def _samples(configs: Mapping[str, _Config]) -> pa.Table:
    schema = published.schema("samples", audio=False).remove_metadata()
    schema = pa.schema([schema.field(name) for name in SAMPLE_STATISTICS])
    parts = [
        config.light.select(SAMPLE_STATISTICS).filter(pc.is_valid(config.splits))
        for name, config in configs.items()
        if name != "clips"
    ]
    return pa.concat_tables([schema.empty_table(), *parts])


def _mark(staging: Path, result: Published) -> dict[str, Any]:
    files = {}
    for path in sorted(path for path in staging.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(staging).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return {
        "audio": result.audio,
        "configs": {
            name: {split: {"rows": info.rows, "num_bytes": info.num_bytes} for split, info in splits.items()}
            for name, splits in result.configs.items()
        },
        "left_out": result.left_out,
        "files": files,
    }


def reasons(left_out: Mapping[str, Mapping[str, int]]) -> str:
    """``"clips: 3 no split; samples: 7 route: drop"`` for messages."""
    told = [
        f"{table}: " + ", ".join(f"{rows} {why}" for why, rows in found.items())
        for table, found in left_out.items()
        if found
    ]
    return "; ".join(told) or "the run has no live rows"
