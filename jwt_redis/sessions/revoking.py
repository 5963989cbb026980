"""A token, or everything, is refused from now on."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from rest_framework_simplejwt.tokens import Token

from jwt_redis import signals
from jwt_redis.conf import longest_session
from jwt_redis.decoding import claims_of, decode_to_revoke
from jwt_redis.journal import Entry
from jwt_redis.keys import user_id
from jwt_redis.models import Revocation
from jwt_redis.operations import Done, Event, Operation, UseCase, arun, run
from jwt_redis.sessions.ending import ending
from jwt_redis.sessions.parts import moment_of, valid_reason
from jwt_redis.signing import backends
from jwt_redis.signing.keys import valid_kid
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import Everything, Listed
from jwt_redis.verdicts import is_jti

__all__ = [
    "arevoke_everything",
    "arevoke_jti",
    "arevoke_key",
    "arevoke_token",
    "revoke_everything",
    "revoke_jti",
    "revoke_key",
    "revoke_token",
]


def _revoke(token: str | Token, reason: str) -> tuple[Operation[Any], UseCase]:
    verified: Any = decode_to_revoke(token)
    claims = claims_of(verified)
    case = UseCase("revoke_token", claims.user, claims.sid)
    if claims.sid is not None and claims.owns_session:
        # Of a new token whose session is not in Redis yet: it does not get there any more.
        verified.registered = True
        return ending(claims.user, (claims.sid,), reason, True), case

    return _blacklist(claims.user, claims.jti, claims.exp, reason, claims.sid or ""), case


def _blacklist(user: str, jti: str, exp: int, reason: str, sid: str = "") -> Operation[bool]:
    def finish(listed: Listed) -> Done[bool]:
        added = listed.added
        facts = {"user": user, "jti": jti, "reason": reason}
        return Done(added, (Event(signals.token_revoked, facts, "token_revoked", logging.INFO),) if added else ())

    command = commands.blacklist_token(user, jti, exp, reason=valid_reason(reason), sid=sid)
    return Operation((command,), finish, (Entry.of_token(user, jti, exp, reason),))


def revoke_token(token: str | Token, *, reason: str = "revoked") -> bool:
    """Revoke a token of any type. A refresh or sliding token takes its session along (RFC 7009 section 2.1), an
    access token goes alone. True when that changed anything: revoking twice is no error.

    One that is not good yet (``nbf``, or an ``iat`` by a clock that is ahead) is revoked before it is.

    :raises TokenError: when the token is expired or not good, so that there is nothing to revoke.
    """
    return bool(run(*_revoke(token, reason)))


async def arevoke_token(token: str | Token, *, reason: str = "revoked") -> bool:
    """:func:`revoke_token` over ``redis.asyncio``."""
    return bool(await arun(*_revoke(token, reason)))


def _blacklist_jti(user: str, jti: str, reason: str) -> Operation[bool]:
    if not is_jti(jti):
        raise ValueError("jti: not a token id")
    # Its exp is not known: for as long as any token lives.
    return _blacklist(user, jti, int(time.time() + longest_session()), reason)


def revoke_jti(user: Any, jti: str, *, reason: str = "revoked") -> bool:
    """Revoke one token of a user that is known by its ``jti`` alone, for the longest time a session can last.

    True when it was not listed before.

    :raises ValueError: when ``jti`` cannot be a token's id.
    """
    key = user_id(user)
    return run(_blacklist_jti(key, jti, reason), UseCase("revoke_jti", key))


async def arevoke_jti(user: Any, jti: str, *, reason: str = "revoked") -> bool:
    """:func:`revoke_jti` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(_blacklist_jti(key, jti, reason), UseCase("revoke_jti", key))


def _revoke_everything(before: datetime | None, reason: str) -> Operation[datetime]:
    if before is not None and before.tzinfo is None:
        raise ValueError("before: an aware datetime is needed, one with a time zone")
    if before is not None and before > datetime.now(tz=UTC):
        raise ValueError("before: that moment is yet to come")

    def finish(done: Everything) -> Done[datetime]:
        markers.reset()
        moment = moment_of(done.before_ms)
        facts = {"before": moment, "reason": reason}
        event = Event(signals.everything_revoked, facts, "everything_revoked", logging.WARNING)
        return Done(moment, (event,))

    before_ms = None if before is None else int(before.timestamp() * 1000)
    entry = Entry(Revocation.Kind.ALL, reason=reason, moment_ms=before_ms)
    return Operation((commands.revoke_everything(before_ms, reason=valid_reason(reason)),), finish, (entry,))


def revoke_everything(before: datetime | None = None, *, reason: str = "revoked") -> datetime:
    """Refuse every session and every token from before a moment, now if None; in every process within a second.

    The moment that is in force afterwards: it only ever moves forward.

    :raises ValueError: when ``before`` has no time zone, or is yet to come.
    """
    return run(_revoke_everything(before, reason), UseCase("revoke_everything"))


async def arevoke_everything(before: datetime | None = None, *, reason: str = "revoked") -> datetime:
    """:func:`revoke_everything` over ``redis.asyncio``."""
    return await arun(_revoke_everything(before, reason), UseCase("revoke_everything"))


def _revoke_key(kid: str, reason: str) -> Operation[bool]:
    valid_kid(kid)

    def finish(listed: Listed) -> Done[bool]:
        markers.reset()
        backends.refuse(backends.refused() | {kid})
        facts = {"kid": kid, "reason": reason}
        events = (Event(signals.key_revoked, facts, "key_revoked", logging.CRITICAL),) if listed.added else ()
        return Done(listed.added, events)

    command = commands.refuse_key(kid, reason=valid_reason(reason))
    return Operation((command,), finish, (Entry.of_key(kid, reason),))


def revoke_key(kid: str, *, reason: str = "key_leaked") -> bool:
    """Refuse every token that a signing key has signed or will sign, of any type; in every process within a second, or
    within the near cache's lease. It cannot be taken back.

    ``kid``: the key's name, or "no-kid" for Simple JWT's own, whose tokens have none. True when it was not refused
    before.

    :raises ValueError: when ``kid`` cannot be the name of a key.
    """
    return run(_revoke_key(kid, reason), UseCase("revoke_key"))


async def arevoke_key(kid: str, *, reason: str = "key_leaked") -> bool:
    """:func:`revoke_key` over ``redis.asyncio``."""
    return await arun(_revoke_key(kid, reason), UseCase("revoke_key"))
