"""What a stage asks with: a client, a journal and a purse, put together for it by the engine.

    for request, outcome in self.asker.ask(requests, follow=again):
        ...

Outcomes come in no order. A stage never sees a failure that no row is to blame for: that ends the run, to be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from datagen.errors import EnvironmentFault
from datagen.llm.answers import Blame, Failure
from datagen.llm.client import LOOK_S, Follow, Pair, ServersGone, complete
from datagen.llm.journal import Journal
from datagen.llm.limits import Budget, Meter
from datagen.llm.request import Request, Sampling, conversation
from datagen.llm.settings import LlmConfig

Urls = Callable[[], tuple[str, ...]]


class Asker:
    """``urls`` says where the servers are now, where they are not in the settings. ``again``: how often a person has
    asked for other answers than the journal's refused ones.
    """

    def __init__(
        self,
        settings: LlmConfig,
        urls: Urls = lambda: (),
        journal: Journal | None = None,
        budget: Budget | None = None,
        *,
        again: int = 0,
    ) -> None:
        self.settings = settings
        self._again = again
        self._urls, self._journal, self._budget = urls, journal, budget
        self._meter = Meter()

    def retries(self, configured: int) -> int:
        """Further attempts of a question, ``configured`` and those that a person has added: the journal gives the same
        refused answers to the same attempts for ever.
        """
        return (1 + configured) * (1 + self._again) - 1

    def request(
        self,
        instruction: str,
        question: str,
        schema: Mapping[str, Any] | None,
        sampling: Sampling,
        *,
        candidate: int = 0,
        attempt: int = 0,
        more: Sequence[Mapping[str, Any]] = (),
    ) -> Request:
        """A request in this model's manner. ``instruction`` is what all requests of a kind share: it goes first, so
        that the server's prefix cache has it. ``more``: messages after the question (what was wrong with an answer).
        """
        asked = self.settings
        constraint = asked.constraint or ("structured_outputs" if asked.server == "vllm" else "response_format")
        return Request(
            model=asked.model,
            messages=[*conversation(instruction, question, system=asked.system), *more],
            schema=schema,
            sampling=sampling,
            candidate=candidate,
            attempt=attempt,
            revision=asked.revision,
            constraint=constraint,
            extra=asked.extra,
        )

    def ask(self, requests: Iterable[Request], follow: Follow = lambda request, outcome: None) -> Iterator[Pair]:
        """Every request with its outcome, as they are ready; ``follow`` says what to ask instead of taking one.

        Raises:
            ServersGone, BudgetSpent: see ``llm.client``.
            EnvironmentFault: the server says no to whatever it is asked.
        """
        where = self._urls if self.settings.server == "vllm" else None
        endpoint = self.settings.endpoint(self._found() if where else ())
        for request, outcome in complete(
            endpoint, requests, self._journal, self._budget, follow=follow, meter=self._meter, urls=where
        ):
            if isinstance(outcome, Failure) and outcome.blame is Blame.SERVER:
                raise EnvironmentFault(
                    f"the server of {self.settings.model} gives no answer: {outcome.error_class}: {outcome.message}. "
                    "Finished calls are kept; the same command continues"
                )
            yield request, outcome

    def _found(self) -> tuple[str, ...]:
        """Where servers are, once there is one: all may be starting again."""
        patience_s = self.settings.gone_s + self.settings.vllm.ready_s
        over = time.monotonic() + patience_s
        while not (urls := self._urls()):
            if time.monotonic() > over:
                raise ServersGone(f"no server of {self.settings.model} has come up within {patience_s:g} s")
            time.sleep(LOOK_S)
        return urls

    def metrics(self) -> dict[str, float]:
        """What was spent since this was last asked, for ``Output.metrics``."""
        found, self._meter = self._meter.metrics(), Meter()
        return found

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._budget is not None:
            self._budget.close()
