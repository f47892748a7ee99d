"""A whole pipeline of stages that do next to nothing, for tests of the engine; also a program to be killed.

``python -m tests.engine.toy RUN INPUT [options]`` runs it in a process of its own. Each input file holds one number
per line; a file is a recording, a line is a clip, and so on down to samples.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from datagen import config, registry, tables
from datagen.errors import DatagenError
from datagen.export.swap import MARK
from datagen.rounds import Rounds
from datagen.stage import Drop, Kind, Output, Reject, Stage, StageConfig

F, S = pa.float64(), pa.string()


class IngestConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"input"})
    input: str = ""


class Ingest(Stage):
    name, version, table, kind, Config = "ingest", "1", "sources", Kind.EXPAND, IngestConfig
    reads = ("corpus", "source_uri", "fingerprint")
    creates = {
        "recordings": pa.schema([("recording_id", S), ("corpus", S), ("numbers", S), ("duration", F)]),
        "annotations": tables.ANNOTATIONS,
    }
    batch_rows = 8

    def scan(self):
        rows = []
        for path in sorted(Path(self.config.input).glob("*.txt")):
            stat = path.stat()
            rows.append(
                {
                    "recording_id": hashlib.blake2b(path.name.encode(), digest_size=8).hexdigest(),
                    "corpus": "toy",
                    "source_uri": path.name,
                    "fingerprint": f"{stat.st_size}-{stat.st_mtime_ns}",
                    "size_bytes": stat.st_size,
                    "seconds_hint": 1.0,
                    "annotations": [],
                }
            )
        return tables.from_rows(rows, tables.SOURCES), tables.REJECTS.empty_table()

    def process(self, batch):
        made, said, rejects = [], [], []
        for row, source in enumerate(batch.to_pylist()):
            text = (Path(self.config.input) / source["source_uri"]).read_text()
            if "broken" in text:
                rejects.append(Reject(row, "NotAudio", "it says it is broken"))
                continue
            made.append([source["recording_id"], source["corpus"], text, float(len(text.split()))])
            said.append([source["recording_id"], None, None, None, "speaker", "s" + source["source_uri"][0], "toy"])
        return Output(
            rejects=rejects, created={"recordings": _rows(made, self.creates["recordings"]),
                                      "annotations": _rows(said, self.creates["annotations"])},
        )  # fmt: skip


class Talk(Stage):
    """A second stage that only annotates; it refuses recordings that say a certain number."""

    name, version, table, kind = "talk", "1", "recordings", Kind.EXPAND
    reads = ("numbers",)
    creates = {"annotations": tables.ANNOTATIONS}

    def process(self, batch):
        said = [[name, None, None, None, "turns", "1", "talk"] for name in batch["recording_id"].to_pylist()]
        numbers = [text.split() for text in batch["numbers"].to_pylist()]
        rejects = [Reject(row, "Babble", "two voices") for row, found in enumerate(numbers) if "41" in found]
        return Output(rejects=rejects, created={"annotations": _rows(said, self.creates["annotations"])})


class Cut(Stage):
    name, version, table, kind = "cut", "1", "recordings", Kind.EXPAND
    reads = ("numbers", "annotations")
    creates = {
        "clips": pa.schema(
            [("clip_id", S), ("recording_id", S), ("number", F), ("duration", F), ("speaker", S),
             pa.field("audio", pa.large_binary(), metadata={"storage": "own-file"})]
        )
    }  # fmt: skip
    batch_rows = 8

    def process(self, batch):
        made, drops = [], []
        for row, r in enumerate(batch.to_pylist()):
            numbers = r["numbers"].split()
            if not numbers:
                drops.append(Drop(row, "no speech"))
            (speaker,) = [a["value"] for a in r["annotations"] if a["field"] == "speaker"]
            for i, n in enumerate(numbers):
                made.append(
                    [f"{r['recording_id']}-{i:03d}", r["recording_id"], float(n), 1.0, speaker, n.encode() * 100]
                )
        return Output(drops=drops, created={"clips": _rows(made, self.creates["clips"])})


class SquareConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"sleep_s"})
    sleep_s: float = 0.0
    die: list[float] = []
    fall: list[float] = []
    hang: list[float] = []
    power: int = 2


class Square(Stage):
    """The stage that can be told to misbehave on certain numbers."""

    name, version, table, Config = "square", "1", "clips", SquareConfig
    reads = ("number", "audio")
    writes = pa.schema([("square", F), ("size", pa.int64())])
    batch_rows = 4

    def process(self, batch):
        numbers = batch["number"].to_pylist()
        for n in numbers:
            if n in self.config.die:
                os._exit(3)
            if n in self.config.hang:
                time.sleep(600)
            if n in self.config.fall:
                raise ValueError(f"cannot square {n}")
        time.sleep(self.config.sleep_s)
        sizes = [len(a) for a in batch["audio"].to_pylist()]
        return Output(pa.table({"square": [n**self.config.power for n in numbers], "size": sizes}))


class Extra(Stage):
    """An optional annotator."""

    name, version, table = "extra", "1", "clips"
    reads = ("number",)
    writes = pa.schema([("events", tables.EVENTS.field("events").type)])

    def process(self, batch):
        return Output(tables.nulls(self.writes, len(batch)))


class FitConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"hang"})
    hang: bool = False


class Fit(Stage):
    name, version, table, kind, frozen, Config = "fit", "1", "clips", Kind.BARRIER, True, FitConfig
    reads = ("square",)

    def process(self, batch):
        if self.config.hang:
            time.sleep(600)
        squares = batch["square"].to_pylist()
        return Output(artifact={"mean": round(sum(squares) / max(len(squares), 1), 6), "n": len(squares)})


class Apply(Stage):
    name, version, table = "apply", "1", "clips"
    reads = ("square",)
    optional_reads = ("events",)
    reads_artifacts = ("fit",)
    writes = pa.schema([("level", S)])
    batch_rows = 4

    def process(self, batch):
        mean = self.artifacts["fit"]["mean"]
        return Output(pa.table({"level": ["high" if s > mean else "low" for s in batch["square"].to_pylist()]}))


class Pick(Stage):
    """Keeps one clip per square, the smallest id; remembers what it kept."""

    name, version, table, kind = "pick", "1", "clips", Kind.BARRIER
    reads = ("square", "level")
    writes = pa.schema([("kept_before", pa.bool_())])
    forgets = True

    def process(self, batch):
        before = set(self.previous["clip_id"].to_pylist()) if self.previous is not None and not self.anew else set()
        first, drops = {}, []
        for row, (name, square) in enumerate(
            zip(batch["clip_id"].to_pylist(), batch["square"].to_pylist(), strict=True)
        ):
            if first.setdefault(square, name) != name:
                drops.append(Drop(row, "same square"))
        return Output(pa.table({"kept_before": [n in before for n in batch["clip_id"].to_pylist()]}), drops=drops)


class RankConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"memory_gb"})
    memory_gb: float = 1.0


class Rank(Rounds):
    """The place of each clip's square among all; odd places are dropped, the very first is rejected."""

    name, version, table, Config = "rank", "1", "clips", RankConfig
    reads = ("square",)
    writes = pa.schema([("place", pa.int64()), ("clips", pa.int64())])
    rounds = ("gather", "nothing", "sort")
    done: ClassVar[list[tuple[str, int]]] = []  #: (round, task) as they were worked on in this process

    def tasks(self, name, shards, results):
        if name == "sort":
            assert [found["rows"] for found in results["gather"]] and results["nothing"] == ()
        return {"gather": shards, "nothing": 0, "sort": 2}[name]

    def work(self, name, task, bench):
        self.done.append((name, task))
        if name == "gather":
            rows = bench.read(task, ["square"])
            bench.put(f"squares/{task}", rows)
            return {"rows": len(rows)}
        rows = pa.concat_tables([bench.get(f"squares/{shard}") for shard in range(bench.shards)])
        mine = rows.filter(pa.array([int(s) % 2 == task for s in rows["square"].to_pylist()]))
        bench.put(f"sorted/{task}", mine.sort_by([("square", "ascending"), ("clip_id", "ascending")]))
        return {"rows": len(mine), "of": sum(found["rows"] for found in bench.results["gather"])}

    def finish(self, shard, bench):
        self.done.append(("finish", shard))
        ids = pa.concat_tables([bench.get("sorted/0"), bench.get("sorted/1")])["clip_id"].to_pylist()
        place = {name: n for n, name in enumerate(ids)}
        places = [place[name] for name in bench.read(shard)["clip_id"].to_pylist()]
        return Output(
            pa.table({"place": places, "clips": [len(ids)] * len(places)}),
            rejects=[Reject(row, "First", "it is") for row, n in enumerate(places) if n == 0],
            drops=[Drop(row, "odd") for row, n in enumerate(places) if n % 2],
        )

    def conclude(self, results):
        return {"rows": [found["rows"] for found in results["sort"]]}


class WriteConfig(StageConfig):
    prompt: str = "What is it?"


class Write(Stage):
    name, version, table, kind, Config = "write", "1", "clips", Kind.EXPAND, WriteConfig
    reads = ("square", "level", "kept_before", "speaker")
    creates = {"samples": pa.schema([("sample_id", S), ("clip_id", S), ("question", S), ("answer", S)])}

    def semantics(self):
        return {"prompt": self.config.prompt}

    def process(self, batch):
        made = [
            [f"{r['clip_id']}:{i}", r["clip_id"], self.config.prompt, f"{r['speaker']} {r['level']} {r['square']} {i}"]
            for r in batch.to_pylist()
            for i in range(2)
        ]
        return Output(created={"samples": _rows(made, self.creates["samples"])})


class Verify(Stage):
    name, version, table = "verify", "1", "samples"
    reads = ("answer", "square", "corpus")
    writes = pa.schema([("fine", pa.bool_())])

    def process(self, batch):
        good = [str(s) in a and c == "toy" for a, s, c in zip(*(batch[n].to_pylist() for n in self.reads), strict=True)]
        return Output(pa.table({"fine": good}))


class Publish(Stage):
    """Writes what came through outside the run."""

    name, version, table, kind = "publish", "1", "samples", Kind.SINK

    def write(self, run, out):
        out.mkdir(parents=True, exist_ok=True)
        rows = [run.read("samples", shard, ["sample_id", "question"]).to_pylist() for shard in run.shards]
        (out / "rows.json").write_text(json.dumps(rows))
        (out / MARK).write_text("{}")
        return {"shards": len(rows)}

    def process(self, batch):
        raise NotImplementedError


STAGES = {"ingest": Ingest, "talk": Talk, "cut": Cut, "square": Square, "extra": Extra, "fit": Fit, "apply": Apply,
          "pick": Pick, "rank": Rank, "write": Write, "verify": Verify, "publish": Publish}  # fmt: skip
DEFAULT = [name for name in STAGES if name not in {"extra", "talk", "rank", "publish"}]


def _rows(rows, schema):
    return pa.Table.from_arrays(
        [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)], schema=schema
    )


def install():
    """Put the toy stages in place of the real ones, for this process."""
    registry.BUILTIN.clear()
    registry.BUILTIN.update({name: f"tests.engine.toy:{cls.__name__}" for name, cls in STAGES.items()})


def recipe(source: Path | str, *, stages=None, executor="local", rows=6, **settings):
    """A toy recipe. ``settings``: stage name -> dict."""
    install()
    document = {
        "recipe": "toy",
        "stages": {name: dict(settings.get(name, {})) for name in (stages or DEFAULT)},
        "executor": {"kind": executor, "cpus": 2} if executor == "ray" else {"kind": executor},
        "shards": {"rows": rows},
        "max_reject_fraction": settings.get("max_reject_fraction", 0.5),
    }
    document["stages"]["ingest"]["input"] = str(source)
    return config.parse(document, "toy")


def write_input(folder: Path, recordings: int = 20, start: int = 0, broken: tuple[int, ...] = ()) -> Path:
    """Files of 0 to 5 numbers each; those listed in ``broken`` must be rejected."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + recordings):
        text = "broken" if i in broken else " ".join(str((i * 7 + k) % 50) for k in range(i % 6))
        (folder / f"{i:04d}.txt").write_text(text)
    return folder


def rows_of(url: str) -> dict[str, list]:
    """Everything a finished toy run holds, in order: the yardstick of the fault tests."""
    from datagen.reader import RunView
    from datagen.run import open_run

    install()
    space = open_run(url)
    view = RunView(space.plan, space.store, space.recipe)
    clips = [view.read("clips", s, ["clip_id", "number", "square", "size", "level", "audio"]) for s in view.shards]
    samples = [view.read("samples", s, ["sample_id", "question", "answer", "fine", "speaker"]) for s in view.shards]
    rejects = view.rejects().select(["id", "table", "stage", "error_class"])
    return {
        "clips": pa.concat_tables(clips).to_pylist(),
        "samples": pa.concat_tables(samples).to_pylist(),
        "rejects": rejects.to_pylist(),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("input")
    parser.add_argument("--executor", default="ray")
    parser.add_argument("--settings", default="{}", help="JSON: stage -> settings")
    parser.add_argument("--rows", type=int, default=6)
    arguments = parser.parse_args()
    from datagen.run import Options, execute

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        wanted = recipe(
            arguments.input, executor=arguments.executor, rows=arguments.rows, **json.loads(arguments.settings)
        )
        _, outcome = execute(wanted, arguments.run, Options(progress="none"), print)
    except DatagenError as error:
        print(f"error {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(outcome.committed))
    return 0


if __name__ == "__main__":
    from tests.engine import toy  # the classes must be importable under one name in workers

    sys.exit(toy.main())
