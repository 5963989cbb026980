"""``JWT_REDIS["OBSERVE"]``: what would be refused is told, and passes."""

from __future__ import annotations

import logging
from typing import Final

from jwt_redis import signals
from jwt_redis.operations import Done, Event, apublish, publish

__all__ = ["UNAVAILABLE", "anote_refusal", "note_refusal", "observed"]

# In the place of a reason: Redis could not be asked, which is a 503.
UNAVAILABLE: Final = "revocation_unavailable"


def observed(user: str | None, sid: str | None, reason: str, use_case: str) -> Event:
    """Something passes that would be refused for this reason."""
    facts = {"user": user, "sid": sid, "reason": reason, "use_case": use_case}
    return Event(signals.refusal_observed, facts, "refusal_observed", logging.WARNING)


def note_refusal(user: str | None, sid: str | None, reason: str, use_case: str) -> None:
    """Tell of it."""
    publish(Done(None, (observed(user, sid, reason, use_case),)))


async def anote_refusal(user: str | None, sid: str | None, reason: str, use_case: str) -> None:
    """:func:`note_refusal` with ``asend_robust``."""
    await apublish(Done(None, (observed(user, sid, reason, use_case),)))
