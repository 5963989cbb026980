"""Places inside a worker at which a request can ask for an accident, by the header ``X-Chaos``."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

HEADER = "X-Chaos"
WORKER = "X-Worker"
PENDING = "X-Pending"

_local = threading.local()


def wish() -> str:
    """What this request wants to happen: ``die-before-redis``, or nothing."""
    return str(getattr(_local, "wish", ""))


def die() -> None:
    """As a worker that ran out of memory, in the middle of whatever it does."""
    os.kill(os.getpid(), signal.SIGKILL)


class PendingNoted(logging.Handler):
    """The package says in its log when it acknowledges a revocation that Redis has not heard of yet."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the log."""
        if str(getattr(record, "event", "")).endswith("pending"):
            _local.pending = True


class ChaosMiddleware:
    """Notes the wish, and says in the answer which process gave it, and what it has left undone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """One request."""
        _local.wish, _local.pending = request.headers.get(HEADER, ""), False
        try:
            response = self._get_response(request)
        finally:
            _local.wish = ""
        response[WORKER] = str(os.getpid())
        if _local.pending:
            response[PENDING] = "1"
        return response
