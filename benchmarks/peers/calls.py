"""Requests as a WSGI server makes them, in process: no test client, no middleware, no URLs to choose from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from rest_framework.request import Request

from benchmarks.peers import urls

__all__ = ["Client", "drf_request"]

_ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/it/",
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "127.0.0.1",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "application/json",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def _ignore(*args: Any) -> Any:
    """Status and headers, which a server would send."""


def _environ(header: str) -> dict[str, Any]:
    environ = {**_ENVIRON, "wsgi.input": BytesIO()}
    if header:
        environ["HTTP_AUTHORIZATION"] = header
    return environ


def drf_request(header: str) -> Request:
    """What an authentication class is given."""
    return Request(WSGIRequest(_environ(header)))


class Client:
    """Calls Django."""

    def __init__(self) -> None:
        self._handler = WSGIHandler()

    def show(self, view: Callable[..., Any]) -> None:
        """The view that answers from here on."""
        urls.show(view)

    def get(self, header: str) -> tuple[int, bytes]:
        """Status and body."""
        return self._call(_environ(header))

    def post(self, data: dict[str, Any]) -> tuple[int, bytes]:
        """The same for JSON that is sent."""
        body = json.dumps(data).encode()
        return self._call(
            {
                **_ENVIRON,
                "REQUEST_METHOD": "POST",
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": BytesIO(body),
            }
        )

    def _call(self, environ: dict[str, Any]) -> tuple[int, bytes]:
        response = self._handler(environ, _ignore)
        body = b"".join(response)
        # Ends the request: connections and caches are looked after then.
        response.close()
        return response.status_code, body
