"""Somebody who is told by webhook: an HTTP server that does as a test says. Also as a process, which can be killed.

As a process it writes each token that it accepts into a file before it answers, a line a token: what is there was
acknowledged, or may have been.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((dict(self.headers), self.body.decode()))
        with contextlib.suppress(OSError):
            self.server.behave(self)

    do_GET = do_POST

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """One with a length."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nowhere."""


class Endpoint(ThreadingHTTPServer):
    """The server. ``seen``: headers and token of each request. ``behave``: what it does with one."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.seen: list[tuple[dict[str, str], str]] = []
        self.behave: Behaviour = accept
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/events"

    @property
    def tokens(self) -> list[str]:
        return [token for _headers, token in self.seen]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away."""


@contextlib.contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """An endpoint in this process."""
    endpoint = Endpoint(tls=tls)
    thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.shutdown()
        endpoint.server_close()
        thread.join()


def accept(request: Handler) -> None:
    """RFC 8935 section 2.2."""
    request.answer(202)


def answering(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Always the same."""
    return lambda request: request.answer(status, body, **headers)


def trickling(request: Handler) -> None:
    """A header without end, a byte at a time."""
    request.wfile.write(b"HTTP/1.1 202 Accepted\r\nX: ")
    while True:
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.02)


def endless(request: Handler) -> None:
    """A body that never ends."""
    request.send_response(500)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def hanging_up(request: Handler) -> None:
    """It has taken the token, and goes without a word."""
    request.connection.close()


def main() -> None:
    """``python -m tests.support.receiver PORT FILE``."""
    endpoint = Endpoint(int(sys.argv[1]))
    lock = threading.Lock()

    def keep(request: Handler) -> None:
        with lock, Path(sys.argv[2]).open("ab") as file:
            file.write(request.body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        request.answer(202)

    endpoint.behave = keep
    endpoint.serve_forever(0.05)


if __name__ == "__main__":
    main()
