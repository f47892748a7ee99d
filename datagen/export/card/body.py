"""What people read: the sections of README.md in their order."""

from __future__ import annotations

from collections.abc import Sequence

from datagen.escape import code, markdown
from datagen.export import published
from datagen.export.card.about import About, citation, people
from datagen.export.card.contents import numbers
from datagen.export.card.left_out import condensation, refused
from datagen.export.card.loading import loading
from datagen.export.card.making import made
from datagen.export.card.markup import hours, table, values
from datagen.export.card.quality import quality
from datagen.export.card.rights import commerce, rights, warning
from datagen.export.hub import Published
from datagen.export.run import RunReader
from datagen.quality import distributions


def body(
    run: RunReader, result: Published, about: About, figures: Sequence[tuple[str, str]], require: Sequence[str]
) -> str:
    sections = [
        f"# {markdown(about.title, 120)}",
        warning(result),
        commerce(run, result),
        _what(result, about),
        "\n\n".join(f"![{shown}](figures/{name})" for name, shown in figures),
        loading(result),
        numbers(result),
        quality(run),
        made(run, result),
        _columns(result),
        rights(run, result, require),
        refused(run, result),
        condensation(run),
        _limits(result),
        people(about),
        citation(about),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(result: Published, about: About) -> str:
    total = distributions.hours(result.clips).to_pylist()[0]
    speakers, corpora = len(values(result.clips, "speaker")), len(values(result.clips, "corpus"))
    langs = ", ".join(sorted(values(result.clips, "speech_lang"))) or "unknown"
    lines = [
        "## What it is",
        markdown(about.description, 4000),
        f"{total['rows']:,} clips of speech ({hours(total['hours'])}, {speakers:,} named speakers, {corpora:,} "
        f"{'corpus' if corpora == 1 else 'corpora'}; languages: {markdown(langs)}) with what was measured in the "
        f"voice, and {result.samples.num_rows:,} training items about them. The items ask about *how* something is "
        "said: some show the measured facts (mode `explicit`), some leave them to be heard (mode `implicit`). Every "
        "item rests only on what was measured or given; its `evidence` names the fields.",
    ]
    return "\n\n".join(line for line in lines if line)


def _columns(result: Published) -> str:
    parts = ["## Columns", "Null means: not measured, not known or not reliable; a `*_reason` column often says why."]
    for name, title in (("clips", "`clips`"), ("samples", "Task configs (all alike)")):
        if name == "samples" and not result.samples.num_rows:
            continue
        audio = name == "clips" or result.audio == "embed"
        rows = [
            (code(column.name), code(column.type_name()), column.unit, column.about)
            for column in published.of(name, audio=audio)
        ]
        parts += [f"### {title}", table(("column", "type", "unit", "meaning"), rows, "llll", limit=len(rows))]
    return "\n\n".join(parts)


def _limits(result: Published) -> str:
    lines = [
        "- Labels made by models (`label_source` = pseudo, `transcript_source` = pseudo) carry the models' errors.",
        "- Words such as *low* and *high* are relative to the corpus the clip is from, never absolute.",
        "- Acted and read speech is not spontaneous speech; see `style` and `corpus`.",
    ]
    if result.empty:
        told = ", ".join(map(code, result.empty))
        lines.append(f"- Always null in this release, because nothing in the recipe could know it: {told}.")
    if not result.samples.num_rows:
        lines.append("- No training items: the recipe wrote none.")
    elif result.samples.column("route").null_count == result.samples.num_rows:
        lines.append("- The items are not sorted into SFT and RL.")
    return "## Known limits\n\n" + "\n".join(lines)
