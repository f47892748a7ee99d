"""Before a run: whether servers that others run are there, take the key and know the model. One token tells.

What is wrong with them would else be found when a stage first asks, after hours of other models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from datagen.errors import EnvironmentFault, UsageError
from datagen.llm.retry import Setback, one_token, understood
from datagen.llm.settings import LlmConfig
from datagen.llm.wire import Wire
from datagen.redact import hidden

#: Some load a model only when it is first asked: who takes the question and is slow is there.
WAIT_S = 20.0


def look(asked: Iterable[LlmConfig], *, from_here: bool) -> list[str]:
    """What a person should know of the endpoints of ``asked``, a sentence each.

    Args:
        from_here: whether those who will ask are on this machine; where they are not, one that cannot be reached from
            here may be all right.

    Raises:
        UsageError: one says no to everybody: a wrong key, a model or a route that it does not have.
        EnvironmentFault: no replica of a model is there.
    """
    endpoints = {
        (each.urls, each.model, each.api_key_env): each for each in asked if each.server == "endpoint"
    }.values()
    notes = []
    for settings in endpoints:
        found = asyncio.run(_said(settings))
        for url, what in found.items():
            if what is not None and what.error_class == "NotServed":
                raise UsageError(
                    f"{hidden(url)} will not serve {settings.model}: {what.message}. See llm.urls, llm.model and "
                    "llm.api_key_env"
                )
        away = [f"{hidden(url)} ({what.message})" for url, what in found.items() if what and what.nobody_there]
        if len(away) == len(found) and from_here:
            raise EnvironmentFault(
                f"no server of {settings.model} is there: {'; '.join(away)}. Start it and run the same command, or do "
                "what comes before it first (--until)"
            )
        if away:
            notes.append(f"no server of {settings.model} found from here at {'; '.join(away)}")
    return notes


async def _said(settings: LlmConfig) -> dict[str, Setback | None]:
    """URL -> why there was no token, or None."""
    wire = Wire(settings.endpoint())
    await wire.open()
    try:
        body = one_token(settings.model)
        said = await asyncio.gather(*(wire.post(url, body, WAIT_S) for url in settings.urls))
    finally:
        await wire.close()
    results = [understood(each, 0.0, 1) for each in said]
    return {url: each if isinstance(each, Setback) else None for url, each in zip(settings.urls, results, strict=True)}
