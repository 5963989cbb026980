"""One token, watched until its end: for a socket or a stream that outlives the request which was checked."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.conf import FailurePolicy, config, leeway_seconds
from jwt_redis.decoding import claims_of
from jwt_redis.exceptions import RevokedToken
from jwt_redis.keys import user_tag
from jwt_redis.log_reading import clock
from jwt_redis.revocations.endings import TOKEN_EXPIRED, Ending
from jwt_redis.revocations.hub import Hub, hub_of_loop

__all__ = ["Watch", "watch"]


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
        self._hub: Hub | None = None
        # Whoever it belongs to has gone.
        self._is_left = False

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
        end = self.claims.exp + leeway_seconds()
        # One from before there were sessions has its time, whatever its exp says.
        return (end if self.claims.legacy_until is None else min(end, self.claims.legacy_until)) - time.time()

    @property
    def denies(self) -> bool:
        """Does it end when Redis cannot be asked?"""
        return (self._policy or config().on_redis_failure) == "deny" and not config().observe

    async def wait(self, timeout: float | None = None) -> Ending | None:  # noqa: ASYNC109
        """Until the token is not good any more; or None, when that has not happened within ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._ending is None:
            left = self.seconds_left
            if left <= 0:
                self.end(Ending(TOKEN_EXPIRED))
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
        """Watch another token of the same user instead, of any session of theirs; also where the former has expired.

        :raises RevokedToken: when it is refused.
        :raises RevocationUnavailable: when Redis cannot be asked, with "deny".
        :raises ValueError: when it is another user's, what was watched was revoked, or nothing is watched any more.

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
            if self._is_left:
                raise ValueError("token: nothing is watched any more")
            hub = new._hub
            assert hub is not None  # noqa: S101
            # The hub may be another one, after a change of settings.
            self._leave(stops=hub is not self._hub)
            self.token, self.claims, self._ending, self._hub = token, claims, None, hub
            hub.add(self)
            hub.hand_over(new, self)
            self._stirred.set()

    def end(self, ending: Ending) -> None:
        """End it from this side, for a reason of one's own: that is what :meth:`wait` answers, unless it has ended
        already. Nothing is revoked by it. From the event loop that it is watched in."""
        if self._ending is not None and (self._ending.reason != TOKEN_EXPIRED or ending.reason == TOKEN_EXPIRED):
            return
        self._ending = ending
        self._stirred.set()
        if ending.reason != TOKEN_EXPIRED:
            # Whoever it belongs to may take a while to leave. One that has run out may be renewed, while it is good.
            self._leave()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        self._leave()

    async def _begin(self) -> None:
        hub = self._hub = hub_of_loop()
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
        token, asked_at = self.token, clock()
        policy: FailurePolicy = "deny" if self.denies else "allow"
        verdict = await sessions.acheck(token, on_redis_failure=policy, directly=True)
        if token is not self.token or self._hub is None:
            return
        if verdict.reason is not None:
            self.end(Ending(verdict.reason, why))
        elif not verdict.checked:
            self._hub.doubt(self, why)
        else:
            self._hub.rely_on(self, asked_at)
