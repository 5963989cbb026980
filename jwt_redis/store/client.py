"""The only I/O with Redis: :func:`execute` and :func:`aexecute`; and :func:`link`, to mend a store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.core.signals import setting_changed
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.sentinel import SentinelConnectionPool

from jwt_redis.conf import config
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store import gate, markers
from jwt_redis.store.breaker import Breaker
from jwt_redis.store.commands import Command
from jwt_redis.store.connections import (
    FAILURES,
    TURN_TIMEOUT,
    AsyncLine,
    Line,
    aconnect,
    close,
    connect,
    connection_limit,
    heeding,
)
from jwt_redis.store.conversation import Unlogged, Wire, conversation, has_script, read_reply

__all__ = [
    "Link",
    "aclient",
    "aexecute",
    "client",
    "execute",
    "is_cluster",
    "is_known_dead",
    "link",
    "reset",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class _OfLoop:
    """An event loop's client, what commands that go alone take beside it, and as many turns as it has connections."""

    client: redis.asyncio.Redis
    line: AsyncLine | None
    turns: asyncio.Semaphore

    @classmethod
    def new(cls) -> _OfLoop:
        made = aconnect()
        return cls(made, AsyncLine.of(made), asyncio.Semaphore(connection_limit(made)))


_lock = threading.Lock()
# One for each node of a cluster: others go on when one is dead. Without a cluster there is but one.
_breakers: dict[str, Breaker] = {}
_client: redis.Redis | None = None
# Beside it, for commands that go alone.
_line: Line | None = None
# A client of redis.asyncio belongs to the event loop that it was first used in.
_loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}


def client() -> redis.Redis:
    """The client of this process, on the primary."""
    global _client, _line
    if _client is None:
        with _lock:
            if _client is None:
                made = connect()
                _line = Line.of(made)
                _client = made
    return _client


def aclient() -> redis.asyncio.Redis:
    """The client of the running event loop, on the primary."""
    return _of_loop().client


def _of_loop() -> _OfLoop:
    loop = asyncio.get_running_loop()
    found = _loops.get(loop)
    if found is None:
        with _lock:
            for closed in [known for known in _loops if known.is_closed()]:
                del _loops[closed]
            found = _loops[loop] = _OfLoop.new()
    return found


def reset(**kwargs: Any) -> None:
    """Forget the clients, so that the next use reads the settings again."""
    global _client, _line
    if kwargs.get("setting", "JWT_REDIS") not in ("JWT_REDIS", "CACHES"):
        return
    with _lock:
        if _client is not None:
            close(_client)
        _client = _line = None
        _loops.clear()
        _breakers.clear()


setting_changed.connect(reset, dispatch_uid="jwt_redis.store.client.reset")


# A stream that nobody holds any more closes itself, and takes its socket out of the selector, which parent and child
# have in common: the parent would wait for replies that it is not told of.
_of_parents: list[dict[asyncio.AbstractEventLoop, _OfLoop]] = []


def _after_fork() -> None:
    """Another thread of the parent may have held these, and a pool has a lock too."""
    global _lock, _client, _line
    _lock = threading.Lock()
    # Not closed: the connections are the parent's.
    _client = _line = None
    _breakers.clear()
    if _loops:
        _of_parents.append(_loops.copy())
    _loops.clear()


os.register_at_fork(after_in_child=_after_fork)


# To mend a store -----------------------------------------------------------------------------------------------------


class Link:
    """One conversation with a store that need not be trusted yet. Not for requests: only to mend it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._is_cluster = isinstance(server, redis.RedisCluster)

    @property
    def is_cluster(self) -> bool:
        """Does the store spread over several primaries?"""
        return self._is_cluster

    def servers(self) -> frozenset[gate.Server]:
        """The primary, or those of a cluster (INFO).

        :raises ConnectionError: when it is a replica, or evicts where that breaks a promise.
        """
        if self._is_cluster:
            nodes = self._server.get_primaries()
            found = [_ask_node(self._server.get_redis_connection(node)) for node in nodes]
        else:
            found = [gate.ask_server(self._server.connection)]
        for one in found:
            gate.refuse_unfit(one)
        return frozenset(found)

    def __call__(self, command: Command[T]) -> T:
        """Run one command."""
        talk = conversation((command,), self._is_cluster, "", [])
        wire = next(talk)
        try:
            while True:
                wire = talk.send(_exchange(self._server, wire))
        except StopIteration as done:
            result: T = done.value[0]
            return result


def _ask_node(node: Any) -> gate.Server:
    connection = node.connection_pool.get_connection()
    try:
        return gate.ask_server(connection)
    finally:
        node.connection_pool.release(connection)


@contextlib.contextmanager
def link() -> Iterator[Link]:
    """Open a :class:`Link`. What fails within is a :class:`RevocationUnavailable`, and the breaker learns of it."""
    breaker = _breaker_of()
    if not breaker.allows():
        raise RevocationUnavailable
    try:
        server: Any = connect(gated=False)
        try:
            # On one connection: if the server restarts meanwhile, the conversation breaks and nothing is marked.
            yield Link(server if isinstance(server, redis.RedisCluster) else _single(server))
            breaker.succeeded()
        finally:
            close(server)
    except FAILURES as error:
        raise _unavailable(error, breaker) from error


def _single(server: redis.Redis) -> redis.Redis:
    return redis.Redis(connection_pool=server.connection_pool, single_connection_client=True)


# Requests ---------------------------------------------------------------------------------------------------------


def _unavailable(error: BaseException, breaker: Breaker) -> RevocationUnavailable:
    """Log a failure, count it, and make the exception that callers get for it."""
    # An answer, even a bad one, and a pool that is used up are no sign of a dead server.
    if not isinstance(error, (redis.ResponseError, redis.exceptions.MaxConnectionsError)):
        breaker.failed()
    logger.error("Redis failed: %s: %s", type(error).__name__, error, extra={"event": "revocation_unavailable"})
    return RevocationUnavailable()


def _breaker_of(server: Any = None, command: Command[Any] | None = None) -> Breaker:
    """Of the node that a command is for; without a cluster, of the server."""
    name = ""
    if isinstance(server, (redis.RedisCluster, redis.asyncio.RedisCluster)) and command is not None and command.keys:
        try:
            node: Any = server.get_node_from_key(command.keys[0])
            name = node.name if node is not None else ""
        except FAILURES:
            name = ""  # a topology that is not known yet
    found = _breakers.get(name)
    return found if found is not None else _breakers.setdefault(name, Breaker(name))


def is_cluster() -> bool:
    """Does the store spread over several primaries?"""
    return isinstance(client(), redis.RedisCluster)


def is_known_dead() -> bool:
    """Did Redis not answer a moment ago, so that nobody should ask it now?"""
    return _breaker_of().is_open()


def _admit(breaker: Breaker, command: Command[Any]) -> None:
    if not breaker.allows() and not command.is_revocation:
        raise RevocationUnavailable()


def _may_resend(error: BaseException, attempt: int) -> bool:
    """Each script may run twice. But who timed out once has waited long enough."""
    return attempt == 0 and isinstance(error, redis.ConnectionError) and not isinstance(error, redis.TimeoutError)


def _refusal(error: BaseException) -> BaseException:
    """The gate's own exception, where a client has wrapped it in one of its own."""
    if gate.is_waiting() and not isinstance(error, gate.UntrustedStore):
        return gate.UntrustedStore(str(error))
    return error


@overload
def execute(first: Command[T], /) -> T: ...
@overload
def execute(first: Command[T], second: Command[U], /) -> tuple[T, U]: ...
@overload
def execute(*many: Command[Any]) -> Any: ...
def execute(*many: Command[Any]) -> Any:
    """Run one command, or several in one round trip, of which those that are scripts change nothing.

    A revocation is tried even while Redis is known dead: one lost reply is enough for that.

    :raises RevocationUnavailable: when Redis did not answer, or not as it should.
    :raises UntrustedStore: when the journal has to be applied first; nothing was sent.
    """
    first_attempt = 0
    if (line := _line) is not None:
        if len(many) == 1 and many[0].script is None:
            try:
                return _ask(line, many[0])
            except _Stale:
                first_attempt = 1
        else:
            line.lend()
    breaker = _breaker_of()
    unlogged: Unlogged = []
    for attempt in range(first_attempt, 2):
        try:
            server = client()
            breaker = _breaker_of(server, many[0])
            if attempt == 0:
                _admit(breaker, many[0])
            if many[0].proves_primary or many[-1].proves_primary:
                _ask_sentinel(server)
            talk = conversation(many, isinstance(server, redis.RedisCluster), markers.store_id(), unlogged)
            wire = next(talk)
            while True:
                wire = talk.send(_exchange(server, wire))
        except StopIteration as done:
            breaker.succeeded()
            return done.value[0] if len(many) == 1 else tuple(done.value)
        except FAILURES as error:
            _judge_failure(error, breaker, attempt)
            if line is not None:
                # The server may have been restarted; or it is they who have used up the pool.
                line.dissolve()
    raise AssertionError("unreachable: the second attempt returns or raises")


class _Stale(Exception):
    """The first attempt was in vain, and there may be a second."""


def _ask(line: Line, command: Command[T]) -> T:
    """The first attempt at a command that goes alone: the way of each check, and nothing is on it but the check."""
    breaker = _breaker_of()
    _admit(breaker, command)
    try:
        try:
            reply = line.ask(command.args)
        except redis.ResponseError as error:
            reply = error
        result = read_reply(command, reply)
    except FAILURES as error:
        _judge_failure(error, breaker, 0)
        line.dissolve()
        raise _Stale from error
    breaker.succeeded()
    return result


def _judge_failure(error: BaseException, breaker: Breaker, attempt: int) -> None:
    """Raise what callers get for a failure, unless the command may be sent once more."""
    if isinstance(refusal := _refusal(error), gate.UntrustedStore):
        # It has answered, after all: whoever looks after it must not be sent away.
        breaker.succeeded()
        raise refusal from error
    if not _may_resend(error, attempt):
        raise _unavailable(error, breaker) from error


def _ask_sentinel(server: Any) -> None:
    """Once a second: a primary that was replaced may be alive, believe to be one, and hold an open connection."""
    pool = getattr(server, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        try:
            # Closes the idle connections to any other.
            pool.get_master_address()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            logger.warning("No sentinel says who the primary is: %s", error, extra={"event": "sentinel_unavailable"})


def _exchange(server: Any, wire: Wire) -> list[Any]:
    if len(wire) == 1:
        try:
            return [server.execute_command(*wire[0])]
        except redis.ResponseError as error:
            return [error]
    if isinstance(server, redis.RedisCluster) and has_script(wire):
        return _exchange_with_nodes(server, wire)
    pipeline = server.pipeline(transaction=False)
    for args in wire:
        pipeline.execute_command(*args)
    replies: list[Any] = pipeline.execute(raise_on_error=False)
    return replies


def _exchange_with_nodes(server: Any, wire: Wire) -> list[Any]:
    """Cluster's own pipelines take no scripts."""
    script, wait = wire[0], wire[-1]
    if wait[0] != "WAIT":
        return [reply for one in wire for reply in _exchange(server, [one])]
    # Redirections are the client's business; then once more on the connection that is asked to wait. It may run twice.
    first = _exchange(server, [script])
    if isinstance(first[0], Exception):
        return [first[0], 0]
    node = server.get_node_from_key(script[3])
    confirmed = _exchange(server.get_redis_connection(node), wire)[1]
    return [first[0], confirmed]


@overload
async def aexecute(first: Command[T], /) -> T: ...
@overload
async def aexecute(first: Command[T], second: Command[U], /) -> tuple[T, U]: ...
@overload
async def aexecute(*many: Command[Any]) -> Any: ...
async def aexecute(*many: Command[Any]) -> Any:
    """:func:`execute` over ``redis.asyncio``."""
    mine = _of_loop()
    turns, line = mine.turns, mine.line
    # Nobody waits for a timer where nobody has to wait.
    await (_turn(turns) if turns.locked() else turns.acquire())
    try:
        first_attempt = 0
        if line is not None:
            if len(many) == 1 and many[0].script is None:
                try:
                    return await heeding(_aask(line, many[0]))
                except _Stale:
                    first_attempt = 1
            else:
                await line.lend()
        return await heeding(_aexecute(mine.client, many, first_attempt))
    finally:
        turns.release()


async def _turn(turns: asyncio.Semaphore) -> None:
    """Wait while there are as many commands under way as there may be connections: a pool that is used up refuses."""
    try:
        async with asyncio.timeout(TURN_TIMEOUT):
            await turns.acquire()
    except TimeoutError as error:
        raise _unavailable(redis.exceptions.MaxConnectionsError("no connection came free"), _breaker_of()) from error


async def _aask(line: AsyncLine, command: Command[T]) -> T:
    """:func:`_ask` over ``redis.asyncio``."""
    breaker = _breaker_of()
    _admit(breaker, command)
    try:
        try:
            reply = await line.ask(command.args)
        except redis.ResponseError as error:
            reply = error
        result = read_reply(command, reply)
    except FAILURES as error:
        _judge_failure(error, breaker, 0)
        await line.dissolve()
        raise _Stale from error
    breaker.succeeded()
    return result


async def _aexecute(server: redis.asyncio.Redis, many: tuple[Command[Any], ...], first_attempt: int) -> Any:
    breaker = _breaker_of()
    unlogged: Unlogged = []
    for attempt in range(first_attempt, 2):
        try:
            breaker = _breaker_of(server, many[0])
            if attempt == 0:
                _admit(breaker, many[0])
            cluster = isinstance(server, redis.asyncio.RedisCluster)
            if cluster and config().wait_replicas and many[0].is_revocation:
                # redis.asyncio offers no way to send two commands on one connection of a cluster.
                return await sync_to_async(cast("Callable[..., Any]", execute), thread_sensitive=False)(*many)
            if len(many) == 1 and many[0].script is None:
                result = read_reply(many[0], await _aone(server, many[0].args))
                breaker.succeeded()
                return result
            if many[0].proves_primary or many[-1].proves_primary:
                await _aask_sentinel(server)
            talk = conversation(many, cluster, markers.store_id(), unlogged)
            wire = next(talk)
            while True:
                wire = talk.send(await _aexchange(server, wire))
        except StopIteration as done:
            breaker.succeeded()
            return done.value[0] if len(many) == 1 else tuple(done.value)
        except FAILURES as error:
            _judge_failure(error, breaker, attempt)
    raise AssertionError("unreachable: the second attempt returns or raises")


async def _aask_sentinel(server: Any) -> None:
    pool = getattr(server, "connection_pool", None)
    if isinstance(pool, AsyncSentinelConnectionPool):
        try:
            await pool.get_master_address()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            logger.warning("No sentinel says who the primary is: %s", error, extra={"event": "sentinel_unavailable"})


async def _aexchange(server: Any, wire: Wire) -> list[Any]:
    if len(wire) == 1 or (isinstance(server, redis.asyncio.RedisCluster) and has_script(wire)):
        return [await _aone(server, args) for args in wire]
    async with server.pipeline(transaction=False) as pipeline:
        for args in wire:
            pipeline.execute_command(*args)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies


async def _aone(server: Any, args: tuple[Any, ...]) -> Any:
    try:
        return await server.execute_command(*args)
    except redis.ResponseError as error:
        return error
