"""What a call asks of the database and of Redis: the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django_redis import get_redis_connection

__all__ = ["counting"]


@contextmanager
def counting() -> Iterator[list[int]]:
    """Queries, and round trips to the Redis server by whomever. To be read afterwards."""
    counted = [0, 0]

    def count(execute: Any, *args: Any) -> Any:
        counted[0] += 1
        return execute(*args)

    before = _reads()
    with connection.execute_wrapper(count):
        yield counted
    # Without the INFO itself.
    counted[1] = _reads() - before - 1


def _reads() -> int:
    """Not of commands: those within a script would count."""
    return int(get_redis_connection("default").info("stats")["total_reads_processed"])
