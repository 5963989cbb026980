"""A refresh token is used: its successor, the grace, and what becomes of a copy."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from rest_framework_simplejwt.tokens import Token

from jwt_redis import near_cache, observers, signals
from jwt_redis.decoding import claims_of
from jwt_redis.devices import Device
from jwt_redis.exceptions import RevokedToken
from jwt_redis.fingerprints import fingerprints
from jwt_redis.observers import Observer
from jwt_redis.operations import Done, Event, Operation, UseCase, arun, run
from jwt_redis.records import EndedSession, Marker, SessionRecord
from jwt_redis.sessions.ending import confirmed, ended_events
from jwt_redis.sessions.parts import new_nonce, with_marker
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import Rotation
from jwt_redis.verdicts import Claims

__all__ = ["arotate", "rotate"]

_ALARMS: Final = {
    "reuse": (signals.refresh_token_reused, "refresh_token_reused", logging.WARNING),
    "ahead": (signals.store_rolled_back, "store_rolled_back", logging.CRITICAL),
}


def _rotate(token: Token, claims: Claims, user: Any, device: Device | None, rotating: bool) -> Operation[SessionRecord]:
    sid = claims.sid
    if sid is None:
        raise RevokedToken("no_session")
    end_claim = getattr(token, "session_end_claim", "exp")
    # Its own, not the setting's: who was promised a year keeps it.
    lifetime = int(token.payload[end_claim]) - claims.iat
    facts = {"user": claims.user, "sid": sid}
    asked_at = near_cache.clock()

    def finish(rotation: Rotation) -> Done[SessionRecord] | Operation[SessionRecord]:
        if observers.installed:
            observers.tell(Observer.refreshed, rotation.outcome)
        if rotation.outcome in ("rotated", "touched", "grace") and isinstance(rotation.session, SessionRecord):
            if hasattr(token, "seen_alive"):
                token.seen_alive(asked_at)
            event = Event(signals.session_refreshed, {**facts, "outcome": rotation.outcome}, "session_refreshed")
            return Done(rotation.session, (event,))
        events: tuple[Event, ...] = ()
        if rotation.outcome in _ALARMS:
            signal, name, level = _ALARMS[rotation.outcome]
            events = (Event(signal, facts, name, level),)
        if rotation.ended and isinstance(rotation.session, EndedSession):
            events += ended_events(claims.user, (sid,), rotation.session.why)
        refused: Done[SessionRecord] = Done(_NOBODY, events, RevokedToken(rotation.reason or "no_session"))
        if not rotation.ended or not isinstance(rotation.session, EndedSession):
            return refused
        # The script ended the session; that is to be as lasting as any other end.
        return confirmed(claims.user, (sid,), rotation.session.why, refused)

    def with_trusted(marker: Marker) -> Operation[SessionRecord]:
        command = commands.rotate(
            claims,
            lifetime=lifetime,
            nonce=new_nonce(),
            fingerprints=fingerprints(user, sid),
            # A client that does not say what it is leaves what was known.
            device=device.dump() if device is not None and device.user_agent else "",
            marker=marker,
            rotating=rotating,
        )
        return Operation((command,), finish)

    marker = markers.known()
    if marker is not None:
        return with_trusted(marker)
    return Operation((commands.prove_marker(),), with_marker(with_trusted, time.monotonic()))


# What an operation that ends in an error answers with; nobody sees it.
_NOBODY: Final = SessionRecord(0, 0, 0, 0, 0, "", "")


def rotate(token: Token, user: Any, device: Device | None = None, *, rotating: bool = True) -> SessionRecord:
    """Use a refresh token: one script. Its session's record says what the successor has to bear.

    ``user`` is the row that the token's user-id claim names. ``rotating=False`` leaves the token as it is.

    :raises RevokedToken: when it was used before (the session is ended), or the session is over.
    """
    claims = claims_of(token)
    return run(lambda: _rotate(token, claims, user, device, rotating), UseCase("rotate", claims.user, claims.sid))


async def arotate(token: Token, user: Any, device: Device | None = None, *, rotating: bool = True) -> SessionRecord:
    """:func:`rotate` over ``redis.asyncio``."""
    claims = claims_of(token)
    return await arun(
        lambda: _rotate(token, claims, user, device, rotating), UseCase("rotate", claims.user, claims.sid)
    )
