"""A use case as a value: what to ask Redis, and what to make of the answer. It runs the same, sync and async."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.dispatch import Signal

from jwt_redis import journalling, near_cache, observers, recovery, signals
from jwt_redis.exceptions import JournalUnavailable, RevocationUnavailable
from jwt_redis.journal import Entry
from jwt_redis.observers import Observer
from jwt_redis.recovery import atrusted, trusted, under_way
from jwt_redis.store.client import aexecute, execute
from jwt_redis.store.commands import Command

__all__ = ["SENDER", "Done", "Event", "Operation", "UseCase", "apublish", "arun", "publish", "run", "unavailable"]

logger = logging.getLogger("jwt_redis")
T = TypeVar("T")

SENDER = "jwt_redis"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a signal to send and, above DEBUG, a line for the log."""

    signal: Signal
    facts: dict[str, Any]
    name: str
    level: int = logging.DEBUG


@dataclass(frozen=True, slots=True)
class UseCase:
    """What is carried out, for whoever observes it: the function's name in :mod:`jwt_redis.sessions`, and whom it is
    about where that is known."""

    name: str
    user: str | None = None
    sid: str | None = None


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The end of an operation. With an ``error`` the events are published first, then it is raised."""

    value: T
    events: tuple[Event, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """Commands for one round trip, and what follows from their results: the end, or a further operation.

    ``entries``: what it revokes, for the journal, which is written first. ``is_optional``: when Redis does not
    answer, ``finish`` is called with None; what led to it has happened all the same.
    """

    commands: tuple[Command[Any], ...]
    finish: Callable[..., Done[T] | Operation[T]] = field()
    entries: tuple[Entry, ...] = ()
    is_optional: bool = False


def run(operation: Operation[T] | Callable[[], Operation[T] | Done[T]], case: UseCase | None = None) -> T:
    """Carry it out, publish what happened, and answer.

    A function makes an operation that rests on the copy of the marker: should the store turn out to be another one,
    it is made anew. ``case``: what it is to observers and to ``revocation_unavailable``; None for a part of a use case.

    :raises RevocationUnavailable: when Redis did not answer. What is in the journal by then is applied later.
    """
    if case is None:
        return publish(_run(operation))
    with observers.watching(case.name):
        try:
            done = _run(operation)
        except RevocationUnavailable as error:
            done = unavailable(case, error)
        return publish(done)


async def arun(operation: Operation[T] | Callable[[], Operation[T] | Done[T]], case: UseCase | None = None) -> T:
    """:func:`run` over ``redis.asyncio``."""
    if case is None:
        return await apublish(await _arun(operation))
    with observers.watching(case.name):
        try:
            done = await _arun(operation)
        except RevocationUnavailable as error:
            done = unavailable(case, error)
        return await apublish(done)


def unavailable(case: UseCase, error: RevocationUnavailable) -> Done[Any]:
    """The end of a use case for which Redis could not be asked."""
    facts = {"user": case.user, "sid": case.sid, "use_case": case.name, "error": error}
    event = Event(signals.revocation_unavailable, facts, "revocation_unavailable")
    return Done(None, () if _is_telling.get() else (event,), error)


def _run(operation: Operation[T] | Callable[[], Operation[T] | Done[T]]) -> Done[T]:
    work = partial(_carry_out, operation)
    if not (keys := _journalled(operation)):
        return trusted(work)
    with _own_rows(keys):
        return trusted(work, revokes=True)


async def _arun(operation: Operation[T] | Callable[[], Operation[T] | Done[T]]) -> Done[T]:
    work = partial(_acarry_out, operation)
    if not (keys := _journalled(operation)):
        return await atrusted(work)
    with _own_rows(keys):
        return await atrusted(work, revokes=True)


@contextmanager
def _own_rows(keys: tuple[str, ...]) -> Iterator[None]:
    """What fails within, or is cancelled, leaves its rows to whoever looks next."""
    try:
        with under_way(keys):
            yield
    except (JournalUnavailable, ValueError):
        # Without a row there is nothing to look for, and Redis was there.
        raise
    except BaseException:
        recovery.note_failure(has_left_rows=True)
        raise


def _journalled(operation: Operation[T] | Callable[[], Operation[T] | Done[T]]) -> tuple[str, ...]:
    return tuple(entry.key for entry in operation.entries) if isinstance(operation, Operation) else ()


def _carry_out(operation: Operation[T] | Callable[[], Operation[T] | Done[T]]) -> Done[T]:
    step: Operation[T] | Done[T] = operation() if callable(operation) else operation
    while isinstance(step, Operation):
        try:
            unwritten = journalling.begin(step.entries) if step.entries else None
            result = execute(*step.commands)
            if step.entries:
                near_cache.note(step.entries)
                journalling.end(step.entries, result, unwritten)
        except RevocationUnavailable as error:
            _give_up(step, error)
            result = None
        step = _next(step, result)
    return step


async def _acarry_out(operation: Operation[T] | Callable[[], Operation[T] | Done[T]]) -> Done[T]:
    step: Operation[T] | Done[T] = operation() if callable(operation) else operation
    while isinstance(step, Operation):
        try:
            unwritten = await _abegin(step.entries) if step.entries else None
            result = await aexecute(*step.commands)
            if step.entries:
                near_cache.note(step.entries)
                await sync_to_async(journalling.end)(step.entries, result, unwritten)
        except RevocationUnavailable as error:
            _give_up(step, error)
            result = None
        step = _next(step, result)
    return step


async def _abegin(entries: tuple[Entry, ...]) -> Exception | None:
    given_up = threading.Event()

    def begin() -> Exception | None:
        error = journalling.begin(entries)
        # Nobody waits for it any more, and whoever looked before it was there has found nothing.
        if given_up.is_set():
            recovery.note_failure(has_left_rows=True)
        return error

    try:
        return await sync_to_async(begin)()
    except BaseException:
        given_up.set()
        raise


def _give_up(step: Operation[Any], error: RevocationUnavailable) -> None:
    """Raise it, unless what led to the step has happened all the same."""
    if not isinstance(error, JournalUnavailable):
        recovery.note_failure(has_left_rows=bool(step.entries) and step.is_optional)
    if not step.is_optional:
        raise error


def _next(step: Operation[T], result: Any) -> Operation[T] | Done[T]:
    return step.finish(*result) if len(step.commands) > 1 and result is not None else step.finish(result)


def publish(done: Done[T]) -> T:
    """Send the events, then answer or raise."""
    for event in done.events:
        _note(event)
        with _sending(event):
            _report(event.signal.send_robust(SENDER, **event.facts))
    return _value(done)


async def apublish(done: Done[T]) -> T:
    """:func:`publish` with ``asend_robust``."""
    for event in done.events:
        _note(event)
        with _sending(event):
            _report(await event.signal.asend_robust(SENDER, **event.facts))
    return _value(done)


# A receiver of revocation_unavailable that asks Redis is not told of that again, and again.
_is_telling: ContextVar[bool] = ContextVar("jwt_redis_is_telling", default=False)


@contextmanager
def _sending(event: Event) -> Iterator[None]:
    before = _is_telling.set(_is_telling.get() or event.signal is signals.revocation_unavailable)
    try:
        yield
    except Exception:
        # As when an event loop runs sync code: nobody can call an async receiver there.
        logger.exception("The receivers of %s failed.", event.name, extra={"event": "receiver_failed"})
    finally:
        _is_telling.reset(before)


def _note(event: Event) -> None:
    if observers.installed:
        observers.tell(Observer.happened, event.name, event.facts)
    if logger.isEnabledFor(event.level):
        said = " ".join(f"{name}={value}" for name, value in event.facts.items())
        logger.log(event.level, "%s: %s", event.name, said, extra={"event": event.name, **_prefixed(event.facts)})


def _prefixed(facts: dict[str, Any]) -> dict[str, Any]:
    # Plain names could meet the LogRecord's own.
    return {f"jwt_{name}": value for name, value in facts.items()}


def _report(responses: list[tuple[Any, Any]]) -> None:
    for receiver, response in responses:
        if isinstance(response, Exception):
            logger.error(
                "The signal receiver %r failed.", receiver, exc_info=response, extra={"event": "receiver_failed"}
            )


def _value(done: Done[T]) -> T:
    if done.error is not None:
        raise done.error
    return done.value
