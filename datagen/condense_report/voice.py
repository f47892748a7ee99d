"""Maps of arousal over valence, before and after, from the figures of a condensation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from datagen.condense_report.panels import Report, clips, heading
from datagen.drawing import INK, Axes, Figure
from datagen.escape import plain
from datagen.quality.distributions import Floats

#: In points: about how wide and high a panel is, how wide a bold letter and how high a line.
_PANEL, _LETTER, _LINE = (340.0, 240.0), 5.8, 13.0


def paint(figure: Figure, report: Report) -> None:
    """Two maps with one scale: arousal over valence, or by emotion where nobody measured valence."""
    counted_by, found = (_plane, report["plane"]) if report.get("plane") else (_arousal, report["arousal"])
    maps = [counted_by(found, state) for state in ("before", "after")]
    most = max(float(grid.max()) for grid in maps) or 1.0
    panels = figure.subplots(1, 2)
    for axes, grid, state in zip(panels, maps, ("before", "after"), strict=True):
        counted = sum(cell[_place(state)] for cell in found["cells"])
        heading(axes, state.capitalize(), f"{clips(counted)} measured")
        shown = np.ma.masked_equal(grid, 0)
        image = axes.pcolormesh(shown, cmap=_blues(), vmin=0, vmax=most, edgecolors="white", linewidth=0.3)
        _ticks(axes.set_xticks, found["bins"][0])
        axes.set_xlabel(found["axes"][0] + (", 0 to 1" if _numbers(found["bins"][0]) else ""))
        if counted_by is _plane:
            _ticks(axes.set_yticks, found["bins"][1])
            axes.set_ylabel("arousal" + (", 0 to 1" if _numbers(found["bins"][1]) else ""))
            axes.set_aspect("auto")
            _centres(axes, found, state)
        else:
            axes.set_yticks(np.arange(len(_labels(found))) + 0.5, _labels(found))
            axes.invert_yaxis()
            axes.tick_params(axis="y", length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    bar = figure.colorbar(image, ax=list(panels), fraction=0.025, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("share of clips, %" if counted_by is _plane else "share of the emotion's clips, %")


def _blues() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("lightness", ["#eef3f7", "#9dbfd9", "#3f7fb0", "#123d63"])


def _numbers(bins: Sequence[Any]) -> bool:
    return not isinstance(bins[0], str)


def _ticks(put: Any, bins: Sequence[Any]) -> None:
    """Words in the middle of their bins; of numbers, five at the edges."""
    if _numbers(bins):
        put(np.linspace(0, len(bins), 5), ["0", "0.25", "0.5", "0.75", "1"])
    else:
        put(np.arange(len(bins)) + 0.5, list(bins))


def _place(state: str) -> int:
    """Where in a cell the clips of a state stand."""
    return {"before": -3, "deduplicated": -2, "after": -1}[state]


def _plane(found: Report, state: str) -> Floats:
    grid = np.zeros((len(found["bins"][1]), len(found["bins"][0])))
    for cell in found["cells"]:
        grid[cell[1], cell[0]] += cell[_place(state)]
    return np.asarray(100 * grid / max(grid.sum(), 1))


def _labels(found: Report) -> list[str]:
    return [*(plain(name, 18) for name in found["emotions"]), "no label"]


def _arousal(found: Report, state: str) -> Floats:
    grid = np.zeros((len(found["emotions"]) + 1, len(found["bins"][0])))
    for cell in found["cells"]:
        grid[cell[1], cell[0]] += cell[_place(state)]
    return np.asarray(100 * grid / np.maximum(grid.sum(axis=1, keepdims=True), 1))


def _centres(axes: Axes, found: Report, state: str) -> None:
    """Where the middle of each emotion lies; the names stand beside the dots, none over another."""
    names, middles = [], []
    for number, name in enumerate(_labels(found)[:-1]):
        cells = np.array([cell for cell in found["cells"] if cell[2] == number], float).reshape(-1, 6)
        weight = cells[:, _place(state)]
        if weight.sum() == 0:
            continue
        x, y = ((cells[:, axis] + 0.5) @ weight / weight.sum() for axis in (0, 1))
        names.append(name)
        middles.append((float(x), float(y)))
    bins = (len(found["bins"][0]), len(found["bins"][1]))
    points = [(x / bins[0] * _PANEL[0], y / bins[1] * _PANEL[1]) for x, y in middles]
    for name, middle, (x, y), (left, bottom) in zip(names, middles, points, beside(names, points), strict=True):
        away = abs(bottom + _LINE / 2 - y) > _LINE
        axes.plot(*middle, "o", markersize=6, color="#e69f00", markeredgecolor="white", markeredgewidth=1)
        axes.annotate(
            name, middle, (left - x, bottom - y), textcoords="offset points", fontsize=8, color=INK, fontweight="bold",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6} if away else None,
        )  # fmt: skip


def beside(names: Sequence[str], points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Lower left corners of names next to their points, on a panel of ``_PANEL`` points, none over another.

    Each takes the free line nearest to its point; the order of the names decides who chooses first.
    """
    taken: list[tuple[float, float, float]] = []  # left, right, bottom
    for name, (x, y) in zip(names, points, strict=True):
        width = _LETTER * len(name)
        left = x + 7 if x + 7 + width <= _PANEL[0] else x - 7 - width
        lines = sorted(np.arange(0, _PANEL[1] - _LINE + 1), key=lambda bottom: abs(bottom + _LINE / 2 - y))
        free = (
            float(bottom)
            for bottom in lines
            if not any(left < end and start < left + width and abs(bottom - low) < _LINE for start, end, low in taken)
        )
        taken.append((left, left + width, next(free, y)))
    return [(left, bottom) for left, _, bottom in taken]
