"""Language models of a run: where their servers are, what a stage is given to ask them with, and one replica's life.

llm/journal/<stage>/         finished calls
llm/journal/<stage>/again.json   how often other answers were asked for (`rejects retry`)
llm/servers/<group>/<n>.json a server that the run has started: its URL, while it answers
llm/spent/                   what each process has spent, for the caps on the whole run
llm/logs/<group>-<n>.log     what a server says; of a run that is not on a local disk, in the temporary folder of its
                             machine
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from datagen.errors import RunError, UsageError
from datagen.files import Files
from datagen.llm.asking import Asker
from datagen.llm.journal import Journal
from datagen.llm.limits import Budget
from datagen.llm.purse import Purse
from datagen.llm.server import interpreter
from datagen.llm.settings import LlmConfig
from datagen.llm.supervisor import USUAL, Patience, Supervisor

FOLDER = "llm"
SERVERS, SPENT = f"{FOLDER}/servers", f"{FOLDER}/spent"
#: In a group's folder: its replicas are to end.
END = "end"
#: Seconds between two looks for that, where the run's files are local and where they are not.
LOOK_S, REMOTE_LOOK_S = 0.2, 2.0


def asker(files: Files, stage: str, settings: LlmConfig) -> Asker:
    """For one stage in this process. GPU time is counted by whoever runs the servers, or by the driver: not here."""
    hours = settings.most_gpu_hours
    budget = Budget(
        settings.most_tokens, None if hours is None else hours * 3600.0, gpus=0.0, purse=Purse(files, SPENT)
    )
    journal = Journal(files, f"{FOLDER}/journal/{stage}")
    return Asker(settings, lambda: servers(files, settings), journal, budget, again=asked_again(files, stage))


def asked_again(files: Files, stage: str) -> int:
    """How often ``ask_again`` was called for the stage."""
    try:
        return int(files.read_json(_again(stage))["times"])
    except FileNotFoundError:
        return 0


def ask_again(files: Files, stage: str) -> None:
    """What the stage refuses is asked for anew from now on; answers that were refused are not all it will ever get."""
    files.write_json(_again(stage), {"times": asked_again(files, stage) + 1})


def _again(stage: str) -> str:
    return f"{FOLDER}/journal/{stage}/again.json"


def servers(files: Files, settings: LlmConfig) -> tuple[str, ...]:
    """URLs of the servers that the run has started for these settings and that answer now.

    Raises:
        RunError: none does, and one never will again.
    """
    folder = f"{SERVERS}/{settings.group}"
    found = []
    for name in files.names(folder):
        if name != END:
            with contextlib.suppress(FileNotFoundError):  # it has just stopped to answer
                found.append(files.read_json(f"{folder}/{name}"))
    urls = tuple(str(each["url"]) for each in found if "url" in each)
    if not urls and (errors := [str(each["error"]) for each in found if "error" in each]):
        raise RunError(errors[0])
    return urls


def problem(settings: LlmConfig) -> str | None:
    """Why no server of these settings can be started on this machine, or None."""
    if settings.server != "vllm":
        return None
    try:
        interpreter(settings.vllm)
    except UsageError as error:
        return str(error)
    return None


def log_path(files: Files, settings: LlmConfig, number: int) -> Path:
    """Where a replica's server writes what it has to say, on the replica's machine."""
    name = f"{settings.group}-{number}.log"
    if files.local:
        return Path(files.path(f"{FOLDER}/logs/{name}"))
    return Path(tempfile.gettempdir()) / f"datagen-llm-{name}"


def replica(
    files: Files, settings: LlmConfig, number: int, host: str, *, gpus: float = 0.0,
    env: Mapping[str, str] | None = None, stopped: Callable[[], bool] = lambda: False, patience: Patience = USUAL,
) -> None:  # fmt: skip
    """Run one replica until its group is to end, or ``stopped`` says so. Its GPU time counts against the run's cap.

    Args:
        number: counts the replicas of a group.
        host: this machine's address, as the clients reach it.
        gpus: how many are its own.

    Raises:
        RunError, UsageError: see ``llm.supervisor``.
    """
    name = f"{SERVERS}/{settings.group}/{number}.json"
    asked = _Asked(lambda: stopped() or files.exists(f"{SERVERS}/{settings.group}/{END}"), files.local)

    def publish(server: tuple[str, int] | None) -> None:
        if server is None:
            files.delete(name)
        else:
            files.write_json(name, {"url": server[0], "pid": server[1], "owner": os.getpid()})

    purse = Purse(files, SPENT)
    try:
        Supervisor(
            settings, host=host, log=log_path(files, settings, number), publish=publish, stopped=asked,
            lived=lambda seconds: purse.add(gpu_seconds=seconds * gpus) if gpus else None, env=env, patience=patience,
        ).run()  # fmt: skip
    except RunError as error:
        files.write_json(name, {"error": str(error)})  # who waits for it need not wait any longer
        raise
    finally:
        purse.close()


class _Asked:
    """Whether a replica is to end; a file is not looked for at every call."""

    def __init__(self, look: Callable[[], bool], local: bool) -> None:
        self._look, self._every_s = look, LOOK_S if local else REMOTE_LOOK_S
        self._next, self._said = 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._said and now >= self._next:
            self._next = now + self._every_s
            with contextlib.suppress(OSError):  # a store's bad moment: the next look is soon
                self._said = self._look()
        return self._said
