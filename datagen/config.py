"""A recipe: YAML in, typed and validated settings out.

Later layers win: recipe file, then each profile, then ``--input``/``--output``, then each ``--set a.b=c``; a null
takes back what an earlier layer set (``layers.py``). Every mistake is found here, before anything is opened or started,
and named by its dotted path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen.errors import UsageError
from datagen.layers import another_model, find, lay, merge, nest, read_profile, read_yaml
from datagen.llm.settings import LlmConfig
from datagen.redact import hidden
from datagen.registry import did_you_mean, stage_class, stage_names
from datagen.stage import Resources, Stage, StageConfig


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExecutorConfig(_Strict):
    """Where work runs; never part of a key."""

    kind: Literal["ray", "local"] = "ray"
    address: str | None = Field(None, description="of a running Ray cluster; None = one inside this process")
    cpus: int | None = Field(None, ge=1, description="None = all cores (embedded Ray only)")
    start_timeout_s: float = Field(120.0, gt=0)


class ShardConfig(_Strict):
    """How new inputs are dealt out. Changing it moves no row that already has a shard."""

    seconds: float = Field(3600.0, gt=0, description="audio seconds per shard")
    rows: int = Field(2000, ge=1, description="most recordings per shard")


class _Document(_Strict):
    recipe: str
    description: str = ""
    seed: int = 17
    stages: dict[str, dict[str, Any] | None]
    llm: LlmConfig | None = None
    executor: ExecutorConfig = ExecutorConfig()
    shards: ShardConfig = ShardConfig()
    max_reject_fraction: float = Field(0.2, ge=0, le=1)


class Recipe:
    """A validated recipe. ``configs`` and ``resources`` are keyed by stage name, in the recipe's order."""

    def __init__(self, document: _Document, source: str) -> None:
        self.name, self.description, self.seed = document.recipe, document.description, document.seed
        self.executor, self.shards, self.llm = document.executor, document.shards, document.llm
        self.max_reject_fraction = document.max_reject_fraction
        self.source = source
        self.configs: dict[str, StageConfig] = {}
        self.resources: dict[str, Resources] = {}
        for name, settings in document.stages.items():
            if settings is None:  # a profile or --set removed it
                continue
            if name not in stage_names():
                raise UsageError(f"{source}: stages.{name}: unknown stage{did_you_mean(name, stage_names())}")
            cls = stage_class(name)
            own = dict(settings)
            if document.llm is not None and "llm" in cls.Config.model_fields:
                shared = document.llm.model_dump(mode="json", exclude_unset=True)
                own["llm"] = another_model(shared, merge(shared, own.get("llm") or {}), [own.get("llm") or {}])
            asked = own.pop("resources", None) or {}
            unknown = set(asked) - set(Resources.model_fields)
            if unknown:
                key = min(unknown)
                raise UsageError(
                    f"{source}: stages.{name}.resources.{key}: unknown{did_you_mean(key, Resources.model_fields)}"
                )
            self.configs[name] = _validate(cls.Config, own, f"{source}: stages.{name}")
            base = cls.wants(self.configs[name]).model_dump()
            self.resources[name] = _validate(Resources, base | asked, f"{source}: stages.{name}.resources")

    def stages(self) -> dict[str, Stage]:
        """Fresh stage objects, in recipe order."""
        return {name: stage_class(name)(config, seed=self.seed) for name, config in self.configs.items()}

    def document(self) -> dict[str, Any]:
        """Everything, defaults included, ready for YAML: what is stored with the run, without credentials in URLs."""
        document: dict[str, Any] = _without_secrets(self._document())
        return document

    def _document(self) -> dict[str, Any]:
        return {
            "recipe": self.name,
            "description": self.description,
            "seed": self.seed,
            "stages": {
                name: config.model_dump(mode="json") | {"resources": self.resources[name].model_dump(mode="json")}
                for name, config in self.configs.items()
            },
            "llm": self.llm.model_dump(mode="json") if self.llm else None,
            "executor": self.executor.model_dump(mode="json"),
            "shards": self.shards.model_dump(mode="json"),
            "max_reject_fraction": self.max_reject_fraction,
        }

    def yaml(self) -> str:
        return yaml.safe_dump(self.document(), sort_keys=False, allow_unicode=True)


def load(
    reference: str,
    *,
    profile: str | Sequence[str] | None = (),
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe by name (``cpqa``) or path, lay profiles and overrides over it, validate.

    Args:
        profile: names or paths; a later one lies over an earlier one.
        sets: ``a.b=value`` strings; the value is YAML (``null`` for a stage removes it).
        overrides: dotted path -> value, applied before ``sets`` (``--input`` and friends).

    Raises:
        UsageError: anything wrong with any of them.
    """
    document = read_yaml(find(reference, "recipe"))
    for name in [profile] if isinstance(profile, str) else profile or ():
        document = lay(document, [read_profile(name)])
    said = [nest(dotted, value) for dotted, value in (overrides or {}).items()]
    for item in sets:
        dotted, eq, text = item.partition("=")
        if not eq or not dotted:
            raise UsageError(f"--set {item}: write it as path.to.key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {item}: the value is not YAML: {error}") from error
        said.append(nest(dotted, value))
    return parse(lay(document, said), f"recipe {reference}")


def parse(document: Mapping[str, Any], source: str) -> Recipe:
    """Validate a document that is already in memory (also how a run's stored recipe is read back)."""
    return Recipe(_validate(_Document, document, source), source)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, Mapping):
        return {key: _without_secrets(item) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


def _defaulted(model: Any, values: Any) -> Any:
    """A null means: as if it were not set. That is how a profile or ``--set`` takes back what a recipe sets."""
    fields = getattr(model, "model_fields", {})
    if not isinstance(values, Mapping):
        return values
    kept = {}
    for key, value in values.items():
        kind = fields[key].annotation if key in fields else None
        if value is None and key in fields and kind is not Any and type(None) not in get_args(kind):
            continue
        kept[key] = _defaulted(_section(kind), value)
    return kept


def _section(annotation: Any) -> Any:
    """The settings that a field holds where it may also hold none: ``LlmConfig`` of ``LlmConfig | None``."""
    return next((part for part in get_args(annotation) if hasattr(part, "model_fields")), annotation)


def _validate(model: Any, values: Any, where: str) -> Any:
    try:
        return model.model_validate(_defaulted(model, values))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            path = ".".join(str(part) for part in item["loc"])
            spot = f"{where}.{path}" if ": stages." in where else f"{where}: {path}"
            got = item.get("input")
            if item["type"] == "extra_forbidden":
                known = _fields_at(model, item["loc"][:-1])
                problems.append(f"{spot}: unknown key{did_you_mean(str(item['loc'][-1]), known)}")
            elif item["type"] in {"literal_error", "enum"}:
                expected = item.get("ctx", {}).get("expected", "")
                known = [word.strip("' ") for word in expected.replace(" or ", ",").split(",") if word.strip()]
                problems.append(f"{spot}: unknown {got!r}{did_you_mean(str(got), known)}")
            else:
                told = (
                    "" if isinstance(got, Mapping | list | tuple) else f" (got {hidden(repr(got))})"
                )  # no dump of a section
                problems.append(f"{spot}: {item['msg'].removeprefix('Value error, ')}{told}")
        raise UsageError("\n".join(problems)) from error


def _fields_at(model: Any, loc: Sequence[Any]) -> list[str]:
    for part in loc:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        model = _section(field.annotation)
    return list(getattr(model, "model_fields", {}))
