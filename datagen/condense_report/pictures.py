"""Pictures of a condensation, from its figures alone: what there was before, what is there after.

Before is always light grey, after always dark blue; colours with a meaning of their own are from the palette of
Okabe & Ito, made for colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from datagen import drawing
from datagen.condense_report import voice
from datagen.condense_report.panels import AFTER, BEFORE, Report, amount, clips, heading, moved
from datagen.drawing import GRID, MUTED, Axes, Figure, time_unit
from datagen.tables import EMOTIONS

#: Okabe & Ito: copies, gates, select; anything else is grey.
KINDS = {"duplicate": "#e69f00", "gate": "#cc79a7", "select": "#009e73"}
KIND_NAMES = {"duplicate": "the same as another clip", "gate": "did not pass a gate", "select": "not selected"}
#: At most this many bars in a panel; the rest is added up in the last one.
MOST_BARS = 12
MOST_STRATA = 24


def draw(report: Report) -> dict[str, tuple[bytes, str]]:
    """File name -> (PNG bytes, what it shows), in the order to show them; what was not measured is left out."""
    pictures: dict[str, tuple[tuple[float, float], Callable[[Figure, Report], None], str]] = {
        "distributions.png": ((12.0, _shares_height(report)), _distributions, "Shares of clips before and after"),
        "voice.png": ((12.0, 4.1), voice.paint, "Arousal and valence before and after"),
        "strata.png": ((12.0, _strata_height(report)), _strata, "Time per stratum before and after"),
        "dropped.png": ((12.0, 3.9), _dropped, "Where the time went, and how rich the clips are"),
    }
    return {
        name: (drawing.png(size, partial(_painted, paint, report)), shown)
        for name, (size, paint, shown) in pictures.items()
        if _has(report, name)
    }


def _painted(paint: Callable[[Figure, Report], None], report: Report, figure: Figure) -> None:
    paint(figure, report)


def _has(report: Report, name: str) -> bool:
    if name == "voice.png":
        return bool(report.get("plane") or report.get("arousal"))
    if name == "strata.png":
        return bool(report["distributions"].get("stratum"))
    return bool(report["before"]["clips"])


def _rows(report: Report, column: str, most: int) -> list[tuple[str, Report]]:
    """(name, row) of a distribution, at most ``most``, the rest added up; nulls come last."""
    rows = report["distributions"].get(column) or []
    named = [row for row in rows if row["name"] is not None and "others" not in row]
    rest = [row for row in rows if "others" in row] + named[most - 1 :] if len(rows) > most else []
    shown = [(row["name"], row) for row in (named[: most - 1] if rest else named)]
    if rest:
        number = sum(row.get("others", 1) for row in rest)
        added = {part: _added(rest, part) for part in ("clips", "hours")}
        shown.append((f"{number:,} others", {"others": number, **added}))
    return shown + [("not known", row) for row in rows if row["name"] is None]


def _added(rows: Sequence[Report], part: str) -> dict[str, float]:
    return {state: sum(row[part][state] for row in rows) for state in ("before", "deduplicated", "after")}


# --- Shares -------------------------------------------------------------------------------------------------


def _shares_height(report: Report) -> float:
    most = max(len(_rows(report, column, MOST_BARS)) for column in ("emotion", "sex", "corpus"))
    return 1.3 + 0.33 * max(most, 6)


def _distributions(figure: Figure, report: Report) -> None:
    before, after = report["before"], report["after"]
    panels = [
        ("emotion", "Emotion", moved(before, after, "emotion_evenness", "evenness")),
        ("sex", "Sex", moved(before, after, "emotion_sex_cramers_v", "V with emotion")),
        ("corpus", "Corpus", moved(before, after, "emotion_corpus_cramers_v", "V with emotion")),
    ]
    for axes, (column, name, told) in zip(figure.subplots(1, 3, width_ratios=(1.25, 0.85, 1)), panels, strict=True):
        heading(axes, name, told)
        rows = _rows(report, column, MOST_BARS)
        if column == "emotion":  # in the order of the list of emotions, so that reports can be laid side by side
            order = {emotion: place for place, emotion in enumerate(EMOTIONS)}
            rows.sort(key=lambda row: order.get(row[0], len(order)))
        if not rows:
            drawing.nothing(axes, "not known of any clip")
            continue
        _pairs(axes, [name for name, _ in rows], [row["clips"] for _, row in rows])
    legends = [axes.get_legend_handles_labels() for axes in figure.axes]
    shown = next((legend for legend in legends if legend[0]), None)
    if shown:
        figure.legend(*shown, loc="outside lower center", ncols=2, fontsize=9)


def _pairs(axes: Axes, names: Sequence[str], counts: Sequence[Report]) -> None:
    """Two bars per name: its share before and after, in per cent of the clips of that state."""
    places = np.arange(len(names))
    widest = 0.0
    for offset, state, colour in ((-0.19, "before", BEFORE), (0.19, "after", AFTER)):
        counted = np.array([row[state] for row in counts], float)
        share = 100 * counted / max(counted.sum(), 1)
        widest = max(widest, float(share.max()))
        label = f"{state}: {clips(int(counted.sum()))}"
        axes.barh(places + offset, share, height=0.36, color=colour, label=label)
        for place, value, number in zip(places, share, counted, strict=True):
            text = f" {value:.0f} %  ({int(number):,})" if number else " none"
            axes.text(value, place + offset, text, va="center", fontsize=7, color=MUTED)
    drawing.names_down(axes, names, 18)
    axes.set_xlim(0, max(widest, 1) * 1.45)  # room for the numbers
    axes.set_xlabel("share of clips, %")


# --- Strata -------------------------------------------------------------------------------------------------


def _strata_height(report: Report) -> float:
    bars = min(len(report["distributions"].get("stratum") or []), MOST_STRATA + 1)
    return 1.6 + 0.24 * max(bars, 6)


def _strata(figure: Figure, report: Report) -> None:
    axes = figure.subplots()
    before, after = report["before"], report["after"]
    figures = [
        f"{before['strata']:,} strata → {after['strata']:,}",
        moved(before, after, "stratum_evenness", "by clips: evenness"),
    ]
    ratios = [state.get("stratum_max_min_ratio") for state in (before, after)]
    if None not in ratios:
        figures.append(f"largest to smallest {amount(ratios[0])} → {amount(ratios[1])}")
    heading(axes, "Time per stratum", "; ".join(part for part in figures if part))
    rows = _rows(report, "stratum", MOST_STRATA)
    others = [(name, row) for name, row in rows if "others" in row]  # as a bar they would dwarf all that is named
    rows = sorted((row for row in rows if row not in others), key=lambda row: (-row[1]["hours"]["before"], row[0]))
    factor, unit = time_unit(before["hours"])

    def told(row: Report) -> str:
        was, stays = (amount(row["hours"][state] * factor) for state in ("before", "after"))
        return f"{was} → {stays}"

    places = np.arange(len(rows))
    spent = {state: np.array([row["hours"][state] * factor for _, row in rows]) for state in ("before", "after")}
    axes.barh(places, spent["before"], height=0.74, color=BEFORE, label="before")
    axes.barh(places, spent["after"], height=0.36, color=AFTER, label="after")
    for place, was, (_, row) in zip(places, spent["before"], rows, strict=True):
        axes.text(was, place, f"  {told(row)}", va="center", fontsize=8, color=MUTED)
    drawing.names_down(axes, [name for name, _ in rows], 40)
    axes.set_xlim(0, max(float(spent["before"].max()) * 1.12, 1e-9))
    unseen = [f"{name}: {told(row)}" for name, row in others]
    axes.set_xlabel("; ".join([f"{unit}, in the strata with most clips", *unseen]))
    axes.legend(loc="lower right", ncols=1, fontsize=9)


# --- What was dropped ---------------------------------------------------------------------------------------


def _dropped(figure: Figure, report: Report) -> None:
    """From all hours to those that stay, one step per reason; beside it the richness before and after."""
    rich = report.get("richness")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1)) if rich else (figure.subplots(), None)
    _steps(left, report)
    if rich:
        _richness(right, report)
    handles, labels = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=9)


def _steps(axes: Axes, report: Report) -> None:
    before, after = report["before"]["hours"], report["after"]["hours"]
    factor, unit = time_unit(before)
    reasons = sorted(report["dropped_hours"].items(), key=lambda item: (_kind(item[0]), -item[1], item[0]))
    if len(reasons) > MOST_BARS - 2:
        rest = sum(hours for _, hours in reasons[MOST_BARS - 3 :])
        reasons = [*reasons[: MOST_BARS - 3], (f"{len(reasons) - MOST_BARS + 3} more reasons", rest)]
    names = ["all clips", *(name for name, _ in reasons), "kept"]
    axes.barh(0, before * factor, height=0.66, color=BEFORE)
    axes.text(before * factor, 0, f"  {amount(before * factor)}", va="center", fontsize=8, color=MUTED)
    stays, named = before, set()
    for place, (reason, hours) in enumerate(reasons, start=1):
        kind = reason.partition(":")[0]
        label = KIND_NAMES.get(kind, "other") if kind not in named else None
        named.add(kind)
        colour = KINDS.get(kind, "#8c98a1")
        axes.barh(place, hours * factor, left=(stays - hours) * factor, height=0.66, color=colour, label=label)
        axes.plot([stays * factor] * 2, [place - 1, place + 0.33], color=GRID, linewidth=1, zorder=0)
        number = report["dropped"].get(reason)
        told = f"  −{amount(hours * factor)}" + ("" if number is None else f" ({clips(number)})")
        axes.text(stays * factor, place, told, va="center", fontsize=8, color=MUTED)
        stays -= hours
    axes.barh(len(reasons) + 1, after * factor, height=0.66, color=AFTER)
    axes.text(after * factor, len(reasons) + 1, f"  {amount(after * factor)}", va="center", fontsize=8, color=MUTED)
    share = f"{100 * after / before:.0f} % of the time kept" if before else ""
    heading(axes, "Where the time went", share)
    drawing.names_down(axes, names, 28)
    axes.set_xlim(0, before * factor * 1.3 or 1)
    axes.set_xlabel(unit)


def _kind(reason: str) -> int:
    order = list(KINDS)
    kind = reason.partition(":")[0]
    return order.index(kind) if kind in order else len(order)


def _richness(axes: Axes, report: Report) -> None:
    found = report["richness"]
    heading(axes, "Richness", moved(report["before"], report["after"], "richness", "mean"))
    edges = np.linspace(0, 1, len(found["before"]) + 1)
    for state, colour, style in (("before", BEFORE, True), ("after", AFTER, False)):
        share = 100 * np.array(found[state], float) / max(sum(found[state]), 1)
        axes.stairs(share, edges, fill=style, color=colour, linewidth=1.6, label=state)
    axes.set_xlabel("richness, 0 to 1")
    axes.set_ylabel("share of clips, %")
    axes.yaxis.grid(True, color=GRID, zorder=0)
    axes.set_axisbelow(True)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)  # room for the legend
    axes.legend(loc="upper right", fontsize=8)
