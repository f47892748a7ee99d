"""The data card: README.md with the metadata the Hub reads, LICENSE.md and quality.json beside it.

A card answers what a reviewer asks: what is in it, who made each label with which model under which licence, what
was thrown away, how balanced it is, what it must not be used for, and how to load it. Everything that came with the
data is escaped (``escape.py``); only our own sentences are markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datagen.export import pictures
from datagen.export.card import quality
from datagen.export.card.about import About
from datagen.export.card.body import body
from datagen.export.card.front_matter import front_matter
from datagen.export.card.loading import PLACE
from datagen.export.card.rights import licence_file
from datagen.export.hub import Published
from datagen.export.run import RunReader

__all__ = ["PLACE", "About", "body", "front_matter", "write"]


def write(folder: Path, run: RunReader, result: Published, about: About, require: Sequence[str] = ()) -> None:
    """Write README.md, LICENSE.md, quality.json and ``figures/`` into the staging folder of an export."""
    (folder / "figures").mkdir()
    figures = pictures.draw(folder / "figures", result.clips, result.samples)
    quality.write(folder, run)
    (folder / "LICENSE.md").write_text(licence_file(run, result), "utf-8")
    text = front_matter(result, about) + "\n" + body(run, result, about, figures, require)
    (folder / "README.md").write_text(text, "utf-8")
