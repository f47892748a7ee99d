"""What the pages tell a user to write is accepted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from datagen.config import load
from datagen.layers import available
from datagen.readers.config import Format

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


RECIPES = [pytest.param(text, id=f"{page.name}-{n}") for page in PAGES for n, text in enumerate(blocks(page, "yaml"))]
SETTINGS = sorted({
    match.strip("'`")
    for page in PAGES
    for match in re.findall(r"--set ('[^']+'|[\w.]+=[^\s`),]+)", page.read_text("utf-8"))
})  # fmt: skip


@pytest.mark.parametrize("text", RECIPES)
def test_a_recipe_on_a_page_is_valid(text: str, tmp_path: Path) -> None:
    part = yaml.safe_load(text)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"recipe": "mine", "description": "a page's", **part}))
    load(str(file))


#: What settings of a language model are said beside: one alone names no server.
SERVER = ["llm.server=endpoint", "llm.urls=[http://host:8000/v1]", "llm.model=NAME"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_on_a_page_is_valid(setting: str) -> None:
    if setting.startswith(("llm.", "stages.scenario", "stages.judge", "stages.blind")):
        load(
            "full", profile="embedded", sets=[setting] if setting.startswith("llm.server=vllm") else [*SERVER, setting]
        )
    else:
        load("cpqa", profile="offline", sets=[setting])


def test_every_recipe_and_profile_is_on_the_page_about_them() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert [name for name in available() if f"\n## `{name}`" not in page] == []
    assert [name for name in available("profile") if f"\n| `{name}` |" not in page] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_format_is_on_the_page_about_inputs() -> None:
    page = (ROOT / "docs" / "input.md").read_text("utf-8")
    assert [name for name in get_args(Format) if f"`{name}`" not in page and name != "auto"] == []
