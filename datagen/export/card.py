"""The data card: README.md with the metadata the Hub reads, and LICENSE.md beside it.

A card answers what a reviewer asks: what is in it, who made each label with which model under which licence, what
was thrown away, how balanced it is, what it must not be used for, and how to load it. Everything that came with the
data is escaped (``escape.py``); only our own sentences are markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from datagen.export import pictures, published
from datagen.export.escape import block, code, markdown, plain
from datagen.export.hub import Published, SplitInfo
from datagen.export.run import RunReader
from datagen.quality import distributions, licences

#: Sizes as the Hub names them: number of rows below which a set is of that size.
_SIZES = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip
_TASK_CATEGORIES = ("audio-classification", "question-answering", "text-generation")
#: At most this many rows in a table that grows with the data (corpora, error classes, ...).
MAX_ROWS = 40
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


@dataclass(frozen=True)
class About:
    """What only the person who publishes can say."""

    title: str = "Speech with paralinguistic annotations"
    description: str = ""
    citation: str = ""
    consent: str = ""


def write(folder: Path, run: RunReader, result: Published, about: About, require: Sequence[str] = ()) -> None:
    """Write README.md, LICENSE.md and ``figures/`` into the staging folder of an export."""
    (folder / "figures").mkdir()
    figures = pictures.draw(folder / "figures", result.clips, result.samples)
    (folder / "LICENSE.md").write_text(_licence_file(run, result), "utf-8")
    text = front_matter(result, about) + "\n" + body(run, result, about, figures, require)
    (folder / "README.md").write_text(text, "utf-8")


# --- What the Hub reads -------------------------------------------------------------------------------------


def front_matter(result: Published, about: About) -> str:
    """The YAML between two lines of dashes, as a block that ends with a newline."""
    rows = sum(info.rows for splits in result.configs.values() for info in splits.values())
    langs = sorted(lang for lang in _values(result.clips, "speech_lang") if re.fullmatch(r"[a-z]{2,3}", lang))
    data: dict[str, Any] = {
        "pretty_name": plain(about.title, 120),
        **_hub_licence(result),
        **({"language": langs} if langs else {}),
        "tags": ["audio", "speech", "emotion", "paralinguistics", "prosody", "speech-llm", "datagen"],
        "task_categories": list(_TASK_CATEGORIES),
        "annotations_creators": _annotators(result),
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "1B<n<10B")],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if number == 0 else {}),
                "data_files": [{"split": split, "path": f"{name}/{split}-*.parquet"} for split in splits],
            }
            for number, (name, splits) in enumerate(result.configs.items())
        ],
        "dataset_info": [_info(name, splits, result.audio) for name, splits in result.configs.items()],
    }
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10**6)}---\n"


def _info(name: str, splits: Mapping[str, SplitInfo], audio: str) -> dict[str, Any]:
    table = "clips" if name == "clips" else "samples"
    columns = published.of(table, audio=name == "clips" or audio == "embed")
    return {
        "config_name": name,
        "features": [column.yaml_feature() for column in columns],
        "splits": [
            {"name": split, "num_bytes": info.num_bytes, "num_examples": info.rows} for split, info in splits.items()
        ],
        "download_size": sum(info.file_bytes for info in splits.values()),
        "dataset_size": sum(info.num_bytes for info in splits.values()),
    }


def _hub_licence(result: Published) -> dict[str, str]:
    """One licence for all only when every row has that one and no model narrows it; else it is row by row."""
    spellings = _values(result.clips, "licence") | _values(result.samples, "licence")
    found = {found.id: found for found in map(result.licences.find, spellings) if found}
    whole = len(found) == 1 and not any(part.column("licence").null_count for part in (result.clips, result.samples))
    if whole and all(result.licences.find(spelling) for spelling in spellings):
        (licence,) = found.values()
        rows = pa.concat_tables([part.select(list(licences.COLUMNS)) for part in (result.clips, result.samples)])
        own = {f"{name}_ok": getattr(licence.permissions, name) for name in licences.PERMISSIONS}
        own["share_alike"] = licence.permissions.share_alike
        if licence.hub and all(pc.all(pc.equal(rows.column(name), value)).as_py() for name, value in own.items()):
            return {"license": licence.hub}
    return {"license": "other", "license_name": "row-by-row", "license_link": "LICENSE.md"}


def _annotators(result: Published) -> list[str]:
    sources = _values(result.clips, "label_source")
    return [*(["expert-generated"] if "gold" in sources else []), "machine-generated"]


def _values(table: pa.Table, column: str) -> set[str]:
    return {value for value in pc.unique(table.column(column)).to_pylist() if value is not None}


# --- What people read ---------------------------------------------------------------------------------------


def body(
    run: RunReader, result: Published, about: About, figures: Sequence[tuple[str, str]], require: Sequence[str]
) -> str:
    sections = [
        f"# {markdown(about.title, 120)}",
        _warning(result),
        _commerce(run, result),
        _what(result, about),
        "\n\n".join(f"![{shown}](figures/{name})" for name, shown in figures),
        _loading(result),
        _numbers(result),
        _made(run, result),
        _columns(result),
        _rights(run, result, require),
        _refused(run, result),
        _condensation(run),
        _limits(result),
        _people(about),
        _citation(about),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _warning(result: Published) -> str:
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


def _commerce(run: RunReader, result: Published) -> str:
    """Said before anything else, since a reader who trains a product on the set may not look further."""
    denied = result.denied("commercial_ok")
    if not denied:
        return ""
    sources = [(f"the corpus {row['corpus']}", row["licence"])
               for row in distributions.hours(result.clips, ("corpus", "licence")).to_pylist()]  # fmt: skip
    sources += [(_shown(maker.get("model") or ""), maker.get("licence")) for maker in run.provenance]
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


def _what(result: Published, about: About) -> str:
    total = distributions.hours(result.clips).to_pylist()[0]
    speakers, corpora = len(_values(result.clips, "speaker")), len(_values(result.clips, "corpus"))
    langs = ", ".join(sorted(_values(result.clips, "speech_lang"))) or "unknown"
    lines = [
        "## What it is",
        markdown(about.description, 4000),
        f"{total['rows']:,} clips of speech ({_hours(total['hours'])}, {speakers:,} named speakers, {corpora:,} "
        f"{'corpus' if corpora == 1 else 'corpora'}; languages: {markdown(langs)}) with what was measured in the "
        f"voice, and {result.samples.num_rows:,} training items about them. The items ask about *how* something is "
        "said: some show the measured facts (mode `explicit`), some leave them to be heard (mode `implicit`). Every "
        "item rests only on what was measured or given; its `evidence` names the fields.",
    ]
    return "\n\n".join(line for line in lines if line)


#: Stands for the dataset in the code on the card. (A mere "." is refused by `datasets`.)
PLACE = "path/to/this/folder"


def _loading(result: Published) -> str:
    """Code that works once the folder's name is put in; the tests run it."""
    task = next((name for name in result.configs if name != "clips"), None)
    wanted = task or "clips"
    split = next(iter(result.configs[wanted]))
    where = f'folder = "{PLACE}"  # or the name of the repository on the Hub\n'
    parts = ["## How to load it"]
    if wanted == "clips" or result.audio == "embed":
        snippet = (
            f"import io\n\nimport soundfile\nfrom datasets import Audio, load_dataset\n\n{where}"
            f'items = load_dataset(folder, "{wanted}", split="{split}")\n'
            'items = items.cast_column("audio", Audio(decode=False))  # bytes; needs no decoder\n'
            'samples, rate = soundfile.read(io.BytesIO(items[0]["audio"]["bytes"]))'
        )
    else:
        parts.append("The sound is stored once per clip. To hear an item, look its clip up:")
        snippet = (
            f"import io\n\nimport soundfile\nfrom datasets import Audio, load_dataset\n\n{where}"
            f'items = load_dataset(folder, "{task}", split="{split}")\n'
            f'clips = load_dataset(folder, "clips", split="{split}")\n'
            'clips = clips.cast_column("audio", Audio(decode=False))  # bytes; needs no decoder\n'
            'row_of = {clip_id: row for row, clip_id in enumerate(clips["clip_id"])}\n'
            'clip = clips[row_of[items[0]["clip_id"]]]\n'
            'samples, rate = soundfile.read(io.BytesIO(clip["audio"]["bytes"]))'
        )
    parts.append(block(snippet, "python"))
    parts.append(
        "Without the cast, `datasets` decodes the sound itself; from version 4 on it needs `torchcodec` and the FFmpeg "
        "libraries for that. The files are plain Parquet; the sound is FLAC, 16 kHz, mono, in `audio.bytes`."
    )
    return "\n\n".join(parts)


def _numbers(result: Published) -> str:
    rows = [
        (code(name), code(split), f"{info.rows:,}", f"{info.files:,}", _bytes(info.file_bytes))
        for name, splits in result.configs.items()
        for split, info in splits.items()
    ]
    parts = ["## What is in it", _table(("config", "split", "rows", "files", "size"), rows, "llrrr")]
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
            _table(
                ("task", "mode", "split", "items"),
                [(code(row["task"]), code(row["mode"]), code(row["split"]), f"{row['rows']:,}") for row in found],
                "lllr",
            )
        )
    parts.append(_balance(result.clips))
    return "\n\n".join(part for part in parts if part)


def _predicted(result: Published) -> str:
    once, repeated = (_bytes(result.predicted[way]) for way in ("clips", "embed"))
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
            _hours(row["hours"]),
            f"{share:.1%}",
        )
        for row, share in zip(found, shares, strict=True)
    ]
    return _table((title, "clips", "length", "share"), rows, "lrrr")


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
            f"- Contrast groups (same words, said in different ways): {len(_values(clips, 'contrast_group_id')):,}, "
            f"with {len(groups) - groups.null_count:,} clips."
        )
    return "### Balance\n\n" + "\n".join(lines)


def _made(run: RunReader, result: Published) -> str:
    stages = [
        (
            code(row.get("name", "")),
            *(f"{int(row.get(key) or 0):,}" for key in ("rows_in", "ok", "rejected", "dropped")),
        )
        for row in run.counts
    ]
    makers = [
        (
            code(maker.get("stage", "")),
            markdown(_shown(maker.get("model") or ""), 120),
            code(maker.get("revision") or "-", 60),
            markdown(maker.get("licence") or "unknown", 80),
            code(_wrote(maker), 300),
            markdown(maker.get("note") or "", 300),
            code(str(maker.get("config_hash") or "-")[:12]),
        )
        for maker in run.provenance
    ]
    recipe = yaml.safe_dump(
        _shown(_semantic(_plain_values(run.recipe))), sort_keys=False, allow_unicode=True, width=100
    )
    return "\n\n".join(
        [
            "## How it was made",
            f"By `datagen` {code(run.datagen_version)}. Every stage accounts for every row that reaches it:",
            _table(("stage", "rows in", "ok", "rejected", "dropped"), stages, "lrrrr"),
            "Who made which columns:",
            _table(("stage", "maker", "revision", "licence", "columns", "note", "config"), makers, "lllllll"),
            "<details><summary>The recipe as it was run (without resources and local paths)</summary>",
            block(recipe, "yaml"),
            "</details>",
            _writers(result),
        ]
    )


def _writers(result: Published) -> str:
    if not result.samples.num_rows:
        return ""
    found = distributions.counts(result.samples, ("task", "writer", "prompt_hash")).to_pylist()
    rows = [
        (code(row["task"]), code(row["writer"] or "-"), code(row["prompt_hash"] or "-"), f"{row['rows']:,}")
        for row in found
    ]
    return "Who wrote the items, with the hash of the prompt or template:\n\n" + _table(
        ("task", "writer", "prompt", "items"), rows, "lllr"
    )


def _plain_values(value: Any) -> Any:
    """JSON-able values only: a recipe may hold tuples, enums and paths."""
    return json.loads(json.dumps(value, default=str, ensure_ascii=False))


def _semantic(value: Any) -> Any:
    """A recipe without what changes no result: where and on how much it ran."""
    if isinstance(value, dict):
        return {key: _semantic(item) for key, item in value.items() if key not in {"executor", "resources"}}
    return value


def _shown(value: Any, name: str = "") -> Any:
    """A recipe fit for strangers: no secrets, no folders of somebody's machine."""
    if isinstance(value, dict):
        return {plain(key, 80): _shown(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if _SECRET.search(name) and not name.endswith("_env"):
        return "***"
    path = value.removeprefix("file://")
    for kind in (PurePosixPath(path), PureWindowsPath(path)):
        if kind.is_absolute() or path.startswith("~"):
            return f"…/{plain(kind.name, 120)}"
    return plain(re.sub(r"(?<=://)[^/@\s]*@", "", value), 2000)


def _columns(result: Published) -> str:
    parts = ["## Columns", "Null means: not measured, not known or not reliable; a `*_reason` column often says why."]
    for table, title in (("clips", "`clips`"), ("samples", "Task configs (all alike)")):
        if table == "samples" and not result.samples.num_rows:
            continue
        audio = table == "clips" or result.audio == "embed"
        rows = [
            (code(column.name), code(column.type_name()), column.unit, column.about)
            for column in published.of(table, audio=audio)
        ]
        parts += [f"### {title}", _table(("column", "type", "unit", "meaning"), rows, "llll", limit=len(rows))]
    return "\n\n".join(parts)


_MEANINGS = {
    "redistribute_audio_ok": "audio may be passed on",
    "redistribute_labels_ok": "labels and texts may be passed on",
    "derivatives_ok": "may be changed and built on",
    "commercial_ok": "may be used commercially",
    "share_alike": "must be shared alike",
}


def _rights(run: RunReader, result: Published, require: Sequence[str]) -> str:
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
        _table(("config", "rows", *_MEANINGS.values()), rows, "lrrrrrr"),
        _sources_table(run, result),
    ]
    if require:
        parts.append(f"Rows were left out unless they permit: {', '.join(code(name) for name in require)}.")
    parts.append("This sorts data; it is not legal advice. Details: [LICENSE.md](LICENSE.md).")
    return "\n\n".join(parts)


def _task_rows(result: Published, task: str) -> pa.Table:
    return result.samples.filter(pc.equal(result.samples.column("task"), task))


def _wrote(maker: Mapping[str, Any]) -> str:
    columns = ", ".join(maker.get("columns") or ()) or "-"
    return f"{columns} where {' is '.join(maker['where'])}" if maker.get("where") else columns


def _sources_table(run: RunReader, result: Published) -> str:
    rows = []
    for row in distributions.hours(result.clips, ("corpus", "licence")).to_pylist():
        told = f"corpus {markdown(row['corpus'], 60)} ({_hours(row['hours'])})"
        rows.append((told, *_licence_cells(result, row["licence"])))
    seen = set()
    for maker in run.provenance:
        name = f"{markdown(_shown(maker.get('model') or ''), 120)}, by {code(maker.get('stage', ''))}"
        if name not in seen:
            seen.add(name)
            rows.append((f"maker {name}", *_licence_cells(result, maker.get("licence"))))
    return _table(("source", "licence", "audio", "labels", "change", "commercial", "share alike"), rows, "lllllll")


def _licence_cells(result: Published, spelling: str | None) -> tuple[str, ...]:
    found = result.licences.find(spelling)
    if found and found.inherits:
        return (markdown(found.id), *(["as the corpus"] * 5))
    allowed = result.licences.permissions(spelling)
    flags = ["yes" if getattr(allowed, name) else "no" for name in (*licences.PERMISSIONS, "share_alike")]
    return (markdown(spelling or "unknown", 80) + ("" if found else " (not known here)"), *flags)


def _refused(run: RunReader, result: Published) -> str:
    rejects = run.rejects()
    parts = ["## What was left out"]
    if rejects.num_rows:
        found = distributions.counts(rejects, ("stage", "error_class")).to_pylist()
        rows = [(code(row["stage"]), code(row["error_class"]), f"{row['rows']:,}") for row in found]
        parts += ["Refused while it was made:", _table(("stage", "error class", "rows"), rows, "llr")]
    left = [
        (code(table), markdown(why), f"{rows:,}")
        for table, found in result.left_out.items()
        for why, rows in found.items()
    ]
    if left:
        parts += ["Left out of this release:", _table(("table", "reason", "rows"), left, "llr")]
    return "\n\n".join(parts) if len(parts) > 1 else "## What was left out\n\nNothing."


def _condensation(run: RunReader) -> str:
    """What the artifact of ``condense`` says: figures before and after side by side, then its other numbers."""
    found = run.artifacts.get("condense") or {}
    pair = [dict(_flat(found.get(key) or {})) for key in ("before", "after")]
    rest = [item for key, value in found.items() if key not in {"before", "after"} for item in _flat(value, key)]
    parts = ["## Condensation"]
    if any(pair):
        names = dict.fromkeys([*pair[0], *pair[1]])
        rows = [(code(name, 80), *(markdown(half.get(name, "-"), 80) for half in pair)) for name in names]
        parts += [
            "Before and after copies and excess were removed:",
            _table(("measure", "before", "after"), rows, "lrr"),
        ]
    if rest:
        rows = [(code(name, 80), markdown(value, 80)) for name, value in rest]
        parts.append(_table(("measure", "value"), rows, "lr"))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Numbers and words with dotted names; lists (examples, settings) are not for a card."""
    if isinstance(value, Mapping):
        for key in value:
            yield from _flat(value[key], f"{name}.{key}" if name else str(key))
    elif isinstance(value, bool | int | str):
        yield name, value
    elif isinstance(value, float):
        yield name, round(value, 4)


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


def _people(about: About) -> str:
    said = markdown(about.consent, 4000) or (
        "Whoever publishes this set has to say here what the speakers agreed to. Nothing in the data says so."
    )
    return (
        "## People in it\n\nVoices are personal data. Speakers go by the names their corpus uses; do not try to find "
        "out who they are, to imitate their voices, or to judge a person by a label in this set: an emotion label says "
        "what a short clip sounds like, not what somebody felt.\n\n" + said
    )


def _citation(about: About) -> str:
    if not about.citation:
        return "## Citation\n\nCite the corpora listed under [Permissions](#permissions) as they ask for it."
    return "## Citation\n\n" + block("\n".join(plain(line, 400) for line in about.citation.splitlines()), "bibtex")


def _licence_file(run: RunReader, result: Published) -> str:
    notes = sorted(
        {
            f"- {markdown(found.id)}: {markdown(found.note, 400)}"
            for spelling in [*_values(result.clips, "licence"), *(maker.get("licence") for maker in run.provenance)]
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
                _sources_table(run, result),
                "\n".join(notes),
                "Attribution that a licence asks for is owed to the corpora named above.",
            ]
            if part
        )
        + "\n"
    )


# --- Small things -------------------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str, *, limit: int = MAX_ROWS) -> str:
    """A Markdown table; cells are markup already. One that is cut ends with a line that says how much is missing."""
    marks = ["---:" if side == "r" else "---" for side in align]
    shown = rows if len(rows) <= limit else rows[: limit - 1]
    lines = [header, marks, *shown]
    if len(shown) < len(rows):
        lines.append([f"*and {len(rows) - len(shown):,} more*", *[""] * (len(header) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.1f} s"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
