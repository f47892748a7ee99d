"""What asking will cost, as far as that can be told before it starts; and what it has cost so far.

From a rehearsal (real prompts, answers of a usual length, four bytes of UTF-8 to a token) until a stage has asked often
enough to go by its own figures: what it asked for a row, and how many tokens went in and out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datagen.llm.rehearsal import Load
from datagen.llm.settings import LlmConfig

#: About what tokenizers of current models make of English; of other languages fewer.
BYTES_PER_TOKEN = 4.0
#: Share of answers that are refused and asked for again, where nothing has been measured.
AGAIN = 0.1
#: So many calls, and a stage's own figures are better than a rehearsal.
ENOUGH_CALLS = 50


@dataclass(frozen=True, slots=True)
class Rate:
    """What a stage asks for one row."""

    requests: float
    tokens_in: float
    tokens_out: float
    measured: bool = False

    def times(self, rows: float) -> Rate:
        return Rate(rows * self.requests, rows * self.tokens_in, rows * self.tokens_out, self.measured)


def rehearsed(load: Load, *, retries: bool) -> Rate:
    """``retries``: whether the stage asks again for what its checks refuse."""
    more = (1 + AGAIN if retries else 1) / max(load.rows, 1)
    return Rate(
        load.requests * more, load.prompt_bytes / BYTES_PER_TOKEN * more, load.answer_bytes / BYTES_PER_TOKEN * more
    )


def measured(metrics: Mapping[str, float], rows: int) -> Rate | None:
    """By the metrics of a stage's finished units over ``rows``; None while they are too few.

    Calls that were replayed cost nothing and would cost something on other rows: they count as the others did.
    """
    calls = metrics.get("llm_requests", 0.0)
    if calls < ENOUGH_CALLS or not rows:
        return None
    asked = calls + metrics.get("llm_replayed", 0.0)
    tokens_in = metrics.get("llm_prompt_tokens", 0.0) / calls
    tokens_out = metrics.get("llm_completion_tokens", 0.0) / calls
    return Rate(asked / rows, asked / rows * tokens_in, asked / rows * tokens_out, measured=True)


def gpu_hours(tokens_out: float, tokens_per_s: float | None) -> float | None:
    """At ``tokens_per_s`` written per GPU; None where nobody knows that."""
    return tokens_out / tokens_per_s / 3600 if tokens_per_s else None


def price(settings: LlmConfig, tokens_in: float, tokens_out: float, hours: float | None) -> float | None:
    """In the currency of the settings; None where they name no price, or one of GPU hours and those are not known."""
    if settings.price_in is None and settings.price_out is None and settings.price_gpu_hour is None:
        return None
    if settings.price_gpu_hour is not None and hours is None:
        return None
    tokens = (tokens_in * (settings.price_in or 0.0) + tokens_out * (settings.price_out or 0.0)) / 1e6
    return tokens + (settings.price_gpu_hour or 0.0) * (hours or 0.0)
