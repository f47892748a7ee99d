"""Prompt files: Jinja2 with YAML front matter, rendered in a sandbox.

    ---
    task: qa                    # which samples it makes
    schema: qa.json             # what comes out, in schemas/
    reads: [transcript, words]  # clip columns it may show
    uses: [voice.j2]            # files it imports; part of its hash
    ---
    {% macro question() %} ... {% endmacro %}
    {% macro answer() %} ... {% endmacro %}

Each text of a sample is a macro of its name. Facts are variables; a variable that is not there is an error, so a
prompt cannot mention what was not measured. Data never becomes template source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

from datagen import resources, tables
from datagen.errors import UsageError
from datagen.quality.facts import GROUP

_FENCE = "---\n"


@dataclass(frozen=True)
class Prompt:
    task: str
    schema: str
    reads: tuple[str, ...]
    hash: str  #: blake2b-128 of the file and of the files it uses
    template: jinja2.Template

    def render(self, names: Iterable[str], variables: Mapping[str, Any]) -> dict[str, str | None]:
        """Each macro of ``names``, in that order, as one line of text; None where there is none or it is empty."""
        module = self.template.make_module(dict(variables))
        macros = {name: getattr(module, name, None) for name in names}
        return {name: " ".join(str(macro()).split()) or None if macro else None for name, macro in macros.items()}


def folder(writer: str, override: str | None = None) -> Path:
    """Where the prompts of ``writer`` lie."""
    path = Path(override) if override else resources.folder("prompts") / writer
    if not path.is_dir():
        shipped = resources.folder("prompts") / writer
        raise UsageError(f"prompts folder {path} does not exist; copy {shipped} and edit the copy")
    return path


def sources(path: Path) -> dict[str, str]:
    """File name -> text of every prompt file, sorted: what a stage's key holds."""
    found = {file.name: file.read_text(encoding="utf-8") for file in sorted(path.glob("*.j2"))}
    if not found:
        raise UsageError(f"prompts folder {path} holds no .j2 file")
    return found


def load(path: Path) -> dict[str, Prompt]:
    """Task -> prompt.

    Raises:
        UsageError: no front matter, an unknown key, task or column, or a template that does not compile.
    """
    return dict(_load(tuple(sources(path).items()), str(path)))


@lru_cache(maxsize=8)
def _load(files: tuple[tuple[str, str], ...], where: str) -> tuple[tuple[str, Prompt], ...]:
    parts = {name: split(text, f"{where}/{name}") for name, text in files}
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.DictLoader({name: body for name, (_, body) in parts.items()}),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # plain text, not HTML; data is neutralised in quality/facts.py
    )
    found: dict[str, Prompt] = {}
    for name, (head, _) in parts.items():
        if head is None:
            continue
        problem = _problem(head, parts)
        if problem:
            raise UsageError(f"prompt {where}/{name}: {problem}")
        if head["task"] in found:
            raise UsageError(f"prompt {where}/{name}: there is another prompt for task '{head['task']}'")
        try:
            template = environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(f"prompt {where}/{name}: line {error.lineno} of the template: {error.message}") from error
        text = "\0".join(dict(files)[used] for used in (name, *head.get("uses", ())))
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        found[head["task"]] = Prompt(head["task"], head["schema"], tuple(head["reads"]), digest, template)
    return tuple(found.items())


def split(text: str, where: str) -> tuple[dict[str, Any] | None, str]:
    """Front matter and body. A file without front matter is a part that others import."""
    if not text.startswith(_FENCE):
        return None, text
    head, fence, body = text[len(_FENCE) :].partition("\n" + _FENCE)
    if not fence:
        raise UsageError(f"prompt {where}: the front matter has no closing '---' line")
    try:
        parsed = yaml.safe_load(head)
    except yaml.YAMLError as error:
        said = " ".join(str(getattr(error, "problem", None) or error).split())  # without the excerpt of several lines
        raise UsageError(f"prompt {where}: the front matter is not YAML: {said}") from error
    if not isinstance(parsed, dict):
        raise UsageError(f"prompt {where}: the front matter must be keys and values")
    return parsed, body


def _problem(head: Mapping[str, Any], parts: Mapping[str, Any]) -> str | None:
    checks: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("task", lambda task: task in tables.TASKS, f"must be one of {', '.join(tables.TASKS)}"),
        ("schema", lambda name: (resources.folder("schemas") / str(name)).is_file(), "must be a file in schemas/"),
        ("reads", lambda names: isinstance(names, list) and set(names) <= set(GROUP), "must list clip columns"),
    )
    for key, fits, rule in checks:
        if key not in head or not fits(head[key]):
            return f"front matter '{key}' {rule}; it is {head.get(key)!r}"
    if unknown := sorted(set(head) - {"task", "schema", "reads", "uses"}):
        return f"front matter holds the unknown key '{unknown[0]}'"
    if absent := sorted(set(head.get("uses", ())) - set(parts)):
        return f"front matter 'uses' names {absent[0]}, which is not in the folder"
    return None
