"""LibriSpeech: ``[subset/]speaker/chapter/speaker-chapter-utterance.flac``, ``*.trans.txt``, ``SPEAKERS.TXT``."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree

CORPUS, LICENCE, LANGUAGE = "librispeech", "CC-BY-4.0", "en"

_FILE = re.compile(r"(?:^|/)(\d+)/(\d+)/\1-\2-(\d+)\.\w+$")
_SUBSET = re.compile(r"(?:^|/)((?:train|dev|test)-(?:clean|other)(?:-\d+)?)/")


def matches(tree: Tree) -> bool:
    return any(_FILE.search(uri) for uri in tree.audio()) and any(uri.endswith(".trans.txt") for uri in tree.files())


def read(tree: Tree, rows: Rows) -> None:
    texts: dict[str, str] = {}
    speakers: dict[str, tuple[str, str]] = {}
    for uri in tree.files():
        if uri.endswith(".trans.txt"):
            for line in tree.text(uri).splitlines():
                name, _, text = line.partition(" ")
                texts[name] = text.strip()
        elif posixpath.basename(uri).upper() == "SPEAKERS.TXT":
            for line in tree.text(uri).splitlines():
                cells = [cell.strip() for cell in line.split("|")]
                if not line.startswith(";") and len(cells) >= 3:
                    speakers[cells[0]] = (cells[1], cells[2])
    for uri, info in tree.audio().items():
        facts: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        subset = None
        found = _FILE.search(uri)
        if found is not None:
            speaker, chapter, _ = found.groups()
            sex, listed = speakers.get(speaker, (None, None))
            folder = _SUBSET.search(uri)
            subset = folder[1] if folder else listed
            name = posixpath.splitext(posixpath.basename(uri))[0]
            facts = {"transcript": texts.get(name), "speaker": speaker, "sex": sex, "style": "read"}
            metadata = {"chapter": chapter, **({"subset": subset} if subset else {})}
        rows.add(uri, info, facts, metadata=metadata, split=subset, seconds=seconds_hint(tree, uri, info))
