"""When two clips say the same words: a key for any language. Near-same texts are found by the stage ``neighbours``."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

#: Language of a text nobody told us the language of (ISO 639-2).
UNDETERMINED = "und"
_APOSTROPHES = re.compile("['’ʼ`´]")


def language(*tags: str | None) -> str:
    """The first known of some language tags, as its primary subtag: ``en-NZ`` is ``en``; else ``und``."""
    for tag in tags:
        if tag and tag.strip():
            return re.split(r"[-_/]", tag.strip().casefold())[0]
    return UNDETERMINED


def normalised(text: str) -> str:
    """NFKC, no case, no punctuation or symbols, single blanks; apostrophes vanish without a gap."""
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    kept = (char if unicodedata.category(char)[0] in "LNM" else " " for char in plain)
    # Casefolding can leave NFKC (e.g. long s with a dot), so a second pass closes the form.
    return " ".join(unicodedata.normalize("NFKC", "".join(kept)).split())


def text_key(text: str | None, *languages: str | None) -> str | None:
    """``<language>|<normalised text>``: equal keys are the same words. None when no word is left."""
    words = normalised(text) if text else ""
    return f"{language(*languages)}|{words}" if words else None


def text_id(key: str | None) -> str | None:
    """Short stable name of a text key: 64 bits of its hash, in hex."""
    return None if key is None else blake2b(key.encode(), digest_size=8).hexdigest()


def text_number(key: str) -> int:
    """The number that ``text_id`` names in hex."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
