"""Sessions that were opened with an OpenID provider's: remembered, and ended when that one ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from asgiref.sync import sync_to_async

from jwt_redis import journal, provider_sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_id
from jwt_redis.operations import Operation, UseCase, arun, run
from jwt_redis.provider_sessions import Link
from jwt_redis.sessions.ending import ending
from jwt_redis.sessions.linking import REASON, link, refusing
from jwt_redis.sessions.parts import valid_reason, valid_sid

__all__ = ["aend_provider_sessions", "aremember_provider", "end_provider_sessions", "remember_provider"]


def _remember(user: str, sid: str, id_token: Mapping[str, Any]) -> Link | None:
    """The link, where the provider's session is over."""
    found = link(user, valid_sid(sid), id_token, time.time(), "remember_provider")
    return found if found.is_over() else None


def _refusing(user: str, sid: str) -> tuple[Operation[None], UseCase]:
    return refusing(user, sid), UseCase("remember_provider", user, sid)


def remember_provider(user: Any, sid: str, id_token: Mapping[str, Any]) -> None:
    """A user's session was opened with an OpenID provider's: its logout token ends it from now on. One row.

    ``id_token``: the claims of the provider's ID token, which the caller has verified: ``iss``, ``sub``, ``iat``, and
    ``sid`` where it has one. What signs in through the provider calls it before it gives a token away;
    :func:`~jwt_redis.sessions.open_session` does so where it is given an ``id_token``.

    :raises ValueError: when ``sid`` cannot be a session id, or the claims lack what names a session.
    :raises RevokedToken: when the provider has ended its session, before or meanwhile. Then the user's has ended too.
    """
    key = user_id(user)
    if (found := _remember(key, sid, id_token)) is not None:
        with journal.acting_as(found.issuer):
            run(*_refusing(key, sid))


async def aremember_provider(user: Any, sid: str, id_token: Mapping[str, Any]) -> None:
    """:func:`remember_provider` over ``redis.asyncio``."""
    key = user_id(user)
    if (found := await sync_to_async(_remember)(key, sid, id_token)) is not None:
        with journal.acting_as(found.issuer):
            await arun(*_refusing(key, sid))


def _meant(
    issuer: str, sid: str | None, subject: str | None, reason: str, issued_at: float | None
) -> dict[str, tuple[str, ...]]:
    """Note what the provider says. By user: the sessions that it means."""
    moment = time.time() if issued_at is None else issued_at
    provider_sessions.note_logout(issuer, subject=subject, provider_sid=sid, issued_at=moment)
    found = provider_sessions.find(issuer, subject=subject, provider_sid=sid)

    def once_more() -> None:
        # Until then a sign-in could commit that has not seen this logout, and was not seen by it.
        since = set(provider_sessions.find(issuer, subject=subject, provider_sid=sid)) - set(found)
        _end(_by_user(since), reason)

    journal.on_commit(once_more)
    return _by_user(found)


def _by_user(found: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    sids: dict[str, tuple[str, ...]] = {}
    for user, ours in found:
        sids[user] = (*sids.get(user, ()), ours)
    return sids


def _ending(user: str, sids: tuple[str, ...], reason: str) -> tuple[Operation[int], UseCase]:
    return ending(user, sids, reason, True), UseCase("end_provider_sessions", user)


def _end(found: Mapping[str, tuple[str, ...]], reason: str) -> int:
    ended, failed = 0, None
    for user, sids in found.items():
        try:
            ended += run(*_ending(user, sids, reason))
        except RevocationUnavailable as error:
            # The others' rows are to be written all the same.
            failed = error
    if failed is not None:
        raise failed
    return ended


def end_provider_sessions(
    issuer: str,
    *,
    sid: str | None = None,
    subject: str | None = None,
    reason: str = REASON,
    issued_at: float | None = None,
) -> int:
    """End the sessions that were opened with a provider's session (``sid``), or with any of a ``subject``'s there.

    How many were alive. With both, those of the session that are the subject's; and those of the subject that were
    opened without the provider's ``sid``, which may be of it. ``issued_at``: the logout token's ``iat``, now if None:
    what is still to be opened with an ID token that is not younger is refused.

    :raises ValueError: when there is neither, or one is no string.
    :raises RevocationUnavailable: when Redis does not answer; what was to end is in the journal by then, all of it.
    """
    return _end(_meant(issuer, sid, subject, valid_reason(reason), issued_at), reason)


async def aend_provider_sessions(
    issuer: str,
    *,
    sid: str | None = None,
    subject: str | None = None,
    reason: str = REASON,
    issued_at: float | None = None,
) -> int:
    """:func:`end_provider_sessions` over ``redis.asyncio``."""
    ended, failed = 0, None
    found = await sync_to_async(_meant)(issuer, sid, subject, valid_reason(reason), issued_at)
    for user, sids in found.items():
        try:
            ended += await arun(*_ending(user, sids, reason))
        except RevocationUnavailable as error:
            failed = error
    if failed is not None:
        raise failed
    return ended
