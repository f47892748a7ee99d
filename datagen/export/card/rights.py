"""What may be done with the rows, and LICENSE.md."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from datagen.escape import code, markdown
from datagen.export.card.making import shown
from datagen.export.card.markup import MAX_ROWS, hours, table, values
from datagen.export.hub import Published
from datagen.export.run import RunReader
from datagen.quality import distributions, licences


def warning(result: Published) -> str:
    locked, labels = result.denied("redistribute_audio_ok"), result.denied("redistribute_labels_ok")
    if not locked and not labels:
        return ""
    return (
        f"> **Not for publication.** {locked:,} rows hold audio that may not be passed on, and {labels:,} rows hold "
        "labels or texts that may not; an unknown licence permits nothing (`export.licences` can say what it stands "
        "for). They are here for use where they were made. For a set that can be published, export with `require: "
        "[redistribute_audio, redistribute_labels]`; see "
        "[Permissions](#permissions)."
    )


def commerce(run: RunReader, result: Published) -> str:
    """Said before anything else, since a reader who trains a product on the set may not look further."""
    denied = result.denied("commercial_ok")
    if not denied:
        return ""
    sources = [(f"the corpus {row['corpus']}", row["licence"])
               for row in distributions.hours(result.clips, ("corpus", "licence")).to_pylist()]  # fmt: skip
    sources += [(shown(maker.get("model") or ""), maker.get("licence")) for maker in run.provenance]
    because = [
        f"{markdown(name, 120)} ({markdown(licence or 'licence unknown', 80)})"
        for name, licence in dict.fromkeys(sources)
        if not ((found := result.licences.find(licence)) and (found.inherits or found.permissions.commercial))
    ]
    rows = result.clips.num_rows + result.samples.num_rows
    return (
        f"> **{'Not' if denied == rows else 'Not all of it'} for commercial use.** {denied:,} of {rows:,} rows hold or "
        "rest on what came from a source that does not allow it (`commercial_ok` is false): "
        f"{', '.join(because[:MAX_ROWS])}. Leave such rows out by exporting with `require: [commercial]`."
    )


_MEANINGS = {
    "redistribute_audio_ok": "audio may be passed on",
    "redistribute_labels_ok": "labels and texts may be passed on",
    "derivatives_ok": "may be changed and built on",
    "commercial_ok": "may be used commercially",
    "share_alike": "must be shared alike",
}


def rights(run: RunReader, result: Published, require: Sequence[str]) -> str:
    rows = []
    named = (("clips", result.clips), *((task, _task_rows(result, task)) for task in result.configs if task != "clips"))
    for name, part in named:
        if part.num_rows:
            sums = [int(pc.sum(part.column(column)).as_py() or 0) for column in licences.COLUMNS]
            rows.append((code(name), f"{part.num_rows:,}", *(f"{number:,}" for number in sums)))
    parts = [
        "## Permissions",
        "Each row carries what may be done with it. That follows from the licence of its corpus and of every model "
        "whose columns it holds or rests on; a licence that is not known permits nothing. Number of rows:",
        table(("config", "rows", *_MEANINGS.values()), rows, "lrrrrrr"),
        sources_table(run, result),
    ]
    if require:
        parts.append(f"Rows were left out unless they permit: {', '.join(code(name) for name in require)}.")
    parts.append("This sorts data; it is not legal advice. Details: [LICENSE.md](LICENSE.md).")
    return "\n\n".join(parts)


def _task_rows(result: Published, task: str) -> pa.Table:
    return result.samples.filter(pc.equal(result.samples.column("task"), task))


def sources_table(run: RunReader, result: Published) -> str:
    rows = []
    for row in distributions.hours(result.clips, ("corpus", "licence")).to_pylist():
        told = f"corpus {markdown(row['corpus'], 60)} ({hours(row['hours'])})"
        rows.append((told, *_licence_cells(result, row["licence"])))
    seen = set()
    for maker in run.provenance:
        name = f"{markdown(shown(maker.get('model') or ''), 120)}, by {code(maker.get('stage', ''))}"
        if name not in seen:
            seen.add(name)
            rows.append((f"maker {name}", *_licence_cells(result, maker.get("licence"))))
    return table(("source", "licence", "audio", "labels", "change", "commercial", "share alike"), rows, "lllllll")


def _licence_cells(result: Published, spelling: str | None) -> tuple[str, ...]:
    found = result.licences.find(spelling)
    if found and found.inherits:
        return (markdown(found.id), *(["as the corpus"] * 5))
    allowed = result.licences.permissions(spelling)
    flags = ["yes" if getattr(allowed, name) else "no" for name in (*licences.PERMISSIONS, "share_alike")]
    return (markdown(spelling or "unknown", 80) + ("" if found else " (not known here)"), *flags)


def licence_file(run: RunReader, result: Published) -> str:
    notes = sorted(
        {
            f"- {markdown(found.id)}: {markdown(found.note, 400)}"
            for spelling in [*values(result.clips, "licence"), *(maker.get("licence") for maker in run.provenance)]
            if (found := result.licences.find(spelling)) and found.note
        }
    )
    return (
        "\n\n".join(
            part
            for part in [
                "# Licences",
                "The rows of this dataset come from different sources. Each row says in its own columns what may be "
                "done with it; this is what they follow from.",
                sources_table(run, result),
                "\n".join(notes),
                "Attribution that a licence asks for is owed to the corpora named above.",
            ]
            if part
        )
        + "\n"
    )
