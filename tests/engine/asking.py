"""The toy pipeline with a stage that asks a language model; also a program to be killed.

``python -m tests.engine.asking RUN INPUT EXECUTOR LLM`` with the ``llm`` section as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from datagen import config, registry
from datagen.errors import DatagenError
from datagen.llm.request import Sampling
from datagen.llm.settings import LlmConfig
from datagen.llm.survey import Survey
from datagen.run import Options, execute
from datagen.stage import Output, Reject, Stage, StageConfig
from tests.engine import toy

SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["label"],
    "properties": {"label": {"type": "string", "maxLength": 10}},
}  # fmt: skip


class AskConfig(StageConfig):
    non_semantic: ClassVar[frozenset[str]] = frozenset({"llm"})
    llm: LlmConfig = LlmConfig()


class Ask(Stage):
    name, version, table, Config = "ask", "1", "clips", AskConfig
    reads = ("number", "level")
    writes = pa.schema([("label", pa.string())])
    batch_rows = 8

    def asks(self) -> LlmConfig | None:
        settings: LlmConfig = self.config.llm
        return settings if settings.server else None

    def process(self, batch: pa.Table) -> Output:
        assert self.asker is not None
        asked = [
            self.asker.request("Say what you hear.", f"Clip {name}", SCHEMA, Sampling(max_tokens=30))
            for name in batch["clip_id"].to_pylist()
        ]
        survey = Survey(self.asker, retries=1)
        names = [survey.add(request) for request in asked]
        found = survey.ask()
        labels = [found[name]["label"] if found[name] else None for name in names]
        rejects = [Reject(at, "Unread", "no answer could be read") for at, label in enumerate(labels) if label is None]
        return Output(pa.table({"label": labels}), rejects=rejects, metrics=self.asker.metrics())


def recipe(source: Path | str, llm: dict[str, Any], executor: str = "local") -> config.Recipe:
    """Its clips are asked about once their levels are known; the rest of the toy pipeline follows."""
    toy.install()
    registry.BUILTIN["ask"] = "tests.engine.asking:Ask"
    order = ["ingest", "cut", "square", "fit", "apply", "ask"]
    document = {
        "recipe": "asking",
        "stages": {name: {} for name in order} | {"ingest": {"input": str(source)}},
        "llm": llm,
        "executor": {"kind": executor, "cpus": 4} if executor == "ray" else {"kind": executor},
        "shards": {"rows": 10},
        "max_reject_fraction": 0.5,
    }
    return config.parse(document, "asking")


def main(run: str, source: str, executor: str, llm: str) -> int:
    try:
        execute(recipe(source, json.loads(llm), executor), run, Options(progress="lines"), print)
    except DatagenError as error:
        print(f"error {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    from tests.engine import asking  # the classes must be importable under one name in workers

    sys.exit(asking.main(*sys.argv[1:]))
