"""What can go wrong, how often, and when: decided by a hash of the request and of how often it came."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Faults:
    """A rate (0 to 1) for each; together at most 1. Of the transport first, then of what the model says."""

    rate_limited: float = 0.0  #: HTTP 429 without Retry-After
    retry_after: float = 0.0  #: HTTP 429 with Retry-After, as seconds and as a date by turns
    http_500: float = 0.0
    http_503: float = 0.0
    hang: float = 0.0  #: nothing at all, until the client goes away
    drop: float = 0.0  #: the connection closes in the middle of the body
    garbage: float = 0.0  #: HTTP 200 with a page that is no JSON

    cut: float = 0.0  #: the answer ends early, finish_reason "length"
    invalid_json: float = 0.0  #: text round the JSON, or a comma too many, finish_reason "stop"
    whitespace: float = 0.0  #: JSON that goes on in line breaks until it is stopped
    wrong_shape: float = 0.0  #: valid JSON, a required field is missing, another was added
    unconstrained: float = 0.0  #: the constraint was ignored: prose
    refusal: float = 0.0  #: the refusal field and no content
    empty: float = 0.0

    wrong_label: float = 0.0  #: fits the schema; the label is another one of its enum
    hallucinated: float = 0.0  #: fits the schema; evidence that nobody measured
    echo: float = 0.0  #: fits the schema; a text repeats an instruction that stood in the data

    reasoning: float = 0.0  #: no fault: thoughts in `reasoning`, `reasoning_content` or before `</think>`, by turns

    def __post_init__(self) -> None:
        rates = [float(getattr(self, each.name)) for each in fields(self)]
        if min(rates) < 0 or sum(rates) > 1 + 1e-9:
            raise ValueError("rates lie between 0 and 1, and so does their sum")

    @classmethod
    def all(cls, rate: float) -> Faults:
        """Each at the same rate."""
        return cls(**{each.name: rate for each in fields(cls)})


FAULTS: tuple[str, ...] = tuple(each.name for each in fields(Faults))


class Luck:
    """Reproducible numbers from 0 to 1 for a request and the how-manieth time it came."""

    def __init__(self, seed: int, request: str, tries: int) -> None:
        self._name = f"{seed}\x1f{request}\x1f{tries}\x1f"

    def share(self, what: str) -> float:
        data = (self._name + what).encode()
        return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big") / 2**56

    def fault(self, faults: Faults) -> str | None:
        """Which fault strikes, if any."""
        left = self.share("fault")
        for name in FAULTS:
            left -= getattr(faults, name)
            if left < 0:
                return name
        return None
