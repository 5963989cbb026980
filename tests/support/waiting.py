"""Until something is so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from django.db import OperationalError

from jwt_redis.exceptions import RevocationUnavailable

__all__ = ["wait_for", "when_it_can"]

T = TypeVar("T")


def wait_for(question: Callable[[], Any], what: str, seconds: float = 20.0) -> float:
    """Ask until the answer is true. How many seconds that took. One that does not answer, or not now, has not said yes.

    :raises TimeoutError: naming ``what`` did not come true, when it did not.
    """
    began = time.monotonic()
    while True:
        with contextlib.suppress(redis.RedisError, OSError, OperationalError, RevocationUnavailable):
            if question():
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"After {seconds} s still not: {what}.")
        time.sleep(0.02)


def when_it_can(work: Callable[[], T], seconds: float = 20.0) -> T:
    """What comes of it, as often as it is tried: a store that is being mended is waited for half a second only.

    :raises RevocationUnavailable: when it still is.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except RevocationUnavailable:
            if time.monotonic() > until:
                raise
        time.sleep(0.05)
