"""One file from a web address: over TLS, resumed where it was interrupted, never larger than it may be."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from datagen.errors import RunError
from datagen.redact import hidden

#: Files whose size the manifest does not know may be as large as this, in bytes.
LARGEST = 8 << 30
TIMEOUT_S = 30.0
ATTEMPTS = 5
_CHUNK = 1 << 20
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class WrongFile(RunError):
    """What arrived is not what the manifest names."""


class _OverTls(urllib.request.HTTPRedirectHandler):
    """A redirect must not lead away from TLS, nor to a local file."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(req.full_url).scheme == "https" != urllib.parse.urlsplit(newurl).scheme:
            raise RunError(f"{hidden(newurl)}: model files are fetched over https only")  # this machine's included
        check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check(url: str) -> None:
    """Raises ``RunError`` unless ``url`` is https (or http to this very machine)."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise RunError(f"{hidden(url)}: model files are fetched over https only")


def fetch(url: str, target: Path, size: int | None = None, *, wait: Callable[[float], object] = time.sleep) -> None:
    """``url`` into the file ``target``, through ``target`` + ``.part``, which a later call goes on with.

    Args:
        size: bytes it must have; None = any up to ``LARGEST``.
        wait: sleeps between attempts.

    Raises:
        RunError: not reachable, or refused.
        WrongFile: another size than ``size``.
    """
    check(url)
    for attempt in range(ATTEMPTS):
        part = Path(f"{target}.part")
        before = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, size)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in {408, 429}:
                raise RunError(f"{hidden(url)}: {error.code} {error.reason}") from error
            failure: Exception = error
        except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
            failure = error
        else:
            part.rename(target)
            _mark(target).unlink(missing_ok=True)
            return
        if attempt + 1 < ATTEMPTS:
            wait(0.0 if part.exists() and part.stat().st_size > before else 2.0**attempt)
    raise RunError(f"{hidden(url)}: {failure}; the same command goes on where this stopped") from failure


def _transfer(url: str, part: Path, size: int | None) -> None:
    """Append what is lacking to ``part``; from the start where the server has another file by now."""
    mark = _mark(part.with_suffix(""))
    have = part.stat().st_size if part.exists() and mark.exists() else 0
    headers = {"User-Agent": "datagen", "Accept-Encoding": "identity"}
    if have and have == size:
        return
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text("utf-8")}
    opener = urllib.request.build_opener(_OverTls())
    try:
        answer = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        part.unlink()  # longer than what the server has now
        raise ConnectionError("the file changed on the server") from error
    with answer:
        resumed = answer.status == 206
        left = answer.headers.get("Content-Length")
        _fits(url, (have if resumed else 0) + int(left) if left else None, size)
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if validator and not validator.startswith("W/"):
            mark.write_text(validator, "utf-8")
        else:
            mark.unlink(missing_ok=True)  # without a validator nobody can tell whether the rest belongs to it
        got = have if resumed else 0
        with part.open("ab" if resumed else "wb") as sink:
            while chunk := answer.read(_CHUNK):
                got += len(chunk)
                if got > (LARGEST if size is None else size):
                    break
                sink.write(chunk)
    if left is not None and got < (have if resumed else 0) + int(left):
        raise ConnectionError(f"the connection ended after {got:,} bytes")
    _fits(url, got, size)


def _fits(url: str, got: int | None, size: int | None) -> None:
    if got is None:
        return
    if size is not None and got != size:
        raise WrongFile(f"{hidden(url)}: {got:,} bytes instead of the {size:,} that the manifest states")
    if got > LARGEST:
        raise WrongFile(f"{hidden(url)}: more than {LARGEST:,} bytes, which no model file of the manifest has")


def _mark(target: Path) -> Path:
    """Where the server's name for this very content (ETag) is kept while ``target`` is incomplete."""
    return Path(f"{target}.etag")
