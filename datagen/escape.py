"""Text from strangers, made harmless for Markdown, HTML, YAML and figures.

A speaker's name, a corpus's label or a reject's message may hold anything. On a card it must stay text: it may not
open a tag, close a table cell, end a code block or turn into front matter.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

#: What opens emphasis, code, links, cells, maths or mentions, and what makes an address into a link.
_MARKDOWN = re.compile(r"[\\`*{}\[\]|~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
#: Line breaks of all kinds, and the marks that make text run backwards.
_BREAKS = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")


def plain(text: Any, limit: int = 200) -> str:
    """One line of visible characters, at most ``limit`` of them. For figures, terminals and YAML values."""
    line = _BREAKS.sub(" ", str(text)).strip()
    line = "".join(char for char in line if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def markdown(text: Any, limit: int = 200) -> str:
    """``plain`` text that Markdown shows as it is, within a line or a table cell (not at a line's start)."""
    # Entities rather than backslashes: they hold inside table cells too.
    return _MARKDOWN.sub(lambda found: f"&#{ord(found.group())};", html.escape(plain(text, limit), quote=False))


def code(text: Any, limit: int = 200) -> str:
    """``plain`` text as an inline code span, in a table cell too."""
    line = plain(text, limit).replace("|", "¦") or " "
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def block(text: str, language: str = "") -> str:
    """A fenced code block that nothing inside can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
