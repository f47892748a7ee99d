"""MSP-Podcast: ``Audios/*.wav`` and ``Labels/labels_consensus.{csv,json}`` (Lotfian & Busso 2019).

``EmoAct``, ``EmoVal``, ``EmoDom`` are on 1..7, in *this* order; they are read by name. The labels of Test3 are not
public. ``X`` means that the raters did not agree.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from datagen.errors import RowError
from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows, scaled
from datagen.readers.tabular import read_table
from datagen.readers.tree import Tree

CORPUS, LICENCE, LANGUAGE = "msp-podcast", "research-only", "en"

_TABLE = re.compile(r"(?:^|/)[Ll]abels/labels_consensus\.(csv|json)$")
_TEXT = re.compile(r"(?:^|/)[Tt]ranscripts/(?:.*/)?([^/]+)\.txt$")


def matches(tree: Tree) -> bool:
    return any(_TABLE.search(uri) for uri in tree.files())


def read(tree: Tree, rows: Rows) -> None:
    labels: dict[str, dict[str, Any]] = {}
    for uri in tree.files():
        if _TABLE.search(uri):
            for _, row in read_table(tree, uri):
                if not isinstance(row, RowError):
                    name = str(row.get("FileName") or row.get("file") or "")
                    labels.setdefault(posixpath.basename(name), row)
    texts = {found[1]: uri for uri in tree.files() if (found := _TEXT.search(uri))}
    for uri, info in tree.audio().items():
        name = posixpath.basename(uri)
        row = labels.get(name, {})
        transcript = texts.get(posixpath.splitext(name)[0])
        speaker = str(row.get("SpkrID") or "").strip()
        facts = {
            "emotion": row.get("EmoClass"),
            "arousal": scaled(row.get("EmoAct"), 1, 7),
            "valence": scaled(row.get("EmoVal"), 1, 7),
            "dominance": scaled(row.get("EmoDom"), 1, 7),
            "speaker": speaker if speaker.lower() != "unknown" else None,
            "sex": row.get("Gender"),
            "transcript": tree.text(transcript) if transcript else None,
            "style": "spontaneous",
        }
        split = row.get("Split_Set")
        metadata = {"Split_Set": split} if split else {}
        rows.add(uri, info, facts, metadata=metadata, split=split, seconds=seconds_hint(tree, uri, info))
