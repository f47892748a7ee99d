"""Pictures of a published dataset for its data card. Same tables, same bytes: no dates, no versions, no chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import drawing
from datagen.drawing import BLUE, GREEN, GREY, MUTED, ORANGE, PURPLE, Axes, bars, legend_above, short, time_unit
from datagen.quality import distributions
from datagen.tables import EMOTIONS, SPLITS

#: One colour per emotion, told apart by lightness as well as by hue.
_EMOTION_COLOURS = dict(
    zip(
        EMOTIONS,
        ("#c0392b", "#6b8e23", "#7d5ba6", "#e0a526", "#8595a1", "#b9a58c", "#2f6690", "#e07aa4"),
        strict=True,
    )
)
#: At most this many bars; the rest becomes one bar that says how many it stands for.
MAX_BARS = 10
#: At most this many points in a cloud, every n-th clip in the order of ids.
MAX_POINTS = 4000

Panel = Callable[[Axes, pa.Table], bool]


def draw(folder: Path, clips: pa.Table, samples: pa.Table) -> list[tuple[str, str]]:
    """Write PNG files into ``folder``; returns (file name, what it shows) for each, in the order to show them.

    Args:
        clips: ``hub.CLIP_STATISTICS`` of the published clips.
        samples: ``hub.SAMPLE_STATISTICS`` of the published samples; may have no rows.
    """
    figures: list[tuple[str, str, pa.Table, list[tuple[str, Panel]]]] = [
        (
            "balance.png",
            "Hours per emotion and split, hours per corpus and language, lengths of clips",
            clips,
            [("Emotion", _emotions), ("Language and corpus", _origins), ("Clip length", _durations)],
        ),
        (
            "voice.png",
            "Arousal against pitch, arousal by emotion, pitch by sex",
            clips,
            [("Arousal and pitch", _plane), ("Arousal", _arousal), ("Pitch by sex", _pitch)],
        ),
        (
            "samples.png",
            "Training items per task and mode, kinds of questions, SFT or RL",
            samples,
            [("Tasks", _tasks), ("Question types", _questions), ("Use in training", _routes)],
        ),
    ]
    drawn = []
    for name, shown, table, panels in figures:
        if table.num_rows:
            _figure(folder / name, table, panels)
            drawn.append((name, shown))
    return drawn


def _figure(path: Path, table: pa.Table, panels: Sequence[tuple[str, Panel]]) -> None:
    def paint(figure: drawing.Figure) -> None:
        for axes, (title, panel) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            drawing.title(axes, title)
            if not panel(axes, table):
                drawing.nothing(axes, "not in this release")

    path.write_bytes(drawing.png((12, 3.5), paint))


# --- Panels: draw into the axes, or return False when there is nothing to show ------------------------------


def _emotions(axes: Axes, clips: pa.Table) -> bool:
    spent = distributions.hours(clips, ("emotion", "split")).to_pylist()
    names = [name for name in EMOTIONS if any(row["emotion"] == name for row in spent)]
    if not names:
        return False
    splits = sorted({row["split"] for row in spent}, key=lambda split: ((*SPLITS, split).index(split), split))
    bare = sum(row["hours"] for row in spent if row["emotion"] not in names)
    factor, unit = time_unit(sum(row["hours"] for row in spent) - bare)
    table = {(row["emotion"], row["split"]): row["hours"] * factor for row in spent}
    colours = (BLUE, ORANGE, GREEN, PURPLE, GREY)
    parts = [
        (split, [table.get((name, split), 0.0) for name in names], colours[number % len(colours)])
        for number, split in enumerate(splits)
    ]
    bars(axes, names, parts, unit)
    if bare:  # a bar of their own would often dwarf all others
        note = f"without a label: {short(bare * factor)} {unit}"
        axes.text(0.99, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=MUTED)
    return True


def _origins(axes: Axes, clips: pa.Table) -> bool:
    spent = distributions.hours(clips, ("corpus", "speech_lang")).to_pylist()
    spent.sort(key=lambda row: (-row["hours"], str(row["corpus"]), str(row["speech_lang"])))
    factor, unit = time_unit(sum(row["hours"] for row in spent))
    rows = [(f"{row['corpus']} · {row['speech_lang'] or '?'}", row["hours"] * factor) for row in spent]
    if len(rows) > MAX_BARS:
        rest = rows[MAX_BARS - 1 :]
        rows = [*rows[: MAX_BARS - 1], (f"{len(rest)} others", sum(hours for _, hours in rest))]
    bars(axes, [name for name, _ in rows], [("", [hours for _, hours in rows], BLUE)], unit)
    return True


def _durations(axes: Axes, clips: pa.Table) -> bool:
    seconds = clips.column("duration").drop_null().to_numpy()
    if not len(seconds):
        return False
    top = max(1.0, float(np.ceil(seconds.max())))
    axes.hist(seconds, bins=np.linspace(0, top, 31), color=BLUE, edgecolor="white", linewidth=0.4)
    axes.axvline(float(np.median(seconds)), color=ORANGE, linewidth=1.4, label=f"median {np.median(seconds):.1f} s")
    axes.set_xlabel("seconds")
    _clip_counts(axes)
    legend_above(axes)
    return True


def _clip_counts(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("clips")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _plane(axes: Axes, clips: pa.Table) -> bool:
    known = clips.filter(pc.and_(pc.is_valid(clips["arousal"]), pc.is_valid(clips["f0_pct"])))
    if not known.num_rows:
        return False
    known = known.sort_by("clip_id")
    known = known.take(pa.array(np.arange(0, known.num_rows, -(-known.num_rows // MAX_POINTS))))
    emotions = np.array(pc.fill_null(known.column("emotion"), "no label").to_pylist())
    size = float(np.clip(6000 / known.num_rows, 5, 26))
    for name in (*EMOTIONS, "no label"):
        here = emotions == name
        if here.any():
            x, y = (known.column(column).to_numpy()[here] for column in ("f0_pct", "arousal"))
            colour = _EMOTION_COLOURS.get(name, "#c9d1d6")
            axes.scatter(x, y, s=size, color=colour, alpha=0.75, linewidths=0, label=name)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("pitch (rank)")
    axes.set_ylabel("arousal")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1, markerscale=1.2)
    return True


def _arousal(axes: Axes, clips: pa.Table) -> bool:
    known = clips.filter(pc.is_valid(clips["arousal"]))
    if not known.num_rows:
        return False
    emotions = np.array(pc.fill_null(known.column("emotion"), "no label").to_pylist())
    values = known.column("arousal").to_numpy()
    names = [name for name in (*EMOTIONS, "no label") if (emotions == name).any()]
    parts = [values[emotions == name] for name in names]
    colours = [_EMOTION_COLOURS.get(name, "#c9d1d6") for name in names]
    axes.hist(
        parts, bins=np.linspace(0, 1, 26), stacked=True, color=colours, label=names, edgecolor="white", linewidth=0.3
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel("arousal")
    _clip_counts(axes)
    return True


def _pitch(axes: Axes, clips: pa.Table) -> bool:
    known = clips.filter(pc.is_valid(clips["f0_median_hz"]))
    if not known.num_rows:
        return False
    sexes = np.array(pc.fill_null(known.column("sex"), "unknown").to_pylist())
    values = known.column("f0_median_hz").to_numpy()
    bins = np.arange(50, np.ceil(max(300.0, float(values.max())) / 50) * 50 + 1, 10)
    for name, colour in (("male", BLUE), ("female", ORANGE), ("unknown", GREY)):
        here = values[sexes == name]
        if len(here):
            axes.hist(here, bins=bins, color=colour, alpha=0.65, label=name, edgecolor="white", linewidth=0.3)
    axes.set_xlabel("median F0, Hz")
    _clip_counts(axes)
    legend_above(axes)
    return True


def _tasks(axes: Axes, samples: pa.Table) -> bool:
    found = {
        (row["task"], row["mode"]): row["rows"] for row in distributions.counts(samples, ("task", "mode")).to_pylist()
    }
    totals = {task: sum(rows for key, rows in found.items() if key[0] == task) for task, _ in sorted(found)}
    names = sorted(totals, key=lambda task: (-totals[task], task))
    parts = [
        (mode, [found.get((name, mode), 0) for name in names], colour)
        for mode, colour in (("explicit", BLUE), ("implicit", ORANGE))
    ]
    bars(axes, names, parts, "items")
    return True


def _questions(axes: Axes, samples: pa.Table) -> bool:
    known = samples.filter(pc.is_valid(samples["question_type"]))
    return _counted(axes, known, "question_type", GREEN)


def _routes(axes: Axes, samples: pa.Table) -> bool:
    known = samples.filter(pc.is_valid(samples["route"]))
    return _counted(axes, known, "route", PURPLE)


def _counted(axes: Axes, table: pa.Table, column: str, colour: str) -> bool:
    if not table.num_rows:
        return False
    rows = sorted(distributions.counts(table, (column,)).to_pylist(), key=lambda row: (-row["rows"], row[column]))
    bars(
        axes,
        [row[column] for row in rows[:MAX_BARS]],
        [("", [row["rows"] for row in rows[:MAX_BARS]], colour)],
        "items",
    )
    return True
