"""What was refused, and what condensation removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datagen.condense_report import drawable
from datagen.condense_report.measures import GATE_COUNTS, MEASURES, STATE_NAMES, measure, reason, time
from datagen.escape import code, markdown
from datagen.export.card.markup import table
from datagen.export.hub import Published
from datagen.export.run import RunReader
from datagen.quality import distributions
from datagen.quality.feasible import sentences
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
    """What the artifact of ``condense`` says: the states side by side, what was dropped, gates, limits not met."""
    found = run.artifacts.get("condense") or {}
    if not drawable(found):
        return _other(found)
    before_and_after = [
        (markdown(told), *(measure(name, found[state].get(name)) for state in STATES))
        for name, told in MEASURES.items()
        if any(found[state].get(name) is not None for state in STATES)
    ]
    parts = [
        "## Condensation",
        "First copies and needless repeats go, then what is too poor or too much of one kind:",
        table(("measure", *STATE_NAMES), before_and_after, "lrrr"),
    ]
    if found["dropped"]:
        rows = [
            (code(name, 80), reason(name), f"{count:,}", time(found["dropped_hours"][name]))
            for name, count in found["dropped"].items()
        ]
        parts.append(table(("reason", "the clip", "clips", "time"), rows, "llrr"))
    gates = [
        (code(gate, 80), *(f"{counts[name]:,}" for name in GATE_COUNTS))
        for gate, counts in (found.get("gates") or {}).items()
    ]
    if gates:
        parts += [
            "Clips that each gate would remove alone, those it removed of what the gates before it had left, and those "
            "of which nothing was measured:",
            table(("gate", *GATE_COUNTS), gates, "lrrr"),
        ]
    if found.get("shortfalls"):
        parts += ["What could not be had:", "\n".join(f"- {markdown(t, 1000)}" for t in sentences(found["shortfalls"]))]
    return "\n\n".join(parts)


def _other(found: Mapping[str, Any]) -> str:
    """Of a ``condense`` that is not ours: its numbers, those of each state side by side."""
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
