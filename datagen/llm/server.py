"""One vLLM server: how it is started, whether it answers, how it ends. Restarting it is ``supervisor.py``'s business.

It is a process of another environment, spoken to over HTTP alone, and has a guard (``guard.py``) that ends it with
everything it started, however this process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from datagen.errors import EnvironmentFault, RunError, UsageError
from datagen.llm import guard
from datagen.llm.retry import one_token
from datagen.llm.settings import LlmConfig, VllmConfig
from datagen.redact import hidden

#: Where ``make setup-llm`` puts vLLM, beside the package's own folder.
BESIDE = Path(__file__).parents[2] / ".venv-llm/bin/python"
#: Of our own environment, what would mislead another one: other libraries, and how many threads Ray gives a worker.
#: What marks an embedded Ray's processes goes too: its reaper would end the guard before that has done its work.
NOT_INHERITED = ("PYTHON", "VIRTUAL_ENV", "RAY_", "DATAGEN_", "OMP_NUM_THREADS")
#: Compact JSON, else a model may write spaces and line breaks up to its token limit. vLLM 0.32 takes this of a server
#: only: in a request it reads the option and does nothing, and with the backend left to it it refuses the option.
GRAMMAR = {"backend": "xgrammar", "disable_any_whitespace": True}
#: Seconds for the guard to say that it has started something; it takes milliseconds.
PATIENCE_S = 60.0
SHOWN_LINES = 20


def interpreter(vllm: VllmConfig) -> str:
    """Path of the Python that has vLLM.

    Raises:
        UsageError: there is none here, with the mend.
    """
    if vllm.python is not None:
        if found := shutil.which(vllm.python):
            return found
        raise UsageError(f"llm.vllm.python: {vllm.python} is not an executable file here")
    if BESIDE.exists():
        return str(BESIDE)
    if find_spec("vllm") is not None:
        return sys.executable
    raise UsageError(
        "no vLLM here: `make setup-llm` installs it into .venv-llm; or name an interpreter that has it "
        "(llm.vllm.python), or use a server that is running (llm.server: endpoint)"
    )


def command(settings: LlmConfig, host: str, port: int) -> list[str]:
    """What starts a server of these settings."""
    vllm = settings.vllm
    folder = Path(settings.model).is_dir()
    model = str(Path(settings.model).absolute()) if folder else settings.model
    revision = ["--revision", settings.revision] if settings.revision and not folder else []
    return [
        interpreter(vllm), "-m", "vllm.entrypoints.openai.api_server",
        "--model", model, *revision, "--served-model-name", settings.model,
        "--host", host, "--port", str(port),
        "--tensor-parallel-size", str(vllm.tensor_parallel),
        "--structured-outputs-config", json.dumps(GRAMMAR),
        "--enable-prompt-tokens-details",
        *vllm.args,
    ]  # fmt: skip


def environment(settings: LlmConfig, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of a server's process: ours, less what would mislead it, then ``more``, then the settings'."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}  # it would report to its makers
    if Path(settings.model).is_dir():
        quiet["HF_HUB_OFFLINE"] = "1"  # nothing to look up
    return {**ours, **quiet, **(more or {}), **settings.vllm.env}


def free_port(host: str, wanted: int = 0) -> int:
    """``wanted`` if nobody listens there, else another that is free now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (wanted, 0):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                return int(probe.getsockname()[1])
    raise EnvironmentFault(f"no port is free on {host}")


def base_url(host: str, port: int) -> str:
    """
    >>> base_url("127.0.0.1", 8000), base_url("fe80::1", 8000)
    ('http://127.0.0.1:8000/v1', 'http://[fe80::1]:8000/v1')
    """
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


class Server:
    """A command under its guard. ``log`` takes what both say, after what stands there.

    Raises:
        RunError: it could not be started at all.
    """

    def __init__(self, argv: list[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.status: int | None = None  #: how it ended; negative: by that signal
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            start = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *argv],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, env=dict(env), cwd="/",
                start_new_session=True,
            )  # fmt: skip
        assert start.stdin is not None and start.stdout is not None
        self._stdin: IO[bytes] = start.stdin
        self._stdout: IO[bytes] = start.stdout
        start.wait(PATIENCE_S)  # the guard goes on as nobody's child
        line = self._stdout.readline()
        if not line:
            self._hang_up()
            raise RunError(f"{argv[0]} could not be started:\n{last_lines(log)}")
        self.pid = int(json.loads(line)["server"])  #: of the server, and of its session
        os.set_blocking(self._stdout.fileno(), False)
        self._heard = b""

    def ended(self) -> bool:
        """Whether it has ended; then nothing of it is left, and ``status`` says how."""
        if self.status is None:
            part = self._stdout.read()
            while part:
                self._heard += part
                part = self._stdout.read()
            if part is not None:  # the end of the stream, and of the guard
                self._over()
        return self.status is not None

    def close(self) -> None:
        """End it and everything it started; returns when they are gone."""
        if self.status is None:
            with contextlib.suppress(OSError):
                self._stdin.close()
            os.set_blocking(self._stdout.fileno(), True)
            self._heard += self._stdout.read() or b""
            self._over()

    def _over(self) -> None:
        said = json.loads(self._heard.splitlines()[-1]) if self._heard.endswith(b"}\n") else {}
        if "status" not in said:  # the guard was killed, and the kernel has killed the server with it; not its children
            guard.end(self.pid, grace_s=0.0)
        self.status = int(said.get("status", -9))
        self._hang_up()

    def _hang_up(self) -> None:
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of our own machines


def completes(url: str, model: str, timeout_s: float) -> bool:
    """Whether one token comes: a health route says that all is well when nothing answers any more.

    Raises:
        RunError: it says no (HTTP 4xx) to what every model must be able to do.
    """
    asked = urllib.request.Request(f"{url}/chat/completions", one_token(model), {"Content-Type": "application/json"})
    try:
        with _OPENER.open(asked, timeout=timeout_s) as response:
            return bool(json.load(response).get("choices"))
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (400, 404, 422):
                raise RunError(f"{url}: HTTP {error.code}: {_printable(error.read(2000))}") from None
        return False
    except (OSError, HTTPException, ValueError, AttributeError):  # nobody there, half an answer, no JSON
        return False


def tokens(url: str, timeout_s: float) -> float | None:
    """Tokens that it has read and written since it began; None where it does not say."""
    try:
        with _OPENER.open(url.removesuffix("/v1") + "/metrics", timeout=timeout_s) as response:
            text = response.read().decode(errors="replace")
        lines = [line.rsplit(" ", 1) for line in text.splitlines()]
        return sum(float(line[1]) for line in lines if line[0].startswith(_COUNTERS)) if lines else None
    except (OSError, HTTPException, ValueError, IndexError):
        return None


_COUNTERS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


def last_lines(log: Path, count: int = SHOWN_LINES) -> str:
    """The end of a log, for a message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = [_printable(line) for line in file.read().splitlines()]
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-count:])


def _printable(data: bytes) -> str:
    text = "".join(each if each.isprintable() else " " for each in data.decode(errors="replace"))
    return hidden(text[:400])
