"""A server and everything it starts: restarted when it ends, gone when its owner is, in whatever way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datagen.errors import RunError, UsageError
from datagen.llm import guard, server
from datagen.llm.server import Server
from datagen.llm.settings import LlmConfig, VllmConfig
from datagen.llm.supervisor import Patience, Supervisor
from tests.llm.stand_in import stand_in

#: A server that starts a child in its own session, and one that leaves it and whose parent is gone.
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleep)
if not os.fork():
    away = subprocess.Popen(sleep, start_new_session=True)
    print(os.getppid(), child.pid, away.pid, file=open(sys.argv[1] + ".part", "w"), flush=True)
    os.rename(sys.argv[1] + ".part", sys.argv[1])
    os._exit(0)
time.sleep(600)
"""
OWNER = """
import sys, time
from pathlib import Path
from datagen.llm.server import Server
server = Server(sys.argv[2:], {}, Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""
QUICK = Patience(look_s=0.01, probe_s=0.05, answer_s=0.5, misses=3, steady_s=60.0, backoff_s=0.01, backoff_most_s=0.02)


def family(folder: Path) -> list[str]:
    return [sys.executable, "-S", "-c", FAMILY, str(folder / "pids")]


def pids(folder: Path) -> list[int]:
    until(lambda: (folder / "pids").exists())
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def alive(*wanted: int) -> set[int]:
    return {process.pid for process in guard.processes()} & set(wanted)


def until(true: Callable[[], object], most_s: float = 30.0) -> None:
    over = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < over, "in vain"
        time.sleep(0.005)


def test_closing_ends_the_whole_family(tmp_path: Path) -> None:
    started = Server(family(tmp_path), {}, tmp_path / "log")
    these = pids(tmp_path)
    assert these[0] == started.pid and alive(*these) == set(these) and not started.ended()
    started.close()
    assert not alive(*these) and started.status == -signal.SIGTERM


def test_when_the_server_ends_its_children_do_too(tmp_path: Path) -> None:
    started = Server(family(tmp_path), {}, tmp_path / "log")
    these = pids(tmp_path)
    os.kill(started.pid, signal.SIGKILL)
    until(started.ended)
    assert started.status == -signal.SIGKILL and not alive(*these)


@pytest.mark.faults
def test_when_the_owner_is_killed_nothing_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "log"), *family(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        these = pids(tmp_path)
        owner.kill()
    until(lambda: not alive(*these))


@pytest.mark.faults
def test_when_the_guard_is_killed_the_owner_clears_up(tmp_path: Path) -> None:
    started = Server(family(tmp_path), {}, tmp_path / "log")
    these = pids(tmp_path)
    (above,) = (process.parent for process in guard.processes() if process.pid == started.pid)
    os.kill(above, signal.SIGKILL)
    until(started.ended)
    assert started.status == -signal.SIGKILL
    assert not alive(*these[:2]), "the kernel ends the server, the owner its session"
    for pid in alive(these[2]):  # what has left the session is nobody's any more
        os.kill(pid, signal.SIGKILL)


def test_what_cleans_shared_memory_is_let_finish(tmp_path: Path) -> None:
    """A killed engine leaves its shared memory to Python's resource tracker, which must outlive it for a moment."""
    script = (
        "import os, signal, sys, time\n"
        "from multiprocessing import shared_memory\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "block = shared_memory.SharedMemory(create=True, size=4096)\n"
        "print(block.name, file=open(sys.argv[1], 'w'), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    started = Server([sys.executable, "-c", script, str(tmp_path / "name")], {}, tmp_path / "log")
    until(started.ended)
    assert not Path("/dev/shm", (tmp_path / "name").read_text().strip()).exists()


def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    started = Server(["/no/such/python", "-m", "vllm"], {}, tmp_path / "log")
    until(started.ended)
    assert started.status == 127 and "/no/such/python" in server.last_lines(tmp_path / "log")


def test_processes_are_found_by_session_and_by_descent() -> None:
    found = [
        guard.Process(*each)
        for each in ((10, 1, 10), (11, 10, 10), (12, 11, 12), (13, 12, 13), (20, 1, 20), (21, 1, 10))
    ]
    assert guard.members(10, among=found) == {10, 11, 12, 13, 21}
    assert guard.members(20, among=found) == {20} and guard.members(12, under=10, among=found) == {11, 12, 13}


# -- supervision ---------------------------------------------------------------------------------------------------


@contextmanager
def supervised(settings: LlmConfig, log: Path, patience: Patience = QUICK) -> Iterator[Watched]:
    watched = Watched()
    watched.supervisor = Supervisor(
        settings, host="127.0.0.1", log=log, publish=watched.told.append, stopped=watched.stop.is_set,
        lived=watched.lived.append, patience=patience,
    )  # fmt: skip
    thread = threading.Thread(target=watched.run)
    thread.start()
    try:
        yield watched
    finally:
        watched.stop.set()
        thread.join()


class Watched:
    supervisor: Supervisor

    def __init__(self) -> None:
        self.told: list[tuple[str, int] | None] = []
        self.lived: list[float] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.supervisor.run()
        except BaseException as error:
            self.error = error

    def server(self, number: int) -> tuple[str, int]:
        """The ``number``-th that answered."""
        until(lambda: self.error or len(self.lives()) > number)
        assert self.error is None, self.error
        return self.lives()[number]

    def lives(self) -> list[tuple[str, int]]:
        return [each for each in self.told if each is not None]


def served(python: Path, **vllm: object) -> LlmConfig:
    return LlmConfig(server="vllm", model="fake", vllm=VllmConfig(python=str(python), **vllm))  # type: ignore[arg-type]


@pytest.mark.faults
def test_a_killed_server_comes_back_at_the_same_address(tmp_path: Path) -> None:
    with supervised(served(stand_in(tmp_path)), tmp_path / "log") as watched:
        url, pid = watched.server(0)
        assert server.completes(url, "fake", 5.0)
        os.kill(pid, signal.SIGKILL)
        again, other = watched.server(1)
        assert again == url and other != pid and server.completes(url, "fake", 5.0)
        assert watched.told[:3] == [(url, pid), None, (url, other)], "while it is away nobody is sent there"
    assert watched.told[-1] is None and not guard.members(other) and watched.error is None
    assert sum(watched.lived) > 0


@pytest.mark.faults
def test_a_server_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    with supervised(served(stand_in(tmp_path)), tmp_path / "log") as watched:
        _, pid = watched.server(0)
        os.kill(pid, signal.SIGSTOP)
        _, other = watched.server(1)
        assert other != pid and not alive(pid)


def test_a_busy_server_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    """It answers no probe, but its counter of tokens moves."""
    with supervised(served(stand_in(tmp_path, answers=1, counts=True)), tmp_path / "log") as watched:
        watched.server(0)
        time.sleep(10 * QUICK.probe_s)
        until(lambda: (tmp_path / "asked").read_text().count("metrics") > 2 * QUICK.misses)
        assert len(watched.told) == 1 and watched.error is None


@pytest.mark.parametrize("said", ["HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", "nonsense\r\n\r\n", ""])
def test_a_server_that_dies_in_the_middle_of_a_probe_has_not_answered(said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                peer, _ = listening.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(said.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        url = server.base_url("127.0.0.1", listening.getsockname()[1])
        assert server.completes(url, "fake", 5.0) is False and server.tokens(url, 5.0) is None
        thread.join()


def test_a_server_that_ends_again_and_again_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    with supervised(served(stand_in(tmp_path, answers=1, dies=True), restarts=3), tmp_path / "log") as watched:
        until(lambda: watched.error)
    assert isinstance(watched.error, RunError) and len(watched.lives()) == 4
    assert "CUDA out of memory" in str(watched.error) and str(tmp_path / "log") in str(watched.error)


def test_wrong_arguments_are_not_tried_again(tmp_path: Path) -> None:
    settings = served(stand_in(tmp_path), args=["--no-such-option"])
    with supervised(settings, tmp_path / "log") as watched:
        until(lambda: watched.error)
    assert isinstance(watched.error, RunError) and "--no-such-option" in str(watched.error)
    assert (tmp_path / "log").read_text().count("unrecognized") == 1


def test_a_server_that_never_answers_ends_the_run(tmp_path: Path) -> None:
    with supervised(served(stand_in(tmp_path, answers=0), ready_s=0.3), tmp_path / "log") as watched:
        until(lambda: watched.error)
    assert isinstance(watched.error, RunError) and "llm.vllm.ready_s" in str(watched.error)


# -- how it is started -----------------------------------------------------------------------------------------------


def test_the_command_holds_what_the_settings_say(tmp_path: Path) -> None:
    settings = LlmConfig(
        server="vllm", model="Qwen/Qwen3-8B", revision="abc",
        vllm=VllmConfig(python=sys.executable, tensor_parallel=2, args=("--max-model-len", "4096")),
    )  # fmt: skip
    command = server.command(settings, "10.0.0.7", 8001)
    after = dict(itertools.pairwise(command))
    assert after["--model"] == after["--served-model-name"] == "Qwen/Qwen3-8B" and after["--revision"] == "abc"
    assert after["--host"] == "10.0.0.7" and after["--port"] == "8001" and after["--tensor-parallel-size"] == "2"
    assert json.loads(after["--structured-outputs-config"])["disable_any_whitespace"] is True
    assert command[-2:] == ["--max-model-len", "4096"], "the user's come last, and win"
    assert "--revision" not in server.command(settings.model_copy(update={"model": str(tmp_path)}), "h", 1)


def test_our_own_environment_does_not_reach_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "RAY_ADDRESS", "DATAGEN_RAY_FOLDER", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "ours")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    settings = LlmConfig(server="vllm", model=str(tmp_path), vllm=VllmConfig(env={"OMP_NUM_THREADS": "8"}))
    found = server.environment(settings, {"CUDA_VISIBLE_DEVICES": "1"})
    assert found["OMP_NUM_THREADS"] == "8" and found["CUDA_VISIBLE_DEVICES"] == "1" and found["HF_HUB_OFFLINE"] == "1"
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "RAY_ADDRESS", "DATAGEN_RAY_FOLDER"} & set(found)


def test_what_the_run_sets_is_not_for_the_user() -> None:
    with pytest.raises(ValueError, match="--port"):
        VllmConfig(args=("--port=80",))


def test_no_vllm_is_said_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "BESIDE", tmp_path / "none")
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="make setup-llm"):
        server.interpreter(VllmConfig())
    with pytest.raises(UsageError, match="/no/python"):
        server.interpreter(VllmConfig(python="/no/python"))


def test_a_port_is_kept_while_it_is_free() -> None:
    port = server.free_port("127.0.0.1")
    assert server.free_port("127.0.0.1", port) == port
    import socket

    with socket.create_server(("127.0.0.1", port)):
        assert server.free_port("127.0.0.1", port) != port
