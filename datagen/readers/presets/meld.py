"""MELD: ``dia{D}_utt{U}.mp4`` per split and ``{train,dev,test}_sent_emo.csv`` (Poria et al. 2019).

The same ``dia0_utt0`` exists in every split, so a file is matched by its folder. The tables hold mojibake. Times in
the tables count from the start of the episode, not of the file.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from datagen.errors import RowError
from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows
from datagen.readers.tabular import read_table
from datagen.readers.tree import Tree

#: The annotations are GPL-3.0; the sound is that of a television series.
CORPUS, LICENCE, LANGUAGE = "meld", "proprietary", "en"

_TABLE = re.compile(r"(?:^|/)(train|dev|test)_sent_emo\.csv$")
_FILE = re.compile(r"(?:^|/)dia(\d+)_utt(\d+)\.\w+$")
_FOLDER = re.compile(r"train|dev|test")
#: The series' six main parts; of the others nothing is said.
_SEX = {"Chandler": "male", "Joey": "male", "Ross": "male", "Monica": "female", "Phoebe": "female", "Rachel": "female"}


def matches(tree: Tree) -> bool:
    return any(_TABLE.search(uri) for uri in tree.files())


def read(tree: Tree, rows: Rows) -> None:
    tables = {}
    for uri in tree.files():
        found = _TABLE.search(uri)
        if found is not None:
            tables[found[1]] = (uri, _rows(tree, uri))
    met: dict[str, set[tuple[int, int]]] = {name: set() for name in tables}
    for uri, info in tree.audio().items():
        found = _FILE.search(uri)
        split = _split(uri)
        if found is None or split is None:
            rows.add(uri, info, seconds=seconds_hint(tree, uri, info))
            continue
        key = int(found[1]), int(found[2])
        row = tables[split][1].get(key, {}) if split in tables else {}
        met.setdefault(split, set()).add(key)
        speaker = mend(row.get("Speaker"))
        facts = {
            "transcript": mend(row.get("Utterance")),
            "emotion": row.get("Emotion"),
            "speaker": speaker,
            "sex": _SEX.get(speaker or ""),
            "style": "acted",
        }
        names = ("Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode", "StartTime", "EndTime")
        metadata = {name: row[name] for name in names if row.get(name)}
        rows.add(uri, info, facts, metadata=metadata, split=split, seconds=seconds_hint(tree, uri, info))
    for split, (uri, entries) in tables.items():
        if met[split]:  # a split whose clips were not copied at all is not missing, it was left out
            for dialog, utterance in sorted(entries.keys() - met[split]):
                name = f"dia{dialog}_utt{utterance}"
                rows.refuse(f"{uri}:{name}", "MissingFile", f"{uri} names {name}, but no such file is there")


def mend(text: str | None) -> str | None:
    """Undo UTF-8 read as Windows-1252 (``â€™``), and Windows-1252 kept as control characters (``\\x92``).

    >>> mend("Iâ€™m fine"), mend("You\\x92re right"), mend("café")
    ('I’m fine', 'You’re right', 'café')
    """
    if not text:
        return None
    if any("\x80" <= char <= "\x9f" for char in text):
        text = "".join(_c1(char) for char in text)
    try:
        return text.encode("cp1252").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _c1(char: str) -> str:
    return char.encode("latin-1").decode("cp1252", errors="replace") if "\x80" <= char <= "\x9f" else char


def _split(uri: str) -> str | None:
    """The last folder whose name tells: archives of the test clips lie in ``output_repeated_splits_test``."""
    for part in reversed(posixpath.dirname(uri).lower().split("/")):
        found = _FOLDER.findall(part)
        if found:
            return str(found[-1])
    return None


def _rows(tree: Tree, uri: str) -> dict[tuple[int, int], dict[str, Any]]:
    found = {}
    for _, row in read_table(tree, uri):
        if not isinstance(row, RowError):
            try:
                found[int(row["Dialogue_ID"]), int(row["Utterance_ID"])] = row
            except (KeyError, TypeError, ValueError):
                continue
    return found
