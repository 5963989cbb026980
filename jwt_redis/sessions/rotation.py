"""A refresh token is used: its successor, the grace, and what becomes of a copy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from rest_framework_simplejwt.tokens import Token

from jwt_redis import near_cache, observers, signals, status_list, stock_blacklist
from jwt_redis.conf import config
from jwt_redis.decoding import claims_of
from jwt_redis.devices import Device
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.fingerprints import fingerprints
from jwt_redis.journal import Entry
from jwt_redis.observers import Observer
from jwt_redis.operations import Done, Event, Operation, UseCase, apublish, arun, publish, run
from jwt_redis.records import EndedSession, Marker, SessionRecord
from jwt_redis.sessions.ending import confirmed, ended_events
from jwt_redis.sessions.observing import UNAVAILABLE, observed
from jwt_redis.sessions.parts import new_nonce, with_marker
from jwt_redis.signing import backends
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import Rotation
from jwt_redis.verdicts import KEY_REVOKED, SID_CLAIM, STORE_LOST, TOKEN_BLACKLISTED, Claims

__all__ = ["arotate", "rotate"]

_ALARMS: Final = {
    "reuse": (signals.refresh_token_reused, "refresh_token_reused", logging.WARNING),
    "ahead": (signals.store_rolled_back, "store_rolled_back", logging.CRITICAL),
}


# What a refusal is observed for, where it would end the session.
_WHY: Final = {"reuse": "refresh_token_reused", "ahead": "store_rolled_back"}


def _passing(
    token: Token, claims: Claims, session: SessionRecord | EndedSession | None, reason: str
) -> Done[SessionRecord]:
    """The token would be refused, were it not for ``OBSERVE``: it gets a successor, as Simple JWT gives it one."""
    lifetime = int(token.payload[getattr(token, "session_end_claim", "exp")]) - claims.iat
    if not claims.iat:
        # It does not say when it was issued.
        lifetime = int(type(token).lifetime.total_seconds())  # type: ignore[union-attr]
    if isinstance(session, SessionRecord):
        # An adopted one's token does not name it.
        token.payload[SID_CLAIM] = claims.sid
    now = time.time()
    expires_at = int(now) + lifetime
    # Of a copy that comes late, what the session has by now: it is in step again.
    rotation = max(claims.rotation or 0, session.rotation if isinstance(session, SessionRecord) else 0)
    record = SessionRecord(rotation, int(now * 1000), int(now * 1000), expires_at, expires_at, "-", "")
    return Done(record, (observed(claims.user, claims.sid, reason, "rotate"),))


def _rotate(
    token: Token, claims: Claims, user: Any, device: Device | None, rotating: bool
) -> Operation[SessionRecord] | Done[SessionRecord]:
    sid = claims.sid
    if sid is None:
        if config().observe:
            passing = _passing_with_marker(token, claims, "no_session", time.monotonic())
            return Operation((commands.prove_marker(),), passing)
        raise RevokedToken("no_session")
    if claims.key not in backends.refused():
        # Else the token would be used up, and whoever comes with it again would be taken for a thief.
        backends.check_signer()
    end_claim = getattr(token, "session_end_claim", "exp")
    end = int(token.payload[end_claim])
    # Its own, not the setting's: who was promised a year keeps it.
    lifetime = end - claims.iat
    if config().status_list is not None:
        status_list.check(token.payload)
    facts = {"user": claims.user, "sid": sid}
    asked_at = near_cache.clock()

    def finish(rotation: Rotation) -> Done[SessionRecord] | Operation[SessionRecord]:
        if observers.installed:
            observers.tell(Observer.refreshed, rotation.outcome)
        if rotation.outcome in ("rotated", "touched", "grace") and isinstance(rotation.session, SessionRecord):
            if hasattr(token, "seen_alive"):
                token.seen_alive(asked_at)
            event = Event(signals.session_refreshed, {**facts, "outcome": rotation.outcome}, "session_refreshed")
            done = Done(rotation.session, (*started(rotation), event))
            follow = done if claims.legacy_until is None else adopted(rotation, done)
            return _placed(token, claims.user, sid, rotation, rotation.session, follow)
        is_listed_there = rotation.outcome == "reuse" and stock_blacklist.takes_rotated()
        if config().observe and is_listed_there:
            # Simple JWT would not have let it pass either.
            told = observed(claims.user, sid, _WHY["reuse"], "rotate")
            return Done(_NOBODY, (told,), RevokedToken(TOKEN_BLACKLISTED))
        if config().observe and rotation.reason != KEY_REVOKED:
            return _passing(
                token, claims, rotation.session, _WHY.get(rotation.outcome, rotation.reason or "no_session")
            )
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

    def started(rotation: Rotation) -> tuple[Event, ...]:
        if not rotation.is_adopted:
            return ()
        begun = Event(signals.session_started, facts, "session_started", logging.INFO)
        return (begun, *ended_events(claims.user, rotation.made_room, "max_sessions"))

    def adopted(rotation: Rotation, done: Done[SessionRecord]) -> Operation[SessionRecord] | Done[SessionRecord]:
        """Nobody is told of the session before it is certain that the token gets no other one."""
        token.payload[SID_CLAIM] = sid
        noted: Operation[SessionRecord] | Done[SessionRecord] = done
        if rotation.made_room:
            noted = confirmed(claims.user, rotation.made_room, "max_sessions", done)
        if not config().journal or not may_be_unnoted(rotation):
            return noted
        entry = Entry.of_adoption(claims.user, sid)
        return Operation((commands.note_adopted(claims.user, sid),), lambda _: noted, (entry,))

    def may_be_unnoted(rotation: Rotation) -> bool:
        # Without rotation a token comes again and again. Later in grace, somebody else's note may have failed.
        return rotation.is_adopted or rotation.outcome == "grace"

    def with_trusted(marker: Marker) -> Operation[SessionRecord] | Done[SessionRecord]:
        # The copy may be a second old, and so the script looks for itself; in Cluster, where the marker is in another
        # slot, whoever runs it does.
        if claims.key in marker.refused_keys:
            raise RevokedToken(KEY_REVOKED)
        if claims.legacy_until is not None and not config().journal and claims.iat <= marker.born_ms // 1000:
            # As verdicts has it: what was revoked of it before may be lost.
            return finish(Rotation("gone", STORE_LOST, None, False))
        command = commands.rotate(
            claims,
            lifetime=lifetime,
            nonce=new_nonce(),
            fingerprints=fingerprints(user, sid),
            # A client that does not say what it is leaves what was known.
            device=device.dump() if device is not None and device.user_agent else "",
            marker=marker,
            rotating=rotating,
            is_observing=config().observe,
            legacy_end=0 if claims.legacy_until is None else min(end, claims.legacy_until),
        )
        return Operation((command,), finish)

    # Also one with a session: a worker that ran without this package may have listed it among its own.
    if config().legacy_tokens is not None:
        return _unless_refused(token, claims, with_trusted)
    marker = markers.known()
    if marker is not None:
        return with_trusted(marker)
    return Operation((commands.prove_marker(),), with_marker(with_trusted, time.monotonic()))


def _passing_with_marker(token: Token, claims: Claims, reason: str, asked_at: float) -> Callable[..., Any]:
    """:func:`_passing`, unless the key was revoked: nothing of a stolen one passes."""

    def passing(marker: Marker) -> Done[SessionRecord]:
        if claims.key in marker.refused_keys:
            raise RevokedToken(KEY_REVOKED)
        return _passing(token, claims, None, reason)

    return with_marker(passing, asked_at)


def _unless_refused(
    token: Token, claims: Claims, then: Callable[[Marker], Operation[SessionRecord] | Done[SessionRecord]]
) -> Operation[SessionRecord]:
    """While tokens are adopted: with the marker as it is now, unless the token is refused, whosever it is."""
    asked_at = time.monotonic()

    def finish(marker: Marker | None, is_refused: bool) -> Operation[SessionRecord] | Done[SessionRecord]:
        if is_refused and config().observe:
            passing: Done[SessionRecord] = _passing_with_marker(token, claims, TOKEN_BLACKLISTED, asked_at)(marker)
            return passing
        if not is_refused:
            seen: Operation[SessionRecord] | Done[SessionRecord] = with_marker(then, asked_at)(marker)
            return seen
        if observers.installed:
            observers.tell(Observer.refreshed, "gone")
        return Done(_NOBODY, (), RevokedToken(TOKEN_BLACKLISTED))

    return Operation((commands.prove_marker(), commands.read_refused(claims.jti)), finish)


def _placed(
    token: Token,
    user: str,
    sid: str,
    rotation: Rotation,
    record: SessionRecord,
    then: Operation[SessionRecord] | Done[SessionRecord],
) -> Done[SessionRecord] | Operation[SessionRecord]:
    """What follows from the token says where its status is published.

    Most sessions stand where they stood. One from before STATUS_LIST was set, one whose place was given up, and all of
    a store that was lost or set back are given another.
    """
    if config().status_list is None:
        status_list.drop(token.payload)
        return then

    def stays(place: str) -> Operation[SessionRecord] | Done[SessionRecord]:
        status_list.put(token.payload, place)
        return then

    def bound(place: str) -> Operation[SessionRecord] | Done[SessionRecord]:
        return stays(place) if place else Done(_NOBODY, (), RevokedToken("session_ended"))

    def taken(place: str) -> Operation[SessionRecord] | Done[SessionRecord]:
        if place == rotation.place:
            return stays(place)
        return Operation((commands.set_place(user, sid, former=rotation.place, place=place),), bound)

    marker = markers.known()
    if marker is not None and status_list.is_current(rotation.place, marker):
        return stays(rotation.place)
    # Both by Redis' clock.
    seconds = max(0, record.ends_at - record.used_ms // 1000)
    former = rotation.place if status_list.is_place(rotation.place) else ""
    return Operation((commands.take_place(former, seconds),), taken)


# What an operation that ends in an error answers with; nobody sees it.
_NOBODY: Final = SessionRecord(0, 0, 0, 0, 0, "", "")


def rotate(token: Token, user: Any, device: Device | None = None, *, rotating: bool = True) -> SessionRecord:
    """Use a refresh token: one script. Its session's record says what the successor has to bear.

    ``user`` is the row that the token's user-id claim names. ``rotating=False`` leaves the token as it is.

    :raises RevokedToken: when it was used before (the session is ended), or the session is over.
    """
    claims = claims_of(token)
    case = UseCase("rotate", claims.user, claims.sid)
    try:
        return run(lambda: _rotate(token, claims, user, device, rotating), case)
    except RevocationUnavailable:
        if not config().observe or claims.key in backends.refused():
            raise
        return publish(_passing(token, claims, None, UNAVAILABLE))


async def arotate(token: Token, user: Any, device: Device | None = None, *, rotating: bool = True) -> SessionRecord:
    """:func:`rotate` over ``redis.asyncio``."""
    claims = claims_of(token)
    case = UseCase("rotate", claims.user, claims.sid)
    try:
        return await arun(lambda: _rotate(token, claims, user, device, rotating), case)
    except RevocationUnavailable:
        if not config().observe or claims.key in backends.refused():
            raise
        return await apublish(_passing(token, claims, None, UNAVAILABLE))
