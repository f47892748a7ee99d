"""Real processes, really killed: what is left must equal an undisturbed run, row by row."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine import toy

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
SLOW = {"square": {"sleep_s": 0.15}}
UNITS = 26  #: of a full run over the input below: 6 stages on 4 shards, 2 barriers


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return toy.write_input(tmp_path_factory.mktemp("in"), 20, broken=(5,))


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert sum(finish(run, source).values()) == UNITS
    return toy.rows_of(str(run))


def start(run: Path, source: Path, executor: str = "ray", **settings) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.engine.toy", str(run), str(source), "--executor", executor]
    return subprocess.Popen(
        [*command, "--settings", json.dumps(SLOW | settings)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def finish(run: Path, source: Path, executor: str = "ray", **settings) -> dict[str, int]:
    """Run to the end; returns units committed per stage."""
    process = start(run, source, executor, **settings)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def commits(run: Path) -> int:
    return len([p for p in run.glob("units/*/*/*/record.json") if p.parts[-4] != "ledger"])


def wait_for(condition, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "what the test waits for never happened"
        time.sleep(0.01)


def family(pid: int) -> set[int]:
    """Every living process of the session that ``start_new_session`` gave ``pid``."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.parametrize("moment", range(10))
def test_a_killed_driver_changes_nothing(source, undisturbed, tmp_path, moment):
    aim = random.Random(moment).randrange(1, UNITS - 3)
    run = tmp_path / "run"
    executor = "ray" if moment < 4 else "local"
    process = start(run, source, executor)
    wait_for(lambda: commits(run) >= aim or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = commits(run)
    assert process.returncode == -signal.SIGKILL and 0 < before < UNITS, "the kill did not fall into the run"
    again = sum(finish(run, source, executor).values())
    assert 0 < again < UNITS and again <= UNITS - before
    assert toy.rows_of(str(run)) == undisturbed


def test_a_killed_worker_changes_nothing(source, undisturbed, tmp_path):
    run = tmp_path / "run"
    process = start(run, source)
    wait_for(lambda: commits(run) >= 6 or process.poll() is not None)
    victims = [p for p in family(process.pid) if b"ray::_Host" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert victims, "no worker was found to kill"
    os.kill(victims[0], signal.SIGKILL)
    assert 0 < commits(run) < UNITS
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert sum(json.loads(out.splitlines()[-1]).values()) == UNITS
    assert "failed" in (run / "events.jsonl").read_text(), "nobody noticed the kill"
    assert toy.rows_of(str(run)) == undisturbed


def test_sigterm_finishes_what_is_in_flight(source, undisturbed, tmp_path):
    run = tmp_path / "run"
    process = start(run, source)
    wait_for(lambda: commits(run) >= 6 or process.poll() is not None)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "stopped on request" in err
    before = commits(run)
    assert 0 < before < UNITS
    assert sum(finish(run, source).values()) == UNITS - before
    assert toy.rows_of(str(run)) == undisturbed


def test_a_row_that_kills_its_worker_is_rejected_alone(source, undisturbed, tmp_path):
    finish(tmp_path / "run", source, square={"die": [41.0]})
    found = toy.rows_of(str(tmp_path / "run"))
    assert [r["error_class"] for r in found["rejects"]].count("WorkerDied") == sum(
        c["number"] == 41.0 for c in all_clips(source)
    )
    assert_only_missing(found, undisturbed, 41.0)


def test_a_row_that_hangs_is_rejected_alone(source, undisturbed, tmp_path):
    finish(tmp_path / "run", source, square={"hang": [41.0], "resources": {"batch_timeout_s": 3}})
    found = toy.rows_of(str(tmp_path / "run"))
    assert "Deadline" in [r["error_class"] for r in found["rejects"]]
    assert_only_missing(found, undisturbed, 41.0)


def all_clips(source):
    return [
        {"number": float(n)}
        for p in sorted(source.glob("*.txt"))
        if "broken" not in p.read_text()
        for n in p.read_text().split()
    ]


def assert_only_missing(found, undisturbed, number):
    assert [c for c in found["clips"] if c["number"] == number] == []
    kept = [(c["clip_id"], c["square"], c["audio"]) for c in found["clips"]]
    assert kept == [(c["clip_id"], c["square"], c["audio"]) for c in undisturbed["clips"] if c["number"] != number]


def test_two_runs_on_one_directory(source, undisturbed, tmp_path):
    run = tmp_path / "run"
    first = start(run, source, square={"sleep_s": 5.0})  # still there when the second has started
    wait_for(lambda: commits(run) >= 2 or first.poll() is not None)
    second = start(run, source)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 2 and f"is in use by process {first.pid}" in err
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert 0 < commits(run) < UNITS
    finish(run, source)
    assert toy.rows_of(str(run)) == undisturbed


def test_a_full_disk_ends_the_run_clearly_and_loses_nothing(source, undisturbed, tmp_path):
    """A real file system of 150 kB in a mount namespace of its own, filled, then emptied."""
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = json.dumps({"square": {"sleep_s": 0.0}})
    program = f"{sys.executable} -m tests.engine.toy {disk}/run {source} --executor local --settings '{settings}'"
    script = f"""
        mount -t tmpfs -o size=150k tmpfs {disk} || exit 77
        {program}; echo first=$?
        ls {disk}/run/units | tr '\\n' ' '; echo
        mount -o remount,size=64m {disk}
        {program}; echo second=$?
        cp -r {disk}/run {tmp_path}/kept
    """
    unshared = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run([*unshared, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this system mounts nothing for us: {done.stderr.strip()[:100]}")
    assert "first=1" in done.stdout and "second=0" in done.stdout, done.stdout + done.stderr
    assert "No space left on device" in done.stderr and "Make room" in done.stderr
    again = json.loads(done.stdout.splitlines()[-2])
    assert 0 < sum(again.values()) < UNITS
    assert toy.rows_of(str(tmp_path / "kept")) == undisturbed
