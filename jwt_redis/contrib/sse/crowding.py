"""How many streams a session may have open in one process: with one more, the oldest gives way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jwt_redis.keys import user_tag
from jwt_redis.revocations import Ending, Watch

__all__ = ["SUPERSEDED", "among_streams"]

#: The reason of a stream that has given way. Nothing was revoked.
SUPERSEDED: Final = "superseded"

_Name = tuple[asyncio.AbstractEventLoop, str, str, str]
# The oldest first. Of each event loop alone: what is watched in another cannot be ended from here.
_streams: dict[_Name, list[Watch]] = {}


@contextmanager
def among_streams(watched: Watch, most: int | None) -> Iterator[None]:
    """It is one of its session's streams, of which there are ``most`` at a time; None for as many as anybody likes.

    Not the youngest gives way: what is left of a page that was reloaded, or of a network that a telephone has left, may
    look alive for a quarter of an hour.
    """
    claims = watched.claims
    name = (asyncio.get_running_loop(), user_tag(claims.user), claims.sid or "", "" if claims.sid else claims.jti)
    streams = _streams.setdefault(name, [])
    streams.append(watched)
    if most is not None:
        while len(streams) > most:
            streams.pop(0).end(Ending(SUPERSEDED))
    try:
        yield
    finally:
        if watched in streams:
            streams.remove(watched)
        # One that was slow to go may find others there that have come since all of its time had gone.
        if not streams and _streams.get(name) is streams:
            del _streams[name]
