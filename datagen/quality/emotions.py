"""Emotion names: from a corpus's own labels to the project's eight, and from those to three sentiments.

The table is data (``schemas/emotion_labels.yaml``), versioned and published; this module only looks things up.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import yaml

from datagen.digest import revision
from datagen.errors import UsageError
from datagen.resources import folder
from datagen.tables import EMOTIONS, LABEL_SOURCES

#: Surprise may be good or bad and ``other`` may be anything: both have no sentiment.
SENTIMENT_OF = {
    "angry": "negative",
    "disgusted": "negative",
    "fearful": "negative",
    "sad": "negative",
    "happy": "positive",
    "neutral": "neutral",
}

_REMARK = re.compile(r"\s*[(\[（].*?[)\]）]\s*$")
_SEPARATORS = re.compile(r"[\s_\-]+")


def _name(label: str) -> str:
    """Comparable form of a label: NFKC, no case, no trailing remark, single blanks."""
    plain = unicodedata.normalize("NFKC", label).casefold().strip()
    return _SEPARATORS.sub(" ", _REMARK.sub("", plain) or plain).strip()


def _corpus(name: str) -> str:
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name).casefold())


@dataclass(frozen=True)
class EmotionTable:
    """The published mapping; ``lookup`` is the only thing done with it."""

    version: str
    aliases: dict[str, str]
    corpora: dict[str, dict[str, str | None]]
    names: dict[str, str | None]

    def lookup(self, label: str, corpus: str | None = None) -> tuple[bool, str | None]:
        """``(known, emotion)``. Known with a null emotion: a style, or "no agreement"."""
        key = _corpus(corpus or "")
        codes = self.corpora.get(self.aliases.get(key, key), {})
        # A label may carry two spellings: emotion2vec answers "生气/angry".
        for spelling in (label, *label.split("/")) if "/" in label else (label,):
            name = _name(spelling)
            for table, entry in ((codes, name), (codes, "*"), (self.names, name)):
                if entry in table:
                    return True, table[entry]
        return False, None


@lru_cache(maxsize=1)
def emotion_table() -> EmotionTable:
    """The packaged table.

    Raises:
        UsageError: the file names an emotion outside ``tables.EMOTIONS``, or one label for two emotions.
    """
    path = folder("schemas") / "emotion_labels.yaml"
    data = yaml.safe_load(path.read_text("utf-8"))
    names: dict[str, str | None] = {}
    entries = [(label, emotion) for emotion, labels in data["names"].items() for label in labels]
    entries += [(label, None) for label in (*data["styles"], *data["none"])]
    for label, emotion in entries:
        name = _name(str(label))
        if names.setdefault(name, emotion) != emotion:
            raise UsageError(f"{path.name}: {label!r} stands for both {names[name]} and {emotion}; keep one")
    corpora = {
        corpus: {code if code == "*" else _name(code): emotion for code, emotion in codes.items()}
        for corpus, codes in data["corpora"].items()
    }
    strange = ({*data["names"]} | {e for codes in corpora.values() for e in codes.values() if e}) - set(EMOTIONS)
    if strange:
        raise UsageError(f"{path.name}: unknown emotions {', '.join(sorted(strange))}; known: {', '.join(EMOTIONS)}")
    return EmotionTable(revision(data), data["aliases"], corpora, names)


def sentiments(emotions: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Emotion names -> ``negative``/``neutral``/``positive``; null for surprised, other and null."""
    return pa.array([SENTIMENT_OF.get(emotion) for emotion in emotions.to_pylist()], pa.string())


def gold_emotions(labels: pa.Array | pa.ChunkedArray, corpora: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Lists of ``tables.LABEL`` structs and corpus names -> columns emotion, emotion_raw, label_source.

    Two labels of one clip that mean different emotions cancel each other: null, both kept in ``emotion_raw``
    (joined by `` | ``). A label whose source is one of ``tables.LABEL_SOURCES`` keeps it ("requested" for synthetic
    speech); any other source is a corpus, hence gold.
    """
    table = emotion_table()
    known: dict[tuple[str, str | None], str | None] = {}
    rows: list[tuple[str | None, str | None, str | None]] = []
    for clip_labels, corpus in zip(labels.to_pylist(), corpora.to_pylist(), strict=True):
        given = [
            (entry["value"], entry["source"])
            for entry in clip_labels or ()
            if entry["field"] == "emotion" and entry["value"] and entry["value"].strip()
        ]
        raws = list(dict.fromkeys(value for value, _ in given))
        for raw in raws:
            if (raw, corpus) not in known:
                known[raw, corpus] = table.lookup(raw, corpus)[1]
        meanings = {known[raw, corpus] for raw in raws}
        emotion = meanings.pop() if len(meanings) == 1 else None
        source = next((source for _, source in given if source in LABEL_SOURCES), "gold") if emotion else None
        rows.append((emotion, " | ".join(raws) or None, source))
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        [pa.array(column, pa.string()) for column in columns], names=["emotion", "emotion_raw", "label_source"]
    )
