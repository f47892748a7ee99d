"""What is in the set: rows, hours, balance."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from datagen.escape import code, markdown
from datagen.export.card.markup import hours, size, table, values
from datagen.export.hub import Published
from datagen.quality import distributions


def numbers(result: Published) -> str:
    rows = [
        (code(name), code(split), f"{info.rows:,}", f"{info.files:,}", size(info.file_bytes))
        for name, splits in result.configs.items()
        for split, info in splits.items()
    ]
    parts = ["## What is in it", table(("config", "split", "rows", "files", "size"), rows, "llrrr")]
    parts.append(f"Sound stored per {'item' if result.audio == 'embed' else 'clip'}: {_predicted(result)}.")
    for title, column in (
        ("split", "split"),
        ("emotion", "emotion"),
        ("language", "speech_lang"),
        ("corpus", "corpus"),
    ):
        parts.append(_hours_table(result.clips, title, column))
    if result.samples.num_rows:
        found = distributions.counts(result.samples, ("task", "mode", "split")).to_pylist()
        parts.append(
            table(
                ("task", "mode", "split", "items"),
                [(code(row["task"]), code(row["mode"]), code(row["split"]), f"{row['rows']:,}") for row in found],
                "lllr",
            )
        )
    parts.append(_balance(result.clips))
    return "\n\n".join(part for part in parts if part)


def _predicted(result: Published) -> str:
    once, repeated = (size(result.predicted[way]) for way in ("clips", "embed"))
    return f"{once} once per clip, {repeated} if repeated in every item"


def _hours_table(clips: pa.Table, title: str, column: str) -> str:
    if not clips.num_rows:
        return ""
    found = distributions.hours(clips, (column,)).to_pylist()
    shares = distributions.shares([row["rows"] for row in found])
    rows = [
        (
            markdown(row[column], 60) if row[column] is not None else "*none*",
            f"{row['rows']:,}",
            hours(row["hours"]),
            f"{share:.1%}",
        )
        for row, share in zip(found, shares, strict=True)
    ]
    return table((title, "clips", "length", "share"), rows, "lrrr")


def _balance(clips: pa.Table) -> str:
    if not clips.num_rows:
        return ""
    emotion = distributions.balance(clips, "emotion")
    lines = []
    if emotion["classes"]:
        neutral = pc.sum(pc.equal(clips.column("emotion"), "neutral")).as_py() or 0
        labelled = clips.num_rows - clips.column("emotion").null_count
        ratio = emotion["max_min_ratio"]
        lines.append(
            f"- Emotions: {emotion['classes']} classes, "
            f"normalised entropy {emotion['normalised_entropy']:.3f} (1 = even), "
            + (f"largest to smallest {ratio:.1f}, " if ratio is not None else "")
            + f"neutral {neutral / labelled:.1%} of the labelled clips."
        )
    for other in ("sex", "corpus"):
        value = distributions.cramers_v(clips, "emotion", other)
        if value is not None:
            lines.append(
                f"- Emotion against {other}: Cramér's V {value:.3f} (0 = independent, 1 = one tells the other)."
            )
    sources = distributions.counts(clips, ("label_source",)).to_pylist()
    told = ", ".join(f"{row['label_source'] or 'no label'} {row['rows']:,}" for row in sources)
    lines.append(f"- Source of the emotion labels: {markdown(told)}.")
    groups = clips.column("contrast_group_id")
    if groups.null_count < len(groups):
        lines.append(
            f"- Contrast groups (same words, said in different ways): {len(values(clips, 'contrast_group_id')):,}, "
            f"with {len(groups) - groups.null_count:,} clips."
        )
    return "### Balance\n\n" + "\n".join(lines)
