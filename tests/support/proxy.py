"""A proxy on loopback in front of the S3 server that answers some requests with a fault of our choice."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
import s3fs

ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>injected</Message></Error>'
STATUS = {"500": "InternalError", "503": "SlowDown", "429": "TooManyRequests", "403": "AccessDenied"}
Wanted = Callable[[str, str], bool]


class FaultyProxy(ThreadingHTTPServer):
    """While `fault` is set, the next `times` requests that `wanted` (method, path) picks meet it.

    `fault` is an HTTP status, `reset` (the connection, before an answer), `hang` (no answer), `cut` (half an answer),
    `drip` (an answer's first half byte by byte, then the rest).
    """

    daemon_threads = True

    def __init__(self, target: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.target = urlsplit(target).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[str] = []
        self.fault, self.times = "", 0
        self.wanted: Wanted = lambda *_: True
        self.released = threading.Event()

    def inject(self, fault: str, times: int = 1 << 30, wanted: Wanted = lambda *_: True) -> None:
        self.fault, self.times, self.wanted = fault, times, wanted

    def heal(self) -> None:
        self.fault = ""

    def next_fault(self, method: str, path: str) -> str:
        self.requests.append(f"{method} {path}")
        if not self.fault or self.times <= 0 or not self.wanted(method, path):
            return ""
        self.times -= 1
        return self.fault

    def answered(self, request: str, status: int) -> None:
        """The server behind has answered `request` (method and path); called before the client hears of it."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.next_fault(self.command, self.path)
        if fault == "hang":
            self.server.released.wait()
        elif fault == "reset":
            self._reset()
        elif fault.isdigit():
            self._send(int(fault), {"Content-Type": "application/xml"}, ERROR.format(code=STATUS[fault]).encode())
        else:
            upstream = http.client.HTTPConnection(self.server.target)
            upstream.request(self.command, self.path, body, dict(self.headers))
            response = upstream.getresponse()
            payload = response.read()
            self.server.answered(f"{self.command} {self.path}", response.status)
            self._send(response.status, dict(response.getheaders()), payload, fault)
            upstream.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

    def _send(self, status: int, headers: dict[str, str], payload: bytes, fault: str = "") -> None:
        skipped = {"content-length", "transfer-encoding", "connection", "date", "server"}
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(payload))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in skipped:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        payload = b"" if self.command == "HEAD" else payload
        half = len(payload) // 2
        if fault == "drip":
            self._drip(payload[:half])
        self.wfile.write({"cut": payload[:half], "drip": payload[half:]}.get(fault, payload))
        if fault == "cut":
            self._reset()

    def _drip(self, payload: bytes) -> None:
        """No pause is long enough for a time-out of the socket."""
        for number in payload:
            self.wfile.write(bytes([number]))
            if self.server.released.wait(0.05):
                return

    def _reset(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())  # `close` would wait for the files that are made of it

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def in_front_of(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy that everything in this process, and all that it starts from now on, takes for the S3 server."""
    server = FaultyProxy(s3_server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setattr(s3fs.S3FileSystem, "cachable", False)
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
