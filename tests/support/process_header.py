"""Which worker process gave an answer: for tests that need something of each of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

PROCESS = "X-Process"


@sync_and_async_middleware
def process_header(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """A middleware that puts the process's id into each response."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: Any) -> Any:
            response = await get_response(request)
            response[PROCESS] = str(os.getpid())
            return response

        return answer_async

    def answer(request: Any) -> Any:
        response = get_response(request)
        response[PROCESS] = str(os.getpid())
        return response

    return answer
