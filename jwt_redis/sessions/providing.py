"""Sessions that were opened with an OpenID provider's: remembered, and ended when that one ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async

from jwt_redis import provider_sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_id
from jwt_redis.operations import UseCase, arun, run
from jwt_redis.sessions.ending import ending
from jwt_redis.sessions.parts import valid_reason, valid_sid

__all__ = ["aend_provider_sessions", "aremember_provider", "end_provider_sessions", "remember_provider"]

_CASE = "end_provider_sessions"


def remember_provider(user: Any, sid: str, id_token: Mapping[str, Any]) -> None:
    """A user's session was opened with an OpenID provider's: its logout token ends it from now on. One row.

    ``id_token``: the claims of the provider's ID token, which the caller has verified: ``iss``, ``sub``, and ``sid``
    where it has one. What signs in through the provider calls it before it gives a token away;
    :func:`~jwt_redis.sessions.open_session` does so where it is given an ``id_token``.

    :raises ValueError: when ``sid`` cannot be a session id, or the claims lack what names a session.
    """
    of_provider = provider_sessions.read_id_token(id_token)
    provider_sessions.remember(user_id(user), valid_sid(sid), of_provider, time.time())


async def aremember_provider(user: Any, sid: str, id_token: Mapping[str, Any]) -> None:
    """:func:`remember_provider` from async code."""
    await sync_to_async(remember_provider)(user, sid, id_token)


def _found(issuer: str, sid: str | None, subject: str | None) -> dict[str, tuple[str, ...]]:
    """By user: the sessions."""
    found: dict[str, tuple[str, ...]] = {}
    for user, ours in provider_sessions.note_over(issuer, subject=subject, provider_sid=sid):
        found[user] = (*found.get(user, ()), ours)
    return found


def end_provider_sessions(
    issuer: str, *, sid: str | None = None, subject: str | None = None, reason: str = "provider_logout"
) -> int:
    """End the sessions that were opened with a provider's session (``sid``), or with any of a ``subject``'s there.

    How many were alive. With both, those of the session that are the subject's; and those of the subject that were
    opened without the provider's ``sid``, which may be of it.

    :raises ValueError: when there is neither.
    :raises RevocationUnavailable: when Redis does not answer; what was to end is in the journal by then, all of it.
    """
    valid_reason(reason)
    ended, failed = 0, None
    for user, sids in _found(issuer, sid, subject).items():
        try:
            ended += run(ending(user, sids, reason, True), UseCase(_CASE, user))
        except RevocationUnavailable as error:
            # The others' rows are to be written all the same.
            failed = error
    if failed is not None:
        raise failed
    return ended


async def aend_provider_sessions(
    issuer: str, *, sid: str | None = None, subject: str | None = None, reason: str = "provider_logout"
) -> int:
    """:func:`end_provider_sessions` over ``redis.asyncio``."""
    valid_reason(reason)
    ended, failed = 0, None
    for user, sids in (await sync_to_async(_found)(issuer, sid, subject)).items():
        try:
            ended += await arun(ending(user, sids, reason, True), UseCase(_CASE, user))
        except RevocationUnavailable as error:
            failed = error
    if failed is not None:
        raise failed
    return ended
