"""What the tests of the writer share: the stage beside a fault server, and its samples as plain rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from datagen.llm.asking import Asker
from datagen.llm.journal import Journal
from datagen.llm.settings import LlmConfig
from datagen.stage import Output
from datagen.stages.write import Write, WriteConfig
from datagen.testing.llm_server import Faults, Server
from datagen.testing.llm_writer import asks, author

#: Enough for one in two answers to be spoilt.
PATIENT = 40


def written(
    clips: pa.Table,
    *,
    faults: Faults | None = None,
    answering: Callable[[Any], Any] = author,
    journal: Journal | None = None,
    seed: int = 0,
    **config: Any,
) -> tuple[Output, Server]:
    """What the stage makes of ``clips``, and the server (stopped) with its counts."""

    def said(body: Any) -> Any:
        return answering(body) if asks(body) else "Hello."  # a probe of a server that seems dead

    with Server(answering=said, faults=faults or Faults(), seed=3) as server:
        llm = LlmConfig(
            server="endpoint", model="fake", urls=(server.url,), in_flight=32, timeout_s=5.0, tries=40, gone_s=20.0
        )
        stage = Write(WriteConfig(writer="llm", llm=llm, **config), seed=seed)
        stage.asker = Asker(llm, journal=journal)
        stage.setup()
        out = stage.process(clips.select(["clip_id", *stage.reads, *stage.optional_reads]))
    return out, server


def rows(out: Output, *without: str) -> list[dict[str, Any]]:
    """Samples without some columns."""
    table = out.created["samples"]
    return table.drop_columns(list(without)).to_pylist() if without else table.to_pylist()
