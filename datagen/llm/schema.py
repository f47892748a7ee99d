"""JSON text against a JSON Schema (draft 2020-12), in microseconds.

Servers ignore parameters that they do not know with HTTP 200, so a constraint that was sent proves nothing: every
answer is checked here. Of three libraries, an answer of 1.1 kB took jsonschema 202 us, fastjsonschema 5.7 us and
jsonschema-rs 0.7 us; fastjsonschema passes what violates keywords newer than draft 7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datagen.errors import UsageError
from datagen.llm.per_object import PerObject


class Shape:
    """A compiled schema.

    Raises:
        UsageError: it is no valid JSON Schema, or refers to one that is elsewhere.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        import jsonschema_rs

        try:
            self._validator = jsonschema_rs.Draft202012Validator(dict(schema), retriever=_nowhere)
        except (ValueError, jsonschema_rs.ValidationError) as error:
            raise UsageError(f"not a usable JSON Schema: {str(error).splitlines()[0]}") from None

    def fault(self, value: Any) -> str | None:
        """What does not fit, and where, in one line; None if all does."""
        error = next(self._validator.iter_errors(value), None)
        if error is None:
            return None
        where = "/".join(map(str, error.instance_path))
        return f"{where or 'the answer'}: {error.message}"[:300]


class Shapes(PerObject[Mapping[str, Any], Shape]):
    """Schemas, compiled once each."""

    def __init__(self) -> None:
        super().__init__(Shape)


def parse(text: str) -> Any:
    """JSON as the standard has it.

    Raises:
        ValueError: not JSON, or with what only Python takes for it (NaN, half a surrogate pair, depth without end).
    """
    try:
        value = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text:  # such an escape can be half a character, which no UTF-8 file can hold
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _nowhere(address: str) -> Any:
    raise ValueError(f"{address}: schemas are not fetched")
