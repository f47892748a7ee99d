"""A connection to Ray: found in this process, attached to, or started here and ended without a trace."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datagen.errors import RunError, UsageError
from datagen.executors import reaper
from datagen.executors.admission import Machine
from datagen.executors.base import PoolSpec

_log = logging.getLogger(__name__)

#: Paths and counts are all that travels; Ray's own minimum is 75 MiB.
OBJECT_STORE_BYTES = 128 * 2**20
#: How long a cluster's address may take to accept a connection.
CONNECT_TIMEOUT_S = 10.0


class RaySession:
    """A connection to Ray: found, attached to, or started (and then ended with everything it made)."""

    def __init__(self, address: str | None, num_cpus: int | None) -> None:
        # Read by Ray when it is imported: otherwise `uv run` changes the workers' interpreter.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ours = not ray.is_initialized()
        self._leftovers: _Leftovers | None = None
        self._keeper = _Keeper()
        if self._ours:
            with _signals_kept():
                if address is None:
                    self._start(num_cpus)
                else:
                    _attach(address)
            atexit.register(self.end)

    def _start(self, num_cpus: int | None) -> None:
        leftovers = self._leftovers = _Leftovers()
        try:
            with leftovers.marked():
                self._keeper.run(lambda: _start_embedded(num_cpus, leftovers.folder))
        except BaseException:
            self._keeper.end()
            leftovers.remove()
            raise

    def alive(self) -> bool:
        import ray

        return bool(ray.is_initialized())

    @property
    def embedded(self) -> bool:
        """Whether it was started here, for this process alone."""
        return self._leftovers is not None

    def machines(self) -> list[Machine]:
        return [
            Machine(
                cpus=node["Resources"].get("CPU", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
                memory_gb=node["Resources"].get("memory", 0.0) / 2**30,
            )
            for node in self._nodes()
        ]

    def check_interpreter(self, pool: PoolSpec) -> None:
        """Ray waits for ever for a worker whose interpreter is missing. Known only for this machine."""
        python = pool.resources.python
        if self._leftovers is not None and python is not None and shutil.which(python) is None:
            raise UsageError(
                f"stage '{pool.name}' asks for the interpreter {python}, which is not an executable file here; "
                f"make that environment, or change stages.{pool.name}.resources.python"
            )

    def node_alive(self, node: str) -> bool:
        return any(alive["NodeID"] == node for alive in self._nodes())

    def in_words(self) -> tuple[str, str]:
        """Resources there are, and those that are free."""
        import ray

        def words(of: dict[str, float]) -> str:
            memory = of.get("memory", 0.0) / 2**30
            return f"{of.get('CPU', 0.0):g} CPUs, {of.get('GPU', 0.0):g} GPUs, {memory:.1f} GB of memory"

        return words(ray.cluster_resources()), words(ray.available_resources())

    def end(self) -> None:
        import ray

        if not self._ours:
            return
        self._ours = False
        atexit.unregister(self.end)
        ray.shutdown(wait_for_processes=True)
        self._keeper.end()
        if self._leftovers is not None:
            self._leftovers.remove()

    def _nodes(self) -> list[dict[str, Any]]:
        import ray

        return [node for node in ray.nodes() if node["Alive"]]


class _Keeper:
    """A thread that lasts, to start processes from.

    Ray asks the kernel to end its processes with their parent, so that nothing outlives a killed driver. The kernel
    takes "parent" to be the *thread* that started them: without this, Ray would end with a short-lived thread.
    """

    def __init__(self) -> None:
        self._over = threading.Event()

    def run(self, start: Callable[[], None]) -> None:
        if threading.current_thread() is threading.main_thread():
            start()
            return
        done = threading.Event()
        errors: list[BaseException] = []

        def keep() -> None:
            try:
                start()
            except BaseException as error:
                errors.append(error)
                return
            finally:
                done.set()
            self._over.wait()

        threading.Thread(target=keep, name="datagen-ray-keeper", daemon=True).start()
        done.wait()
        if errors:
            raise errors[0]

    def end(self) -> None:
        self._over.set()


def _start_embedded(num_cpus: int | None, folder: Path) -> None:
    import ray

    configured = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
    saved = Path("~/.ray/auth_token").expanduser()
    if not any(name in os.environ for name in configured) and not saved.exists():
        # Ray would write a token into the home directory, which may be read-only and is none of our business.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",  # nobody else's business, and it outlives a change of network
            _temp_dir=str(folder),
            _system_config={"worker_niceness": 0},  # 15 by default: our work would yield to everything else
        )
    except Exception as error:
        raise RunError(
            f"Ray did not start on this machine: {error}. See {folder}, or use the local executor"
        ) from error
    _silence()


def _attach(address: str) -> None:
    import ray

    if address != "auto":
        _check_listening(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # ConnectionError, RuntimeError (version), AuthenticationError, ...
        raise UsageError(
            f"--ray-address {address}: cannot attach: {str(error).strip()}. Is a cluster of this Ray version "
            f"({ray.__version__}) running there? Without --ray-address one is started on this machine"
        ) from error
    _silence()


def _check_listening(address: str) -> None:
    """Whether anything answers there at all: Ray itself tries for minutes, and says so in its own words."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--ray-address {address}: give host:port (Ray's own port is 6379), or 'auto'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UsageError(
            f"--ray-address {address}: nothing answers there ({error}). Start the cluster, correct the address, or "
            "leave it away: then a Ray is started on this machine"
        ) from error


def _silence() -> None:
    """Ray prints every death of a worker in red; we report them as fates, and the terminal shows progress."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, ignore_prefix: _log.debug("ray: %s", data.get("lines"))


@contextlib.contextmanager
def _signals_kept() -> Any:
    """``ray.init`` replaces the handler of SIGTERM with one that exits at once; the driver wants its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class _Leftovers:
    """An embedded Ray's folder (sockets, logs) and the process that sees to it that neither it nor Ray stays.

    The folder is under /tmp where the usual place has a long name: socket paths may have 107 bytes, and Ray takes
    about 70 of them.
    """

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        if len(str(parent).encode()) > 16 and os.access("/tmp", os.W_OK):
            parent = Path("/tmp")
        self.folder = Path(tempfile.mkdtemp(prefix="datagen-ray-", dir=parent))
        # In a session of its own, so that what is sent to the driver's process group does not end it first.
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    @contextlib.contextmanager
    def marked(self) -> Iterator[None]:
        """Processes started here are known to the reaper, and so are theirs."""
        os.environ[reaper.MARK] = str(self.folder)
        try:
            yield
        finally:
            del os.environ[reaper.MARK]

    def remove(self) -> None:
        self._reaper.communicate()
