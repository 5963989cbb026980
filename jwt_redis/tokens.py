"""Simple JWT's token classes, with a session behind them. Verifying one is pure computing: Redis is asked elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, Self, cast

from rest_framework_simplejwt import tokens as stock
from rest_framework_simplejwt.utils import datetime_to_epoch

from jwt_redis import sessions
from jwt_redis.conf import simplejwt_setting
from jwt_redis.decoding import claims_of, one_error
from jwt_redis.exceptions import RevokedToken
from jwt_redis.fingerprints import fingerprint
from jwt_redis.records import SessionRecord
from jwt_redis.verdicts import AUTH_TIME_CLAIM, ROTATION_CLAIM, SID_CLAIM, Verdict

__all__ = ["AccessToken", "RefreshToken", "SlidingToken", "UntypedToken"]

# Seconds for which a session counts as seen alive. Less than a near cache keeps a revocation longer than it need.
_SEEN_ALIVE: Final = 30.0


class _Checked(stock.Token):
    """Whatever a crafted token does to the libraries below, it raises ``TokenError``."""

    # What the check said of this very token, once it was asked.
    verdict: Verdict | None = None

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        if token is None:
            super().__init__(None, verify)
            return
        with one_error():
            super().__init__(token, verify)

    def verify(self) -> None:
        # Not by super(): between here and Token may stand BlacklistMixin, which asks the database.
        stock.Token.verify(self)
        claims_of(self)

    def check_exp(self, claim: str = "exp", current_time: Any = None) -> None:
        with one_error():
            super().check_exp(claim, current_time)


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

    def seen_alive(self) -> None:
        """Redis has said that the session is alive: what is minted now is as good as asked about."""
        self._alive_until = time.monotonic() + _SEEN_ALIVE

    def __str__(self) -> str:
        sessions.register(self)
        return super().__str__()

    def blacklist(self) -> Any:
        """End the session; all of its tokens die with it. True when it was alive."""
        return sessions.revoke_token(self)

    def outstand(self) -> None:
        """Nothing: the session is the list of outstanding tokens."""

    def check_blacklist(self) -> None:
        """Ask Redis.

        :raises RevokedToken: with the reason, when the token is refused.
        """
        verdict = sessions.check(self)
        if verdict.reason is not None:
            raise RevokedToken(verdict.reason)
        if verdict.checked:
            self.seen_alive()


class RefreshToken(_SessionToken, stock.RefreshToken):
    """A refresh token, good for one use: using it gives a successor."""

    access_token_class = AccessToken
    no_copy_claims: Any = (*stock.RefreshToken.no_copy_claims, ROTATION_CLAIM)

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
        if time.monotonic() >= self._alive_until and ROTATION_CLAIM in self.payload:
            access.payload[ROTATION_CLAIM] = self.payload[ROTATION_CLAIM]
        return access

    def successor(self, record: SessionRecord, fresh: Mapping[str, Any] | None = None) -> Self:
        """The token that follows this one, as the session's ``record`` has it: the same each time it is asked for.

        ``fresh``: the custom claims, in place of this token's.
        """
        token = type(self)()
        ours = (SID_CLAIM, AUTH_TIME_CLAIM)
        custom = self.payload if fresh is None else {**fresh, **{c: self.payload[c] for c in ours if c in self.payload}}
        made = {simplejwt_setting("TOKEN_TYPE_CLAIM"), simplejwt_setting("JTI_CLAIM"), "jti", "exp", "iat"}
        token.payload.update({claim: value for claim, value in custom.items() if claim not in made})
        token.payload["exp"] = record.expires_at
        # Redis' clock, unless it is ahead of ours: PyJWT refuses a token from the future.
        token.payload["iat"] = min(token.payload["iat"], record.used_ms // 1000)
        token._count(record.rotation)
        token.seen_alive()
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
