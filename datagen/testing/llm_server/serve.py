"""Running it: in a thread of this process, or in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Self

from datagen.testing.llm_server.faults import Faults
from datagen.testing.llm_server.handlers import Behaviour, Counts, Handlers

#: Seconds to start or to stop.
PATIENCE_S = 60.0


class Server:
    """On loopback in a thread with an event loop of its own. Keywords are those of ``Behaviour``."""

    def __init__(self, port: int = 0, **behaviour: Any) -> None:
        self._handlers = Handlers(Behaviour(**behaviour))
        self.port = port  #: 0 until it listens: then what the system gave it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="llm-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._up.wait(PATIENCE_S):
            raise TimeoutError("the server does not start")
        if self._error:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def behaviour(self) -> Behaviour:
        return self._handlers.behaviour

    def counts(self) -> Counts:
        return self._handlers.counts

    def change(self, **behaviour: Any) -> None:
        """From the next request on."""
        self._handlers.behaviour = replace(self._handlers.behaviour, **behaviour)

    def stop(self) -> None:
        """Close its connections, those in use too."""
        if self._loop is not None and self._over is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        runner = await start(self._handlers, self.port)
        self.port = runner.addresses[0][1]
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._up.set()
        await self._over.wait()
        await runner.cleanup()


async def start(handlers: Handlers, port: int) -> Any:
    """An ``aiohttp.web.AppRunner`` that listens on loopback."""
    from aiohttp import web

    app = web.Application(client_max_size=64 * 2**20)
    app.add_routes(handlers.routes())
    # Handlers end with their client (hangs would last), and with the server.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    return runner


class ServerProcess:
    """The same in a process of its own; ``answering`` cannot be sent there."""

    def __init__(self, **behaviour: Any) -> None:
        self._behaviour = Behaviour(**behaviour)
        if self._behaviour.answering is not None:
            raise ValueError("a function cannot be sent to another process")
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "datagen.testing.llm_server", json.dumps(asdict(self._behaviour))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # it ends with the process, if that fails
        if not line:
            self.stop()
            raise RuntimeError("the server does not start")
        self.url = f"http://127.0.0.1:{int(line)}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def counts(self) -> dict[str, Any]:
        """As ``Counts.as_dict``."""
        address = self.url.removesuffix("/v1") + "/counts"
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as response:
            return dict(json.load(response))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main(behaviour: str) -> None:
    """Serve until standard input ends, which it does when the parent does: nothing is left behind."""
    given = json.loads(behaviour)
    handlers = Handlers(Behaviour(**{**given, "faults": Faults(**given["faults"])}))

    async def serve() -> None:
        runner = await start(handlers, 0)
        print(runner.addresses[0][1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await runner.cleanup()

    asyncio.run(serve())
