"""Where recipes, prompts and JSON Schemas lie: at the top of a checkout, inside the package once installed."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parent.parent


def folder(name: str) -> Path:
    """Directory of ``pipelines``, ``prompts`` or ``schemas``."""
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _CHECKOUT / name
