"""Which language model is asked, where it is served, and what may be spent: the recipe's ``llm`` section.

A recipe says it once for all stages; a stage may say otherwise for itself (``stages.judge.llm.model``). Only what
decides the text is part of a stage's key: the model, its revision, and how it is spoken to.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datagen import digest
from datagen.llm.endpoint import Constraint, Endpoint, base, plain
from datagen.redact import hidden


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class VllmConfig(_Strict):
    """A vLLM server that the run starts and looks after, in an environment of its own."""

    python: str | None = Field(
        None, description="interpreter with vLLM; None = .venv-llm beside the project, else ours"
    )
    args: tuple[str, ...] = Field((), description="further arguments, e.g. [--max-model-len, '8192']")
    env: dict[str, str] = Field(default_factory=dict, description="further environment variables")
    replicas: int | None = Field(None, ge=1, description="None = one per GPU or tensor-parallel group; one on a CPU")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one replica")
    gpus: float | None = Field(None, ge=0, description="per replica; None = tensor_parallel where there are GPUs")
    ready_s: float = Field(1800.0, gt=0, description="to answer for the first time: large models take minutes to load")
    restarts: int = Field(
        5, ge=0, description="of a replica in a row, none of which answered for a minute, before the run ends"
    )

    @field_validator("args")
    @classmethod
    def _theirs(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        taken = {"--model", "--revision", "--served-model-name", "--host", "--port", "--tensor-parallel-size"}
        if ours := sorted(taken & {arg.partition("=")[0] for arg in args}):
            raise ValueError(f"{', '.join(ours)}: set by the run itself, from the other settings")
        return args


class LlmConfig(_Strict):
    """Times are in seconds."""

    server: Literal["vllm", "endpoint"] | None = Field(
        None, description="vllm = start one; endpoint = any OpenAI-compatible server that is running"
    )
    model: str = Field("", description="as the server names it; for vllm a hub id or a folder")
    revision: str = Field("", description="of the model; pin it, or the same recipe may mean another model tomorrow")
    licence: str | None = Field(None, description="of what the model writes, as in schemas/licences.yaml")
    system: bool = Field(True, description="whether the model's chat template knows a system role")
    extra: dict[str, Any] = Field(default_factory=dict, description="into the payload, e.g. chat_template_kwargs")

    urls: tuple[str, ...] = Field((), description="base URL of each replica of an endpoint")
    api_key_env: str | None = Field(None, description="name of the environment variable that holds the key")
    constraint: Constraint | None = Field(
        None, description="how the JSON Schema is sent; None = structured_outputs to vllm, else response_format"
    )
    in_flight: int = Field(64, ge=1, le=4096, description="most requests under way per replica")
    timeout_s: float = Field(180.0, gt=0, description="of one try")
    deadline_s: float = Field(1800.0, gt=0, description="of a request with all its tries")
    tries: int = Field(8, ge=1, description="most tries of a request")
    backoff_s: float = Field(0.25, ge=0, description="mean wait before the second try; doubles from try to try")
    gone_s: float = Field(300.0, gt=0, description="so long no replica may answer before the run ends")

    most_tokens: int | None = Field(None, ge=1, description="cap for the whole run, prompts and answers together")
    most_gpu_hours: float | None = Field(None, gt=0, description="cap for the whole run")
    price_in: float | None = Field(None, ge=0, description="of a million prompt tokens, for the cost estimate")
    price_out: float | None = Field(None, ge=0, description="of a million tokens written")
    price_gpu_hour: float | None = Field(None, ge=0)
    tokens_per_s: float | None = Field(
        None, gt=0, description="written per GPU, for estimates before there are figures of this run's own"
    )

    vllm: VllmConfig = VllmConfig()

    @field_validator("urls", mode="before")
    @classmethod
    def _one(cls, urls: Any) -> Any:
        return (urls,) if isinstance(urls, str) else urls

    @field_validator("urls")
    @classmethod
    def _plain(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return plain(urls)

    @model_validator(mode="after")
    def _whole(self) -> LlmConfig:
        if self.server is not None and not self.model:
            raise ValueError("model is not set: name the model that the server serves")
        if self.server == "endpoint" and not self.urls:
            raise ValueError("server is 'endpoint' and urls is empty: give the base URL of each replica")
        if self.server == "vllm" and self.urls:
            raise ValueError("server 'vllm' starts its own; for one that is running set server: endpoint")
        return self

    def semantics(self) -> dict[str, Any]:
        """What decides the text; part of a stage's key."""
        return {"model": self.model, "revision": self.revision, "system": self.system, "extra": self.extra}

    @property
    def group(self) -> str:
        """Name of the servers that serve these settings; stages with the same one share them."""
        asked = self.vllm.model_dump(mode="json") | {"model": self.model, "revision": self.revision}
        return digest.of_value(asked)[:12]

    def endpoint(self, urls: tuple[str, ...] = ()) -> Endpoint:
        """For the client; ``urls`` of servers that the run has started, else those of the settings."""
        constraint = self.constraint or ("structured_outputs" if self.server == "vllm" else "response_format")
        starting = self.vllm.ready_s if self.server == "vllm" else 0.0  # it may be about to come back
        return Endpoint(
            urls=tuple(map(base, urls)) or self.urls,
            api_key_env=self.api_key_env if self.server == "endpoint" else None,
            constraint=constraint,
            in_flight=self.in_flight,
            timeout_s=self.timeout_s,
            deadline_s=self.deadline_s + starting,
            tries=self.tries,
            backoff_s=self.backoff_s,
            gone_s=self.gone_s + starting,
        )

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return [
            (name, tuple(map(hidden, value)) if name == "urls" else value) for name, value in super().__repr_args__()
        ]
