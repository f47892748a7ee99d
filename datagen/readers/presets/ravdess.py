"""RAVDESS: ``MM-VV-EE-II-SS-RR-AA``, seven two-digit codes in the file name (Livingstone & Russo 2018)."""

from __future__ import annotations

import re

from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree

CORPUS, LICENCE, LANGUAGE = "ravdess", "CC-BY-NC-SA-4.0", "en"

NAME = re.compile(r"(?:^|/)(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)\.\w+$")
EMOTIONS = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful", "07": "disgust",
            "08": "surprised"}  # fmt: skip
INTENSITIES = {"01": "normal", "02": "strong"}
SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


def matches(tree: Tree) -> bool:
    return tree.mostly(NAME)


def read(tree: Tree, rows: Rows) -> None:
    for uri, info in tree.audio().items():
        facts: dict[str, str | None] = {}
        metadata: dict[str, str] = {}
        found = NAME.search(uri)
        if found is not None:
            modality, channel, emotion, intensity, sentence, repetition, actor = found.groups()
            facts = {
                "emotion": EMOTIONS.get(emotion),
                # there is no strong neutral; its "normal" says nothing
                "intensity": INTENSITIES.get(intensity) if emotion != "01" else None,
                "transcript": SENTENCES.get(sentence),
                "speaker": actor,
                "sex": "male" if int(actor) % 2 else "female",
                "style": "sung" if channel == "02" else "acted",
            }
            metadata = {"modality": modality, "repetition": repetition, "statement": sentence}
        rows.add(uri, info, facts, metadata=metadata, seconds=seconds_hint(tree, uri, info))
