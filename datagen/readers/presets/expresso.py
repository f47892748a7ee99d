"""Expresso: read speech and dialogues in styles, as audio files or as the Hub's Parquet (Nguyen et al. 2023).

A style is not an emotion: ``happy`` names how it was to be read. It becomes ``style`` and nothing else. Dialogues
have one speaker per channel, ``ex04-ex01/animal-animaldir``: use ``channels: split``.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from datagen.readers.config import LayoutConfig
from datagen.readers.hints import seconds_hint
from datagen.readers.parquet import find_embedded, read_embedded
from datagen.readers.rows import Rows, Span
from datagen.readers.tree import Tree

CORPUS, LICENCE, LANGUAGE = "expresso", "CC-BY-NC-4.0", "en"

_READ = re.compile(r"(?:^|/)read/(ex\d\d)/(\w+)/(?:\w+/)?[^/]+\.\w+$")
_DIALOG = re.compile(r"(?:^|/)conversational/(ex\d\d)-(ex\d\d)/([\w-]+)/[^/]+\.\w+$")
_SPLIT = re.compile(r"(?:^|/)splits/(train|dev|test)\.txt$")
_HUB = LayoutConfig(columns={"speaker": "speaker_id", "transcript": "text", "style": "style", "emotion": None})


def matches(tree: Tree) -> bool:
    return any(_READ.search(uri) or _DIALOG.search(uri) for uri in tree.audio())


def read(tree: Tree, rows: Rows) -> None:
    if find_embedded(tree, _HUB):
        read_embedded(tree, rows, _HUB)
        return
    texts, splits = _companions(tree)
    for uri, info in tree.audio().items():
        name = posixpath.splitext(posixpath.basename(uri))[0]
        facts: dict[str, Any] = {}
        spans: list[tuple[Span, dict[str, Any]]] = []
        alone, together = _READ.search(uri), _DIALOG.search(uri)
        if alone is not None:
            facts = {"speaker": alone[1], "style": alone[2], "transcript": texts.get(name)}
        elif together is not None:
            styles = together[3].split("-")
            both = styles if len(styles) == 2 else [together[3]] * 2
            spans = [
                ((channel, None, None), {"speaker": together[channel + 1], "style": both[channel]})
                for channel in (0, 1)
            ]
        rows.add(uri, info, facts, spans=spans, split=splits.get(name), seconds=seconds_hint(tree, uri, info))


def _companions(tree: Tree) -> tuple[dict[str, str], dict[str, str]]:
    """Transcripts and splits by name. A file that the splits cut into stretches has none of its own."""
    texts: dict[str, str] = {}
    splits: dict[str, str] = {}
    for uri in tree.files():
        found = _SPLIT.search(uri)
        if posixpath.basename(uri) == "read_transcriptions.txt":
            for line in tree.text(uri).splitlines():
                name, _, text = line.partition("\t")
                texts[name.strip()] = text.strip()
        elif found is not None:
            for line in tree.text(uri).splitlines():
                cells = line.split()
                if len(cells) == 1:
                    splits[cells[0]] = found[1]
    return texts, splits
