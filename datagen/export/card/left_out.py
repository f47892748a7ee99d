"""What was refused, and what condensation removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datagen.export.card.markup import table
from datagen.export.escape import code, markdown
from datagen.export.hub import Published
from datagen.export.run import RunReader
from datagen.quality import distributions
from datagen.quality.states import STATES


def refused(run: RunReader, result: Published) -> str:
    rejects = run.rejects()
    parts = ["## What was left out"]
    if rejects.num_rows:
        found = distributions.counts(rejects, ("stage", "error_class")).to_pylist()
        rows = [(code(row["stage"]), code(row["error_class"]), f"{row['rows']:,}") for row in found]
        parts += ["Refused while it was made:", table(("stage", "error class", "rows"), rows, "llr")]
    left = [
        (code(name), markdown(why), f"{rows:,}")
        for name, found in result.left_out.items()
        for why, rows in found.items()
    ]
    if left:
        parts += ["Left out of this release:", table(("table", "reason", "rows"), left, "llr")]
    return "\n\n".join(parts) if len(parts) > 1 else "## What was left out\n\nNothing."


def condensation(run: RunReader) -> str:
    """What the artifact of ``condense`` says: figures of each state side by side, then its other numbers."""
    found = run.artifacts.get("condense") or {}
    states = {state: dict(_flat(found[state])) for state in STATES if found.get(state)}
    rest = [item for key, value in found.items() if key not in STATES for item in _flat(value, key)]
    parts = ["## Condensation"]
    if any(states.values()):
        names = dict.fromkeys(name for measures in states.values() for name in measures)
        rows = [(code(name, 80), *(markdown(m.get(name, "-"), 80) for m in states.values())) for name in names]
        parts += [
            "Before and after copies and excess were removed:",
            table(("measure", *states), rows, "l" + "r" * len(states)),
        ]
    if rest:
        rows = [(code(name, 80), markdown(value, 80)) for name, value in rest]
        parts.append(table(("measure", "value"), rows, "lr"))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Numbers and words with dotted names; lists (examples, settings) are not for a card."""
    if isinstance(value, Mapping):
        for key in value:
            yield from _flat(value[key], f"{name}.{key}" if name else str(key))
    elif isinstance(value, bool | int | str):
        yield name, value
    elif isinstance(value, float):
        yield name, round(value, 4)
