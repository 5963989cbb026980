"""A session ends: one, all others, all of a user's."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, TypeVar

from jwt_redis import near_cache, signals
from jwt_redis.conf import config
from jwt_redis.journal import Entry
from jwt_redis.keys import user_id
from jwt_redis.models import Revocation
from jwt_redis.operations import Done, Event, Operation, UseCase, arun, run
from jwt_redis.sessions.parts import valid_reason, valid_sid
from jwt_redis.store import commands
from jwt_redis.store.commands import Ended

__all__ = [
    "aend_all_sessions",
    "aend_other_sessions",
    "aend_session",
    "aend_session_of_former_password",
    "confirmed",
    "end_all_sessions",
    "end_other_sessions",
    "end_session",
    "end_session_of_former_password",
    "ended_events",
    "ending",
    "ending_all",
]

T = TypeVar("T")


def ended_events(user: str, sids: tuple[str, ...], reason: str) -> tuple[Event, ...]:
    """One for each session that is over."""
    return tuple(
        Event(signals.session_ended, {"user": user, "sid": sid, "reason": reason}, "session_ended", logging.INFO)
        for sid in sids
    )


def ending(user: str, sids: tuple[str, ...], reason: str, even_if_unknown: bool) -> Operation[int]:
    """End the sessions named: how many were alive."""
    # The whitelist refuses what it does not know; where absence accepts, it has to be told.
    unknown_too = even_if_unknown and config().accepts_by_absence
    command = commands.end_sessions(user, sids, reason=valid_reason(reason), unknown_too=unknown_too)
    entries = tuple(Entry.of_session(user, sid, reason) for sid in sids)
    return Operation((command,), lambda ended: Done(len(ended.sids), ended_events(user, ended.sids, reason)), entries)


def confirmed(user: str, sids: tuple[str, ...], reason: str, done: Done[T]) -> Operation[T] | Done[T]:
    """Sessions that another script has ended on its way are ended by this one too, for journal and replicas.

    That may fail; ``done`` has happened.
    """
    near_cache.note_sessions(sids)
    if not sids or not (config().journal or config().wait_replicas):
        return done
    first = independent(ending(user, sids, reason, False))
    return Operation(first.commands, lambda _: done, first.entries, is_optional=True)


def independent(operation: Operation[T]) -> Operation[T]:
    """The answer to it is an error, upon which the request's transaction may be undone: its rows shall stay."""
    return replace(operation, entries=tuple(replace(entry, is_independent=True) for entry in operation.entries))


def _end_unlike(user: str, sid: str) -> Operation[int]:
    return independent(ending(user, (sid,), "password_changed", False))


def end_session_of_former_password(user: Any, sid: str) -> None:
    """The session was opened under another password than today's: it is over, whatever becomes of the request."""
    key = user_id(user)
    run(_end_unlike(key, valid_sid(sid)), UseCase("end_session_of_former_password", key, sid))


async def aend_session_of_former_password(user: Any, sid: str) -> None:
    """:func:`end_session_of_former_password` over ``redis.asyncio``."""
    key = user_id(user)
    await arun(_end_unlike(key, valid_sid(sid)), UseCase("end_session_of_former_password", key, sid))


def end_session(user: Any, sid: str, *, reason: str = "logout", even_if_unknown: bool = True) -> bool:
    """End one session and with it all of its tokens. True when it was alive, False when there was nothing to end.

    ``reason``: why, for the signal and :func:`explain`; letters, digits and underscores. ``even_if_unknown``:
    under the blacklist strategy, refuse its tokens also where the store has no such session.

    :raises ValueError: when ``sid`` cannot be a session id.
    """
    key = user_id(user)
    return run(ending(key, (valid_sid(sid),), reason, even_if_unknown), UseCase("end_session", key, sid)) > 0


async def aend_session(user: Any, sid: str, *, reason: str = "logout", even_if_unknown: bool = True) -> bool:
    """:func:`end_session` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(ending(key, (valid_sid(sid),), reason, even_if_unknown), UseCase("end_session", key, sid)) > 0


def _end_others(user: str, sid: str, reason: str) -> Operation[int]:
    command = commands.end_other_sessions(user, sid, reason=valid_reason(reason))
    entry = Entry(Revocation.Kind.OTHERS, user, sid, reason)
    return Operation((command,), lambda ended: Done(len(ended.sids), ended_events(user, ended.sids, reason)), (entry,))


def end_other_sessions(user: Any, sid: str, *, reason: str = "logout_others") -> int:
    """End all of a user's sessions but ``sid``. How many there were.

    Under the blacklist strategy, tokens of sessions that the store does not know are refused too; were ``sid`` one of
    those, it would be ended with them.
    """
    key = user_id(user)
    return run(_end_others(key, valid_sid(sid), reason), UseCase("end_other_sessions", key, sid))


async def aend_other_sessions(user: Any, sid: str, *, reason: str = "logout_others") -> int:
    """:func:`end_other_sessions` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(_end_others(key, valid_sid(sid), reason), UseCase("end_other_sessions", key, sid))


def ending_all(user: str, reason: str, intent: Entry | None = None) -> Operation[int]:
    """End all of a user's sessions. ``intent``: the journal's entry, where it was written before."""

    def finish(ended: Ended) -> Done[int]:
        facts = {"user": user, "sids": ended.sids, "reason": reason}
        revoked = Event(signals.user_revoked, facts, "user_revoked", logging.INFO)
        return Done(len(ended.sids), (*ended_events(user, ended.sids, reason), revoked))

    command = commands.end_all_sessions(user, reason=valid_reason(reason))
    return Operation((command,), finish, (intent or Entry(Revocation.Kind.USER, user, reason=reason),))


def end_all_sessions(user: Any, *, reason: str = "logout_all") -> int:
    """End all of a user's sessions, and refuse the user's older tokens that have none. How many sessions there were."""
    key = user_id(user)
    return run(ending_all(key, reason), UseCase("end_all_sessions", key))


async def aend_all_sessions(user: Any, *, reason: str = "logout_all") -> int:
    """:func:`end_all_sessions` over ``redis.asyncio``."""
    key = user_id(user)
    return await arun(ending_all(key, reason), UseCase("end_all_sessions", key))
