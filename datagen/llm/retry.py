"""What a failed try means, and how long to wait before the next: pure functions."""

from __future__ import annotations

import email.utils
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from datagen.llm.answers import BadResponse, Blame, Reply, received
from datagen.llm.wire import Said, Unheard

#: Statuses below 500 that another try may change.
AGAIN = frozenset({408, 409, 425, 429})
OVERLOADED = frozenset({429, 503})
#: Statuses that say no to everybody: a wrong key, no credit, a model or a route that is not there.
TO_EVERYBODY = frozenset({401, 402, 403, 404, 405})


@dataclass(frozen=True, slots=True)
class Setback:
    """A try that brought no reply."""

    error_class: str
    message: str
    again: bool  #: whether another try may bring one
    blame: Blame = Blame.SERVER
    wait_s: float = 0.0  #: that the server asked for
    overloaded: bool = False
    unwell: bool = False  #: a server that is all right does not do this
    nobody_there: bool = False


def one_token(model: str) -> bytes:
    """The body of the smallest question there is: who answers it is there. Health routes lie."""
    question = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    return json.dumps(question).encode()


def understood(said: Said | Unheard, latency_s: float, tries: int) -> Reply | Setback:
    """What a try has brought."""
    if isinstance(said, Said) and said.status == 200:
        try:
            return received(said.body, latency_s, tries)
        except BadResponse as error:
            return Setback("BadResponse", str(error), True, unwell=True)
    return setback(said)


def setback(said: Said | Unheard) -> Setback:
    """Of whatever is not HTTP 200."""
    if isinstance(said, Unheard):
        return Setback(said.error_class, said.message, True, unwell=True, nobody_there=said.nobody_there)
    status, wait = said.status, retry_after(said.retry_after)
    message = f"HTTP {status}: {_told(said.body)}"
    if status == 429:
        return Setback("RateLimited", message, True, wait_s=wait, overloaded=True)
    if status in AGAIN or status >= 500:
        overloaded = status in OVERLOADED
        return Setback("ServerError", message, True, wait_s=wait, overloaded=overloaded, unwell=not overloaded)
    if status in TO_EVERYBODY or status < 400:
        return Setback("NotServed", message, False)
    return Setback("BadRequest", message, False, Blame.REQUEST)


def _told(body: bytes) -> str:
    """The server's own words, shortened: they come from outside."""
    text = body[:2000].decode(errors="replace")
    try:
        data = json.loads(text)
        found = data.get("error", data)
        text = str(found.get("message", found) if isinstance(found, dict) else found)
    except (ValueError, AttributeError, RecursionError):
        pass
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text[:200] or "(nothing said)"


def retry_after(value: str | None, now: datetime | None = None) -> float:
    """Seconds that a Retry-After header asks for, given as seconds or as an HTTP date; 0 where it says nothing.

    >>> retry_after("2"), retry_after("soon"), retry_after(None), retry_after("-1"), retry_after("nan")
    (2.0, 0.0, 0.0, 0.0, 0.0)
    >>> retry_after("Wed, 21 Oct 2015 07:28:05 GMT", datetime(2015, 10, 21, 7, 28, tzinfo=UTC))
    5.0
    """
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value)
        except (ValueError, IndexError, TypeError, OverflowError):
            return 0.0
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return seconds if 0 < seconds < 1e9 else 0.0


def backoff(tries: int, mean_s: float, most_s: float, luck: random.Random) -> float:
    """Seconds before the next try after ``tries`` failed ones: full jitter, uniform from 0 to a bound that doubles and
    is twice ``mean_s`` at first. Clients that failed together do not come back together.
    """
    return luck.uniform(0.0, min(most_s, 2 * mean_s * 2.0 ** min(tries - 1, 30)))
