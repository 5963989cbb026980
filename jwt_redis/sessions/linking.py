"""A session that is an OpenID provider's too, which may be over: before ours began, or while it was beginning."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import Error as DatabaseError

from jwt_redis import journal, provider_sessions
from jwt_redis.exceptions import RevokedToken
from jwt_redis.operations import Done, Operation, UseCase, run
from jwt_redis.provider_sessions import Link
from jwt_redis.sessions.ending import ended_events, ending, independent
from jwt_redis.store.commands import Ended
from jwt_redis.verdicts import SESSION_ENDED

__all__ = ["REASON", "link", "refusing"]

logger = logging.getLogger("jwt_redis")

REASON = "provider_logout"


def link(user: str, sid: str, id_token: Mapping[str, Any], exp: float, name: str) -> Link:
    """Note that they belong together, unless it is over already, and have it looked at again after the commit.

    ``exp``: of our session's refresh token, seconds of the epoch. ``name``: of the use case.

    :raises ValueError: when ``id_token`` lacks ``iss`` or ``sub``.
    """
    found = provider_sessions.look(provider_sessions.read_id_token(id_token))
    if not found.was_over:
        provider_sessions.remember(user, sid, found, exp)
        journal.on_commit(lambda: _after_commit(user, sid, found, UseCase(name, user, sid)))
    return found


def refusing(user: str, sid: str) -> Operation[None]:
    """End our session, and refuse what it was opened for, which is for the journal to have where Redis is away."""
    # Upon an error the request's transaction may be undone.
    first = independent(ending(user, (sid,), REASON, True))

    def refused(ended: Ended | None) -> Done[None]:
        events = () if ended is None else ended_events(user, ended.sids, REASON)
        return Done(None, events, RevokedToken(SESSION_ENDED))

    return Operation(first.commands, refused, first.entries, is_optional=journal.is_on())


def _after_commit(user: str, sid: str, found: Link, case: UseCase) -> None:
    """Nobody has the token yet; a logout that came before the commit could not see our row, and was not seen by us.

    What it raises is for whoever commits, so that the token is not given away: it is not certain that it is refused.
    """
    try:
        if not found.is_over():
            return
    except DatabaseError as error:
        logger.error(
            "Whether a provider's session is over cannot be asked, so ours ends: %s",
            error,
            extra={"event": "provider_sessions_unavailable"},
        )
    with journal.acting_as(found.issuer):
        run(ending(user, (sid,), REASON, True), case)
