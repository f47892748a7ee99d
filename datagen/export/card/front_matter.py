"""What the Hub reads: the YAML at the top of README.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from datagen.escape import plain
from datagen.export import published
from datagen.export.card.about import About
from datagen.export.card.markup import values
from datagen.export.hub import Published, SplitInfo
from datagen.quality import licences

#: Sizes as the Hub names them: number of rows below which a set is of that size.
_SIZES = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip


_TASK_CATEGORIES = ("audio-classification", "question-answering", "text-generation")


def front_matter(result: Published, about: About) -> str:
    """The YAML between two lines of dashes, as a block that ends with a newline."""
    rows = sum(info.rows for splits in result.configs.values() for info in splits.values())
    langs = sorted(lang for lang in values(result.clips, "speech_lang") if re.fullmatch(r"[a-z]{2,3}", lang))
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
    spellings = values(result.clips, "licence") | values(result.samples, "licence")
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
    sources = values(result.clips, "label_source")
    return [*(["expert-generated"] if "gold" in sources else []), "machine-generated"]
