"""HTTP to one kind of route, ``/chat/completions``: bytes there, bytes back, and no secrets in what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datagen.llm.endpoint import Endpoint
from datagen.redact import hidden

if TYPE_CHECKING:
    import aiohttp

#: Bytes of a response that are read at most; an answer of 100,000 tokens is far smaller.
MOST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Said:
    """A whole HTTP response. The API key is blacked out in it, should the server have repeated it."""

    status: int
    body: bytes
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Unheard:
    """No whole response. ``nobody_there``: not even a connection."""

    error_class: str
    message: str
    nobody_there: bool = False


class Wire:
    """One session for all replicas; what is not returned as a value does not happen: nothing here raises."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._key = b""

    def __repr__(self) -> str:
        return f"Wire({self._endpoint!r})"

    async def open(self) -> None:
        """In the running event loop.

        Raises:
            UsageError: the API key is named and not set.
        """
        import aiohttp

        endpoint = self._endpoint
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := endpoint.api_key():
            headers["Authorization"] = f"Bearer {key}"
            self._key = key.encode()
        self._timeout = aiohttp.ClientTimeout(total=endpoint.timeout_s, sock_connect=endpoint.connect_s)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),  # slots of replicas bound it
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=self._timeout,
            trust_env=False,  # a proxy from the environment would be handed the prompts
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, url: str, body: bytes, most_s: float) -> Said | Unheard:
        """To the replica at base URL ``url``; ``most_s`` seconds at most."""
        import aiohttp

        assert self._session is not None, "open() comes first"
        timeout = self._timeout
        if most_s < self._endpoint.timeout_s:
            timeout = aiohttp.ClientTimeout(total=max(most_s, 0.001), sock_connect=self._endpoint.connect_s)
        try:
            # A redirect would carry prompts, and the key, to somebody else.
            async with self._session.post(
                f"{url}/chat/completions", data=body, timeout=timeout, allow_redirects=False
            ) as response:
                data = await _whole(response)
                if data is None:
                    return Unheard("TooLarge", f"the response has more than {MOST_BYTES:,} bytes")
                if self._key:
                    data = data.replace(self._key, b"***")
                return Said(response.status, data, response.headers.get("Retry-After"))
        except aiohttp.ConnectionTimeoutError:
            return Unheard("NoConnection", f"{hidden(url)}: no connection in time", nobody_there=True)
        except TimeoutError:
            return Unheard("Timeout", f"{hidden(url)}: no answer in {timeout.total:g} s")
        except aiohttp.ClientConnectorError as error:
            return Unheard("NoConnection", self._told(url, error), nobody_there=True)
        except (aiohttp.ClientError, OSError) as error:
            return Unheard("Disconnected", self._told(url, error))

    def _told(self, url: str, error: BaseException) -> str:
        text = hidden(f"{url}: {type(error).__name__}: {error}"[:400])
        return text.replace(self._key.decode(), "***") if self._key else text


async def _whole(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, or None if it is too large; a length that was not announced is counted."""
    if response.content_length is not None and "Content-Encoding" not in response.headers:
        return await response.read() if response.content_length <= MOST_BYTES else None
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
