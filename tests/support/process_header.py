"""Which worker process gave an answer: for tests that need something of each of them."""

from __future__ import annotations

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

PROCESS = "X-Process"


class ProcessHeader:
    """A middleware that puts the process's id into each response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request."""
        response = self._get_response(request)
        response[PROCESS] = str(os.getpid())
        return response
