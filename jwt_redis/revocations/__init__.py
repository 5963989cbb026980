"""Who wants to hear of revocations: :func:`follow` reads the log, :func:`watch` waits for one token's end.

A project that imports this from nowhere pays nothing for it: there is no thread, and Redis is asked nothing.
"""

from __future__ import annotations

from jwt_redis.revocations.endings import REVOCATION_UNAVAILABLE, TOKEN_EXPIRED, Ending
from jwt_redis.revocations.events import ALL, GAP, HEARD, KEY, OTHERS, SESSION, TOKEN, UNAVAILABLE, USER, Event
from jwt_redis.revocations.following import Following, follow
from jwt_redis.revocations.watching import Watch, watch

__all__ = [
    "ALL",
    "GAP",
    "HEARD",
    "KEY",
    "OTHERS",
    "REVOCATION_UNAVAILABLE",
    "SESSION",
    "TOKEN",
    "TOKEN_EXPIRED",
    "UNAVAILABLE",
    "USER",
    "Ending",
    "Event",
    "Following",
    "Watch",
    "follow",
    "watch",
]
