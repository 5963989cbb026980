"""Simple JWT's token classes, with a session behind them. Verifying one is pure computing: Redis is asked elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final, Self, cast

from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import tokens as stock
from rest_framework_simplejwt.exceptions import (
    ExpiredTokenError,
    TokenBackendError,
    TokenBackendExpiredToken,
    TokenError,
)
from rest_framework_simplejwt.utils import aware_utcnow, datetime_from_epoch, datetime_to_epoch

from jwt_redis import sessions, status_list, token_memo
from jwt_redis.conf import config, simplejwt_setting
from jwt_redis.decoding import CRASHES, claims_of, one_error, unreadable
from jwt_redis.exceptions import RevokedToken
from jwt_redis.fingerprints import fingerprint
from jwt_redis.near_cache import clock
from jwt_redis.records import SessionRecord
from jwt_redis.token_memo import Remembered
from jwt_redis.verdicts import AUTH_TIME_CLAIM, ROTATION_CLAIM, SID_CLAIM, Verdict, adopted_sid

__all__ = ["AccessToken", "RefreshToken", "SlidingToken", "UntypedToken"]

# Seconds for which a session counts as seen alive. Less than a near cache keeps a revocation longer than it need.
_SEEN_ALIVE: Final = 30.0


class _Checked(stock.Token):
    """Whatever a crafted token does to the libraries below, it raises ``TokenError``."""

    # What the check said of this very token, once it was asked.
    verdict: Verdict | None = None
    _jwt_redis_remembered: Remembered | None = None
    _read_at = 0.0

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        if token is None:
            super().__init__(None, verify)
            return
        cls: Any = type(self)
        if not verify or not _is_made_by_simplejwt(cls):
            with one_error():
                super().__init__(token, verify)
            return
        # What a subclass has set before may be what its methods look at.
        if not vars(self) and (found := token_memo.recall(token, cls, _made_of(cls))) is not None:
            self.token = token
            self.payload = found.copy()
            self._jwt_redis_remembered = found
            self._read_at = time.time()
            return
        try:
            self._read(token)
        except CRASHES as error:
            raise unreadable(error) from error

    @cached_property
    def current_time(self) -> datetime:  # type: ignore[override]
        """When it was read. Hardly anybody asks."""
        return datetime_from_epoch(self._read_at)

    def _read(self, token: Any) -> None:
        # What Token.__init__ does with an encoded token, with a memory for what it decodes.
        self.token = token
        self.current_time = aware_utcnow()
        try:
            self.payload, self._jwt_redis_remembered = token_memo.decode(self.get_token_backend(), token)
        except TokenBackendExpiredToken as error:
            raise ExpiredTokenError(_("Token is expired")) from error
        except TokenBackendError as error:
            raise TokenError(_("Token is invalid")) from error
        self.verify()
        if self._jwt_redis_remembered is not None and (made_of := _made_of(type(self)))[:-1] in _OURS:
            self._jwt_redis_remembered.note_good(type(self), made_of)

    def verify(self) -> None:
        # Not by super(): between here and Token may stand BlacklistMixin, which asks the database.
        stock.Token.verify(self)
        claims_of(self)

    def check_exp(self, claim: str = "exp", current_time: Any = None) -> None:
        try:
            super().check_exp(claim, current_time)
        except CRASHES as error:
            raise unreadable(error) from error


@cache
def _is_made_by_simplejwt(cls: Any) -> bool:
    """Has nobody put an ``__init__`` of another kind between ours and Simple JWT's? And is there a type to be of?"""
    behind = cls.__mro__[cls.__mro__.index(_Checked) + 1 :]
    makers = {vars(base)["__init__"] for base in behind if "__init__" in vars(base)}
    known = {stock.Token.__init__, stock.SlidingToken.__init__, object.__init__}
    return makers <= known and cls.token_type is not None and cls.lifetime is not None


# What the goodness of a token hangs on, as a class has it: its methods, and the type that it wants.
_made_of = attrgetter(
    "verify", "check_exp", "verify_token_type", "get_token_backend", "token_backend", "_token_backend", "token_type"
)
# Of a class whose methods are ours and Simple JWT's: nothing happens in them that could come out otherwise next time.
_OURS: Final = tuple(
    (_Checked.verify, _Checked.check_exp, of_type, stock.Token.get_token_backend, stock.Token.token_backend, None)
    for of_type in (stock.Token.verify_token_type, stock.UntypedToken.verify_token_type)
)


class AccessToken(_Checked, stock.AccessToken):
    """An access token; its ``sid`` names the session that it dies with."""


class UntypedToken(_Checked, stock.UntypedToken):
    """A token of any type, verified for its signature and registered claims."""


class _SessionToken(_Checked):
    """A token that stands for a session: a refresh or a sliding one.

    A new one is written into Redis when it is first turned into a string, with the claims that it then has:
    nothing leaves the server before its session is there. Async code calls ``sessions.aregister`` before.
    """

    session_end_claim: str = "exp"
    registered = True
    fingerprint = ""
    _alive_until = 0.0

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """A token for a new session of ``user``."""
        # Not by super(): BlacklistMixin would write a row.
        token: Self = cast("Any", stock.Token.for_user).__func__(cls, user)
        token.payload[SID_CLAIM] = sid = sessions.new_sid()
        token.payload[AUTH_TIME_CLAIM] = datetime_to_epoch(token.current_time)
        token.fingerprint = fingerprint(user, sid)
        token.registered = False
        return token

    def seen_alive(self, asked_at: float) -> None:
        """Redis has said that the session is alive: what is minted soon is as good as asked about.

        ``asked_at``: ``near_cache.clock()`` from before the question.
        """
        self._alive_until = asked_at + _SEEN_ALIVE

    def __getstate__(self) -> dict[str, Any]:
        # Another machine has another clock.
        return {name: value for name, value in vars(self).items() if name != "_alive_until"}

    def __str__(self) -> str:
        sessions.register(self)
        return super().__str__()

    def blacklist(self) -> Any:
        """End the session; all of its tokens die with it. True when it was alive."""
        return sessions.revoke_token(self)

    async def ablacklist(self) -> Any:
        """:meth:`blacklist` over ``redis.asyncio``."""
        return await sessions.arevoke_token(self)

    def outstand(self) -> None:
        """Nothing: the session is the list of outstanding tokens."""

    def check_blacklist(self) -> None:
        """Ask Redis.

        :raises RevokedToken: with the reason, when the token is refused.
        """
        asked_at = clock()
        self._judged(sessions.check(self), asked_at)

    async def acheck_blacklist(self) -> None:
        """:meth:`check_blacklist` over ``redis.asyncio``."""
        asked_at = clock()
        self._judged(await sessions.acheck(self), asked_at)

    def _judged(self, verdict: Verdict, asked_at: float) -> None:
        if verdict.reason is not None:
            raise RevokedToken(verdict.reason)
        if verdict.checked:
            self.seen_alive(asked_at)


class RefreshToken(_SessionToken, stock.RefreshToken):
    """A refresh token, good for one use: using it gives a successor."""

    access_token_class = AccessToken

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """The first refresh token of a new session of ``user``."""
        token = super().for_user(user)
        token._count(0)
        return token

    @property
    def access_token(self) -> stock.AccessToken:
        """A new access token of the session, which it does not outlive.

        Was Redis not asked about the session just now, the token bears the ``rotation`` claim: then no near cache
        takes its youth for a proof that the session was alive.
        """
        sessions.register(self)
        access = super().access_token
        access.payload["exp"] = min(access.payload["exp"], self.payload["exp"])
        if SID_CLAIM not in access.payload and config().legacy_tokens is not None:
            # Nobody has asked whether the token still gets its session: until it has one, this is refused.
            access.payload[SID_CLAIM] = adopted_sid(str(self.payload[simplejwt_setting("JTI_CLAIM")]))
        # Were there no types, it would make a refresh token of it.
        has_types = bool(simplejwt_setting("TOKEN_TYPE_CLAIM"))
        # Either way said here, and not left to no_copy_claims, in whose place a project may put its own.
        if has_types and clock() >= self._alive_until and ROTATION_CLAIM in self.payload:
            access.payload[ROTATION_CLAIM] = self.payload[ROTATION_CLAIM]
        else:
            access.payload.pop(ROTATION_CLAIM, None)
        return access

    def successor(self, record: SessionRecord, fresh: Mapping[str, Any] | None = None) -> Self:
        """The token that follows this one, as the session's ``record`` has it: the same each time it is asked for.

        ``fresh``: the custom claims, in place of this token's.
        """
        token = type(self)()
        ours = (SID_CLAIM, AUTH_TIME_CLAIM, *status_list.CLAIMS)
        custom: Mapping[str, Any] = self.payload
        if fresh is not None:
            # Of a session that was adopted nobody knows when its user signed in.
            kept = {claim: self.payload[claim] for claim in ours if claim in self.payload}
            custom = {**{claim: value for claim, value in fresh.items() if claim not in ours}, **kept}
        made = {simplejwt_setting("TOKEN_TYPE_CLAIM"), simplejwt_setting("JTI_CLAIM"), "jti", "exp", "iat"}
        token.payload.update({claim: value for claim, value in custom.items() if claim not in made})
        token.payload["exp"] = record.expires_at
        # Redis' clock, unless it is ahead of ours: PyJWT refuses a token from the future.
        token.payload["iat"] = min(token.payload["iat"], record.used_ms // 1000)
        if SID_CLAIM in token.payload:
            token._count(record.rotation)
        token._alive_until = self._alive_until
        return token

    def _count(self, rotation: int) -> None:
        self.payload[ROTATION_CLAIM] = rotation
        # Told by the session and the count, so that a successor that is minted twice is one token.
        self.payload[simplejwt_setting("JTI_CLAIM")] = f"{self.payload[SID_CLAIM]}.{rotation}"


class SlidingToken(_SessionToken, stock.SlidingToken):
    """A sliding token: access and refresh token in one. It is refreshed, not rotated: its ``jti`` stays."""

    @property
    def session_end_claim(self) -> str:  # type: ignore[override]
        """The session lasts for as long as the token may be refreshed."""
        return str(simplejwt_setting("SLIDING_TOKEN_REFRESH_EXP_CLAIM"))
