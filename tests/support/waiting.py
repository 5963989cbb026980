"""Until something is so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import redis
from django.db import OperationalError

__all__ = ["wait_for"]


def wait_for(question: Callable[[], Any], what: str, seconds: float = 20.0) -> float:
    """Ask until the answer is true. How many seconds that took. One that does not answer, or not now, has not said yes.

    :raises TimeoutError: naming ``what`` did not come true, when it did not.
    """
    began = time.monotonic()
    while True:
        with contextlib.suppress(redis.RedisError, OSError, OperationalError):
            if question():
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"After {seconds} s still not: {what}.")
        time.sleep(0.02)
