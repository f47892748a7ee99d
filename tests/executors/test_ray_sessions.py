"""Ray as a whole: what is left when a driver ends, clusters that were there before, nodes that go away.

Each runs a driver in a process of its own, marked in the environment that all its children inherit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from executor_workers import until

pytestmark = pytest.mark.faults

HERE = Path(__file__).parent
MARK = "DATAGEN_TEST_MARK"


class Driver:
    """``code`` in a new interpreter; what it prints are JSON lines."""

    def __init__(self, code: str, home: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
        # Short, for the sockets of clusters that are not ours.
        self.temporary = tempfile.TemporaryDirectory(prefix="dg", dir="/tmp", ignore_cleanup_errors=True)
        self.errors = (home / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**inherited, MARK: self.mark, "PYTHONPATH": path, "HOME": str(home), "TMPDIR": self.temporary.name},
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def says(self) -> dict:
        line = self.process.stdout.readline()
        assert line.startswith("{"), f"unexpected: {line!r}\n{self.complaints()}"
        return json.loads(line)

    def complaints(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def left(self) -> list[str]:
        """Command lines of processes that descend from this driver, whoever their parent is now."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"{MARK}={self.mark}".encode() in environment and state != "Z":
                found.append(command)
        return found

    def end(self) -> None:
        """Whatever a failing test left."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue
        self.temporary.cleanup()


@pytest.fixture
def drive(tmp_path):
    drivers = []

    def start(code: str) -> Driver:
        drivers.append(Driver(code, tmp_path))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.end()


WORKING = """
import json, os, pathlib, signal, sys
from executor_workers import Making, answers
from datagen.executors.base import PoolSpec, Task
from datagen.executors.ray import RayExecutor
from datagen.stage import Resources

def mine(*_):
    print(json.dumps({"sigterm": True}), flush=True)

def tell(**what):
    print(json.dumps(what), flush=True)

signal.signal(signal.SIGTERM, mine)
executor = RayExecutor(num_cpus=1)
executor.open(PoolSpec("work", Making(), Resources(cpus=1, workers=1)))
executor.submit("work", Task(1, ("pid", None)))
pid = answers(executor, 1)[1].result
folder = str(executor._session._leftovers.folder)
"""


def test_a_driver_that_is_killed_leaves_no_process_and_no_folder(drive):
    driver = drive(WORKING + 'executor.submit("work", Task(2, ("hang", None)))\ntell(pid=pid, folder=folder)\n'
                   'executor.wait(600)\n')  # fmt: skip
    said = driver.says()
    assert len(driver.left()) >= 4, "driver, gcs, raylet and worker"
    os.kill(driver.process.pid, signal.SIGKILL)
    driver.process.wait()
    until(lambda: driver.left() == [])
    assert not Path(said["folder"]).exists()


def test_shutdown_leaves_nothing_and_nobody_is_told_anything(drive):
    """No process, no folder, no token in the home, no noise, and SIGTERM stays the driver's own."""
    driver = drive(
        WORKING + "tell(pid=pid, folder=folder)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "executor.submit('work', Task(2, ('end', None)))\n"
        "answers(executor, 1)\n"
        "executor.shutdown()\n"
        "tell(exists=pathlib.Path(folder).exists())\n"
        "sys.stdin.read()\n"
    )
    assert driver.says()["pid"] > 0
    assert driver.says() == {"sigterm": True}
    assert driver.says() == {"exists": False}
    until(lambda: len(driver.left()) == 1)
    assert not (driver.home / ".ray").exists()
    assert driver.complaints() == ""


def test_a_ray_outlives_the_thread_that_started_it(drive):
    driver = drive(
        "import json, threading\n"
        "from executor_workers import Making, answers\n"
        "from datagen.executors.base import PoolSpec, Task\n"
        "from datagen.executors.ray import RayExecutor\n"
        "executor = RayExecutor(num_cpus=1)\n"
        "thread = threading.Thread(target=executor.admit, args=([],))\n"
        "thread.start()\n"
        "thread.join()\n"
        "for turn in range(2):\n"
        "    executor.open(PoolSpec('work', Making()))\n"
        "    executor.submit('work', Task(1, ('echo', turn)))\n"
        "    print(json.dumps({'echo': answers(executor, 1)[1].result}), flush=True)\n"
        "    executor.close('work')\n"
        "executor.shutdown()\n"
    )
    assert [driver.says(), driver.says()] == [{"echo": 0}, {"echo": 1}]
    assert driver.process.wait() == 0
    until(lambda: driver.left() == [])


def test_a_driver_that_gives_up_without_shutting_down_leaves_nothing(drive):
    """It asks for an interpreter that does not exist, is refused, and ends."""
    driver = drive(
        WORKING + "tell(folder=folder)\n"
        "executor.admit([PoolSpec('llm', Making(), Resources(cpus=1, python='/no/such/python'))])\n"
    )
    folder = Path(driver.says()["folder"])
    assert driver.process.wait() == 1
    assert "UsageError: stage 'llm' asks for the interpreter /no/such/python" in driver.complaints()
    assert "stages.llm.resources.python" in driver.complaints()
    until(lambda: driver.left() == [])
    assert not folder.exists()


CLUSTER = """
import json, pathlib, sys
from executor_workers import Making, answers, until
from datagen.errors import UsageError
from datagen.executors.base import Fate, PoolSpec, Task
from datagen.executors.ray import RayExecutor
from datagen.stage import Resources
from ray.cluster_utils import Cluster

def tell(**what):
    print(json.dumps(what), flush=True)

small = dict(object_store_memory=80 * 2**20, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, **small))
node = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
cluster.wait_for_nodes()
executor = RayExecutor(address=cluster.address, start_timeout_s=60)
try:
    executor.admit([PoolSpec("big", Making(), Resources(cpus=3))])
except UsageError as error:
    tell(refused=str(error))
pools = [PoolSpec("far", Making(), Resources(cpus=2, workers=1)), PoolSpec("near", Making(), Resources(cpus=1))]
executor.admit(pools)
for pool in pools:
    executor.open(pool)
for pool in pools:
    executor.submit(pool.name, Task(len(pool.name), ("echo", pool.name)))
tell(attached=sorted(answer.result for answer in answers(executor, 2).values()))

folder = pathlib.Path("held").resolve()
folder.mkdir()
executor.submit("far", Task(1, ("hold", str(folder))))
executor.submit("far", Task(2, ("echo", "behind")))
until(lambda: executor.wait(0.02) == [] and (folder / "begun").exists())
cluster.remove_node(node, allow_graceful=False)
lost = answers(executor, 2)
tell(fates=[lost[number].fate for number in (1, 2)])
(folder / "go").touch()
cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
executor.submit("far", Task(3, ("echo", "again")))
tell(again=answers(executor, 1)[3].result)
executor.shutdown()

import ray
ray.init(address=cluster.address, log_to_driver=False)
tell(cluster_lives=cluster.head_node.node_id in [node["NodeID"] for node in ray.nodes() if node["Alive"]])
ray.shutdown()
cluster.shutdown()
"""


def test_on_a_cluster_a_dying_node_blames_no_task(drive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    driver = drive(CLUSTER)
    assert "largest machine here has 2" in driver.says()["refused"]
    assert driver.says() == {"attached": ["far", "near"]}
    assert driver.says() == {"fates": ["lost", "lost"]}
    assert driver.says() == {"again": "again"}
    assert driver.says() == {"cluster_lives": True}
    assert driver.process.wait() == 0, driver.complaints()
