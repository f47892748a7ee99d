"""How the set was made: counts of every stage, makers of every column, the recipe."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from datagen.escape import block, code, markdown, plain
from datagen.export.card.markup import table
from datagen.export.hub import Published
from datagen.export.run import RunReader
from datagen.quality import distributions

_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


def made(run: RunReader, result: Published) -> str:
    stages = [
        (
            code(row.get("name", "")),
            *(f"{int(row.get(key) or 0):,}" for key in ("rows_in", "ok", "rejected", "dropped")),
        )
        for row in run.counts
    ]
    makers = [
        (
            code(maker.get("stage", "")),
            markdown(shown(maker.get("model") or ""), 120),
            code(maker.get("revision") or "-", 60),
            markdown(maker.get("licence") or "unknown", 80),
            code(wrote(maker), 300),
            markdown(maker.get("note") or "", 300),
            code(str(maker.get("config_hash") or "-")[:12]),
        )
        for maker in run.provenance
    ]
    recipe = yaml.safe_dump(shown(_semantic(_plain_values(run.recipe))), sort_keys=False, allow_unicode=True, width=100)
    return "\n\n".join(
        [
            "## How it was made",
            f"By `datagen` {code(run.datagen_version)}. Every stage accounts for every row that reaches it:",
            table(("stage", "rows in", "ok", "rejected", "dropped"), stages, "lrrrr"),
            "Who made which columns:",
            table(("stage", "maker", "revision", "licence", "columns", "note", "config"), makers, "lllllll"),
            "<details><summary>The recipe as it was run (without resources and local paths)</summary>",
            block(recipe, "yaml"),
            "</details>",
            _writers(result),
        ]
    )


def _writers(result: Published) -> str:
    if not result.samples.num_rows:
        return ""
    found = distributions.counts(result.samples, ("task", "writer", "prompt_hash")).to_pylist()
    rows = [
        (code(row["task"]), code(row["writer"] or "-"), code(row["prompt_hash"] or "-"), f"{row['rows']:,}")
        for row in found
    ]
    return "Who wrote the items, with the hash of the prompt or template:\n\n" + table(
        ("task", "writer", "prompt", "items"), rows, "lllr"
    )


def _plain_values(value: Any) -> Any:
    """JSON-able values only: a recipe may hold tuples, enums and paths."""
    return json.loads(json.dumps(value, default=str, ensure_ascii=False))


def _semantic(value: Any) -> Any:
    """A recipe without what changes no result: where and on how much it ran."""
    if isinstance(value, dict):
        return {key: _semantic(item) for key, item in value.items() if key not in {"executor", "resources"}}
    return value


def shown(value: Any, name: str = "") -> Any:
    """A recipe fit for strangers: no secrets, no folders of somebody's machine."""
    if isinstance(value, dict):
        return {plain(key, 80): shown(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if _SECRET.search(name) and not name.endswith("_env"):
        return "***"
    path = value.removeprefix("file://")
    for kind in (PurePosixPath(path), PureWindowsPath(path)):
        if kind.is_absolute() or path.startswith("~"):
            return f"…/{plain(kind.name, 120)}"
    return plain(re.sub(r"(?<=://)[^/@\s]*@", "", value), 2000)


def wrote(maker: Mapping[str, Any]) -> str:
    columns = ", ".join(maker.get("columns") or ()) or "-"
    return f"{columns} where {' is '.join(maker['where'])}" if maker.get("where") else columns
