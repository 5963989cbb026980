"""The clients: built from the django-redis alias, with a pool of their own, on the primary.

django-redis shares its pools between aliases of one URL, whatever their options, and sets no time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import urlparse

import redis
import redis.asyncio
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django_redis.pool import SentinelConnectionFactory, get_connection_factory
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from jwt_redis.conf import config
from jwt_redis.store import gate

__all__ = [
    "FAILURES",
    "TURN_TIMEOUT",
    "AsyncLine",
    "Line",
    "aconnect",
    "close",
    "connect",
    "connection_limit",
    "heeding",
    "server_location",
]

T = TypeVar("T")

# What the clients raise, where it is the server's or the network's doing.
FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)

# Seconds. Together they are the longest that a request waits for a server that does not answer.
CONNECT_TIMEOUT = 0.25
REPLY_TIMEOUT = 0.25
# Seconds for which an async request waits for others to be done with a connection. A dead server does not take as long:
# the first ones to find that out open the breaker for all.
TURN_TIMEOUT = 2.0
# To each node, of a client that does not say how many; redis-py's own number.
_CONNECTIONS = 100
_NO_LIMIT = 2**31


def server_location(alias: str | None = None) -> tuple[str, dict[str, Any]]:
    """The primary's URL and the ``OPTIONS`` of a django-redis alias, ``JWT_REDIS["ALIAS"]`` by default.

    :raises ImproperlyConfigured: when there is no such alias, or when it is not a django-redis one.
    """
    alias = alias or config().alias
    params: Any = settings.CACHES.get(alias)
    if params is None:
        raise ImproperlyConfigured(f"JWT_REDIS: ALIAS: there is no {alias!r} in CACHES.")
    location = params.get("LOCATION", "")
    if isinstance(location, str):
        location = location.split(",")
    # The first is the primary; what follows are replicas, and a replica may not know of a revocation yet.
    url = location[0] if location else ""
    if not str(params.get("BACKEND", "")).startswith("django_redis.") or not url:
        raise ImproperlyConfigured(f"JWT_REDIS: ALIAS: CACHES[{alias!r}] is not a django-redis cache with a LOCATION.")
    return str(url), dict(params.get("OPTIONS", {}))


def _connection_kwargs(options: Mapping[str, Any]) -> dict[str, Any]:
    # django-redis 6 knows of no USERNAME.
    who = {name.lower(): options[name] for name in ("USERNAME", "PASSWORD") if options.get(name)}
    return {
        **who,
        **options.get("CONNECTION_POOL_KWARGS", {}),
        "socket_timeout": options.get("SOCKET_TIMEOUT", REPLY_TIMEOUT),
        "socket_connect_timeout": options.get("SOCKET_CONNECT_TIMEOUT", CONNECT_TIMEOUT),
        "decode_responses": True,
        # A damaged value is to be found damaged by us, not to break the reply.
        "encoding_errors": "replace",
    }


def connect(*, gated: bool = True) -> redis.Redis:
    """A new sync client. Without the gate it also talks to a server that is not trusted yet: only to mend it."""
    if factory := config().client_factory:
        made = cast("redis.Redis", factory(asynchronous=False))
        if gated:
            _guard(made)
        return made
    url, options = server_location()
    # Retries are ours and few: see client._may_resend.
    options["CONNECTION_POOL_KWARGS"] = {**_connection_kwargs(options), "retry": Retry(NoBackoff(), 0)}
    # By name: in django-redis 6 a path comes first.
    connections = get_connection_factory(options=options)
    pool = connections.get_connection_pool(connections.make_connection_params(url))
    if gated:
        pool.connection_kwargs["redis_connect_func"] = gate.gate
    is_limited = "max_connections" in options["CONNECTION_POOL_KWARGS"] or "max_connections=" in url
    if not is_limited and not isinstance(pool, redis.BlockingConnectionPool):
        # redis-py's is 100, after which it refuses: a worker with more threads or greenlets than that has need of more.
        pool.max_connections = _NO_LIMIT
    return redis.Redis(connection_pool=pool, **options.get("REDIS_CLIENT_KWARGS", {}))


def close(server: Any) -> None:
    """All connections of a client of :func:`connect`."""
    # close() spares a pool that was handed in.
    pool = getattr(server, "connection_pool", None)
    server.close()
    if pool is not None:
        pool.disconnect()


class Line:
    """Commands that go alone, straight over a connection: no client and no pool looks at each before and after it.

    A connection is kept for the next command if nothing went wrong. :meth:`lend` gives the pool one back that nobody
    uses, :meth:`dissolve` all.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        # The one that was used last is the one that is least likely to have been closed by the server.
        self._idle: deque[Any] = deque()
        self._pid = os.getpid()

    @classmethod
    def of(cls, server: redis.Redis) -> Line | None:
        """For a client of :func:`connect`; None where its pool has to see each command.

        Sentinel's closes idle connections when the primary is another, a blocking one wakes those who wait for one,
        and a project's own client is the project's business.
        """
        pool: Any = getattr(server, "connection_pool", None)
        is_ours = config().client_factory is None
        return cls(pool) if is_ours and type(pool) is redis.ConnectionPool and pool.cache is None else None

    def ask(self, args: tuple[Any, ...]) -> Any:
        """Run one command. An error reply is raised; after any other error the connection is closed."""
        if self._pid != os.getpid():
            # A forked child, also where Python was not told of the fork. The connections are the parent's.
            # The list first: whoever finds the new id finds no connection of the parent's.
            self._idle = deque()
            self._pid = os.getpid()
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._pool.get_connection()
        try:
            connection.send_command(*args)
            reply = connection.read_response()
        except redis.ResponseError:
            idle.append(connection)
            raise
        except BaseException:
            # In the middle of a reply, perhaps: nobody else may read the rest.
            connection.disconnect()
            self._pool.release(connection)
            raise
        if connection.should_reconnect():
            self._pool.release(connection)
        else:
            idle.append(connection)
        return reply

    def lend(self) -> None:
        """Give the pool one connection back that nobody uses, so that it makes no other beside it."""
        with contextlib.suppress(IndexError):
            self._pool.release(self._idle.pop())

    def dissolve(self) -> None:
        """Give back all that nobody uses. The pool looks whether they still work before it uses them."""
        with contextlib.suppress(IndexError):
            while True:
                self._pool.release(self._idle.pop())


class AsyncLine:
    """:class:`Line` for the connections of one event loop."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: deque[Any] = deque()

    @classmethod
    def of(cls, server: redis.asyncio.Redis) -> AsyncLine | None:
        """For a client of :func:`aconnect`; None as for :meth:`Line.of`."""
        pool: Any = getattr(server, "connection_pool", None)
        is_ours = config().client_factory is None
        return cls(pool) if is_ours and type(pool) is redis.asyncio.ConnectionPool else None

    async def ask(self, args: tuple[Any, ...]) -> Any:
        """Run one command. An error reply is raised; after any other error, or cancelled, the connection is closed."""
        idle = self._idle
        connection = idle.pop() if idle else await self._pool.get_connection()
        try:
            await connection.send_command(*args)
            reply = await connection.read_response()
        except redis.ResponseError:
            idle.append(connection)
            raise
        except BaseException:
            await self._close(connection)
            raise
        if connection.should_reconnect():
            await self._close(connection)
        else:
            idle.append(connection)
        return reply

    async def _close(self, connection: Any) -> None:
        # Kept, as giving it back may have to wait, and may be cancelled: whoever uses it next connects anew.
        try:
            await connection.disconnect(nowait=True)
        finally:
            self._idle.append(connection)

    async def lend(self) -> None:
        """Give the pool one connection back that nobody uses, so that it makes no other beside it."""
        if self._idle:
            await self._pool.release(self._idle.pop())

    async def dissolve(self) -> None:
        """Give back all that nobody uses. The pool looks whether they still work before it uses them."""
        while self._idle:
            await self._pool.release(self._idle.pop())


async def heeding(work: Awaitable[T]) -> T:
    """What ``work`` comes to; or the cancellation of its task, if there was one meanwhile and ``work`` went on.

    Until Python 3.12 ``asyncio.wait_for``, in which redis-py sends, loses one that comes when it is done already
    (https://github.com/python/cpython/issues/86296): a stream would go on for whoever has hung up.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    result = await work
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def connection_limit(made: redis.asyncio.Redis) -> int:
    """How many connections a client of ``redis.asyncio`` may have; of a cluster, to each node."""
    pool = getattr(made, "connection_pool", None)
    return int(getattr(pool, "max_connections", _CONNECTIONS))


def _guard(made: Any) -> None:
    if isinstance(made, redis.RedisCluster):
        made.user_on_connect_func = gate.gate_in_cluster
        # Those that it has opened to learn the topology did not pass.
        made.disconnect_connection_pools()  # type: ignore[no-untyped-call]
    else:
        made.connection_pool.connection_kwargs["redis_connect_func"] = gate.gate
        made.connection_pool.disconnect()


def aconnect(*, gated: bool = True) -> redis.asyncio.Redis:
    """A new client of ``redis.asyncio``, for the running event loop. ``gated``: as for :func:`connect`."""
    if factory := config().client_factory:
        made: Any = factory(asynchronous=True)
        if not gated:
            return cast("redis.asyncio.Redis", made)
        if isinstance(made, redis.asyncio.RedisCluster):
            # No connection is open yet: it connects at its first command.
            made.connection_kwargs["redis_connect_func"] = gate.agate
            for node in made.nodes_manager.startup_nodes.values():
                node.connection_kwargs["redis_connect_func"] = gate.agate
        else:
            made.connection_pool.connection_kwargs["redis_connect_func"] = gate.agate
        return cast("redis.asyncio.Redis", made)
    url, options = server_location()
    connections = get_connection_factory(options=dict(options))
    kwargs: dict[str, Any] = {
        **_connection_kwargs(options),
        "retry": AsyncRetry(NoBackoff(), 0),
    }
    if gated:
        kwargs["redis_connect_func"] = gate.agate
    if isinstance(connections, SentinelConnectionFactory):
        parsed = urlparse(url)
        kwargs["db"] = int(parsed.path.strip("/") or 0)
        # The sentinels themselves are no primaries.
        sentinel_kwargs = options.get("SENTINEL_KWARGS") or {
            name: value for name, value in kwargs.items() if name.startswith("socket_")
        }
        sentinel: Any = cast("Any", AsyncSentinel)(options["SENTINELS"], sentinel_kwargs=sentinel_kwargs, **kwargs)
        return cast("redis.asyncio.Redis", sentinel.master_for(parsed.hostname))
    return redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool.from_url(url, **kwargs))
