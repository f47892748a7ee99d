"""Text from strangers (transcripts, styles, event names) made harmless before it meets a prompt or a quote.

Chat templates, media placeholders and template engines all need a few ASCII characters to be themselves:
``<|im_start|>``, ``<audio>``, ``[INST]``, ``<<SYS>>``, ``{{ }}``, ``### Instruction``, fenced code. Replacing those
characters disarms every such token, known or not, and leaves the words readable. A double quote delimits our
own quotations, so inside data it becomes a single one: a transcript cannot end the quotation it stands in.
"""

from __future__ import annotations

import unicodedata

#: Characters that could make a token of some chat template, media placeholder or template engine.
_DISARM = str.maketrans(
    {
        "<": "‹", ">": "›", "{": "(", "}": ")", "[": "(", "]": ")", "|": "¦", "`": "'", "\\": "/", "#": "♯",
        '"': "'", "“": "'", "”": "'", "„": "'", "‟": "'", "«": "'", "»": "'", "＂": "'", "″": "'",
    }
)  # fmt: skip

#: Control, format (bidi overrides, zero-width), surrogate, private-use and unassigned characters are dropped.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def neutralise(text: str) -> str:
    """One line of plain text in which nothing can be a control token or end a quotation. Idempotent."""
    spaced = "".join(" " if char.isspace() else char for char in unicodedata.normalize("NFC", text))
    kept = "".join(char for char in spaced if char == " " or unicodedata.category(char) not in _DROPPED)
    return " ".join(unicodedata.normalize("NFC", kept).translate(_DISARM).split())
