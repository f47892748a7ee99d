"""How pictures look, wherever they are shown. Same figures, same bytes: no dates, no versions, no chance.

matplotlib is imported where something is drawn, never before.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from datagen.escape import plain

INK, MUTED, GRID = "#22303c", "#5f6f7c", "#e4e9ed"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#3a6ea5", "#d9822b", "#4b9b6e", "#8662a8", "#a8b3bb"

Axes = Any
Figure = Any

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": MUTED,
    "axes.edgecolor": GREY, "xtick.color": MUTED, "ytick.color": INK, "axes.grid": False,
    "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False, "legend.frameon": False,
    "legend.fontsize": 8, "savefig.dpi": 110,
}  # fmt: skip


def png(size: tuple[float, float], paint: Callable[[Figure], None]) -> bytes:
    """A picture of ``size`` (inches) as a PNG file's bytes; ``paint`` fills the figure."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scripts the font lacks become boxes; that is all it says
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.06))
        FigureCanvasAgg(figure)
        paint(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold", pad=10)


def nothing(axes: Axes, why: str) -> None:
    """In place of a panel that has nothing to show."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=MUTED, transform=axes.transAxes)


def bars(axes: Axes, names: Sequence[str], parts: Sequence[tuple[str, Sequence[float], str]], unit: str) -> None:
    """Horizontal stacked bars, first name on top, totals at their ends; ``parts`` are (label, lengths, colour)."""
    left = np.zeros(len(names))
    for label, values, colour in parts:
        axes.barh(range(len(names)), values, left=left, color=colour, label=label, height=0.66)
        left += np.asarray(values, dtype=float)
    for number, total in enumerate(left):
        axes.text(total, number, f"  {short(float(total))}", va="center", fontsize=8, color=MUTED)
    names_down(axes, names)
    axes.set_xlabel(unit)
    axes.set_xlim(0, max(float(left.max()) * 1.18, 1e-9))
    if len(parts) > 1:
        legend_above(axes)


def names_down(axes: Axes, names: Sequence[str], width: int = 22) -> None:
    """Names of horizontal bars down the left side, lines of the scale behind them."""
    axes.set_yticks(range(len(names)), [brief(name, width) for name in names])
    axes.set_ylim(max(len(names), 6) - 0.5, -0.5)  # two bars stay bars and do not become walls
    axes.xaxis.grid(True, color=GRID, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5, min_n_ticks=3)


def legend_above(axes: Axes) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.02, 1.0),
        ncols=3,
        handlelength=1,
        handleheight=1,
        columnspacing=1,
        borderpad=0.2,
    )


def brief(name: str, width: int) -> str:
    """A name in at most ``width`` characters: its middle goes, because names of a kind often begin alike.

    >>> brief("films and series, season 12", 16)
    'films an…ason 12'
    """
    line = plain(name, 1000)
    if len(line) <= width:
        return line
    end = (width - 1) // 2
    return line[: width - 1 - end].rstrip() + "…" + line[len(line) - end :].lstrip()


def short(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def time_unit(hours: float) -> tuple[float, str]:
    """Factor from hours and the unit's name, so that small sets do not show as 0.00 h."""
    return (1.0, "hours") if hours >= 1 else (60.0, "minutes")
