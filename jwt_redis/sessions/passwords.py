"""The password is another one, or only its hash is."""

from __future__ import annotations

from typing import Any

from jwt_redis.fingerprints import fingerprints, matches
from jwt_redis.keys import user_id
from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.records import SessionRecord
from jwt_redis.sessions.ending import ending
from jwt_redis.sessions.listing import Session, live_sessions
from jwt_redis.sessions.parts import followed_by
from jwt_redis.store import commands

__all__ = ["aend_stale_sessions", "arebind_sessions", "end_stale_sessions", "rebind_sessions"]


def _end_stale(user: Any) -> Operation[int]:
    key = user_id(user)

    def finish(found: dict[str, tuple[SessionRecord, Session]]) -> Done[int] | Operation[int]:
        stale = tuple(sid for sid, (record, _) in found.items() if not matches(user, sid, record.fingerprint))
        return ending(key, stale, "password_changed", False) if stale else Done(0)

    return followed_by(live_sessions(key), finish)


def end_stale_sessions(user: Any) -> int:
    """End those of a user's sessions that were opened under another password. How many there were."""
    return run(_end_stale(user), UseCase("end_stale_sessions", user_id(user)))


async def aend_stale_sessions(user: Any) -> int:
    """:func:`end_stale_sessions` over ``redis.asyncio``."""
    return await arun(_end_stale(user), UseCase("end_stale_sessions", user_id(user)))


def _rebind(before: Any, after: Any) -> Operation[int]:
    key = user_id(after)

    def finish(found: dict[str, tuple[SessionRecord, Session]]) -> Done[int] | Operation[int]:
        prints = [
            (sid, old, fingerprints(after, sid)[0])
            for sid, (record, _) in found.items()
            for old in fingerprints(before, sid)
            if old in record.fingerprint
        ]
        return Operation((commands.rebind_sessions(key, prints),), Done) if prints else Done(0)

    return followed_by(live_sessions(key), finish)


def rebind_sessions(before: Any, after: Any) -> int:
    """The password's hash was upgraded, the password is the same: keep the sessions from under the old hash.

    ``before`` and ``after`` are the user with the one and with the other.
    """
    return run(_rebind(before, after), UseCase("rebind_sessions", user_id(after)))


async def arebind_sessions(before: Any, after: Any) -> int:
    """:func:`rebind_sessions` over ``redis.asyncio``."""
    return await arun(_rebind(before, after), UseCase("rebind_sessions", user_id(after)))
