"""Assertions about tokens and sessions. Redis itself is asked, never a near cache; a failure says what it said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.keys import user_id
from jwt_redis.operations import Done, Operation, UseCase, arun, run
from jwt_redis.records import EndedSession, UserState
from jwt_redis.sessions import RULES, Explanation, Session
from jwt_redis.sessions.parts import valid_sid
from jwt_redis.store import commands

__all__ = [
    "aassert_live",
    "aassert_revoked",
    "aassert_session_ended",
    "aassert_session_live",
    "assert_live",
    "assert_revoked",
    "assert_session_ended",
    "assert_session_live",
]


def assert_live(token: str | Token) -> None:
    """The token, encoded or not and of any type, is good: its signature, its time, and what Redis says."""
    __tracebackhide__ = True
    _live(sessions.explain(_encoded(token)))


async def aassert_live(token: str | Token) -> None:
    """:func:`assert_live` over ``redis.asyncio``."""
    __tracebackhide__ = True
    _live(await sessions.aexplain(_encoded(token)))


def assert_revoked(token: str | Token, reason: str | None = None) -> None:
    """The store refuses the token; ``reason``: for this one, e.g. ``"session_ended"``.

    A token that is no good for another reason (expired, forged, cut off) fails: nobody asked whether it is revoked.
    With ``reason="token_not_valid"`` that is what is wanted.

    :raises ValueError: when there is no such reason.
    """
    __tracebackhide__ = True
    wanted = _known(reason)
    _revoked(sessions.explain(_encoded(token)), wanted)


async def aassert_revoked(token: str | Token, reason: str | None = None) -> None:
    """:func:`assert_revoked` over ``redis.asyncio``."""
    __tracebackhide__ = True
    wanted = _known(reason)
    _revoked(await sessions.aexplain(_encoded(token)), wanted)


def assert_session_live(user: Any, sid: str) -> None:
    """This session of ``user`` (an instance, or the user-id claim's value) is among the live ones."""
    __tracebackhide__ = True
    _session_live(sid, sessions.list_sessions(user))


async def aassert_session_live(user: Any, sid: str) -> None:
    """:func:`assert_session_live` over ``redis.asyncio``."""
    __tracebackhide__ = True
    _session_live(sid, await sessions.alist_sessions(user))


def assert_session_ended(user: Any, sid: str, reason: str | None = None) -> None:
    """This session of ``user`` (an instance, or the user-id claim's value) was there, and is over.

    ``reason``: it was ended for this one, as :data:`jwt_redis.signals.session_ended` has it: ``"logout"``,
    ``"password_changed"``, ... One that nobody has heard of fails.

    :raises ValueError: when ``sid`` cannot be a session id.
    """
    __tracebackhide__ = True
    _session_ended(sid, sessions.list_sessions(user), run(*_reading(user, sid)), reason)


async def aassert_session_ended(user: Any, sid: str, reason: str | None = None) -> None:
    """:func:`assert_session_ended` over ``redis.asyncio``."""
    __tracebackhide__ = True
    _session_ended(sid, await sessions.alist_sessions(user), await arun(*_reading(user, sid)), reason)


def _fail(message: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(message)


def _encoded(token: str | Token) -> str:
    # What would be sent: a token object was verified at some time, and may have run out since.
    return str(token)


def _known(reason: str | None) -> str | None:
    if reason is not None and reason not in RULES:
        raise ValueError(f"{reason!r} is not one of " + ", ".join(sorted(name for name in RULES if name)))
    return reason


def _told(found: Explanation) -> str:
    reason = f" ({found.reason})" if found.reason else ""
    whose = ""
    if found.claims is not None:
        sid = f", session {found.claims.sid}" if found.claims.sid else ", no session"
        whose = f" User {found.claims.user}{sid}, token {found.claims.jti}."
    return f"{found.rule}{reason}{whose}"


def _live(found: Explanation) -> None:
    __tracebackhide__ = True
    if not found.allowed:
        _fail(f"The token is refused. {_told(found)}")


def _revoked(found: Explanation, reason: str | None) -> None:
    __tracebackhide__ = True
    if found.allowed:
        _fail(f"The token is still good. {_told(found)}")
    if reason is None and found.reason == "token_not_valid":
        _fail(f"The token is no good, but it is not revoked. {_told(found)}")
    if reason is not None and found.reason != reason:
        _fail(f"The token is refused for {found.reason}, not for {reason}. {_told(found)}")


def _reading(user: Any, sid: str) -> tuple[Operation[UserState], UseCase]:
    key = user_id(user)
    done: Callable[[UserState], Done[UserState]] = Done
    return Operation((commands.read_session(key, valid_sid(sid)),), done), UseCase("explain", key, sid)


def _others(live: list[Session]) -> str:
    return "Live ones: " + (", ".join(session.sid for session in live) or "none") + "."


def _session_live(sid: str, live: list[Session]) -> None:
    __tracebackhide__ = True
    if all(session.sid != sid for session in live):
        _fail(f"The session {sid} is not live. {_others(live)}")


def _session_ended(sid: str, live: list[Session], state: UserState, reason: str | None) -> None:
    __tracebackhide__ = True
    for session in live:
        if session.sid == sid:
            _fail(
                f"The session {sid} is still live: opened {session.created_at:%Y-%m-%d %H:%M:%S}, it lasts until"
                f" {session.expires_at:%Y-%m-%d %H:%M:%S}."
            )
    if state.session is None:
        _fail(f"This user has had no session {sid}, or none that anybody remembers. {_others(live)}")
    why = state.session.why if isinstance(state.session, EndedSession) else "session_expired or all_revoked"
    if reason is not None and why != reason:
        _fail(f"The session {sid} is over for {why}, not for {reason}.")
