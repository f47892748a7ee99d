"""Keeps one replica of a model answering: starts it, watches it, starts it again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from datagen.errors import RunError
from datagen.llm import server as servers
from datagen.llm.retry import backoff
from datagen.llm.server import Server
from datagen.llm.settings import LlmConfig


@dataclass(frozen=True)
class Patience:
    """Seconds, unless said otherwise."""

    look_s: float = 0.2  #: between two looks at its process, and at whether it answers for the first time
    probe_s: float = 15.0  #: between two looks at whether it still answers
    answer_s: float = 30.0  #: for one token
    misses: int = 4  #: so many looks in a row without a sign of life, and it hangs
    steady_s: float = 60.0  #: it has to answer for so long, or its end counts as one more in a row
    backoff_s: float = 1.0  #: mean wait before the first restart; doubles from one to the next
    backoff_most_s: float = 60.0
    first_restarts: int = 2  #: of one that has never answered: most likely the settings are wrong


USUAL = Patience()


class Supervisor:
    """One replica, on one port for as long as that is free.

    Args:
        host: this machine's address as the clients reach it.
        log: of the server; all its lives are in it.
        publish: told its URL and process id when it answers, and None when it does not any more.
        stopped: asked a few times a second; True ends the server and ``run``.
        lived: told seconds for which a server's process was there, as they pass.
        env: further variables, e.g. which GPUs it may use.
        argv: makes the command from the port; None = vLLM's, from the settings.
    """

    def __init__(
        self, settings: LlmConfig, *, host: str, log: Path, publish: Callable[[tuple[str, int] | None], None],
        stopped: Callable[[], bool], lived: Callable[[float], None] = lambda seconds: None,
        env: Mapping[str, str] | None = None, argv: Callable[[int], list[str]] | None = None,
        patience: Patience = USUAL,
    ) -> None:  # fmt: skip
        self.settings, self.host, self.log, self.patience = settings, host, log, patience
        self._publish, self._stopped, self._lived = publish, stopped, lived
        self._argv = argv or (lambda port: servers.command(settings, host, port))
        self._env = servers.environment(settings, env)
        self._port = 0
        self._answered_ever = False
        self._clock = time.monotonic()

    def run(self) -> None:
        """Until ``stopped``. Nothing of the server is left when this returns or raises.

        Raises:
            RunError: it ended too often, or says no to what it is asked; with the end of its log.
            UsageError: there is no vLLM here.
        """
        in_a_row = 0
        while not self._stopped():
            why, steady = self._life()
            if why is None:
                return
            in_a_row = 1 if steady else in_a_row + 1
            most = self.settings.vllm.restarts
            most = most if self._answered_ever else min(most, self.patience.first_restarts)
            if in_a_row > most:
                raise RunError(self._told(f"{why}; it was started {in_a_row} times in a row"))
            wait = backoff(
                in_a_row, self.patience.backoff_s, self.patience.backoff_most_s, random.Random(time.monotonic_ns())
            )
            over = time.monotonic() + wait
            while time.monotonic() < over and not self._stopped():
                time.sleep(self.patience.look_s)

    def _life(self) -> tuple[str | None, bool]:
        """Start it once and see it through: why it ended (None: it was to), and whether it had lasted."""
        self._port = servers.free_port(self.host, self._port)
        url = servers.base_url(self.host, self._port)
        server = Server(self._argv(self._port), self._env, self.log)
        self._clock = time.monotonic()
        try:
            why = self._until_it_answers(server, url)
            if why is not None or self._stopped():
                return why, False
            self._answered_ever = True
            begun = time.monotonic()
            self._publish((url, server.pid))
            try:
                why = self._while_it_answers(server, url)
            finally:
                self._publish(None)
            return why, time.monotonic() - begun >= self.patience.steady_s
        finally:
            server.close()

    def _until_it_answers(self, server: Server, url: str) -> str | None:
        """None when it does, or when all is to end; else why it never will."""
        over = time.monotonic() + self.settings.vllm.ready_s
        while not self._look(server):
            if server.status is not None:
                if server.status == 2 and not self._answered_ever:  # how a program says that its arguments are wrong
                    raise RunError(self._told("does not take its arguments"))
                return f"ended while it was starting ({_ending(server.status)})"
            try:
                if servers.completes(url, self.settings.model, self.patience.answer_s):
                    return None
            except RunError as error:
                raise RunError(self._told(f"cannot be asked: {error}")) from None
            if time.monotonic() > over:
                return f"gave no answer within {self.settings.vllm.ready_s:g} s (llm.vllm.ready_s)"
        return None

    def _while_it_answers(self, server: Server, url: str) -> str | None:
        """None when all is to end; else why it answers no more."""
        done = servers.tokens(url, self.patience.answer_s)
        misses = 0
        look = time.monotonic() + self.patience.probe_s
        while not self._look(server):
            if server.status is not None:
                return f"ended ({_ending(server.status)})"
            if time.monotonic() < look:
                continue
            now = servers.tokens(url, self.patience.answer_s)
            # A busy server lets a probe wait behind all that was asked before; tokens that flow are answer enough.
            alive = now is not None and done is not None and now > done
            done = now
            if not alive:
                try:
                    alive = servers.completes(url, self.settings.model, self.patience.answer_s)
                except RunError:
                    alive = True  # it says no, so it is there
            misses = 0 if alive else misses + 1
            if misses >= self.patience.misses:
                return f"hung: {misses} times in a row it gave no sign of life"
            look = time.monotonic() + self.patience.probe_s
        return None

    def _look(self, server: Server) -> bool:
        """Wait a moment; whether all is to end. ``server.status`` is up to date then."""
        time.sleep(self.patience.look_s)
        server.ended()
        now = time.monotonic()
        self._lived(now - self._clock)
        self._clock = now
        return server.status is None and self._stopped()

    def _told(self, what: str) -> str:
        return (
            f"the server of {self.settings.model} {what}. Its last words ({self.log} on {self.host} has them all):\n"
            f"{servers.last_lines(self.log)}"
        )


def _ending(status: int) -> str:
    """
    >>> _ending(1), _ending(-9)
    ('exit status 1', 'killed by signal 9')
    """
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
