"""Three samples as a reader likes them, for the end of a run in a terminal."""

from __future__ import annotations

import textwrap

import pyarrow as pa

from datagen.escape import plain
from datagen.tables import MODES, TASKS

WIDTH = 78
#: Which fields of a sample are shown, and under what name.
FIELDS = (
    ("shown", "metadata_context"),
    ("question", "question"),
    ("options", "options"),
    ("reasoning", "reasoning"),
    ("answer", "answer"),
    ("response", "response"),
    ("style", "response_style"),
)


def preview(samples: pa.Table, n: int = 3, *, width: int = WIDTH) -> list[str]:
    """At most ``n`` samples as blocks of text, of as many tasks and then modes as there are.

    Args:
        samples: any of the columns of ``samples`` (published or of a run); ``task`` and ``sample_id`` are needed.
            Of each task and mode one is taken that is published, best one that needs ears (route rl) and has words;
            of several the one with the smallest id, so the choice is the same every time.
    """
    order = {task: number for number, task in enumerate(dict.fromkeys(("qa", "reasoning", "response", *TASKS)))}
    ids = samples.column("sample_id").to_pylist()
    tasks = samples.column("task").to_pylist()
    modes, routes, words = (
        samples.column(name).to_pylist() if name in samples.column_names else [None] * len(ids)
        for name in ("mode", "route", "transcript")
    )
    rank = [(route != "rl", text is None, id) for route, text, id in zip(routes, words, ids, strict=True)]
    best: dict[tuple[str, str], int] = {}
    for row, (task, mode) in enumerate(zip(tasks, modes, strict=True)):
        key = (task, mode or "")
        if routes[row] != "drop" and (key not in best or rank[row] < rank[best[key]]):
            best[key] = row
    chosen = {key: samples.slice(row, 1).to_pylist()[0] for key, row in best.items()}
    tasks = sorted({task for task, _ in chosen}, key=lambda task: (order.get(task, len(order)), task))
    picked: list[tuple[str, str]] = []
    # One mode per task in turn (explicit, implicit, explicit, ...), then whatever is left.
    for number, task in enumerate(tasks):
        wish = sorted(
            (mode for name, mode in chosen if name == task), key=lambda mode: (mode != MODES[number % 2], mode)
        )
        picked.append((task, wish[0]))
    picked += [key for key in sorted(chosen) if key not in picked]
    return [_block(chosen[key], width) for key in picked[:n]]


def _block(row: dict[str, object], width: int) -> str:
    parts = [row.get(key) for key in ("task", "mode", "question_type", "emotion", "corpus", "clip_id")]
    lines = ["  ".join(plain(part, 48) for part in parts if part)]
    fields = list(FIELDS)
    if "transcript" in row:
        fields.insert(0, ("words", "transcript"))
    for label, key in fields:
        value = row.get(key)
        if value in (None, "", []):
            continue
        text = " | ".join(plain(item, 60) for item in value) if isinstance(value, list) else plain(value, 600)
        if key == "metadata_context":
            text = text.replace(',"', ', "')  # JSON without blanks would be broken in the middle of names and numbers
        wrapped = textwrap.wrap(text, width - 14, break_on_hyphens=False) or [""]
        lines += [f"  {label + ':':<11} {wrapped[0]}", *(" " * 14 + line for line in wrapped[1:])]
    return "\n".join(lines)
