"""Where a language model is served, and how hard it may be asked.

Any OpenAI-compatible server: vLLM, SGLang, llama.cpp, Ollama, or a hosted one. Nothing here decides what is asked.
"""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datagen.errors import UsageError
from datagen.redact import hidden

Constraint = Literal["response_format", "structured_outputs", "none"]


def plain(urls: tuple[str, ...]) -> tuple[str, ...]:
    """Base URLs of different replicas.

    Raises:
        ValueError: one that is none, or twice the same.
    """
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{hidden(url)}: not a URL of a server, such as http://host:8000/v1")
        if parts.query or parts.fragment:
            raise ValueError(f"{hidden(url)}: a base URL has no query")
    bases = tuple(base(url) for url in urls)
    if len(set(bases)) != len(bases):
        raise ValueError("one replica is named twice")
    return bases


class Endpoint(BaseModel):
    """Replicas of one model and the client's manners towards them. Times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # URLs may hold passwords

    urls: tuple[str, ...] = Field(
        min_length=1, description="base URL of each replica, with or without /v1, e.g. http://host:8000/v1"
    )
    api_key_env: str | None = Field(None, description="name of the environment variable that holds the key")
    constraint: Constraint = Field(
        "response_format",
        description="how the JSON Schema is sent: OpenAI's response_format, or vLLM's structured_outputs",
    )
    in_flight: int = Field(64, ge=1, le=4096, description="most requests under way per replica")
    timeout_s: float = Field(180.0, gt=0, description="of one try; a server that says nothing for so long hangs")
    connect_s: float = Field(10.0, gt=0, description="to open a connection")
    deadline_s: float = Field(1800.0, gt=0, description="of a request with all its tries")
    tries: int = Field(8, ge=1, description="most tries of a request")
    backoff_s: float = Field(0.25, ge=0, description="mean wait before the second try; doubles from try to try")
    backoff_most_s: float = Field(30.0, ge=0, description="longest wait, unless Retry-After asks for more")
    gone_s: float = Field(300.0, gt=0, description="so long no replica may answer before the run ends")

    @field_validator("urls")
    @classmethod
    def _plain(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return plain(urls)

    @model_validator(mode="after")
    def _one_way_in(self) -> Endpoint:
        if self.api_key_env and any(urlsplit(url).username for url in self.urls):
            raise ValueError("either a key from the environment or a name in the URL, not both")
        return self

    def api_key(self) -> str | None:
        """The key itself. Callers keep it in no object that is printed, pickled or stored.

        Raises:
            UsageError: the variable is named and not set, or holds what no header can.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise UsageError(f"the environment variable {self.api_key_env} should hold the API key and is not set")
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"the environment variable {self.api_key_env} holds characters that no key has")
        return key

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return [
            (name, tuple(map(hidden, value)) if name == "urls" else value) for name, value in super().__repr_args__()
        ]


def base(url: str) -> str:
    """``url`` up to and with ``/v1``: people write it with and without.

    >>> base("http://host:8000"), base("http://host:8000/v1/")
    ('http://host:8000/v1', 'http://host:8000/v1')
    """
    url = url.rstrip("/")
    return url if url.endswith("/v1") else url + "/v1"
