"""Prompts for a language model: Jinja2 with YAML front matter, rendered in a sandbox.

    ---
    schema: write/qa.json       # what must come back, in schemas/llm/
    uses: [parts.j2]            # files of the same folder that it imports; part of its hash
    ---
    {% macro instruction() %} ... {% endmacro %}      what all questions of this kind share: no data in it
    {% macro question() %} ... {% endmacro %}         one clip, one slot

The instruction goes first and is the same for all, so that servers reuse their cache for it. Data gets into a question
only through ``{{ value | data }}``: one line of compact JSON with nothing in it that a chat template or a reader could
take for markup. Data never becomes template source; a variable that is not there is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from datagen import resources
from datagen.errors import UsageError
from datagen.llm.prompts import split
from datagen.quality.untrusted import neutralise

_KEYS = {"schema", "uses"}


@dataclass(frozen=True)
class Instructed:
    """One prompt file. ``schema`` is the JSON Schema of the answer, the same object for all requests."""

    name: str
    schema: Mapping[str, Any]
    hash: str  #: blake2b-128 of the file, of the files it uses and of the schema
    template: jinja2.Template = field(repr=False)

    @cached_property
    def instruction(self) -> str:
        return _tidy(str(self.template.module.instruction()))  # type: ignore[attr-defined]

    def question(self, **variables: Any) -> str:
        """For one slot.

        Raises:
            UsageError: the prompt mentions what it was not given, or does what its sandbox forbids.
        """
        try:
            return _tidy(str(self.template.make_module(variables).question()))  # type: ignore[attr-defined]
        except jinja2.TemplateError as error:
            raise UsageError(f"prompt '{self.name}': its question cannot be written: {error}") from error


def data(value: Any) -> str:
    """Compact JSON on one line, its texts neutralised."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises: what is not there has a name in the error
    return json.dumps(_clean(value), ensure_ascii=False, separators=(",", ":"))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return neutralise(value)
    if isinstance(value, Mapping):
        return {neutralise(str(key)): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, (list, tuple)) else value


def folder(stage: str, override: str | None = None) -> Path:
    """Where the prompts of a stage lie."""
    shipped = resources.folder("prompts") / "llm" / stage
    path = Path(override) if override else shipped
    if not path.is_dir():
        raise UsageError(f"prompts folder {path} does not exist; copy {shipped} and edit the copy")
    return path


def sources(path: Path) -> dict[str, str]:
    """File name -> text of every prompt file and of the schemas they name, sorted: what a stage's key holds."""
    found = {file.name: file.read_text(encoding="utf-8") for file in sorted(path.glob("*.j2"))}
    if not found:
        raise UsageError(f"prompts folder {path} holds no .j2 file")
    shapes = {prompt.name: json.dumps(prompt.schema, ensure_ascii=False) for prompt in load(path).values()}
    return found | {f"{name} answers": text for name, text in sorted(shapes.items())}


def load(path: Path) -> dict[str, Instructed]:
    """File stem -> prompt, for every file with front matter.

    Raises:
        UsageError: no front matter, an unknown key, no such schema, or a template that does not compile, lacks a macro
            or whose instruction needs data.
    """
    files = tuple((file.name, file.read_text(encoding="utf-8")) for file in sorted(path.glob("*.j2")))
    return dict(_load(files, str(path)))


@lru_cache(maxsize=32)
def _load(files: tuple[tuple[str, str], ...], where: str) -> tuple[tuple[str, Instructed], ...]:
    parts = {name: split(text, f"{where}/{name}") for name, text in files}
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.DictLoader({name: body for name, (_, body) in parts.items()}),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # not HTML; what comes from outside goes through ``data``
    )
    environment.filters["data"] = data
    found = []
    for name, (head, _) in parts.items():
        if head is None:
            continue
        if unknown := sorted(set(head) - _KEYS):
            raise UsageError(f"prompt {where}/{name}: front matter holds the unknown key '{unknown[0]}'")
        if absent := sorted(set(head.get("uses") or ()) - set(parts)):
            raise UsageError(f"prompt {where}/{name}: 'uses' names {absent[0]}, which is not in the folder")
        shape = resources.folder("schemas") / "llm" / str(head.get("schema"))
        if not shape.is_file():
            raise UsageError(f"prompt {where}/{name}: front matter 'schema' must be a file in schemas/llm/")
        text = shape.read_text(encoding="utf-8")
        template = _template(environment, name, f"{where}/{name}")
        whole = "\0".join([*(dict(files)[used] for used in (name, *(head.get("uses") or ()))), text])
        digest = hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()
        stem = Path(name).stem
        found.append((stem, Instructed(stem, json.loads(text), digest, template)))
    return tuple(found)


def _template(environment: jinja2.Environment, name: str, where: str) -> jinja2.Template:
    """Compiled, and what needs no data rendered once: a mistake shows before anything is measured."""
    try:
        template = environment.get_template(name)
        for macro in ("instruction", "question"):
            if not hasattr(template.module, macro):
                raise UsageError(f"prompt {where}: there is no macro '{macro}'; see the shipped file of this name")
        template.module.instruction()  # type: ignore[attr-defined]
    except jinja2.TemplateSyntaxError as error:
        raise UsageError(f"prompt {where}: line {error.lineno} of the template: {error.message}") from error
    except (jinja2.TemplateError, TypeError) as error:  # TypeError: a macro was called with other arguments
        raise UsageError(f"prompt {where}: its instruction cannot be written: {error}") from error
    return template


def _tidy(text: str) -> str:
    """Without the blank lines and the trailing spaces that templates leave."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(line for at, line in enumerate(lines) if line or (at and lines[at - 1]))
