"""Who wants to hear of revocations: :func:`follow` reads the log, :func:`watch` waits for one token's end.

A project that imports this from nowhere pays nothing for it: there is no thread, and Redis is asked nothing.
"""

from __future__ import annotations

from jwt_redis.revocations.events import ALL, GAP, HEARD, OTHERS, SESSION, TOKEN, UNAVAILABLE, USER, Event
from jwt_redis.revocations.following import Following, follow

__all__ = [
    "ALL",
    "GAP",
    "HEARD",
    "OTHERS",
    "SESSION",
    "TOKEN",
    "UNAVAILABLE",
    "USER",
    "Event",
    "Following",
    "follow",
]
