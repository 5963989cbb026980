"""The log as a stream of events, for ``for`` and ``async for``.

What is asked, waited for and told is one generator, which a sync or an async exchange drives: so nothing of it exists
twice. It gets along without a thread: whoever iterates does the asking.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import redis
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import close_old_connections

from jwt_redis.conf import NearCache, config
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.log_reading import PAGE, Crowd, Pace, Position, Questions, clock, read_on
from jwt_redis.recovery import atrusted, trusted
from jwt_redis.revocations.events import GAP, HEARD, UNAVAILABLE, Event, revocation
from jwt_redis.store import client, commands, gate
from jwt_redis.store.commands import Command, History, LogPage
from jwt_redis.store.waker import AsyncWaker, Waker

__all__ = ["Following", "follow"]

logger = logging.getLogger(__name__)

# What a question may come to, where nobody is to blame but the circumstances.
_FAILURES: Final = (RevocationUnavailable, DatabaseError, ImproperlyConfigured)


@dataclass(frozen=True, slots=True)
class _Answer:
    page: LogPage
    history: History | None
    # How often trust had been established before the question.
    epoch: int


@dataclass(frozen=True, slots=True)
class _Ask:
    """Ask for entries; the result is an :class:`_Answer`, or one of ``_FAILURES``."""

    entries: Command[Any]
    more: tuple[Command[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class _Await:
    """Wait until something new is behind an entry, for as long as this process may; the result is whether it is."""

    after: str


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float


_Action = _Ask | _Await | _Pause | Event


def follow(since: str | None = None, *, heartbeat: float | None = 15.0) -> Following:
    """Whatever is revoked from now on, or from a position on: ``for event in follow()``, or ``async for``.

    ``since``: the ``position`` of an event that was heard before, in any process. What came behind it comes first, each
    revocation once. Where the log cannot tell what that was (it was trimmed, or Redis was emptied, set back, or failed
    over to a server that lacked some of it) the first event is a ``gap``: from there on all is told, and whatever rests
    on what was revoked before has to be asked for anew.

    The first event is a ``heard`` or, if there was something, what came since. None is missing between that and the
    next, so whoever asks about a token *after* the first event, and then goes on reading, misses nothing.

    ``heartbeat``: after so many seconds without any other event there is a ``heard``, or ``unavailable`` while Redis
    cannot be asked; None for none. Each change between these two is told in any case.

    It never ends by itself, and does not fail while Redis is away: see :class:`Following`.

    :raises ValueError: when ``since`` is no position, or ``heartbeat`` negative.
    """
    return Following(since, heartbeat)


class Following:
    """See :func:`follow`. Iterate it in one thread or task at a time; :meth:`close` may come from any.

    Each wait is bounded by half a second, and by two while Redis cannot be asked. A task that is cancelled in
    ``async for`` can iterate it again, and lacks nothing. In a forked child the iteration ends: it is the parent's.
    """

    def __init__(self, since: str | None, heartbeat: float | None) -> None:
        if heartbeat is not None and not heartbeat >= 0:
            raise ValueError("heartbeat: None or a number of seconds, zero or more, is needed")
        self._position = Position.parse(since) if since is not None else None
        #: Where to go on after the last event that was told; "" before the first.
        self.position = since or ""
        #: By ``jwt_redis.log_reading.clock``, from before a question: what was acknowledged by then has been told.
        self.known_at = float("-inf")
        self._heartbeat = float("inf") if heartbeat is None else heartbeat
        settings = config().near_cache or NearCache()
        self._pace = Pace(settings)
        self._questions = Questions(settings.lease)
        self._crowd = Crowd(settings.max_waiting)
        self._waker: Waker | None = None
        self._awaker: AsyncWaker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closing = threading.Event()
        # A pause is over: it is closed, or there is a reason to try again at once.
        self._stirred = threading.Event()
        self._course = self._run()
        self._action: _Action | None = None

    # The course of it ----------------------------------------------------------------------------------------------

    def _run(self) -> Generator[_Action, Any, None]:
        """What to do next, for as long as anybody asks."""
        epoch = -1
        gap = ""
        heard_at: datetime | None = None
        failures = 0
        told_at = float("-inf")
        while True:
            position = self._position
            is_sure = position is not None and epoch == gate.established()
            answer = yield _question(position, is_sure)
            if not isinstance(answer, _Answer):
                logger.debug("The revocation log cannot be followed: %s", answer)
                if not failures or clock() - told_at >= self._heartbeat:
                    told_at = clock()
                    yield Event(UNAVAILABLE, self.position, heard_at)
                yield _Pause(self._pace.after_failures(failures))
                failures += 1
                continue
            page = answer.page
            if answer.epoch != gate.established() or (is_sure and answer.epoch != epoch):
                continue  # the server has changed meanwhile: again
            if position is None:
                position, wrong = _end_of(page), ""
                page = LogPage(page.marker, page.now, ())
            elif is_sure:
                wrong = ""
            else:
                page, position, wrong = _resumed(position, answer)
            if not wrong:
                read, wrong = read_on(position, page, PAGE)
                store_id, number = position.store_id, position.number
                for entry in page.entries[: read.number - number]:
                    told_at = clock()
                    yield revocation(entry, store_id)
                self._position = position = read
            if wrong:
                logger.warning("Revocations may be missing: %s.", wrong, extra={"event": "revocations_gap"})
                self._position, gap = None, wrong
                continue
            epoch = answer.epoch
            if len(page.entries) == PAGE:
                continue
            self.known_at = self._questions.proven_at
            heard_at = datetime.fromtimestamp(page.now, tz=UTC)
            if gap or failures or told_at == float("-inf") or clock() - told_at >= self._heartbeat:
                told_at = clock()
                yield Event(GAP if gap else HEARD, str(position), heard_at, reason=gap)
                gap, failures = "", 0
            yield from self._until_later(position, bool(page.entries))

    def _until_later(self, position: Position, was_busy: bool) -> Generator[_Action, Any, None]:
        if was_busy:
            yield _Pause(self._pace.between(self._questions.asked_at))
        yield _Await(position.id)

    # What both exchanges do ------------------------------------------------------------------------------------------

    def _next_action(self) -> _Action:
        if self._action is None:
            self._action = next(self._course)
        return self._action

    def _done(self, result: Any) -> None:
        """An action was carried out. Until then it is the one to carry out, whoever was cancelled meanwhile."""
        self._action = self._course.send(result)

    def _tell(self, event: Event) -> Event:
        self.position = event.position
        self._done(None)
        return event

    def _is_over(self) -> bool:
        return self._closing.is_set() or self._pid != os.getpid()

    def _read(self, results: Any, epoch: int) -> _Answer:
        return _Answer(self._questions.answered(results), results[2] if len(results) > 2 else None, epoch)

    def _may_wait(self) -> bool:
        return not client.is_cluster() and (not self._crowd.is_polling or self._crowd.is_due())

    # Sync ------------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._is_over():
            action = self._next_action()
            if isinstance(action, Event):
                return self._tell(action)
            self._done(self._carry_out(action))
        self._drop_waker()
        raise StopIteration

    def _carry_out(self, action: _Ask | _Await | _Pause) -> Any:
        if isinstance(action, _Ask):
            try:
                return trusted(partial(self._ask, action))
            except _FAILURES as error:
                self._drop_waker()
                # Of a database that was restarted, perhaps, to which the journal is to be read.
                close_old_connections()
                return error
        if isinstance(action, _Await):
            if self._await(action.after):
                return None
            action = _Pause(self._pace.until_next_look())
        self._stirred.wait(action.seconds)
        if not self._closing.is_set():
            self._stirred.clear()
        return None

    def _ask(self, action: _Ask) -> _Answer:
        epoch = gate.established()
        return self._read(client.execute(*self._questions.next(action.entries, *action.more)), epoch)

    def _await(self, after: str) -> bool:
        """Has this process waited? It need not have been right: it is the next question that counts."""
        if not self._may_wait():
            return False
        try:
            if self._waker is None:
                self._waker = Waker(self._pace.longest_wait)
            if self._crowd.is_due():
                self._crowd.counting()
                self._crowd.choose(self._waker.waiting())
            if self._crowd.is_polling:
                self._drop_waker()
                return False
            self._waker.wait(after)
        except redis.RedisError as error:
            logger.debug("Nothing wakes who follows the log: %s", error)
            self._drop_waker()
            return False
        return True

    def _drop_waker(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()

    def close(self) -> None:
        """The iteration ends, wherever it is, within the wait that it is in."""
        self._closing.set()
        self._stirred.set()

    def hurry(self) -> None:
        """Whoever iterates with ``for`` and is in a pause, as after a failure, tries again at once. From any thread."""
        self._stirred.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._drop_waker()

    # Async -----------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._is_over():
            action = self._next_action()
            if isinstance(action, Event):
                return self._tell(action)
            self._done(await self._acarry_out(action))
        await self._adrop_waker()
        raise StopAsyncIteration

    async def _acarry_out(self, action: _Ask | _Await | _Pause) -> Any:
        if isinstance(action, _Ask):
            try:
                return await atrusted(partial(self._aask, action))
            except _FAILURES as error:
                await self._adrop_waker()
                await sync_to_async(close_old_connections)()
                return error
        if isinstance(action, _Await):
            if await self._aawait(action.after):
                return None
            action = _Pause(self._pace.until_next_look())
        await asyncio.sleep(action.seconds)
        return None

    async def _aask(self, action: _Ask) -> _Answer:
        epoch = gate.established()
        return self._read(await client.aexecute(*self._questions.next(action.entries, *action.more)), epoch)

    async def _aawait(self, after: str) -> bool:
        """:meth:`_await` over ``redis.asyncio``."""
        if not self._may_wait():
            return False
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # What was made in another loop is of no use in this one, not even to be closed.
            self._awaker, self._loop = None, loop
        try:
            if self._awaker is None:
                self._awaker = AsyncWaker(self._pace.longest_wait)
            if self._crowd.is_due():
                self._crowd.counting()
                self._crowd.choose(await self._awaker.waiting())
            if self._crowd.is_polling:
                await self._adrop_waker()
                return False
            await self._awaker.wait(after)
        except redis.RedisError as error:
            logger.debug("Nothing wakes who follows the log: %s", error)
            await self._adrop_waker()
            return False
        except BaseException:
            # Cancelled in the middle of a reply.
            await self._adrop_waker()
            raise
        return True

    async def _adrop_waker(self) -> None:
        waker, self._awaker = self._awaker, None
        if waker is not None and self._loop is asyncio.get_running_loop():
            await waker.aclose()

    async def aclose(self) -> None:
        """:meth:`close`, and the connection that waits is given up."""
        self.close()
        await self._adrop_waker()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _question(position: Position | None, is_sure: bool) -> _Ask:
    if position is None:
        return _Ask(commands.read_log_end())
    if is_sure:
        return _Ask(commands.read_log(position.id, PAGE))
    # With the last entry that was heard, and what the store says of its past: is this the log that it was in?
    return _Ask(commands.read_log_from(position.id, PAGE + 1), (commands.read_history(),))


def _end_of(page: LogPage) -> Position:
    """Now. What is counted and not in the log has been trimmed, evicted or deleted."""
    assert page.marker is not None  # noqa: S101
    last = page.entries[-1] if page.entries else None
    number = max(last.number if last else 0, page.marker.revocations)
    return Position(last.id if last else "0", number, page.marker.store_id)


def _resumed(position: Position, answer: _Answer) -> tuple[LogPage, Position, str]:
    """The page behind a position from another time, the position in the store of today, and what is wrong with it.

    A store has what stands in its own chapters, up to where each ended. The entry itself has to be there too: without
    a journal a store that was set back goes on under its own name, and with the same numbers for other revocations.
    """
    marker, entries = answer.page.marker, answer.page.entries
    assert marker is not None  # noqa: S101
    here = Position(position.id, position.number, marker.store_id)
    history = answer.history
    # A number of its own that it does not have is found by who reads on.
    is_own = position.store_id == marker.store_id
    chapters: dict[str, int] = dict(history.chapters) if history is not None else {}
    if not is_own and position.number > chapters.get(position.store_id, -1):
        return answer.page, here, "the store is another one, or was set back"
    if is_own and position.number > marker.revocations:
        return answer.page, here, "the store was set back"
    # There was nothing in the log then: whoever reads on sees whether it goes on with the next number.
    if position.id != "0":
        # Its number may be lower where the log's end had been deleted.
        if not entries or entries[0].id != position.id or entries[0].number > position.number:
            return answer.page, here, "the log was trimmed, or is another one"
        entries = entries[1:]
    return LogPage(marker, answer.page.now, entries[:PAGE]), here, ""
