"""The command line as a shell sees it: what is printed where, and the exit codes 0, 1 and 2."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest
import yaml

from datagen import cli, report
from datagen.testing import speech
from tests.engine import toy


@dataclass
class Told:
    code: int
    out: str
    err: str


@pytest.fixture
def datagen(monkeypatch, capfd):
    """``datagen("run", ...)`` as the installed script runs it."""

    def call(*words, width: int = 200) -> Told:
        monkeypatch.setattr(sys, "argv", ["datagen", *map(str, words)])
        monkeypatch.setattr(report.console, "width", width, raising=False)
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Told(left.value.code or 0, out, " ".join(err.split()))

    return call


@pytest.fixture
def toy_recipe(tmp_path):
    """Path of a recipe of the toy stages over twenty small files, one of them broken."""
    source = toy.write_input(tmp_path / "in", 20, broken=(5,))
    document = toy.recipe(source, stages=[*toy.DEFAULT, "publish"])._document()
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], ""),
        (["run"], "Missing argument"),
        (["run", "cpqa", "--bogus"], "No such option: --bogus"),
        (["run", "cpqa", "--limit", "0"], "--limit"),
        (["run", "cpqa", "--max-reject-fraction", "2"], "--max-reject-fraction"),
        (["run", "cpqaa"], "error unknown recipe 'cpqaa' - did you mean 'cpqa'?"),
        (["run", "cpqa", "--profile", "ofline"], "did you mean 'offline'?"),
        (["run", "cpqa", "--executor", "rai"], "executor.kind: unknown 'rai' - did you mean 'ray'?"),
        (["run", "cpqa", "--profile", "offline", "--input", "x", "--progress", "bar"], "did you mean 'bars'?"),
        (["run", "cpqa", "--profile", "offline", "--input", "x", "--until", "writ"], "did you mean 'write'?"),
        (["run", "cpqa", "--profile", "offline", "--input", "nothing"], "nothing: there is nothing here"),
        (["recipes", "show", "cpqa", "--set", "stages.write.taskz=[qa]"], "did you mean 'tasks'?"),
        (["status", "nowhere"], "nowhere: no run here"),
        (["gc", "nowhere"], "nowhere: no run here"),
        (["rejects", "list", "nowhere"], "nowhere: no run here"),
        (["rejects", "retry", "nowhere"], "nowhere: no run here"),
        (["plan", "cpqa", "--profile", "offline"], "stages.ingest.input is not set; pass --input"),
        (["run", "cpqa", "--profile", "offline", "--input", ".", "--output", "/proc/nothing/run"], "cannot be written"),
        (["run", "cpqa", "--profile", "offline", "--input", ".", "--output", "gopher://x/run"], "gopher"),
    ],
)
def test_wrong_usage_is_told_in_a_line_and_is_exit_code_2(datagen, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    told = datagen(*words)
    assert told.code == 2
    assert says in told.err
    assert [path.name for path in tmp_path.rglob("*") if path.name not in {"run", "lock"}] == []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["recipes", "list"], ["doctor"]])
def test_questions_are_exit_code_0(datagen, words):
    told = datagen(*words)
    assert told.code == 0 and told.out


def test_every_shipped_recipe_is_shown_whole(datagen):
    shown = yaml.safe_load(datagen("recipes", "show", "cpqa", "--profile", "offline", "--set", "seed=5").out)
    assert shown["seed"] == 5 and shown["stages"]["write"]["tasks"]


def test_a_plan_starts_nothing_and_writes_nothing(datagen, toy_recipe, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    told = datagen("plan", toy_recipe, "--output", tmp_path / "run")
    assert told.code == 0 and "20 recordings" in told.out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_says_why_a_run_would_be_refused(datagen, tmp_path):
    speech.corpus(tmp_path / "in", speakers=1, emotions=("angry",), sentences=1)
    go = ("--input", tmp_path / "in", "--output", tmp_path / "run")
    nobody = datagen("plan", "cpqa", "--profile", "embedded", "--set", "llm=null", *go)
    assert "a run would be refused here: stage write: writer 'llm' has no server to ask" in nobody.out
    assert "refused here" not in datagen("plan", "cpqa", "--profile", "offline", *go).out


def test_a_plan_on_a_narrow_terminal_keeps_names_whole_and_every_column(datagen, tmp_path):
    speech.corpus(tmp_path / "in", speakers=1, emotions=("angry",), sentences=1)
    go = ("plan", "cpqa", "--profile", "offline", "--input", tmp_path / "in", "--output", tmp_path / "run")
    lines = datagen(*go, width=80).out.splitlines()
    header = next(line for line in lines if "to do" in line)
    assert header.split()[-2:] == ["rows", "about"]
    assert any(" text_emotion, " in line for line in lines)


def test_a_life_of_a_run(datagen, toy_recipe, tmp_path):
    """run, plan, status, rejects, gc, run again: each says what it should, and only what changed is done."""
    out = tmp_path / "run"
    go = ("run", toy_recipe, "--output", out, "--progress", "lines")
    told = datagen(*go, "--until", "pick")
    assert told.code == 0 and "conservation holds" in told.out and "dataset" not in told.out
    told = datagen(*go)
    assert told.code == 0 and "dataset" in told.out and "1 rejected" in told.out
    assert "write" in told.out and "100 %" in told.out
    assert "everything was done already" in datagen(*go).out

    told = datagen("plan", toy_recipe, "--output", out, "--set", "stages.write.prompt=Why?")
    left = {words[0]: words[-6:] for line in told.out.splitlines() if len(words := line.split()) > 6}
    assert left["cut"] == ["ingest", "4", "·", "·", "·", "·"]
    assert left["write"][1:] == ["4", "·", "21", "0", "s"] and left["verify"][2:] == ["4", "·", "?", "?"]

    told = datagen("status", out)
    assert told.code == 0 and "scan" in told.out and "conservation holds" in told.out
    told = datagen("rejects", "list", out)
    assert told.code == 0 and "0005.txt" in told.out and "ingest: NotAudio: it says it is broken" in told.out
    assert "0 rejects" in datagen("rejects", "list", out, "--stage", "cut").out
    assert datagen("rejects", "list", out, "--stage", "cutt").code == 2
    assert datagen("rejects", "retry", out, "--stage", "cutt").code == 2
    assert "forgotten" in datagen("rejects", "retry", out).out
    assert re.search(r"\b1 units? of work", datagen(*go).out)

    assert re.search(r"\b0 units? would go", datagen("gc", out, "--dry-run").out)
    datagen(*go, "--set", "stages.write.prompt=Why?")
    assert "4 units would go" in datagen("gc", out, "--dry-run").out
    assert "4 units deleted" in datagen("gc", out).out
    assert "everything was done already" in datagen(*go, "--set", "stages.write.prompt=Why?").out


def test_a_run_that_cannot_finish_is_exit_code_1(datagen, toy_recipe, tmp_path):
    go = ("run", toy_recipe, "--output", tmp_path / "run", "--progress", "none")
    for _ in range(2):  # repeating the command does not make the rejects welcome
        told = datagen(*go, "--max-reject-fraction", "0.01")
        assert told.code == 1
        assert "error stage ingest rejected 1 of 20 rows, mostly NotAudio (1)" in told.err
    assert datagen(*go, "--max-reject-fraction", "0.1").code == 0


def test_a_broken_run_is_exit_code_1(datagen, toy_recipe, tmp_path):
    out = tmp_path / "run"
    assert datagen("run", toy_recipe, "--output", out, "--progress", "none").code == 0
    path = next(out.glob("units/square/000001/*/clips.parquet"))
    rows = pq.read_table(path)
    pq.write_table(rows.slice(1), path)
    told = datagen("status", out)
    assert told.code == 1 and "conservation is broken" in told.out


def test_secrets_in_urls_are_not_stored_or_told(datagen, toy_recipe, tmp_path):
    out = tmp_path / "run"
    told = datagen("run", toy_recipe, "--output", out, "--set", "executor.address=ray://me:s3cr3t@host/x?sig=t0k3n")
    stored = "".join(path.read_text() for path in out.glob("*.*") if path.suffix in {".yaml", ".json", ".jsonl"})
    assert "ray://***@host/x?sig=***" in stored
    told_wrong = datagen("run", toy_recipe, "--output", "https://me:s3cr3t@127.0.0.1:1/run")
    assert told_wrong.code != 0
    for text in (stored, told.out, told.err, told_wrong.out, told_wrong.err):
        assert "s3cr3t" not in text and "t0k3n" not in text
