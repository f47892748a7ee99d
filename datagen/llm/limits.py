"""What a run may spend on a language model, and what it did spend."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from datagen.errors import RunError
from datagen.llm.answers import Answer, Outcome
from datagen.llm.purse import Purse, Spent


class BudgetSpent(RunError):
    """The cap on tokens or GPU time is reached. Everything that was answered is in the journal."""


class Budget:
    """A cap on tokens (of prompts and answers together) and on GPU seconds (time under way x GPUs).

    Calls that are under way when it is reached are let finish, so it is overdrawn by those at most. Replayed calls
    cost nothing. ``clock`` gives seconds. With a ``purse``, what the run's other processes spend counts too.
    """

    def __init__(
        self,
        tokens: int | None = None,
        gpu_seconds: float | None = None,
        gpus: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        purse: Purse | None = None,
    ) -> None:
        self.tokens, self.gpu_seconds, self.gpus = tokens, gpu_seconds, gpus
        self._clock, self._purse = clock, purse
        self._since: float | None = None
        self._users = 0
        self._seconds = 0.0
        self.spent_tokens = 0

    def start(self) -> None:
        """A client begins; several may share a budget, and the time that both are at work counts once."""
        if self._users == 0:
            self._since = self._clock()
        self._users += 1

    def stop(self) -> None:
        self._users -= 1
        if self._users == 0 and self._since is not None:
            self._seconds += self._clock() - self._since
            self._since = None

    @property
    def spent_seconds(self) -> float:
        """GPU seconds."""
        running = self._clock() - self._since if self._since is not None else 0.0
        return (self._seconds + running) * self.gpus

    def charge(self, outcome: Outcome) -> None:
        """Count what a call cost."""
        if not outcome.replayed and outcome.reply is not None:
            tokens = outcome.reply.prompt_tokens + outcome.reply.completion_tokens
            self.spent_tokens += tokens
            if self._purse is not None:
                self._purse.add(tokens)

    def close(self) -> None:
        """The other processes can know all that was spent."""
        if self._purse is not None:
            self._purse.close()

    def spent(self) -> str | None:
        """Why nothing more may be asked, as a sentence, or None."""
        others = self._purse.others if self._purse is not None else Spent()
        tokens, seconds = self.spent_tokens + others.tokens, self.spent_seconds + others.gpu_seconds
        if self.tokens is not None and tokens >= self.tokens:
            return f"{tokens:,.0f} tokens are spent, {self.tokens:,} were allowed (llm.most_tokens)"
        if self.gpu_seconds is not None and seconds >= self.gpu_seconds:
            hours, allowed = seconds / 3600, self.gpu_seconds / 3600
            return f"{hours:.2f} GPU hours are spent, {allowed:.2f} were allowed (llm.most_gpu_hours)"
        return None


class Meter:
    """Sums over calls, for ``Output.metrics``: they can be added up over pieces, shards and stages."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)

    def count(self, outcome: Outcome) -> None:
        """One finished request."""
        sums = self._sums
        if outcome.replayed:
            sums["llm_replayed"] += 1
            return
        sums["llm_requests"] += 1
        if isinstance(outcome, Answer):
            sums["llm_answers"] += 1
            sums["llm_retries"] += outcome.reply.tries - 1
        else:
            sums[f"llm_failed_{outcome.error_class}"] += 1
            sums["llm_retries"] += outcome.tries - 1
        if reply := outcome.reply:
            sums["llm_replies"] += 1
            sums["llm_prompt_tokens"] += reply.prompt_tokens
            sums["llm_completion_tokens"] += reply.completion_tokens
            sums["llm_cached_tokens"] += reply.cached_tokens
            sums["llm_latency_s"] += reply.latency_s

    def metrics(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in sorted(self._sums.items())}
