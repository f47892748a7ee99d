"""What the pictures of a condensation have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datagen import drawing
from datagen.drawing import MUTED, Axes

Report = Mapping[str, Any]

#: Light grey and dark blue: told apart by lightness, whatever colours a reader sees.
BEFORE, AFTER = "#c3ccd3", "#1f5a8c"


def heading(axes: Axes, name: str, told: str) -> None:
    drawing.title(axes, name)
    axes.set_title(told, loc="right", fontsize=9, color=MUTED, pad=10)


def moved(before: Report, after: Report, measure: str, name: str) -> str:
    values = [state.get(measure) for state in (before, after)]
    return "" if None in values else f"{name} {values[0]:.2f} → {values[1]:.2f}"


def clips(number: int) -> str:
    return f"{number:,} {'clip' if number == 1 else 'clips'}"


def amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
