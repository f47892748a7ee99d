"""A model hub on this machine: enough of the protocol for the real client, plain files beside it, and every fault."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

#: Larger files are kept apart, behind a redirect and under their sha256, as the Hub does it.
LARGE = 1000


def commit_of(files: dict[str, bytes]) -> str:
    total = hashlib.sha1()
    for path in sorted(files):
        total.update(path.encode() + files[path])
    return total.hexdigest()


@dataclass
class Hub:
    address: str = ""
    #: repository -> branch or commit -> files
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)  #: path -> content, under /plain/
    redirects: dict[str, str] = field(default_factory=dict)  #: path under /plain/ -> address
    gated: dict[str, int] = field(default_factory=dict)  #: repository -> 401 or 403 for those without ``token``
    token: str = ""
    cuts: dict[str, int] = field(default_factory=dict)  #: end of a path -> bytes until the connection breaks, once
    swapped: dict[str, bytes] = field(default_factory=dict)  #: end of a path -> what is delivered in place of it
    unsized: bool = False  #: no lengths are told: the end of the connection is the end of the file
    commit: str | None = None  #: what every revision is answered with, in place of the truth
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def publish(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        commit = commit_of(files)
        self.repositories.setdefault(repository, {}).update({branch: files, commit: files})
        return commit

    def asked(self, ending: str, method: str = "GET") -> list[dict[str, str]]:
        """Headers of all requests for such a path."""
        return [headers for verb, path, headers in self.log if verb == method and path.endswith(ending)]

    def fetched(self) -> list[str]:
        """Paths of all files whose content was asked for, in order."""
        return [path for verb, path, _ in self.log if verb == "GET" and not path.startswith("/api")]


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append((self.command, path, {key.lower(): value for key, value in self.headers.items()}))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._listing("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif parts[0] == "large":
            self._content(path, next(data for data in self._everything() if _sha256(data) == parts[1]))
        elif parts[0] == "plain":
            name = "/".join(parts[1:])
            if name in self.hub.redirects:
                self._send(302, {"Location": self.hub.redirects[name]})
            elif name in self.hub.plain:
                self._content(path, self.hub.plain[name])
            else:
                self._send(404)
        else:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _everything(self) -> Iterator[bytes]:
        for revisions in self.hub.repositories.values():
            for files in revisions.values():
                yield from files.values()

    def _listing(self, repository: str, revision: str) -> None:
        revisions = self.hub.repositories.get(repository)
        if revisions is None:
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        if revision not in revisions:
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for path, data in revisions[revision].items():
            item: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": _blob(data)}
            if len(data) > LARGE:
                item["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(item)
        commit = self.hub.commit or commit_of(revisions[revision])
        told = {
            "id": repository,
            "modelId": repository,
            "sha": commit,
            "siblings": siblings,
            "private": False,
            "tags": [],
        }
        return self._send(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _file(self, repository: str, revision: str, path: str) -> None:
        files = self.hub.repositories.get(repository, {}).get(revision)
        if files is None or path not in files:
            return self._send(404, {"X-Error-Code": "EntryNotFound" if files else "RevisionNotFound"})
        refusal = self.hub.gated.get(repository)
        if refusal and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._send(refusal, {"X-Error-Code": "GatedRepo"})
        data = files[path]
        about = {"X-Repo-Commit": commit_of(files)}
        if len(data) > LARGE:
            about |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{_sha256(data)}"'}
            return self._send(302, about | {"Location": f"{self.hub.address}/large/{_sha256(data)}"})
        return self._content(f"/{path}", data, about | {"ETag": f'"{_blob(data)}"'})

    def _content(self, path: str, data: bytes, about: dict[str, str] | None = None) -> None:
        data = next((other for end, other in self.hub.swapped.items() if path.endswith(end)), data)
        headers = {"ETag": f'"{_blob(data)}"', "Accept-Ranges": "bytes"} | (about or {})
        begin = 0
        asked = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        if asked and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            begin = int(asked)
            if begin >= len(data):
                return self._send(416, {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        cut = next((end for end in self.hub.cuts if path.endswith(end)), None) if self.command == "GET" else None
        until = self.hub.cuts.pop(cut) if cut else None
        return self._send(206 if begin else 200, headers, data[begin:], until)

    def _send(
        self, status: int, headers: dict[str, str] | None = None, data: bytes = b"", cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if not self.hub.unsized:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data if cut is None else data[:cut])
        if cut is not None or self.hub.unsized:
            self.close_connection = True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blob(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
