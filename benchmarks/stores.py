"""The Redis servers that are measured: which one the product uses, how one is filled, what one weighs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import redis
from django.conf import settings
from django.core.signals import setting_changed

from jwt_redis.testing.servers import RedisServer

__all__ = ["Memory", "connect", "memory", "send", "use"]

_BATCH = 2_000
_SETTLE_SECONDS = 0.5


def connect(server: RedisServer, *, db: int = 0) -> redis.Redis:
    """A client that works on a server past the product."""
    return redis.Redis(port=server.port, db=db, decode_responses=True)


def use(server: RedisServer) -> None:
    """From here on the product works on this server. It connects anew, so call something before timing anything."""
    location = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}
    if settings.CACHES.get("sessions") != location:
        settings.CACHES = {**settings.CACHES, "sessions": location}
        setting_changed.send(sender=None, setting="CACHES", value=settings.CACHES, enter=True)


def send(server: RedisServer, commands: Iterable[tuple[str | int, ...]], *, db: int = 0) -> None:
    """Write in bulk, past the product."""
    remaining = iter(commands)
    with connect(server, db=db) as store:
        while batch := list(islice(remaining, _BATCH)):
            pipeline: Any = store.pipeline(transaction=False)
            for command in batch:
                pipeline.execute_command(*command)
            pipeline.execute()


class Memory(NamedTuple):
    """Bytes: what Redis has allocated, and what the process occupies with the allocator's own overhead."""

    used: int
    resident: int


def memory(server: RedisServer) -> Memory:
    """What a server weighs, once the buffers of clients that have just left are gone."""
    time.sleep(_SETTLE_SECONDS)
    with connect(server) as store:
        info = store.info("memory")
    return Memory(info["used_memory"], info["used_memory_rss"])
