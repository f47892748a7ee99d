"""Questions of many rows put together: each is asked once, however many rows have it.

    survey = Survey(self.asker, retries=1)
    mine = [survey.add(request) for request in ...]   # rows that ask the same get the same name
    answers = survey.ask()                            # name -> JSON value, None = unread
    ... answers[mine[0]]

Answers are looked up by what was asked and never by when they came, so the order of arrival changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from datagen.llm.answers import Answer, Outcome
from datagen.llm.asking import Asker
from datagen.llm.request import Request


class Survey:
    """For questions whose answers are voices among several: one that cannot be read is missing, and no row's fault.

    Args:
        retries: further attempts, with other seeds, where the model's answer was no answer.
    """

    def __init__(self, asker: Asker, retries: int) -> None:
        self._asker, self._retries = asker, asker.retries(retries)
        self._requests: dict[str, Request] = {}
        self.added = 0  #: questions, equal ones counted each time

    def add(self, request: Request) -> str:
        """-> the name under which its answer will be found."""
        self.added += 1
        return self._requests.setdefault(request.key, request).key

    def ask(self) -> dict[str, Any]:
        """Name -> the JSON value, or None where no attempt could be read. All questions are under way together.

        Raises:
            EnvironmentFault, BudgetSpent: nobody answers, or nothing more may be spent; see ``llm.asking``.
        """
        found: dict[str, Any] = dict.fromkeys(self._requests)
        for request, outcome in self._asker.ask(self._requests.values(), follow=self._again):
            first = replace(request, attempt=0).key if request.attempt else request.key
            found[first] = outcome.value if isinstance(outcome, Answer) else None
        return found

    def _again(self, request: Request, outcome: Outcome) -> Request | None:
        worth = not isinstance(outcome, Answer) and outcome.worth_another_attempt
        return replace(request, attempt=request.attempt + 1) if worth and request.attempt < self._retries else None
