"""How many bytes of Redis does a session take?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.reports import BYTES, Line, Report
from benchmarks.samples import Commands, SessionMaker, verify
from benchmarks.stores import Memory, connect, memory, send
from jwt_redis import keys
from jwt_redis.testing.servers import RedisServer

__all__ = ["run"]

_USERS = 100_000
_QUICK_USERS = 2_000
_AT_MOST = 160


def run(is_quick: bool) -> Report:
    """A server of its own for each pair of lines, so that nothing else is in it."""
    users = _QUICK_USERS if is_quick else _USERS
    two = "2 sessions a user"
    lines = [
        *_measure(two, users, 2, SessionMaker.opened, at_most=_AT_MOST, headline=f"Redis memory a session, {two}"),
        *_measure(f"{two}, in use for weeks", users, 2, SessionMaker.refreshed, at_most=_AT_MOST),
        *_measure("1 session a user", users, 1, SessionMaker.opened),
        *_measure("5 sessions a user", users, 5, SessionMaker.opened),
    ]
    return Report("Bytes of Redis a session", lines, f"{users:,} users; their ids are the integers from 1.")


def _measure(
    what: str,
    users: int,
    each: int,
    written: Callable[[SessionMaker, int, int], Commands],
    *,
    at_most: float | None = None,
    headline: str = "",
) -> Iterator[Line]:
    with RedisServer() as server:
        maker = SessionMaker(server)
        empty = memory(server)

        def line(what: str, now: Memory, **kwargs: Any) -> Line:
            used, resident = ((after - before) / (users * each) for after, before in zip(now, empty, strict=True))
            return Line(what, used, BYTES, beside=f"{resident:,.0f} B resident", **kwargs)

        send(server, written(maker, users, each))
        yield line(what, memory(server), at_most=at_most, headline=headline)
        send(server, maker.devices(server, users))
        yield line(f"{what}, with devices", memory(server))
        _verify(server, users, each)


def _verify(server: RedisServer, users: int, each: int) -> None:
    with connect(server) as store:
        # Sessions from before the store's birth would be refused, and those in use for weeks are.
        store.hset(keys.marker_key(), "born_ms", 1)
        for user in (1, users // 2, users):
            assert store.object("ENCODING", keys.user_key(str(user))) in ("listpack", "ziplist"), "not compact"
            verify(server, user, each)
