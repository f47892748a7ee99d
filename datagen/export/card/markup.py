"""Tables, lengths and sizes as a card shows them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

#: At most this many rows in a table that grows with the data (corpora, error classes, ...).
MAX_ROWS = 40


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str, *, limit: int = MAX_ROWS) -> str:
    """A Markdown table; cells are markup already. One that is cut ends with a line that says how much is missing."""
    marks = ["---:" if side == "r" else "---" for side in align]
    shown = rows if len(rows) <= limit else rows[: limit - 1]
    lines = [header, marks, *shown]
    if len(shown) < len(rows):
        lines.append([f"*and {len(rows) - len(shown):,} more*", *[""] * (len(header) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def hours(number: float) -> str:
    if number >= 1:
        return f"{number:,.1f} h"
    return f"{number * 60:.1f} min" if number * 60 >= 1 else f"{number * 3600:.1f} s"


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def values(table: pa.Table, column: str) -> set[str]:
    return {value for value in pc.unique(table.column(column)).to_pylist() if value is not None}
