"""The only I/O with Redis: :func:`execute` and :func:`aexecute`.

The client is built from the django-redis alias, with a pool of its own: django-redis shares its pools between
aliases of one URL, whatever their options, and sets no time limit.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator, Iterator, Mapping
from typing import Any, TypeVar, cast, overload
from urllib.parse import urlparse

import redis
import redis.asyncio
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django_redis.pool import SentinelConnectionFactory, get_connection_factory
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from jwt_redis.conf import config
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store.breaker import Breaker
from jwt_redis.store.commands import Command, Script, append_log, ensure_marker

__all__ = [
    "aclient",
    "aexecute",
    "client",
    "execute",
    "key_count",
    "reset",
    "server_info",
    "server_location",
    "user_keys",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

# Seconds. Together they are the longest that a request waits for a server that does not answer.
CONNECT_TIMEOUT = 0.25
REPLY_TIMEOUT = 0.25

_FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)

_lock = threading.Lock()
_breaker = Breaker()
_client: redis.Redis | None = None
# A client of redis.asyncio belongs to the event loop that it was first used in.
_aclients: dict[asyncio.AbstractEventLoop, redis.asyncio.Redis] = {}


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


def _limits(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **options.get("CONNECTION_POOL_KWARGS", {}),
        "socket_timeout": options.get("SOCKET_TIMEOUT", REPLY_TIMEOUT),
        "socket_connect_timeout": options.get("SOCKET_CONNECT_TIMEOUT", CONNECT_TIMEOUT),
        "decode_responses": True,
        # A damaged value is to be found damaged by us, not to break the reply.
        "encoding_errors": "replace",
    }


def _connect() -> redis.Redis:
    if factory := config().client_factory:
        return cast("redis.Redis", factory(asynchronous=False))
    url, options = server_location()
    # Retries are ours and few: see _may_resend.
    options["CONNECTION_POOL_KWARGS"] = {**_limits(options), "retry": Retry(NoBackoff(), 0)}
    connections = get_connection_factory(options)
    pool = connections.get_connection_pool(connections.make_connection_params(url))
    return redis.Redis(connection_pool=pool, **options.get("REDIS_CLIENT_KWARGS", {}))


def _aconnect() -> redis.asyncio.Redis:
    if factory := config().client_factory:
        return cast("redis.asyncio.Redis", factory(asynchronous=True))
    url, options = server_location()
    connections = get_connection_factory(dict(options))
    kwargs: dict[str, Any] = {**_limits(options), "retry": AsyncRetry(NoBackoff(), 0)}
    for name in ("username", "password"):
        if options.get(name.upper()):
            kwargs[name] = options[name.upper()]
    if isinstance(connections, SentinelConnectionFactory):
        parsed = urlparse(url)
        kwargs["db"] = int(parsed.path.strip("/") or 0)
        sentinel: Any = cast("Any", AsyncSentinel)(
            options["SENTINELS"], sentinel_kwargs=options.get("SENTINEL_KWARGS"), **kwargs
        )
        return cast("redis.asyncio.Redis", sentinel.master_for(parsed.hostname))
    return redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool.from_url(url, **kwargs))


def client() -> redis.Redis:
    """The client of this process, on the primary."""
    global _client
    if _client is None:
        with _lock:
            if _client is None:
                _client = _connect()
    return _client


def aclient() -> redis.asyncio.Redis:
    """The client of the running event loop, on the primary."""
    loop = asyncio.get_running_loop()
    found = _aclients.get(loop)
    if found is None:
        with _lock:
            for closed in [known for known in _aclients if known.is_closed()]:
                del _aclients[closed]
            found = _aclients[loop] = _aconnect()
    return found


def server_info() -> dict[str, Any]:
    """What the primary says of itself (INFO). For checks, not for requests: the breaker is not asked.

    :raises RevocationUnavailable: when it does not answer; the cause is the client's own error.
    """
    try:
        info: dict[str, Any] = client().info()
        return info
    except _FAILURES as error:
        raise RevocationUnavailable from error


def user_keys(pattern: str, batch: int) -> Iterator[list[str]]:
    """All keys that match, in batches (SCAN). It never blocks Redis for long, and never serves a request.

    :raises RevocationUnavailable: when Redis does not answer.
    """
    found: list[str] = []
    try:
        for key in client().scan_iter(match=pattern, count=batch):
            found.append(key)
            if len(found) >= batch:
                yield found
                found = []
    except _FAILURES as error:
        raise RevocationUnavailable from error
    if found:
        yield found


def key_count() -> int:
    """How many keys the database holds (DBSIZE): the end of a progress bar."""
    try:
        return int(client().dbsize())
    except _FAILURES as error:
        raise RevocationUnavailable from error


def reset(**kwargs: Any) -> None:
    """Forget the clients, so that the next use reads the settings again."""
    global _client
    if kwargs.get("setting", "JWT_REDIS") not in ("JWT_REDIS", "CACHES"):
        return
    with _lock:
        if _client is not None:
            _client.close()
        _client = None
        _aclients.clear()
        _breaker.succeeded()


setting_changed.connect(reset, dispatch_uid="jwt_redis.store.client.reset")


def _unavailable(error: BaseException) -> RevocationUnavailable:
    """Log a failure, count it, and make the exception that callers get for it."""
    # An answer, even a bad one, and a pool that is used up are no sign of a dead server.
    if not isinstance(error, (redis.ResponseError, redis.exceptions.MaxConnectionsError)):
        _breaker.failed()
    logger.error("Redis failed: %s: %s", type(error).__name__, error, extra={"event": "revocation_unavailable"})
    return RevocationUnavailable()


def _admit() -> None:
    if not _breaker.allows():
        raise RevocationUnavailable()


def _may_resend(error: BaseException, attempt: int) -> bool:
    """Each script may run twice. But who timed out once has waited long enough."""
    return attempt == 0 and isinstance(error, redis.ConnectionError) and not isinstance(error, redis.TimeoutError)


_DAMAGED = "?"

Wire = list[tuple[str | int | float, ...]]


def _conversation(many: tuple[Command[Any], ...], cluster: bool) -> Generator[Wire, list[Any], list[Any]]:
    """What to send, one round trip at a time, whatever carries it. An error reply comes back as a value."""
    if many[0].script is None:
        replies = yield [command.args for command in many]
        return [_read_reply(command, reply) for command, reply in zip(many, replies, strict=True)]
    (command,) = many
    if cluster and command.needs_marker:
        yield from _run_script(ensure_marker(), cluster)
    reply = yield from _run_script(command, cluster)
    if cluster and command.logs_for is not None and reply[0]:
        yield from _run_script(append_log(command.logs_for, reply[0]), cluster)
    return [command.parse(reply)]


def _run_script(command: Command[Any], cluster: bool) -> Generator[Wire, list[Any], Any]:
    script = cast("Script", command.script)
    # In Cluster a script gets only the keys of its own slot; its revocations are appended by a second one.
    keys = command.keys[:2] if cluster and command.logs_for is not None else command.keys
    (reply,) = yield [("EVALSHA", script.sha, len(keys), *keys, *command.args)]
    if isinstance(reply, redis.exceptions.NoScriptError):
        (reply,) = yield [("EVAL", script.text, len(keys), *keys, *command.args)]
    if isinstance(reply, Exception):
        raise reply
    return reply


def _read_reply(command: Command[T], reply: Any) -> T:
    if isinstance(reply, redis.ResponseError) and str(reply).startswith("WRONGTYPE"):
        # Damaged by hand, it holds nothing that could be read; and what cannot be read is never "good".
        logger.error("%s in Redis is of the wrong type.", command.keys[0], extra={"event": "damaged_value"})
        reply = {} if command.args[0] == "HGETALL" else [_DAMAGED] * (len(command.args) - 2)
    if isinstance(reply, Exception):
        raise reply
    return command.parse(reply)


@overload
def execute(first: Command[T], /) -> T: ...
@overload
def execute(first: Command[T], second: Command[U], /) -> tuple[T, U]: ...
@overload
def execute(*many: Command[Any]) -> Any: ...
def execute(*many: Command[Any]) -> Any:
    """Run one command, or several that are no scripts in one round trip.

    :raises RevocationUnavailable: when Redis did not answer, or not as it should.
    """
    _admit()
    for attempt in (0, 1):
        try:
            server = client()
            talk = _conversation(many, isinstance(server, redis.RedisCluster))
            wire = next(talk)
            while True:
                wire = talk.send(_exchange(server, wire))
        except StopIteration as done:
            _breaker.succeeded()
            return done.value[0] if len(many) == 1 else tuple(done.value)
        except _FAILURES as error:
            if not _may_resend(error, attempt):
                raise _unavailable(error) from error
    raise AssertionError("unreachable: the second attempt returns or raises")


def _exchange(server: Any, wire: Wire) -> list[Any]:
    if len(wire) == 1:
        try:
            return [server.execute_command(*wire[0])]
        except redis.ResponseError as error:
            return [error]
    pipeline = server.pipeline(transaction=False)
    for args in wire:
        pipeline.execute_command(*args)
    replies: list[Any] = pipeline.execute(raise_on_error=False)
    return replies


@overload
async def aexecute(first: Command[T], /) -> T: ...
@overload
async def aexecute(first: Command[T], second: Command[U], /) -> tuple[T, U]: ...
@overload
async def aexecute(*many: Command[Any]) -> Any: ...
async def aexecute(*many: Command[Any]) -> Any:
    """:func:`execute` over ``redis.asyncio``."""
    _admit()
    for attempt in (0, 1):
        try:
            server = aclient()
            talk = _conversation(many, isinstance(server, redis.asyncio.RedisCluster))
            wire = next(talk)
            while True:
                wire = talk.send(await _aexchange(server, wire))
        except StopIteration as done:
            _breaker.succeeded()
            return done.value[0] if len(many) == 1 else tuple(done.value)
        except _FAILURES as error:
            if not _may_resend(error, attempt):
                raise _unavailable(error) from error
    raise AssertionError("unreachable: the second attempt returns or raises")


async def _aexchange(server: Any, wire: Wire) -> list[Any]:
    if len(wire) == 1:
        try:
            return [await server.execute_command(*wire[0])]
        except redis.ResponseError as error:
            return [error]
    async with server.pipeline(transaction=False) as pipeline:
        for args in wire:
            pipeline.execute_command(*args)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies
