"""What all tokens that are watched in an event loop share: one :class:`~jwt_redis.revocations.following.Following`,
which is there only while something is watched.

A token is found by what the log has of it; those that an entry might concern (another session of the user, a revocation
of everything, a gap) are asked about.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Final, Protocol

from django.db import connections
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.conf import Config, NearCache, config
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_tag
from jwt_redis.log_reading import clock
from jwt_redis.revocations.endings import REVOCATION_UNAVAILABLE, Ending
from jwt_redis.revocations.events import GAP, HEARD, SESSION, TOKEN, UNAVAILABLE, Event
from jwt_redis.revocations.following import Following, follow
from jwt_redis.verdicts import SESSION_ENDED, TOKEN_BLACKLISTED, Claims, Verdict

__all__ = ["Hub", "Watched", "hub_of_loop"]

logger = logging.getLogger(__name__)

# How many are asked about at once.
_AT_A_TIME: Final = 250
# The parts of a lease in which is looked when its half is over; and how late a look is where the loop stood still.
_LOOKS: Final = 10
_LATE: Final = 0.01
# Seconds after which one whose follower has failed begins anew.
_PAUSE: Final = 1.0
_NEVER: Final = float("-inf")


class Watched(Protocol):
    """A token, of which whoever watches it can be told that it is over."""

    token: Token
    claims: Claims

    @property
    def denies(self) -> bool:
        """Does it end when Redis cannot be asked?"""

    def end(self, ending: Ending) -> None:
        """It is not good any more."""


@dataclass(slots=True)
class _Doubt:
    """Redis is to be asked. ``why``: as whoever revoked something said. ``until``: when it is too late, by clock()."""

    why: str
    until: float
    # For how long the loop had stood still by then.
    stood_still: float


class Hub:
    """What is watched in one event loop, and the one follower of all.

    The follower is a thread, and so is who asks about those in doubt: what proves that nobody was revoked must not wait
    for its turn in a loop that is busy, with a thousand sockets that come back for instance. What they have heard they
    tell the loop, in order; all that is known is looked at and changed there alone.
    """

    def __init__(self) -> None:
        self.config: Config = config()
        self.position = ""
        self._lease = (self.config.near_cache or NearCache()).lease
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Event()
        # By session, token and user.
        self._index: dict[tuple[str, str], set[Watched]] = {}
        self._watches: set[Watched] = set()
        # Those of them that end when nobody knows.
        self._denying: set[Watched] = set()
        # By clock(), from before Redis was last asked about it.
        self._proven_at: dict[Watched, float] = {}
        # Those that Redis is to be asked about, and those that it is being asked about.
        self._doubts: dict[Watched, _Doubt] = {}
        self._asked: dict[Watched, _Doubt] = {}
        self._known_at = _NEVER
        self._begun_at = _NEVER
        # Seconds, in all that time and when it was last known that nothing was missed.
        self._stood_still = self._stood_still_by_then = 0.0
        # Was a look so late that whatever had come was to be heard first?
        self._is_late = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._is_stopping = threading.Event()
        self._following: Following | None = None
        # What was told of a course of the follower that has failed is heard no more.
        self._course = 0
        # Not in the context of the request that happens to be the first.
        follow_log = partial(contextvars.Context().run, self._follow)
        self._thread = threading.Thread(target=follow_log, name="jwt_redis-watch", daemon=True)
        self._thread.start()

    # Who is watched --------------------------------------------------------------------------------------------------

    def add(self, one: Watched) -> None:
        """It hears what concerns it. How long that is good for is another matter: see :meth:`rely_on`."""
        self._watches.add(one)
        for name in _names(one.claims):
            self._index.setdefault(name, set()).add(one)

    def rely_on(self, one: Watched, proven_at: float) -> None:
        """Redis has said that it is good, asked at ``proven_at`` by ``clock()``. Somebody has to go on saying so."""
        if one in self._watches:
            self._proven_at[one] = proven_at
            if one.denies:
                self._denying.add(one)
                self._arm()
        if not self.is_known() and (following := self._following) is not None:
            # Whoever follows the log need not wait before the next attempt.
            following.hurry()

    def hand_over(self, one: Watched, other: Watched) -> None:
        """What is known of one is known of the other, and what is in doubt is in doubt."""
        self.rely_on(other, self._proven_at.get(one, _NEVER))
        if (doubt := self._doubts.get(one) or self._asked.get(one)) is not None:
            self._doubts[other] = doubt

    def remove(self, one: Watched, *, stops: bool = True) -> None:
        """``stops``: the follower ends with the last one."""
        self._watches.discard(one)
        self._denying.discard(one)
        self._proven_at.pop(one, None)
        self._doubts.pop(one, None)
        self._asked.pop(one, None)
        for name in _names(one.claims):
            if (some := self._index.get(name)) is not None:
                some.discard(one)
                if not some:
                    del self._index[name]
        if stops and not self._watches:
            self._stop()

    def _stop(self) -> None:
        if _hubs.get(self._loop) is self:
            del _hubs[self._loop]
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._end_thread()

    def _end_thread(self) -> None:
        self._is_stopping.set()
        if (following := self._following) is not None:
            following.close()

    def is_over(self) -> bool:
        return self._is_stopping.is_set() or not self._thread.is_alive()

    def is_known(self) -> bool:
        return clock() < self._known_at + self._lease

    async def has_begun(self) -> None:
        """Until the log is followed, or is known not to be for now."""
        await self._begun.wait()

    # In the follower's thread ----------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._is_stopping.is_set():
            course = self._course
            try:
                with follow(self.position or None, heartbeat=0) as following:
                    self._following = following
                    # Whoever ends one course, or all, has done so before: it was not there to be closed.
                    if course == self._course and not self._is_stopping.is_set():
                        for event in following:
                            self._tell(self._heard, course, event, following.known_at, following.position)
            except Exception:
                logger.exception("Who follows the log has failed.", extra={"event": "watch_failed"})
                self._tell(self._failed)
            finally:
                # This thread's own, which nobody else closes: recovery reads the journal.
                connections.close_all()
            self._is_stopping.wait(_PAUSE)

    def _tell(self, what: Callable[..., None], *facts: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *facts)
        except RuntimeError:
            # The loop was closed, with whatever was watched in it.
            self._end_thread()

    # What is heard ---------------------------------------------------------------------------------------------------

    def _heard(self, course: int, event: Event, known_at: float, position: str) -> None:
        if course != self._course or self._is_stopping.is_set():
            return
        try:
            self._hear(event)
        except Exception:
            # Nothing behind it counts before it was heard.
            logger.exception("Who follows the log has failed.", extra={"event": "watch_failed"})
            self._course += 1
            if self._following is not None:
                self._following.close()
            self._failed()
            return
        if position and not self.position and self._begun.is_set():
            # Whoever has begun without the log was asked about before this: what came in between is not told.
            for one in list(self._watches):
                self.doubt(one, "")
        self.position = position or self.position
        # Not before: what was told until then has taken effect.
        if known_at > self._known_at:
            self._known_at, self._stood_still_by_then = known_at, self._stood_still
            self._is_late = False
        if event.kind != UNAVAILABLE:
            self._ask_about_doubts()
        if event.kind in (HEARD, GAP, UNAVAILABLE):
            self._begin()

    def _failed(self) -> None:
        """Whoever waits for a beginning waits no longer: it is asked, and ends with the lease where that is not had."""
        self._begin()

    def _begin(self) -> None:
        if not self._begun.is_set():
            self._begun_at = clock()
            self._begun.set()
        self._arm()

    def _hear(self, event: Event) -> None:
        if event.kind in (HEARD, UNAVAILABLE):
            return
        if event.kind == SESSION:
            some = [one for one in self._some("sid", event.sid) if event.concerns(one.claims)]
            self._end_or_ask(some, Ending(SESSION_ENDED, event.reason))
        elif event.kind == TOKEN:
            self._end_or_ask(self._some("jti", event.jti), Ending(TOKEN_BLACKLISTED, event.reason))
        else:
            # Not only where the session is older than the moment: that is for who has its record to say.
            some = self._some("user", user_tag(event.user)) if event.user else list(self._watches)
            for one in some:
                if event.concerns(one.claims):
                    self.doubt(one, event.reason if event.kind != GAP else "")

    def _some(self, kind: str, name: str) -> list[Watched]:
        return list(self._index.get((kind, name), ()))

    def _end_or_ask(self, some: Iterable[Watched], ending: Ending) -> None:
        """With ``OBSERVE`` nothing is enforced, and whoever checks says so."""
        if not self.config.observe:
            self._end(some, ending)
            return
        for one in some:
            self.doubt(one, ending.why)

    def _end(self, some: Iterable[Watched], ending: Ending) -> None:
        for one in some:
            one.end(ending)

    # Doubts ----------------------------------------------------------------------------------------------------------

    def doubt(self, one: Watched, why: str) -> None:
        """It may have been revoked: Redis is asked. What it is asked already may be from before that."""
        if one not in self._watches or one in self._doubts:
            return
        # It may have been revoked just behind what is known: the lease counts from there. Where that is over, as after
        # an outage, there has to be time to ask.
        now = clock()
        until = max(self._known_at, self._proven_at.get(one, _NEVER)) + self._lease
        self._doubts[one] = _Doubt(why, until if until > now else now + self._lease / 2, self._stood_still)
        self._look_soon()

    def _ask_about_doubts(self) -> None:
        if self._doubts and (self._asking is None or self._asking.done()):
            self._asking = self._loop.create_task(self._ask(), name="jwt_redis-watch-asks")

    async def _ask(self) -> None:
        """One question after another, each about many: so that the last of very many is not asked about too late."""
        while self._doubts:
            some = dict(islice(self._doubts.items(), _AT_A_TIME))
            for one in some:
                del self._doubts[one]
            self._asked.update(some)
            try:
                is_answered = await self._ask_about(some)
            finally:
                for one in some:
                    self._asked.pop(one, None)
            if not is_answered:
                # Again with the next thing that is heard.
                break

    async def _ask_about(self, some: Mapping[Watched, _Doubt]) -> bool:
        """Has Redis answered?"""
        tokens, asked_at = [one.token for one in some], clock()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="jwt_redis-watch-asks")
        verdicts: Sequence[Verdict | RevocationUnavailable | None]
        try:
            verdicts = await self._loop.run_in_executor(self._executor, contextvars.Context().run, _check_many, tokens)
        except RevocationUnavailable as error:
            self._answered(some, tokens, asked_at, [error] * len(tokens))
            return False
        except Exception:
            logger.exception("Tokens cannot be asked about.", extra={"event": "watch_failed"})
            if len(some) > 1:
                # It may be but one of them.
                return all([await self._ask_about({one: doubt}) for one, doubt in some.items() if one in self._asked])
            # Nobody knows, and nobody would ask again.
            verdicts = [None]
        self._answered(some, tokens, asked_at, verdicts)
        return True

    def _answered(
        self,
        some: Mapping[Watched, _Doubt],
        tokens: Sequence[Token],
        asked_at: float,
        verdicts: Sequence[Verdict | RevocationUnavailable | None],
    ) -> None:
        """What follows from the answers."""
        for (one, doubt), token, verdict in zip(some.items(), tokens, verdicts, strict=True):
            # It may be over by now, or go on with another token, which has doubts of its own.
            if one not in self._asked or one.token is not token:
                continue
            if verdict is None:
                one.end(Ending(REVOCATION_UNAVAILABLE))
            elif isinstance(verdict, RevocationUnavailable):
                # The sooner one counts: that one was not answered.
                self._doubts[one] = doubt
            elif verdict.reason is not None:
                one.end(Ending(verdict.reason, doubt.why))
            else:
                self._proven_at[one] = asked_at

    # The lease -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """See to it that somebody looks before the first lease is over."""
        if self._timer is None and self._begun.is_set() and self._denying:
            self._look_in(max(self._known_at, self._begun_at) + self._lease / 2 - clock())

    def _look_soon(self) -> None:
        """From half a lease on, or while somebody is in doubt: one look alone could not tell whether this loop has had
        time to hear anything."""
        soon = self._lease / _LOOKS
        if self._begun.is_set() and self._denying and (self._timer is None or self._due > self._loop.time() + soon):
            self._look_in(soon)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left = max(0.0, seconds)
        self._due = self._loop.time() + left
        self._timer = self._loop.call_later(left, self._look)

    def _look(self) -> None:
        """End those for whom there has been no proof for a lease. In the time in which this loop stood still they did
        nothing, and nothing was heard of what had come: so much they have to spare, up to a second lease."""
        self._timer = None
        late = self._loop.time() - self._due
        if late > self._lease * _LATE:
            self._stood_still += late
        if late > self._lease / _LOOKS and not self._is_late:
            # Only now what has come meanwhile is heard. Whoever is always late has this time once.
            self._is_late = True
            self._look_in(self._lease / 2)
            return
        now = clock()
        if self._doubts or self._asked or now >= self._known_at + self._lease:
            ended = [one for one in self._denying if now >= self._good_until(one)]
            self._end(ended, Ending(REVOCATION_UNAVAILABLE))
        is_open = any(one in self._denying for one in chain(self._doubts, self._asked))
        if is_open or now >= self._known_at + self._lease / 2:
            self._look_soon()
        else:
            self._arm()

    def _good_until(self, one: Watched) -> float:
        """The latest moment by ``clock()`` for the next proof."""
        doubt = self._asked.get(one) or self._doubts.get(one)
        if doubt is not None:
            return doubt.until + min(self._lease, self._stood_still - doubt.stood_still)
        spared = min(self._lease, self._stood_still - self._stood_still_by_then)
        return max(self._known_at + spared, self._proven_at.get(one, _NEVER)) + self._lease


def _check_many(tokens: Sequence[Token]) -> list[Verdict | RevocationUnavailable]:
    """In a thread of the hub's."""
    try:
        return sessions.check_many(tokens, directly=True)
    finally:
        connections.close_all()


# By event loop.
_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub_of_loop() -> Hub:
    """:raises RevocationUnavailable: when there can be no thread more."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None or hub.is_over() or hub.config is not config():
        for closed in [known for known in _hubs if known.is_closed()]:
            del _hubs[closed]
        try:
            hub = _hubs[loop] = Hub()
        except RuntimeError as error:
            # A limit of processes, perhaps.
            logger.error("Nobody can follow the log: %s", error, extra={"event": "watch_failed"})
            raise RevocationUnavailable from error
    return hub


def _names(claims: Claims) -> Iterator[tuple[str, str]]:
    yield "jti", claims.jti
    yield "user", user_tag(claims.user)
    if claims.sid is not None:
        yield "sid", claims.sid
