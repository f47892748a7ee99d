"""The usual corpora: layout, meaning of the labels, and what is known of all of it (licence, language).

Labels stay as the corpus spells them; ``quality/emotions.py`` maps them to the canonical names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from datagen.readers.presets import cremad, emodb, esd, expresso, iemocap, librispeech, meld, msp_podcast, ravdess
from datagen.readers.rows import Rows
from datagen.readers.tree import Tree


@dataclass(frozen=True)
class Preset:
    """``matches`` says whether a tree looks like this corpus; ``read`` fills rows from it."""

    corpus: str
    licence: str
    language: str | None
    matches: Callable[[Tree], bool]
    read: Callable[[Tree, Rows], None]


def _preset(module: ModuleType) -> Preset:
    return Preset(module.CORPUS, module.LICENCE, module.LANGUAGE, module.matches, module.read)


#: By format name, in the order in which ``auto`` tries them: the most telling layouts first.
PRESETS = {
    "iemocap": _preset(iemocap),
    "meld": _preset(meld),
    "msp-podcast": _preset(msp_podcast),
    "librispeech": _preset(librispeech),
    "expresso": _preset(expresso),
    "esd": _preset(esd),
    "ravdess": _preset(ravdess),
    "emodb": _preset(emodb),
    "crema-d": _preset(cremad),
}
