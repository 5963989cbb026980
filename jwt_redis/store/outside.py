"""The store as a whole, for commands, system checks and the admin: never for an API's request, and nothing here is a
verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis

from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store.connections import FAILURES, close, connect

__all__ = ["Position", "Question", "Step", "key_count", "look", "server_info", "user_keys"]

T = TypeVar("T")


def _reachable() -> contextlib.AbstractContextManager[redis.Redis]:
    """A client for reading what is no verdict: it passes no gate, and the breaker is not asked."""
    return _failures_raised(connect(gated=False))


@contextlib.contextmanager
def _failures_raised(server: redis.Redis) -> Iterator[redis.Redis]:
    try:
        yield server
    except FAILURES as error:
        raise RevocationUnavailable from error
    finally:
        close(server)


def server_info() -> dict[str, Any]:
    """What the primary says of itself (INFO).

    :raises RevocationUnavailable: when it does not answer; the cause is the client's own error.
    """
    with _reachable() as server:
        info: dict[str, Any] = server.info()
        return info


def user_keys(pattern: str, batch: int) -> Iterator[list[str]]:
    """All keys that match, in batches (SCAN). It never blocks Redis for long, and never serves a request.

    :raises RevocationUnavailable: when Redis does not answer.
    """
    found: list[str] = []
    with _reachable() as server:
        for key in server.scan_iter(match=pattern, count=batch):
            found.append(key)
            if len(found) >= batch:
                yield found
                found = []
    if found:
        yield found


def key_count() -> int:
    """How many keys the database holds (DBSIZE): the end of a progress bar."""
    with _reachable() as server:
        return int(server.dbsize())


# A look through the store, in steps ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What is asked of the keys that a step comes by. ``ask``: the command for a key, None for one of no interest;
    ``read``: what its reply says."""

    ask: Callable[[str], tuple[str, ...] | None]
    read: Callable[[str, Any], Iterable[T]]


@dataclass(frozen=True, slots=True)
class Position:
    """How far a look has come. ``node``: the primary's address, "" where there is but one. ``cursor``: SCAN's there.
    ``seen``: keys so far, on all of them."""

    node: str = ""
    cursor: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """What one step has ``found``, and from where to go on: None at the end. ``total``: keys in the store (DBSIZE).
    ``is_anew``: the position's node is none of the primaries any more, so this step began at the first one."""

    found: tuple[T, ...]
    position: Position | None
    total: int
    is_anew: bool = False


def look(
    question: Question[T], position: Position | None = None, *, seconds: float, batch: int = 500, limit: int = 100
) -> Step[T]:
    """One step of a look through all keys (SCAN, and a command for each key of interest, in pipelines of ``batch``).

    It ends after ``seconds``, or with ``limit`` finds; either may be passed by one batch. Each key that is there all
    the time is come by at least once, and may be come by twice (SCAN's own promise).

    :raises RevocationUnavailable: when Redis does not answer.
    """
    deadline = time.monotonic() + seconds
    with _reachable() as server:
        nodes = _primaries(server)
        total = sum(int(node.dbsize()) for _, node in nodes)
        names = [name for name, _ in nodes]
        start = position or Position(names[0])
        is_anew = start.node not in names
        if is_anew:
            start = Position(names[0])
        found: list[T] = []
        seen, cursor = start.seen, start.cursor
        for name, node in nodes[names.index(start.node) :]:
            while True:
                cursor, keys = node.scan(cursor, count=batch)
                seen += len(keys)
                found += _asked(node, question, keys)
                if cursor == 0:
                    break
                if len(found) >= limit or time.monotonic() >= deadline:
                    return Step(tuple(found), Position(name, cursor, seen), total, is_anew)
            following = names[names.index(name) + 1 :]
            if following and (len(found) >= limit or time.monotonic() >= deadline):
                return Step(tuple(found), Position(following[0], 0, seen), total, is_anew)
        return Step(tuple(found), None, total, is_anew)


def _primaries(server: Any) -> list[tuple[str, Any]]:
    """By their addresses, in order: a cursor is one node's own."""
    if isinstance(server, redis.RedisCluster):
        nodes = server.get_primaries()  # type: ignore[no-untyped-call]
        return sorted(((node.name, server.get_redis_connection(node)) for node in nodes), key=lambda pair: pair[0])
    return [("", server)]


def _asked(node: Any, question: Question[T], names: Iterable[str]) -> Iterator[T]:
    asked = [(name, command) for name in names if (command := question.ask(name)) is not None]
    if not asked:
        return
    pipeline = node.pipeline(transaction=False)
    for _, command in asked:
        pipeline.execute_command(*command)
    for (name, _), reply in zip(asked, pipeline.execute(raise_on_error=False), strict=True):
        # A foreign key of that name may be of another type; in a cluster a slot may have moved meanwhile.
        if isinstance(reply, redis.exceptions.NoPermissionError):
            raise reply
        if not isinstance(reply, Exception):
            yield from question.read(name, reply)
