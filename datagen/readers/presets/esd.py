"""ESD: ``0011/Angry/[train|evaluation|test/]0011_000351.wav``, texts in ``0011/0011.txt`` (Zhou et al. 2021).

Speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English. The text files come in several encodings.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree

CORPUS, LICENCE, LANGUAGE = "esd", "research-only", None

_FILE = re.compile(r"(?:^|/)(00[01]\d|0020)/(?:([A-Za-z]+)/(?:(train|evaluation|test)/)?)?\1_(\d{6})\.\w+$")
_TEXT = re.compile(r"(?:^|/)(00[01]\d|0020)/\1\.txt$")
_FEMALE = frozenset({"0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"})


def matches(tree: Tree) -> bool:
    return tree.mostly(_FILE)


def read(tree: Tree, rows: Rows) -> None:
    texts: dict[str, tuple[str, str | None]] = {}
    for uri in tree.files():
        if _TEXT.search(uri):
            texts.update(_texts(tree.text(uri, fallback="gb18030")))
    for uri, info in tree.audio().items():
        facts: dict[str, Any] = {}
        split = None
        found = _FILE.search(uri)
        if found is not None:
            speaker, folder, split, _ = found.groups()
            transcript, emotion = texts.get(posixpath.splitext(posixpath.basename(uri))[0], (None, None))
            facts = {
                "emotion": folder or emotion,
                "transcript": transcript,
                "speaker": speaker,
                "sex": "female" if speaker in _FEMALE else "male",
                "language": "zh" if speaker <= "0010" else "en",
                "style": "acted",
            }
        rows.add(uri, info, facts, split=split, seconds=seconds_hint(tree, uri, info))


def _texts(text: str) -> dict[str, tuple[str, str | None]]:
    """Lines ``id <tab> text <tab> emotion``; some files separate with runs of blanks, some lack the emotion."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"\t+", line.strip().lstrip("\ufeff"))]
        if len(cells) >= 2 and cells[1]:
            found[cells[0]] = (cells[1], cells[2] if len(cells) > 2 and cells[2] else None)
    return found
