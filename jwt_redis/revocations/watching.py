"""One token, watched until its end: for a socket or a stream that outlives the request which was checked.

All that are watched in an event loop share one :class:`~jwt_redis.revocations.following.Following`, which is there only
while something is watched. A token is found by what the log has of it; those that an entry might concern (another
session of the user, a revocation of everything, a gap) are asked about.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.conf import Config, FailurePolicy, NearCache, config, leeway_seconds
from jwt_redis.decoding import claims_of
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.keys import user_tag
from jwt_redis.log_reading import clock
from jwt_redis.revocations.events import GAP, HEARD, SESSION, TOKEN, UNAVAILABLE, Event
from jwt_redis.revocations.following import Following, follow
from jwt_redis.verdicts import SESSION_ENDED, TOKEN_BLACKLISTED, Claims

__all__ = ["REVOCATION_UNAVAILABLE", "TOKEN_EXPIRED", "Ending", "Watch", "watch"]

logger = logging.getLogger(__name__)

#: Beside the reasons of :mod:`jwt_redis.verdicts`: the token has run out; the session may be alive.
TOKEN_EXPIRED: Final = "token_expired"  # noqa: S105
#: Redis could not be asked for longer than the lease, and ``ON_REDIS_FAILURE`` is "deny".
REVOCATION_UNAVAILABLE: Final = "revocation_unavailable"

# How many are asked about at a time.
_AT_A_TIME: Final = 16
# Seconds after which one whose follower has failed begins anew.
_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a token is not good any more. ``reason``: one of the stable strings of :mod:`jwt_redis.verdicts`, or of this
    module. ``why``: as whoever revoked it said, "logout" for instance; "" where that is not known."""

    reason: str
    why: str = ""


def watch(token: Token, *, on_redis_failure: FailurePolicy | None = None) -> Watch:
    """``async with watch(token) as watched: ending = await watched.wait()``, in an event loop.

    ``token``: one that was verified, as in ``request.auth``. ``on_redis_failure`` takes the place of the setting:
    "deny" ends it once Redis could not be asked for the lease (``NEAR_CACHE``'s, or a second), "allow" keeps it.

    Redis is asked about the token on the way in, so what was revoked before is not missed; ``async with`` raises
    :class:`~jwt_redis.exceptions.RevocationUnavailable` where that is not possible, with "deny".

    :raises TokenError: when the token lacks what a verdict needs.
    """
    return Watch(token, on_redis_failure)


class Watch:
    """See :func:`watch`. ``token``: the one that is watched."""

    def __init__(self, token: Token, on_redis_failure: FailurePolicy | None) -> None:
        self.token = token
        self.claims = claims_of(token)
        self._policy = on_redis_failure
        self._ending: Ending | None = None
        # Something has changed that wait() has to look at.
        self._stirred = asyncio.Event()
        self._hub: _Hub | None = None

    @property
    def ending(self) -> Ending | None:
        """Why the token is not good any more; None while it is."""
        return self._ending

    @property
    def position(self) -> str:
        """How far the log was heard, for ``follow(since=...)``; "" while that is not known."""
        return self._hub.position if self._hub is not None else ""

    @property
    def is_known(self) -> bool:
        """Would it be known by now, had it been revoked a lease ago? Not while Redis cannot be asked."""
        return self._hub is not None and self._hub.is_known()

    @property
    def seconds_left(self) -> float:
        """Until the token expires, with Simple JWT's ``LEEWAY``; negative when it has."""
        return self.claims.exp + leeway_seconds() - time.time()

    @property
    def denies(self) -> bool:
        """Does it end when Redis cannot be asked?"""
        return (self._policy or config().on_redis_failure) == "deny"

    async def wait(self, timeout: float | None = None) -> Ending | None:  # noqa: ASYNC109
        """Until the token is not good any more; or None, when that has not happened within ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._ending is None:
            left = self.seconds_left
            if left <= 0:
                self._end(Ending(TOKEN_EXPIRED))
                break
            if deadline is not None:
                if (rest := deadline - time.monotonic()) <= 0:
                    return None
                left = min(left, rest)
            self._stirred.clear()
            try:
                async with asyncio.timeout(left):
                    await self._stirred.wait()
            except TimeoutError:
                continue
        return self._ending

    async def wait_for_renewal(self, timeout: float) -> Ending | None:  # noqa: ASYNC109
        """For a token that has run out: until it is renewed, which is None; or why it is not good, after ``timeout``
        seconds at most."""
        deadline = time.monotonic() + timeout
        while self._ending is not None and self._ending.reason == TOKEN_EXPIRED:
            if (left := deadline - time.monotonic()) <= 0:
                break
            self._stirred.clear()
            try:
                async with asyncio.timeout(left):
                    await self._stirred.wait()
            except TimeoutError:
                continue
        return self._ending

    async def renew(self, token: Token) -> None:
        """Watch another token of the same user instead, a younger one; also where the former has expired.

        :raises RevokedToken: when it is refused.
        :raises RevocationUnavailable: when Redis cannot be asked, with "deny".
        :raises ValueError: when it is another user's, or what was watched was revoked.

        In each of these cases all stays as it was.
        """
        claims = claims_of(token)
        if user_tag(claims.user) != user_tag(self.claims.user):
            raise ValueError("token: it is another user's")
        if self._ending is not None and self._ending.reason != TOKEN_EXPIRED:
            raise ValueError("token: what was watched has been revoked")
        new = Watch(token, self._policy)
        async with new:
            if new._ending is not None:
                raise RevokedToken(new._ending.reason)
            if self._ending is not None and self._ending.reason != TOKEN_EXPIRED:
                # Meanwhile.
                raise ValueError("token: what was watched has been revoked")
            hub = new._hub
            assert hub is not None  # noqa: S101
            self._leave(stops=False)
            self.token, self.claims, self._ending, self._hub = token, claims, None, hub
            hub.add(self)
            hub.hand_over(new, self)
            self._stirred.set()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def _begin(self) -> None:
        hub = self._hub = _hub_of_loop()
        # First of all: what is revoked after Redis was asked is in the log.
        hub.add(self)
        try:
            await hub.has_begun()
            await self._ask("")
        except BaseException:
            self._leave()
            raise

    def _leave(self, *, stops: bool = True) -> None:
        if self._hub is not None:
            self._hub.remove(self, stops=stops)

    async def _ask(self, why: str) -> None:
        """Is it still good? Without an answer it is asked for again."""
        token = self.token
        verdict = await sessions.acheck(token, on_redis_failure="allow" if not self.denies else "deny", directly=True)
        if token is not self.token or self._hub is None:
            return
        if verdict.reason is not None:
            self._end(Ending(verdict.reason, why))
        elif not verdict.checked:
            self._hub.doubt(self, why)

    def _end(self, ending: Ending) -> None:
        if self._ending is not None and (self._ending.reason != TOKEN_EXPIRED or ending.reason == TOKEN_EXPIRED):
            return
        self._ending = ending
        self._stirred.set()
        if ending.reason != TOKEN_EXPIRED:
            # Whoever it belongs to may take a while to leave. One that has run out may be renewed, while it is good.
            self._leave()


class _Hub:
    """What is watched in one event loop, and the one follower of all."""

    def __init__(self) -> None:
        self.config: Config = config()
        self.position = ""
        self._lease = (self.config.near_cache or NearCache()).lease
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Event()
        # By session, token and user.
        self._index: dict[tuple[str, str], set[Watch]] = {}
        self._watches: set[Watch] = set()
        # Those that Redis is to be asked about, why, and by clock() until when that has to be done.
        self._doubts: dict[Watch, tuple[str, float]] = {}
        self._known_at = float("-inf")
        self._is_stopping = False
        self._following: Following | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Not in the context of the request that happens to be the first, whose threads end with it.
        context = contextvars.Context()
        self._task = self._loop.create_task(self._run(), name="jwt_redis-watch", context=context)
        self._asking: asyncio.Task[None] | None = None

    # Who is watched --------------------------------------------------------------------------------------------------

    def add(self, one: Watch) -> None:
        self._watches.add(one)
        for name in _names(one.claims):
            self._index.setdefault(name, set()).add(one)
        self._arm()

    def hand_over(self, one: Watch, other: Watch) -> None:
        """What is in doubt about one is in doubt about the other."""
        if (doubt := self._doubts.get(one)) is not None:
            self._doubts[other] = doubt

    def remove(self, one: Watch, *, stops: bool = True) -> None:
        """``stops``: the follower ends with the last one."""
        self._watches.discard(one)
        self._doubts.pop(one, None)
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
        # Both: a cancellation can get lost between a connection that is made and a thread that is waited for.
        self._is_stopping = True
        if self._following is not None:
            self._following.close()
        self._task.cancel()

    def is_over(self) -> bool:
        return self._is_stopping or self._task.done()

    def is_known(self) -> bool:
        return clock() < self._known_at + self._lease

    async def has_begun(self) -> None:
        """Until the log is followed, or is known not to be for now."""
        await self._begun.wait()

    # What is heard ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        since: str | None = None
        try:
            while not self._is_stopping:
                try:
                    async with follow(since, heartbeat=0) as following:
                        self._following = following
                        async for event in following:
                            self._known_at = max(self._known_at, following.known_at)
                            self._hear(event)
                            since = self.position = following.position or self.position
                except Exception:
                    logger.exception("Who follows the log has failed.", extra={"event": "watch_failed"})
                    await asyncio.sleep(_PAUSE)
        finally:
            if self._asking is not None:
                self._asking.cancel()

    def _hear(self, event: Event) -> None:
        if event.kind in (HEARD, UNAVAILABLE):
            self._begun.set()
            if event.kind == HEARD:
                self._arm()
                self._ask_about_doubts()
            return
        if event.kind == SESSION:
            some = [one for one in self._some("sid", event.sid) if event.concerns(one.claims)]
            self._end(some, Ending(SESSION_ENDED, event.reason))
        elif event.kind == TOKEN:
            self._end(self._some("jti", event.jti), Ending(TOKEN_BLACKLISTED, event.reason))
        else:
            # Not only where the session is older than the moment: that is for who has its record to say.
            some = self._some("user", user_tag(event.user)) if event.user else list(self._watches)
            for one in some:
                if event.concerns(one.claims):
                    self.doubt(one, event.reason if event.kind != GAP else "")
            if event.kind == GAP:
                self._begun.set()
                self._arm()
            self._ask_about_doubts()

    def _some(self, kind: str, name: str) -> list[Watch]:
        return list(self._index.get((kind, name), ()))

    def _end(self, some: Iterable[Watch], ending: Ending) -> None:
        for one in some:
            one._end(ending)

    # Doubts ----------------------------------------------------------------------------------------------------------

    def doubt(self, one: Watch, why: str) -> None:
        """It may have been revoked: Redis is asked."""
        if one in self._watches:
            self._doubts.setdefault(one, (why, clock() + self._lease))

    def _ask_about_doubts(self) -> None:
        if self._doubts and (self._asking is None or self._asking.done()):
            self._asking = self._loop.create_task(self._ask(), name="jwt_redis-watch-asks")

    async def _ask(self) -> None:
        doubts = iter([*self._doubts.items()])
        await asyncio.gather(*(self._ask_one_by_one(doubts) for _ in range(_AT_A_TIME)))
        self._arm()

    async def _ask_one_by_one(self, doubts: Iterator[tuple[Watch, tuple[str, float]]]) -> None:
        for one, doubt in doubts:
            if self._doubts.pop(one, None) is None:
                continue
            why, until = doubt
            try:
                await one._ask(why)
            except RevocationUnavailable:
                # Asked again with the next thing that is heard, until its time is over.
                if clock() >= until:
                    one._end(Ending(REVOCATION_UNAVAILABLE))
                elif one in self._watches:
                    self._doubts[one] = doubt
            except Exception:
                # Nobody knows, and nobody would ask again.
                logger.exception("A token cannot be asked about.", extra={"event": "watch_failed"})
                one._end(Ending(REVOCATION_UNAVAILABLE))

    # The lease -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """See to it that somebody looks when the lease is over."""
        if self._timer is None and self._watches and self._begun.is_set():
            begins = clock() if self._known_at == float("-inf") else self._known_at
            left = max(0.0, begins + self._lease - clock())
            self._timer = self._loop.call_later(left, self._look, self._loop.time() + left)

    def _look(self, due: float) -> None:
        self._timer = None
        if self.is_known():
            self._arm()
            return
        late = self._loop.time() - due
        if late > self._lease / 10:
            # It was this loop that stood still: what has come meanwhile is heard first.
            self._timer = self._loop.call_later(self._lease / 2, self._look, self._loop.time() + self._lease / 2)
            return
        self._end([one for one in self._watches if one.denies], Ending(REVOCATION_UNAVAILABLE))


# By event loop.
_hubs: dict[asyncio.AbstractEventLoop, _Hub] = {}


def _hub_of_loop() -> _Hub:
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None or hub.is_over() or hub.config is not config():
        for closed in [known for known in _hubs if known.is_closed()]:
            del _hubs[closed]
        hub = _hubs[loop] = _Hub()
    return hub


def _names(claims: Claims) -> Iterator[tuple[str, str]]:
    yield "jti", claims.jti
    yield "user", user_tag(claims.user)
    if claims.sid is not None:
        yield "sid", claims.sid
