"""IEMOCAP: five sessions of two actors (Busso et al. 2008).

Labels: ``SessionN/dialog/EmoEvaluation/<dialog>.txt``, lines ``[start - end]  turn  code  [V, A, D]``: valence comes
*first*, each on 1..5. The speaker's sex is the letter before the turn's number; the one in ``Ses01F`` only tells who
wore the motion capture markers. Cut turns (``sentences/wav``) are preferred; without them the dialogues are the
recordings, and their turns annotations.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, NamedTuple

from datagen.readers.hints import seconds_hint
from datagen.readers.rows import Rows, Span, scaled
from datagen.readers.tree import FileInfo, Tree

CORPUS, LICENCE, LANGUAGE = "iemocap", "research-only", "en"

_LABELS = re.compile(r"(?:^|/)Session\d/dialog/EmoEvaluation/(Ses\d\d[FM]_[^/]+)\.txt$")
_TEXTS = re.compile(r"(?:^|/)Session\d/dialog/transcriptions/(Ses\d\d[FM]_[^/]+)\.txt$")
_TURN_WAV = re.compile(r"(?:^|/)sentences/wav/[^/]+/(Ses\d\d[FM]_[^/]+)\.\w+$")
_DIALOG_WAV = re.compile(r"(?:^|/)dialog/wav/(Ses\d\d[FM]_[^/]+)\.\w+$")
_LINE = re.compile(r"^\[([\d.]+) - ([\d.]+)\]\s+(\S+)\s+(\S+)\s+\[([-\d.]+), *([-\d.]+), *([-\d.]+)\]")
_VOTE = re.compile(r"^(C-\w+):\s*([^()]*?);?\s*\(")
_TEXT = re.compile(r"^(Ses\S+) \[[^\]]*\]:\s*(.*)$")
_SPEAKER = re.compile(r"^Ses(\d\d).*_([FM])[^_]*$")


class Turn(NamedTuple):
    start: float
    end: float
    facts: dict[str, Any]
    votes: dict[str, str]


def matches(tree: Tree) -> bool:
    return any(_LABELS.search(uri) for uri in tree.files())


def read(tree: Tree, rows: Rows) -> None:
    turns = _turns(tree)
    audio = tree.audio()
    cut = {uri: info for uri, info in audio.items() if _TURN_WAV.search(uri)}
    if cut:
        _read_turns(tree, cut, turns, rows)
    else:
        _read_dialogs(tree, {uri: info for uri, info in audio.items() if _DIALOG_WAV.search(uri)}, turns, rows)


def _read_turns(tree: Tree, audio: dict[str, FileInfo], turns: dict[str, dict[str, Turn]], rows: Rows) -> None:
    known = {name: (dialog, turn) for dialog, entries in turns.items() for name, turn in entries.items()}
    for uri, info in audio.items():
        name = posixpath.splitext(posixpath.basename(uri))[0]
        dialog, turn = known.get(name, (None, None))
        facts = turn.facts if turn is not None else _who(name)
        metadata: dict[str, Any] = {"dialog": dialog or name.rsplit("_", 1)[0], "session": name[3:5]}
        if turn is not None and turn.votes:
            metadata["votes"] = turn.votes
        rows.add(uri, info, facts, metadata=metadata, seconds=seconds_hint(tree, uri, info))


def _read_dialogs(tree: Tree, audio: dict[str, FileInfo], turns: dict[str, dict[str, Turn]], rows: Rows) -> None:
    for uri, info in audio.items():
        dialog = posixpath.splitext(posixpath.basename(uri))[0]
        spans: list[tuple[Span, dict[str, Any]]] = [
            ((None, turn.start, turn.end), turn.facts) for turn in turns.get(dialog, {}).values()
        ]
        metadata = {"dialog": dialog, "session": dialog[3:5]}
        rows.add(uri, info, spans=spans, metadata=metadata, seconds=seconds_hint(tree, uri, info))


def _turns(tree: Tree) -> dict[str, dict[str, Turn]]:
    """Dialogue -> turn -> what is known about it."""
    texts: dict[str, str] = {}
    for uri in tree.files():
        if _TEXTS.search(uri):
            for line in tree.text(uri).splitlines():
                said = _TEXT.match(line)
                if said is not None:
                    texts[said[1]] = said[2]
    dialogs: dict[str, dict[str, Turn]] = {}
    for uri in tree.files():
        found = _LABELS.search(uri)
        if found is not None:
            dialogs[found[1]] = _labels(tree.text(uri), texts)
    return dialogs


def _labels(text: str, texts: dict[str, str]) -> dict[str, Turn]:
    turns: dict[str, Turn] = {}
    current: Turn | None = None
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is not None:
            start, end, name, code, valence, arousal, dominance = found.groups()
            facts = {
                "emotion": code,
                "valence": scaled(valence, 1, 5),
                "arousal": scaled(arousal, 1, 5),
                "dominance": scaled(dominance, 1, 5),
                "transcript": texts.get(name),
                **_who(name),
            }
            current = turns[name] = Turn(float(start), float(end), facts, {})
        elif current is not None:
            vote = _VOTE.match(line)
            if vote is not None:
                current.votes[vote[1]] = vote[2]
    return turns


def _who(name: str) -> dict[str, str]:
    found = _SPEAKER.match(name)
    style = {"style": "improvised" if "impro" in name else "scripted"}
    if found is None:
        return style
    session, letter = found.groups()
    return {"speaker": f"Ses{session}{letter}", "sex": "female" if letter == "F" else "male", **style}
