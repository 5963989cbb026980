"""``JWT_REDIS["STATUS_LIST"]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jwt_redis.conf import addresses, values


class StatusList(NamedTuple):
    """How the status of tokens is published for services without Redis (IETF Token Status List)."""

    # Where the lists are, as others reach it: each list's URI begins with it.
    uri: str
    # Seconds for which a service may keep a list.
    ttl: int = 60
    # Places in a list, half of which are given to sessions.
    size: int = 2**17


# A list of a few places tells who is asked about; a longer one is no more private, and slow to sign.
_LIST_SIZES = (2**10, 2**23)
_TTLS = (1, 24 * 3600)


def parse_status_list(value: object) -> StatusList | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "uri": addresses.base_url,
        "ttl": values.whole_number,
        "size": values.whole_number,
    }
    parsed = values.parts(value, parsers, "{'uri': 'https://example.com/status/'}")
    if "uri" not in parsed:
        raise ValueError("uri: it is missing; tokens name by it where their list is")
    made = StatusList(**{**parsed, "uri": parsed["uri"] + "/"})
    if not _TTLS[0] <= made.ttl <= _TTLS[1]:
        raise ValueError(f"ttl: a whole number of seconds from {_TTLS[0]} to {_TTLS[1]} is needed")
    if made.size % 8 or not _LIST_SIZES[0] <= made.size <= _LIST_SIZES[1]:
        raise ValueError(f"size: a multiple of 8 from {_LIST_SIZES[0]} to {_LIST_SIZES[1]} is needed")
    return made
