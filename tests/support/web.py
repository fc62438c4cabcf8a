"""A web server on loopback for tests: files with ranges, and as much of the HuggingFace hub as its own client asks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "0" * 40


class Site(ThreadingHTTPServer):
    """`files` by path; `requests` are the methods, paths and ranges that came, in order."""

    files: Mapping[str, bytes]
    requests: list[tuple[str, str, str | None]]
    has_ranges: bool

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def site(files: Mapping[str, bytes], *, has_ranges: bool = True) -> Iterator[Site]:
    """Serve `files` while the context lasts."""
    server = Site(("127.0.0.1", 0), _Handler)
    server.files, server.requests, server.has_ranges = files, [], has_ranges
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        self.server.requests.append((self.command, path, self.headers["Range"]))
        if path.startswith("api/datasets/"):
            return self._api(path.split("/")[4:])
        name = unquote(path.split("/", 5)[5] if "/resolve/" in path else path)
        if name not in self.server.files:
            return self._answer(404, b"")
        return self._file(self.server.files[name])

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self._json([entry for entry in self._entries() if entry["path"] in paths])

    def _api(self, parts: list[str]) -> None:
        if parts[:1] == ["tree"]:
            return self._json(self._entries())
        return self._json(
            {"id": "me/pets", "_id": SHA, "sha": SHA, "private": False, "downloads": 0, "tags": [], "likes": 0}
        )

    def _entries(self) -> list[dict[str, Any]]:
        files = self.server.files.items()
        folders = sorted({path.rpartition("/")[0] for path, _ in files} - {""})
        return [{"type": "directory", "path": path, "size": 0, "oid": SHA} for path in folders] + [
            {"type": "file", "path": path, "size": len(payload), "oid": SHA} for path, payload in files
        ]

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, payload: bytes) -> None:
        asked, headers = self.headers["Range"], {"ETag": '"0"', "X-Repo-Commit": SHA}
        if not asked or not self.server.has_ranges:
            return self._answer(200, payload, headers | ({"Accept-Ranges": "bytes"} if self.server.has_ranges else {}))
        start, end = asked.removeprefix("bytes=").split("-")
        part = payload[int(start) : int(end or len(payload)) + 1]
        span = f"bytes {start}-{int(start) + len(part) - 1}/{len(payload)}"
        return self._answer(206, part, headers | {"Content-Range": span})

    def _answer(self, status: int, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        pass
