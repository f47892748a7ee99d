"""Documents that lie over each other: recipe, profiles, and what the command line says.

Later ones win, key by key; a null takes back what an earlier one set. A layer that names another language model takes
nothing from those below that was said of their model: a licence most of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from datagen import resources
from datagen.errors import UsageError
from datagen.registry import did_you_mean

#: Settings of ``llm`` that are true of one model and say nothing about another.
_OF_THE_MODEL = ("revision", "licence", "system", "extra", "price_in", "price_out", "tokens_per_s")


def available(kind: str = "recipe") -> dict[str, Path]:
    """Shipped recipes (or profiles) by name."""
    folder = resources.folder("pipelines") / ("profiles" if kind == "profile" else "")
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(reference: str, kind: str) -> Path:
    """Path of a recipe or profile given by name or path."""
    shipped = available(kind)
    if reference in shipped:
        return shipped[reference]
    path = Path(reference)
    if path.suffix in {".yaml", ".yml"} or "/" in reference:
        if path.is_file():
            return path
        raise UsageError(f"{kind} {reference}: no such file")
    raise UsageError(f"unknown {kind} '{reference}'{did_you_mean(reference, shipped)}")


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: must be a mapping of settings")
    return document


def merge(base: Any, over: Any) -> Any:
    """Deep merge of mappings; anything else is replaced by what lies over it."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return over


def read_profile(reference: str) -> dict[str, Any]:
    """A profile with those that it names under ``profiles`` laid under it.

    Raises:
        UsageError: it cannot be read, or names itself.
    """
    return _profile(reference, ())


def _profile(reference: str, above: tuple[str, ...]) -> dict[str, Any]:
    if reference in above:
        raise UsageError(
            f"profile {reference}: its 'profiles' lead back to itself ({' -> '.join([*above, reference])})"
        )
    own = read_yaml(find(reference, "profile"))
    under = own.pop("profiles", None) or []
    if not isinstance(under, list) or not all(isinstance(name, str) for name in under):
        raise UsageError(f"profile {reference}: profiles: must be a list of names or paths")
    document: dict[str, Any] = {}
    for name in under:
        document = lay(document, [_profile(name, (*above, reference))])
    return lay(document, [own])


def lay(base: dict[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``layers``, which one hand has written, over ``base``."""
    document: dict[str, Any] = base
    for layer in layers:
        document = merge(document, layer)
    document = _fresh(base, document, layers, ("llm",))
    stages = document.get("stages")
    for name in stages if isinstance(stages, Mapping) else ():
        document = _fresh(base, document, layers, ("stages", name, "llm"))
    return document


def _fresh(
    base: Mapping[str, Any], document: dict[str, Any], layers: Sequence[Mapping[str, Any]], path: tuple[str, ...]
) -> dict[str, Any]:
    """``document`` with the ``llm`` section at ``path`` rid of what was said of another model."""
    section = _at(document, path)
    if not isinstance(section, Mapping):
        return document
    said = [part for layer in layers if isinstance(part := _at(layer, path), Mapping)]
    before = _at(base, path)
    kept = another_model(before if isinstance(before, Mapping) else {}, section, said)
    return document if kept is section else _replace(document, path, kept)


def another_model(
    before: Mapping[str, Any], section: Mapping[str, Any], said: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """``section`` without what ``before`` said of its model, if ``said``, which made it of that, names another one."""
    if section.get("model") == before.get("model"):
        return section
    new = {key for part in said for key in part}
    return {key: value for key, value in section.items() if key not in _OF_THE_MODEL or key in new}


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _replace(document: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {**document, head: _replace(document[head], rest, value) if rest else value}


def nest(dotted: str, value: Any) -> Any:
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return value
