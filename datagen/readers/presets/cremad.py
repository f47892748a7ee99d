"""CREMA-D: ``1001_DFA_ANG_XX`` = actor, sentence, acted emotion, level (Cao et al. 2014).

What listeners heard often differs from what was acted: the acted label is the emotion, the votes are kept beside it.
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

CORPUS, LICENCE, LANGUAGE = "crema-d", "ODbL-1.0", "en"

NAME = re.compile(r"(?:^|/)(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)\.\w+$")
LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}


def matches(tree: Tree) -> bool:
    return tree.mostly(NAME)


def read(tree: Tree, rows: Rows) -> None:
    actors = _by(tree, "VideoDemographics.csv", "ActorID")
    votes = _by(tree, "summaryTable.csv", "FileName")
    for uri, info in tree.audio().items():
        facts: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        found = NAME.search(uri)
        if found is not None:
            actor, sentence, emotion, level = found.groups()
            person = actors.get(actor, {})
            facts = {
                "emotion": emotion,
                "intensity": LEVELS.get(level),
                "transcript": SENTENCES.get(sentence),
                "speaker": actor,
                "sex": person.get("Sex"),
                "age_years": person.get("Age"),
                "style": "acted",
            }
            heard = votes.get(posixpath.splitext(posixpath.basename(uri))[0], {})
            facts["emotion_heard"] = heard.get("VoiceVote")  # ties as "A:N"
            metadata = {name: heard[name] for name in ("VoiceVote", "VoiceLevel", "MultiModalVote") if heard.get(name)}
            metadata["sentence"] = sentence
        rows.add(uri, info, facts, metadata=metadata, seconds=seconds_hint(tree, uri, info))


def _by(tree: Tree, name: str, key: str) -> dict[str, dict[str, Any]]:
    uri = next((uri for uri in tree.files() if posixpath.basename(uri) == name), None)
    if uri is None:
        return {}
    return {str(row.get(key)): row for _, row in read_table(tree, uri) if not isinstance(row, RowError)}
