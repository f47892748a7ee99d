"""A run directory on an object store: an S3 stand-in on loopback."""

from __future__ import annotations

import json
import time

import pytest

from datagen.errors import UsageError
from datagen.files import Files
from datagen.lock import RunLock
from datagen.run import Options, execute
from tests.engine import toy

QUIET = Options(progress="none")


@pytest.fixture(scope="module")
def bucket():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():  # fmt: skip
        patch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("runs")
    yield "s3://runs"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
    patch.undo()


def test_a_run_on_s3_equals_a_local_one_and_resumes(bucket, tmp_path):
    source = toy.write_input(tmp_path / "in", 20, broken=(5,))
    execute(toy.recipe(source), str(tmp_path / "run"), QUIET, print)
    url = f"{bucket}/equal"
    _, first = execute(toy.recipe(source), url, Options(progress="none", until="pick"), print)
    assert first.committed["pick"] == 1
    _, second = execute(toy.recipe(source), url, QUIET, print)
    assert {name for name, count in second.committed.items() if count} == {"write", "verify"}
    assert toy.rows_of(url) == toy.rows_of(str(tmp_path / "run"))
    _, third = execute(toy.recipe(source), url, QUIET, print)
    assert sum(third.committed.values()) == 0


def test_a_record_appears_whole_or_not_at_all(bucket):
    files = Files(f"{bucket}/atomic")
    with pytest.raises(RuntimeError), files.writing("x.json") as sink:
        sink.write(b"{")
        raise RuntimeError("killed")
    assert not files.exists("x.json")
    assert files.names("") == []


def test_a_living_lease_refuses_and_a_dead_one_is_taken_over_aloud(bucket):
    files = Files(f"{bucket}/lease")
    said: list[str] = []
    with RunLock(files), pytest.raises(UsageError, match="is in use by process"), RunLock(files, said.append):
        pass
    assert not files.exists("lock")
    dead = {"id": "x", "host": "gone", "pid": 7, "since": 0, "beat": time.time() - 3600}
    files.write("lock", json.dumps(dead).encode())
    with RunLock(files, said.append):
        pass
    assert "process 7 on gone has been silent for" in said[0]


def test_an_export_arrives_on_s3_whole_and_is_replaced_whole(bucket, tmp_path):
    source = toy.write_input(tmp_path / "in", 4)
    url, everything = f"{bucket}/exported", [*toy.DEFAULT, "publish"]
    execute(toy.recipe(source, stages=everything), url, QUIET, print)
    files = Files(url)
    before = files.read("dataset/rows.json")
    files.write("dataset/of-before.json", b"{}")
    recipe = toy.recipe(source, stages=everything, write={"prompt": "Why?"})
    _, outcome = execute(recipe, url, QUIET, print)
    assert outcome.committed["publish"] == 1
    assert files.read("dataset/rows.json") != before and not files.exists("dataset/of-before.json")
    assert sum(execute(recipe, url, QUIET, print)[1].committed.values()) == 0
    events = [json.loads(line)["event"] for line in files.read("events.jsonl").decode().splitlines()]
    assert events.count("started") == events.count("finished") == 3


def test_a_run_in_memory_equals_one_on_disk(tmp_path):
    source = toy.write_input(tmp_path / "in", 8, broken=(5,))
    execute(toy.recipe(source), str(tmp_path / "run"), QUIET, print)
    execute(toy.recipe(source), "memory://run", QUIET, print)
    assert toy.rows_of("memory://run") == toy.rows_of(str(tmp_path / "run"))


def test_a_heartbeat_outlives_a_stores_bad_moment(bucket, monkeypatch):
    from datagen import lock

    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(lock, "LEASE_S", 1.0)
    files = Files(f"{bucket}/beating")
    with RunLock(files) as held:
        monkeypatch.setattr(files, "read", lambda name: (_ for _ in ()).throw(TimeoutError("no network")))
        time.sleep(0.4)
        assert not held.lost
        monkeypatch.undo()
        monkeypatch.setattr(lock, "HEARTBEAT_S", 0.05)
        time.sleep(0.4)
        assert not held.lost
        end = time.monotonic() + 20.0
        while not held.lost and time.monotonic() < end:  # the other's heart beats too; a busy machine's beats late
            files.write("lock", json.dumps({"id": "another", "beat": time.time()}).encode())
            time.sleep(0.2)
        assert held.lost
    assert files.exists("lock"), "the lease of another is left alone"
