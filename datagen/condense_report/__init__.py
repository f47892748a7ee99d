"""The report of a condensation: figures as JSON, pictures, and a page that shows both. Drawn from the artifact alone.

Same artifact, same bytes. Nothing here reads the run's data, so a report can be drawn again long after the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datagen.files import Files
from datagen.progress import duration

FOLDER = "report/condense"
PAGE, FIGURES = f"{FOLDER}/index.html", f"{FOLDER}/report.json"

#: (measure, in words, how its values are shown)
_BALANCE: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("neutral_share", "neutral", "{:.0%}".format),
    ("emotion_evenness", "evenness of emotions", "{:.2f}".format),
    ("stratum_evenness", "of strata", "{:.2f}".format),
)

__all__ = ["FIGURES", "FOLDER", "PAGE", "drawable", "refresh", "summary", "write"]


def write(files: Files, artifact: dict[str, Any]) -> list[str]:
    """Write the report into a run; returns the names of its files.

    Args:
        artifact: what ``quality.condensed.figures`` returned.

    The figures come last: they say that the rest is there and belongs to them.
    """
    from datagen.condense_report import page, pictures

    drawn = pictures.draw(artifact)
    contents = {f"{FOLDER}/{name}": data for name, (data, _) in drawn.items()}
    contents[PAGE] = page.page(artifact, drawn).encode()
    for name in files.names(FOLDER):
        if f"{FOLDER}/{name}" not in contents:
            files.delete(f"{FOLDER}/{name}")  # a picture of an earlier condensation that this one has no data for
    for name, data in contents.items():
        files.write(name, data)
    files.write_json(FIGURES, artifact)
    return [*contents, FIGURES]


def refresh(files: Files, artifact: dict[str, Any], say: Callable[[str], None]) -> None:
    """Write the report unless it is there already. A failure to draw is said and ends no run."""
    try:
        if drawable(artifact) and not _current(files, artifact):
            write(files, artifact)
    except Exception as error:  # whatever a drawing library or a store may raise: the data is safe without a picture
        say(f"the report of condense could not be written: {type(error).__name__}: {error}")


def drawable(artifact: Mapping[str, Any]) -> bool:
    """Whether it holds figures as this version makes them, not those of an earlier one or of another stage."""
    return all(name in artifact for name in ("before", "after", "distributions", "dropped_hours"))


def _current(files: Files, artifact: dict[str, Any]) -> bool:
    return files.exists(FIGURES) and files.exists(PAGE) and files.read_json(FIGURES) == artifact


def summary(artifact: dict[str, Any]) -> list[str]:
    """A few lines for a terminal: clips and time before and after, how balanced they are, which limits are not met."""
    if not drawable(artifact):
        return []
    from datagen.condense_report.panels import clips
    from datagen.quality.feasible import sentences

    before, after = artifact["before"], artifact["after"]
    sizes = [f"{clips(state['clips'])}, {duration(state['hours'] * 3600)}" for state in (before, after)]
    moved = [
        f"{told} {shown(before[measure])} -> {shown(after[measure])}"
        for measure, told, shown in _BALANCE
        if before.get(measure) is not None and after.get(measure) is not None
    ]
    # that small strata are small is nothing to act upon, and stands on the page
    limits = [each for each in artifact.get("shortfalls") or () if each["kind"] != "min_per_stratum"]
    lacking = [f"not met: {told}" for told in sentences(limits)]
    return [" -> ".join(sizes), *(["; ".join(moved)] if moved else []), *_grown(artifact.get("change")), *lacking]


def _grown(change: dict[str, Any] | None) -> list[str]:
    """What became of the last selection, where there was one."""
    if not change:
        return []
    stays = f"{change['still_kept']:,} of {change['kept_before']:,} clips stay"
    added = f"{change['added_of_new']:,} of {change['new_clips']:,} new ones are added"
    return [f"since the last selection: {stays}, {added}"]
