"""The store as a whole, for commands and system checks: never for a request, and nothing here is a verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import redis

from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store.connections import FAILURES, close, connect

__all__ = ["key_count", "server_info", "user_keys"]


def _reachable() -> contextlib.AbstractContextManager[redis.Redis]:
    """A client for reading what is no verdict: it passes no gate, and the breaker is not asked."""
    return _failures_raised(connect(gated=False))


@contextlib.contextmanager
def _failures_raised(server: redis.Redis) -> Iterator[redis.Redis]:
    try:
        yield server
    except FAILURES as error:
        raise RevocationUnavailable from error
    finally:
        close(server)


def server_info() -> dict[str, Any]:
    """What the primary says of itself (INFO).

    :raises RevocationUnavailable: when it does not answer; the cause is the client's own error.
    """
    with _reachable() as server:
        info: dict[str, Any] = server.info()
        return info


def user_keys(pattern: str, batch: int) -> Iterator[list[str]]:
    """All keys that match, in batches (SCAN). It never blocks Redis for long, and never serves a request.

    :raises RevocationUnavailable: when Redis does not answer.
    """
    found: list[str] = []
    with _reachable() as server:
        for key in server.scan_iter(match=pattern, count=batch):
            found.append(key)
            if len(found) >= batch:
                yield found
                found = []
    if found:
        yield found


def key_count() -> int:
    """How many keys the database holds (DBSIZE): the end of a progress bar."""
    with _reachable() as server:
        return int(server.dbsize())
