"""``JWT_REDIS["NEAR_CACHE"]``."""

from __future__ import annotations

from typing import NamedTuple

from jwt_redis.conf import values


class NearCache(NamedTuple):
    """How a process answers from its own memory. Seconds, but for the last two."""

    # The longest for which a process answers from memory without having heard from Redis: 0.1 to 60 seconds.
    lease: float = 1.0
    # Between two looks at the log, where a process looks instead of waiting for news. A quarter of the lease, if
    # nothing else is said.
    poll: float = 0.25
    # With more clients than that waiting at the server, processes begin to poll, by lot. 0: all do.
    max_waiting: int = 200
    # Of how many sessions the record is kept, for the password's witness.
    records: int = 10_000


# Shorter, and a process would be busy keeping it; longer, and "revoked" would mean little.
_LEASES = (0.1, 60.0)


def parse_near_cache(value: object) -> NearCache | None:
    if value is None:
        return None
    parsers = {
        "lease": values.seconds,
        "poll": values.seconds,
        "max_waiting": values.whole_number,
        "records": values.whole_number,
    }
    parsed = values.parts(value, parsers, "{'lease': 1.0}")
    # Where only the lease is given, the rest follows it.
    parsed.setdefault("poll", parsed.get("lease", NearCache().lease) / 4)
    made = NearCache(**parsed)
    if not _LEASES[0] <= made.lease <= _LEASES[1]:
        raise ValueError(f"lease: between {_LEASES[0]:g} and {_LEASES[1]:g} seconds are needed")
    if not 0.01 <= made.poll <= made.lease / 2:
        raise ValueError("poll: at least 0.01 and at most half of the lease, or it would run out between two looks")
    return made
