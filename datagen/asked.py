"""What stages ask of language models, as a person sees it: what it will take, and what it has taken.

Rows and sentences only; ``report.py`` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from datagen.forecast import Asking, spent
from datagen.llm import estimate
from datagen.llm.purse import total
from datagen.llm.settings import LlmConfig
from datagen.serving import SPENT
from datagen.status import StageCount
from datagen.workspace import Workspace

_FAILED = "llm_failed_"


class Shown(NamedTuple):
    """A table and what has to be said about it."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str]


class Spent(NamedTuple):
    """Of a run so far, all its processes together."""

    tokens: int = 0
    tokens_out: int = 0  #: of finished units
    gpu_hours: float = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Written per GPU; None before there was enough to go by."""
        return self.tokens_out / self.gpu_hours / 3600 if self.gpu_hours and self.tokens_out >= 10_000 else None


NOTHING = Spent()


def spent_in(space: Workspace) -> Spent:
    """What all processes that asked have written down, unfinished work included."""
    whole = total(space.files, SPENT)
    stages = [name for name, stage in space.pipeline.stages.items() if stage.asks() is not None]
    written = sum(spent(space, name)[0].get("llm_completion_tokens", 0.0) for name in stages)
    return Spent(round(whole.tokens), round(written), whole.gpu_seconds / 3600)


def ahead(askings: Sequence[Asking], so_far: Spent = NOTHING) -> Shown | None:
    """What is still to be asked; None where no stage asks."""
    if not askings:
        return None
    rows: list[tuple[str, ...]] = []
    unknown: list[str] = []
    speeds: set[float | None] = set()
    total = [0.0] * 3
    for asking in askings:
        if asking.cost is None:
            unknown.append(asking.stage)
            rows.append((asking.stage, amount(asking.rows), *["?"] * 6))
            continue
        cost = asking.cost
        speed = so_far.tokens_per_s or asking.settings.tokens_per_s
        speeds.add(speed)
        hours = estimate.gpu_hours(cost.tokens_out, speed)
        money = estimate.price(asking.settings, cost.tokens_in, cost.tokens_out, hours)
        total = [a + b for a, b in zip(total, (cost.requests, cost.tokens_in, cost.tokens_out), strict=True)]
        rows.append((
            asking.stage, amount(asking.rows), amount(cost.requests),
            amount(cost.tokens_in), amount(cost.tokens_out), _hours(hours), _money(money),
            "measured" if cost.measured else "rehearsal",
        ))  # fmt: skip
    if len(rows) > 1:
        rows.append(("together", "", *map(amount, total), "", "", ""))
    notes = _how(askings, speeds, so_far)
    if unknown:
        notes.append(f"what {', '.join(unknown)} will ask is not known: no rehearsal could be held")
    return Shown(
        ("asks", "rows", "requests", "tokens in", "tokens out", "GPU h", "price", "by"),
        rows,
        notes,
    )


def _how(askings: Sequence[Asking], speeds: set[float | None], so_far: Spent) -> list[str]:
    models: dict[str, list[str]] = {}
    for asking in askings:
        models.setdefault(_short(asking.settings.model) or "a model not named yet", []).append(asking.stage)
    notes = [f"{model} is asked by {', '.join(names)}" for model, names in models.items()]
    if any(asking.cost and not asking.cost.measured for asking in askings):
        notes.append(
            "rehearsal: the real prompts, rendered for rows of this run or typical ones, at four bytes a token; "
            f"answers a third as long as their schemas allow; {estimate.AGAIN:.0%} asked for again. Condensation may "
            "leave fewer rows"
        )
    if any(asking.cost and asking.cost.measured for asking in askings):
        notes.append("measured: by what this run has asked so far")
    if None in speeds:
        notes.append(
            "GPU hours are not known: say llm.tokens_per_s (what your server writes per GPU and second), or let a "
            "pilot measure it (--limit)"
        )
    elif speeds:
        source = "as measured in this run" if so_far.tokens_per_s else "as llm.tokens_per_s says"
        told = ", ".join(f"{speed:,.0f}" for speed in sorted(filter(None, speeds)))
        notes.append(
            f"GPU hours: at {told} tokens written per GPU and second, {source}; what writes little and reads much "
            "(blind) takes longer than that"
        )
    return notes


def beyond(askings: Sequence[Asking], so_far: Spent = NOTHING) -> list[str]:
    """A sentence for each cap that what is still to be asked would go over."""
    notes = []
    known = [(asking.settings, asking.cost) for asking in askings if asking.cost is not None]
    tokens = sum(cost.tokens_in + cost.tokens_out for _, cost in known)
    cap = _least(settings.most_tokens for settings, _ in known)
    if cap is not None and so_far.tokens + tokens > cap:
        notes.append(
            f"about {amount(tokens)} tokens are to come and {amount(so_far.tokens)} are spent: more than "
            f"llm.most_tokens ({cap:,}). The run will stop there; with a higher cap the same command goes on"
        )
    hours = [estimate.gpu_hours(cost.tokens_out, so_far.tokens_per_s or s.tokens_per_s) for s, cost in known]
    most = _least(settings.most_gpu_hours for settings, _ in known)
    sum_hours = sum(filter(None, hours))
    if most is not None and so_far.gpu_hours + sum_hours > most:
        notes.append(
            f"about {sum_hours:,.1f} GPU hours are to come and {so_far.gpu_hours:,.1f} are spent: more than "
            f"llm.most_gpu_hours ({most:g}). The run will stop there; with a higher cap the same command goes on"
        )
    return notes


def behind(counts: Sequence[StageCount], settings: Mapping[str, LlmConfig], so_far: Spent = NOTHING) -> Shown | None:
    """What stages have asked, by the records of their finished units; None where none has."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for count in counts:
        found = count.metrics
        calls, replayed = found.get("llm_requests", 0.0), found.get("llm_replayed", 0.0)
        if not calls + replayed:
            continue
        tokens_in, tokens_out = found.get("llm_prompt_tokens", 0.0), found.get("llm_completion_tokens", 0.0)
        failed = {name.removeprefix(_FAILED): n for name, n in found.items() if name.startswith(_FAILED)}
        replies = found.get("llm_replies", 0.0)
        own = settings.get(count.stage, LlmConfig())
        hours = estimate.gpu_hours(tokens_out, so_far.tokens_per_s or own.tokens_per_s)
        rows.append((
            count.stage, amount(calls), amount(replayed), amount(tokens_in),
            f"{found.get('llm_cached_tokens', 0.0) / tokens_in:.0%}" if tokens_in else "·", amount(tokens_out),
            f"{found.get('llm_latency_s', 0.0) / replies:,.1f} s" if replies else "·",
            _money(estimate.price(own, tokens_in, tokens_out, hours)),
        ))  # fmt: skip
        troubles = [f"{name} {n:,.0f}" for name, n in sorted(failed.items(), key=lambda item: -item[1])]
        if retries := found.get("llm_retries"):
            troubles.append(f"{amount(retries)} tries more because the server was busy or broke off")
        if troubles:
            notes.append(f"{count.stage}, no answers and retries: {', '.join(troubles)}")
    if not rows:
        return None
    header = ("asked", "requests", "replayed", "in", "cached", "out", "latency", "price")
    notes.append(
        "replayed: from the journal, at no cost; in, out: tokens; cached: of the prompts, had been read before"
    )
    return Shown(header, rows, notes + _caps(settings.values(), so_far))


def _caps(settings: Iterable[LlmConfig], so_far: Spent) -> list[str]:
    settings = list(settings)
    notes = []
    if so_far.tokens or so_far.gpu_hours:
        cap, most = _least(s.most_tokens for s in settings), _least(s.most_gpu_hours for s in settings)
        tokens = f"{so_far.tokens:,} tokens" + (f" of {cap:,} allowed" if cap is not None else "")
        hours = f"{so_far.gpu_hours:,.2f} GPU hours" + (f" of {most:g} allowed" if most is not None else "")
        notes.append(f"spent in all, unfinished work included: {tokens}, {hours}")
    return notes


def amount(number: float) -> str:
    """Three digits and a unit: ``950``, ``12.3 k``, ``4.56 M``."""
    for unit in ("", " k", " M", " G"):
        if abs(number) < 999.5:
            return f"{number:,.0f}{unit}" if not unit or number >= 100 else f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:,.0f} T"


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _short(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]


def _hours(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:,.2f}"


def _money(money: float | None) -> str:
    return "·" if money is None else f"{money:,.2f}"
