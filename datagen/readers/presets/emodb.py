"""EMO-DB: ``03a01Fa`` = speaker, text, emotion (German initial), version (Burkhardt et al. 2005)."""

from __future__ import annotations

import re

from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree

#: CC0 as audEERING's package declares it; the original site states no licence.
CORPUS, LICENCE, LANGUAGE = "emodb", "CC0-1.0", "de"

NAME = re.compile(r"(?:^|/)(\d\d)([ab]\d\d)([WLEAFTN])([a-z])\.\w+$")
#: Wut (or Aerger), Langeweile, Ekel, Angst, Freude, Trauer, neutral. Copies in the wild map F to disgust: it is joy.
EMOTIONS = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"}
SPEAKERS = {
    "03": ("male", 31), "08": ("female", 34), "09": ("female", 21), "10": ("male", 32), "11": ("male", 26),
    "12": ("male", 30), "13": ("female", 32), "14": ("female", 35), "15": ("male", 25), "16": ("female", 31),
}  # fmt: skip
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def matches(tree: Tree) -> bool:
    return tree.mostly(NAME)


def read(tree: Tree, rows: Rows) -> None:
    for uri, info in tree.audio().items():
        facts: dict[str, str | int | None] = {}
        metadata: dict[str, str] = {}
        found = NAME.search(uri)
        if found is not None:
            speaker, sentence, emotion, version = found.groups()
            sex, age = SPEAKERS.get(speaker, (None, None))
            facts = {
                "emotion": EMOTIONS[emotion],
                "transcript": SENTENCES.get(sentence),
                "speaker": speaker,
                "sex": sex,
                "age_years": age,
                "style": "acted",
            }
            metadata = {"text_code": sentence, "version": version}
        rows.add(uri, info, facts, metadata=metadata, seconds=seconds_hint(tree, uri, info))
