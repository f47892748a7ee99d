"""What the stage ``quality`` found: its gates on the card, all its figures in ``quality.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.escape import code, markdown
from datagen.export.card.markup import table
from datagen.export.run import RunReader
from datagen.quality.run_gates import Gates
from datagen.quality.run_quality import render

FILE = "quality.json"
_NO_VERDICT = "not measured"


def figures(run: RunReader) -> dict[str, Any] | None:
    """What goes into ``quality.json``; None where no stage ``quality`` ran."""
    found = run.artifacts.get("quality") or {}
    if "gates" not in found:  # none, or one that is not ours
        return None
    metrics: Mapping[str, float] = next((each.get("metrics", {}) for each in run.counts if each["name"] == "write"), {})
    return render(found, run.rejects(), metrics)


def write(folder: Path, run: RunReader) -> None:
    if (found := figures(run)) is not None:
        text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (folder / FILE).write_text(text + "\n", "utf-8")


def quality(run: RunReader) -> str:
    """The gates, one line each: first those that failed."""
    found = figures(run)
    if found is None:
        return ""
    gates = sorted(found["gates"], key=lambda gate: gate["verdict"] != "fail")  # stable: else in their own order
    rows = [_row(gate) for gate in gates if gate["verdict"] != _NO_VERDICT]
    absent = [gate for gate in gates if gate["verdict"] == _NO_VERDICT]
    failed, asked = found["failed"], sum(gate["verdict"] in {"pass", "fail"} for gate in gates)
    told = (
        f"Of {asked} gates {len(failed)} {'fails' if len(failed) == 1 else 'fail'}; nothing was left out for that."
        if failed
        else f"None of {asked} gates fails."
    )
    parts = [
        "## Quality",
        f"Measured on the items that were not dropped, and on their clips; all figures are in [{FILE}]({FILE}). {told}",
        table(("gate", "value", "asked for", "meaning", "verdict"), rows, "lrrll", limit=len(rows)),
    ]
    if absent:
        parts += [
            "Not measured:",
            "\n".join(f"- {code(gate['name'])}: {markdown(gate['why'], 200)}" for gate in absent),
        ]
    return "\n\n".join(parts)


def _row(gate: Mapping[str, Any]) -> tuple[str, ...]:
    asked = "-" if gate["threshold"] is None else code(f"{gate['rule']} {gate['threshold']:g}")
    verdict = "**fail**" if gate["verdict"] == "fail" else gate["verdict"]
    known = Gates.model_fields.get(gate["name"])  # none: a run by another version
    about = markdown(known.description or "", 200) if known else ""
    return code(gate["name"]), f"{gate['value']:.4g}", asked, about, verdict
