"""The use cases: open, list and end sessions, revoke tokens, ask whether one is good. Each has an async twin.

``user`` is a user instance or the value of its user-id claim. Everything here raises
:class:`~jwt_redis.exceptions.RevocationUnavailable` when Redis does not answer.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken, Token
from rest_framework_simplejwt.utils import datetime_to_epoch

from jwt_redis import signals
from jwt_redis.conf import FailurePolicy, config, leeway_seconds, longest_lifetime, simplejwt_setting
from jwt_redis.decoding import claims_of, decode
from jwt_redis.devices import Device, device_of, signing_in_device
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.fingerprints import fingerprints, matches
from jwt_redis.keys import DEVICE, LABEL, user_id
from jwt_redis.operations import Done, Event, Operation, apublish, arun, publish, run
from jwt_redis.records import EndedSession, Marker, SessionRecord, UserState
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import Ended, Opened, Rotation
from jwt_redis.verdicts import Claims, Verdict, decide, is_jti, is_sid

__all__ = [
    "Explanation",
    "Session",
    "acheck",
    "aend_all_sessions",
    "aend_other_sessions",
    "aend_session",
    "aend_stale_sessions",
    "aexplain",
    "alist_sessions",
    "aopen_session",
    "arebind_sessions",
    "aregister",
    "arevoke_everything",
    "arevoke_jti",
    "arevoke_token",
    "arotate",
    "check",
    "end_all_sessions",
    "end_other_sessions",
    "end_session",
    "end_stale_sessions",
    "explain",
    "list_sessions",
    "new_sid",
    "open_session",
    "rebind_sessions",
    "register",
    "revoke_everything",
    "revoke_jti",
    "revoke_token",
    "rotate",
]

T = TypeVar("T")

_REASON = re.compile(r"\w{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """One login on one device. ``user`` is the user-id claim's value; the times are aware, and by Redis' clock."""

    user: str
    sid: str
    created_at: datetime
    last_refreshed_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str
    label: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the check says of a token and why. ``reason`` is ``token_not_valid`` where it was never ours to judge."""

    allowed: bool
    reason: str | None
    rule: str
    claims: Claims | None = None
    state: UserState | None = None


RULES: Final = {
    None: "The session is alive, and nothing that would refuse the token was found.",
    "token_blacklisted": "The token itself is on the blacklist, or it is a refresh token that was used already.",
    "session_ended": "The session was ended.",
    "session_expired": "The session has run out: its refresh token was not used in time, or it is too old.",
    "user_revoked": "All of the user's tokens from before a moment were revoked, and this one is older.",
    "all_revoked": "Everything from before a moment was revoked, and this token's session is older.",
    "no_session": "The store knows no such session, and the whitelist accepts no token without one.",
    "store_lost": "The token is older than the store: Redis was emptied or rolled back since.",
    "token_not_valid": "The token is not good whatever the store says.",
}


def new_sid() -> str:
    """A session id: 128 random bits as base64url (OpenID Connect's ``sid``)."""
    return secrets.token_urlsafe(16)


def _nonce() -> str:
    return secrets.token_urlsafe(6)


def _why(reason: str) -> str:
    if not _REASON.fullmatch(reason):
        raise ValueError(f"reason: 1 to 40 letters, digits and underscores are needed, not {reason!r}")
    return reason


def _known_sid(sid: str) -> str:
    if not is_sid(sid):
        raise ValueError("sid: not a session id")
    return sid


def _moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


# Checking --------------------------------------------------------------------------------------------------------


def _with_marker(then: Callable[[Marker], Operation[T] | Done[T]], asked_at: float) -> Callable[..., Any]:
    """A ``finish`` that remembers the marker it is given, or lets the store be born first."""

    def finish(marker: Marker | None) -> Operation[T] | Done[T]:
        if marker is None:
            return Operation((commands.ensure_marker(),), born)
        markers.seen(marker, asked_at)
        return then(marker)

    def born(marker: Marker | None) -> Operation[T] | Done[T]:
        if marker is None:
            raise RevocationUnavailable
        markers.seen(marker, asked_at)
        return then(marker)

    return finish


def _read(claims: Claims) -> Operation[tuple[UserState, Verdict]]:
    def judge(state: UserState, marker: Marker) -> Done[tuple[UserState, Verdict]]:
        return Done((state, decide(claims, state, marker, config().strategy, time.time(), leeway_seconds())))

    # Where absence accepts, the marker must be of the same moment.
    marker = markers.known() if config().strategy == "whitelist" else None
    if marker is not None:
        return Operation((commands.read_state(claims),), lambda state: judge(state, marker))
    asked_at = time.monotonic()
    return Operation(
        (commands.read_state(claims), commands.read_marker()),
        lambda state, read: _with_marker(lambda found: judge(state, found), asked_at)(read),
    )


def _failed_open(
    claims: Claims, error: RevocationUnavailable, policy: FailurePolicy | None
) -> Done[tuple[UserState, Verdict]]:
    if (policy or config().on_redis_failure) != "allow":
        raise error
    facts = {"user": claims.user, "sid": claims.sid, "error": error}
    event = Event(signals.check_failed_open, facts, "check_failed_open", logging.WARNING)
    return Done((UserState(), Verdict(True, checked=False)), (event,))


def check(token: Token, *, on_redis_failure: FailurePolicy | None = None) -> Verdict:
    """Is a verified token still good? One HMGET in one round trip.

    ``on_redis_failure`` takes the place of the setting: "allow" lets the token pass while Redis cannot be asked.

    :raises TokenError: when the token lacks what a verdict needs.
    """
    claims = claims_of(token)
    try:
        return run(_read(claims))[1]
    except RevocationUnavailable as error:
        return publish(_failed_open(claims, error, on_redis_failure))[1]


async def acheck(token: Token, *, on_redis_failure: FailurePolicy | None = None) -> Verdict:
    """:func:`check` over ``redis.asyncio``."""
    claims = claims_of(token)
    try:
        return (await arun(_read(claims)))[1]
    except RevocationUnavailable as error:
        return (await apublish(_failed_open(claims, error, on_redis_failure)))[1]


def _explained(claims: Claims, state: UserState, verdict: Verdict) -> Explanation:
    rule = RULES[verdict.reason]
    if isinstance(state.session, EndedSession):
        rule += f" Why: {state.session.why}."
    return Explanation(verdict.allowed, verdict.reason, rule, claims, state)


def _claims_or_why_not(token: str | Token) -> Claims | Explanation:
    try:
        return claims_of(decode(token))
    except TokenError as error:
        return Explanation(False, "token_not_valid", f"{RULES['token_not_valid']} {error.args[0]}.")


def explain(token: str | Token) -> Explanation:
    """What :func:`check` says of a token of any type, and which rule says it."""
    claims = _claims_or_why_not(token)
    return claims if isinstance(claims, Explanation) else _explained(claims, *run(_read(claims)))


async def aexplain(token: str | Token) -> Explanation:
    """:func:`explain` over ``redis.asyncio``."""
    claims = _claims_or_why_not(token)
    return claims if isinstance(claims, Explanation) else _explained(claims, *await arun(_read(claims)))


# Opening and refreshing ------------------------------------------------------------------------------------------


def _new_token(user: Any) -> RefreshToken:
    """Made by the project's own serializer, so that it bears the project's own claims."""
    token: RefreshToken = import_string(simplejwt_setting("TOKEN_OBTAIN_SERIALIZER")).get_token(user)
    if not hasattr(token, "registered"):
        raise ImproperlyConfigured(
            "SIMPLE_JWT['TOKEN_OBTAIN_SERIALIZER'] makes tokens without a session: its token_class is not a"
            " jwt_redis.tokens class."
        )
    return token


def _register(token: Any, device: Device | None) -> Operation[None]:
    claims = claims_of(token)
    if claims.sid is None:
        raise TokenError("Token has no 'sid' claim")
    end_claim = token.session_end_claim
    lifetime = int(token.payload[end_claim]) - datetime_to_epoch(token.current_time)
    device = signing_in_device() if device is None else device

    def finish(opened: Opened) -> Done[None]:
        # No token outlives its session.
        for claim in {end_claim, "exp"}:
            token.payload[claim] = min(token.payload[claim], opened.session.ends_at)
        token.registered = True
        started = Event(
            signals.session_started, {"user": claims.user, "sid": claims.sid}, "session_started", logging.INFO
        )
        return Done(None, (started, *_ended_events(claims.user, opened.ended, "max_sessions")))

    command = commands.open_session(
        claims.user,
        claims.sid,
        lifetime=lifetime,
        nonce=_nonce(),
        fingerprint=token.fingerprint,
        device=device.dump(),
    )
    return Operation((command,), finish)


def register(token: Token, device: Device | None = None) -> None:
    """Write a new token's session into Redis, if that was not done yet, and cut the token's ``exp`` to its end.

    Whatever turns a token of this package into a string calls it; only async code needs :func:`aregister`.
    ``device``: the one of :func:`~jwt_redis.devices.signing_in_from` if None.
    """
    if not getattr(token, "registered", True):
        run(_register(token, device))


async def aregister(token: Token, device: Device | None = None) -> None:
    """:func:`register` over ``redis.asyncio``."""
    if not getattr(token, "registered", True):
        await arun(_register(token, device))


def open_session(user: Any, request: Any | None = None) -> RefreshToken:
    """Sign a user in: the refresh token of a new session, from which ``access_token`` is minted as in Simple JWT.

    ``request``: where the device is read from. Credentials are for the caller to have checked.

    :raises ImproperlyConfigured: when ``SIMPLE_JWT`` names a serializer whose tokens have no session.
    """
    token = _new_token(user)
    run(_register(token, device_of(request)))
    return token


async def aopen_session(user: Any, request: Any | None = None) -> RefreshToken:
    """:func:`open_session` over ``redis.asyncio``."""
    token = await sync_to_async(_new_token)(user)
    await arun(_register(token, device_of(request)))
    return token


_ALARMS: Final = {
    "reuse": (signals.refresh_token_reused, logging.WARNING),
    "ahead": (signals.store_rolled_back, logging.CRITICAL),
}


def _rotate(token: Token, user: Any, device: Device, rotating: bool) -> Operation[SessionRecord]:
    claims = claims_of(token)
    sid = claims.sid
    if sid is None:
        raise RevokedToken("no_session")
    end_claim = getattr(token, "session_end_claim", "exp")
    # Its own, not the setting's: who was promised a year keeps it.
    lifetime = int(token.payload[end_claim]) - claims.iat
    facts = {"user": claims.user, "sid": sid}

    def finish(rotation: Rotation) -> Done[SessionRecord]:
        if rotation.outcome in ("rotated", "touched", "grace") and isinstance(rotation.session, SessionRecord):
            event = Event(signals.session_refreshed, {**facts, "outcome": rotation.outcome}, "session_refreshed")
            return Done(rotation.session, (event,))
        events: tuple[Event, ...] = ()
        if rotation.outcome in _ALARMS:
            signal, level = _ALARMS[rotation.outcome]
            events = (Event(signal, facts, rotation.outcome, level),)
        if rotation.ended and isinstance(rotation.session, EndedSession):
            events += _ended_events(claims.user, (sid,), rotation.session.why)
        return Done(_NOBODY, events, RevokedToken(rotation.reason or "no_session"))

    def with_marker(marker: Marker) -> Operation[SessionRecord]:
        command = commands.rotate(
            claims,
            lifetime=lifetime,
            nonce=_nonce(),
            fingerprints=fingerprints(user, sid),
            device=device.dump(),
            marker=marker,
            rotating=rotating,
        )
        return Operation((command,), finish)

    marker = markers.known()
    if marker is not None:
        return with_marker(marker)
    return Operation((commands.read_marker(),), _with_marker(with_marker, time.monotonic()))


# What an operation that ends in an error answers with; nobody sees it.
_NOBODY: Final = SessionRecord(0, 0, 0, 0, 0, "", "")


def rotate(token: Token, user: Any, device: Device | None = None, *, rotating: bool = True) -> SessionRecord:
    """Use a refresh token: one script. Its session's record says what the successor has to bear.

    ``user`` is the row that the token's user-id claim names. ``rotating=False`` leaves the token as it is.

    :raises RevokedToken: when it was used before (the session is ended), or the session is over.
    """
    return run(_rotate(token, user, device or Device(), rotating))


async def arotate(token: Token, user: Any, device: Device | None = None, *, rotating: bool = True) -> SessionRecord:
    """:func:`rotate` over ``redis.asyncio``."""
    return await arun(_rotate(token, user, device or Device(), rotating))


# Listing ---------------------------------------------------------------------------------------------------------


def _live_sessions(user: str) -> Operation[dict[str, tuple[SessionRecord, Session]]]:
    asked_at = time.monotonic()
    read_records, read_devices = commands.read_sessions(user)

    def finish(records: dict[str, SessionRecord | EndedSession], texts: dict[str, str], marker: Marker | None) -> Any:
        def listed(marker: Marker) -> Done[dict[str, tuple[SessionRecord, Session]]]:
            found = {
                sid: (record, _session(user, sid, record, texts))
                for sid, record in records.items()
                if isinstance(record, SessionRecord) and _is_live(record, marker)
            }
            return Done(dict(sorted(found.items(), key=lambda item: -item[1][0].used_ms)))

        return _with_marker(listed, asked_at)(marker)

    return Operation((read_records, read_devices, commands.read_marker()), finish)


def _is_live(record: SessionRecord, marker: Marker) -> bool:
    trusted = record.opened_ms > marker.not_before_ms and record.opened_ms >= marker.born_ms
    return trusted and record.expires_at > time.time()


def _session(user: str, sid: str, record: SessionRecord, texts: dict[str, str]) -> Session:
    device = Device.load(texts.get(DEVICE + sid))
    return Session(
        user=user,
        sid=sid,
        created_at=_moment(record.opened_ms),
        last_refreshed_at=_moment(record.used_ms),
        expires_at=_moment(record.expires_at * 1000),
        ip=device.ip,
        user_agent=device.user_agent,
        label=texts.get(LABEL + sid, ""),
    )


def list_sessions(user: Any) -> list[Session]:
    """The user's live sessions, the one used last first."""
    return [session for _, session in run(_live_sessions(user_id(user))).values()]


async def alist_sessions(user: Any) -> list[Session]:
    """:func:`list_sessions` over ``redis.asyncio``."""
    return [session for _, session in (await arun(_live_sessions(user_id(user)))).values()]


# Ending ----------------------------------------------------------------------------------------------------------


def _ended_events(user: str, sids: tuple[str, ...], reason: str) -> tuple[Event, ...]:
    return tuple(
        Event(signals.session_ended, {"user": user, "sid": sid, "reason": reason}, "session_ended", logging.INFO)
        for sid in sids
    )


def _end(user: str, sids: tuple[str, ...], reason: str, even_if_unknown: bool) -> Operation[int]:
    # The whitelist refuses what it does not know; the blacklist has to be told.
    unknown_too = even_if_unknown and config().strategy == "blacklist"
    command = commands.end_sessions(user, sids, reason=_why(reason), unknown_too=unknown_too)
    return Operation((command,), lambda ended: Done(len(ended.sids), _ended_events(user, ended.sids, reason)))


def end_session(user: Any, sid: str, *, reason: str = "logout", even_if_unknown: bool = True) -> bool:
    """End one session and with it all of its tokens. True when it was alive, False when there was nothing to end.

    ``reason``: why, for the signal and :func:`explain`; letters, digits and underscores. ``even_if_unknown``:
    under the blacklist strategy, refuse its tokens also where the store has no such session.

    :raises ValueError: when ``sid`` cannot be a session id.
    """
    return run(_end(user_id(user), (_known_sid(sid),), reason, even_if_unknown)) > 0


async def aend_session(user: Any, sid: str, *, reason: str = "logout", even_if_unknown: bool = True) -> bool:
    """:func:`end_session` over ``redis.asyncio``."""
    return await arun(_end(user_id(user), (_known_sid(sid),), reason, even_if_unknown)) > 0


def _end_others(user: str, sid: str, reason: str) -> Operation[int]:
    command = commands.end_other_sessions(user, sid, reason=_why(reason))
    return Operation((command,), lambda ended: Done(len(ended.sids), _ended_events(user, ended.sids, reason)))


def end_other_sessions(user: Any, sid: str, *, reason: str = "logout_others") -> int:
    """End all of a user's sessions but ``sid``. How many there were."""
    return run(_end_others(user_id(user), _known_sid(sid), reason))


async def aend_other_sessions(user: Any, sid: str, *, reason: str = "logout_others") -> int:
    """:func:`end_other_sessions` over ``redis.asyncio``."""
    return await arun(_end_others(user_id(user), _known_sid(sid), reason))


def _end_all(user: str, reason: str) -> Operation[int]:
    def finish(ended: Ended) -> Done[int]:
        facts = {"user": user, "sids": ended.sids, "reason": reason}
        revoked = Event(signals.user_revoked, facts, "user_revoked", logging.INFO)
        return Done(len(ended.sids), (*_ended_events(user, ended.sids, reason), revoked))

    return Operation((commands.end_all_sessions(user, reason=_why(reason)),), finish)


def end_all_sessions(user: Any, *, reason: str = "logout_all") -> int:
    """End all of a user's sessions, and refuse the user's older tokens that have none. How many sessions there were."""
    return run(_end_all(user_id(user), reason))


async def aend_all_sessions(user: Any, *, reason: str = "logout_all") -> int:
    """:func:`end_all_sessions` over ``redis.asyncio``."""
    return await arun(_end_all(user_id(user), reason))


def _end_stale(user: Any) -> Operation[int]:
    key = user_id(user)

    def finish(found: dict[str, tuple[SessionRecord, Session]]) -> Done[int] | Operation[int]:
        stale = tuple(sid for sid, (record, _) in found.items() if not matches(user, sid, record.fingerprint))
        return _end(key, stale, "password_changed", False) if stale else Done(0)

    return _then(_live_sessions(key), finish)


def _then(first: Operation[Any], then: Callable[[Any], Any]) -> Operation[Any]:
    """One operation after another, the second made from the first one's value. The first has no events."""

    def finish(*results: Any) -> Any:
        step = first.finish(*results)
        return _then(step, then) if isinstance(step, Operation) else then(step.value)

    return Operation(first.commands, finish)


def end_stale_sessions(user: Any) -> int:
    """End those of a user's sessions that were opened under another password. How many there were."""
    return run(_end_stale(user))


async def aend_stale_sessions(user: Any) -> int:
    """:func:`end_stale_sessions` over ``redis.asyncio``."""
    return await arun(_end_stale(user))


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

    return _then(_live_sessions(key), finish)


def rebind_sessions(before: Any, after: Any) -> int:
    """The password's hash was upgraded, the password is the same: keep the sessions from under the old hash.

    ``before`` and ``after`` are the user with the one and with the other.
    """
    return run(_rebind(before, after))


async def arebind_sessions(before: Any, after: Any) -> int:
    """:func:`rebind_sessions` over ``redis.asyncio``."""
    return await arun(_rebind(before, after))


# Revoking --------------------------------------------------------------------------------------------------------


def _revoke(token: str | Token, reason: str) -> Operation[bool]:
    verified = decode(token)
    claims = claims_of(verified)
    if claims.sid is not None and claims.owns_session:
        ending = _end(claims.user, (claims.sid,), reason, True)
        return Operation(ending.commands, lambda ended: _as_bool(ending.finish(ended)))

    return _blacklist(claims.user, claims.jti, claims.exp, reason)


def _blacklist(user: str, jti: str, exp: int, reason: str) -> Operation[bool]:
    def finish(added: bool) -> Done[bool]:
        facts = {"user": user, "jti": jti, "reason": reason}
        return Done(added, (Event(signals.token_revoked, facts, "token_revoked", logging.INFO),) if added else ())

    return Operation((commands.blacklist_token(user, jti, exp, reason=_why(reason)),), finish)


def _as_bool(done: Any) -> Done[bool]:
    return Done(bool(done.value), done.events)


def revoke_token(token: str | Token, *, reason: str = "revoked") -> bool:
    """Revoke a token of any type. A refresh or sliding token takes its session along (RFC 7009 section 2.1), an
    access token goes alone. True when that changed anything: revoking twice is no error.

    :raises TokenError: when the token is expired or not good, so that there is nothing to revoke.
    """
    return run(_revoke(token, reason))


async def arevoke_token(token: str | Token, *, reason: str = "revoked") -> bool:
    """:func:`revoke_token` over ``redis.asyncio``."""
    return await arun(_revoke(token, reason))


def _blacklist_jti(user: str, jti: str, reason: str) -> Operation[bool]:
    if not is_jti(jti):
        raise ValueError("jti: not a token id")
    # Its exp is not known: for as long as any token lives.
    return _blacklist(user, jti, int(time.time() + longest_lifetime()), reason)


def revoke_jti(user: Any, jti: str, *, reason: str = "revoked") -> bool:
    """Revoke one token of a user that is known by its ``jti`` alone, for the longest time a token can last.

    True when it was not listed before.

    :raises ValueError: when ``jti`` cannot be a token's id.
    """
    return run(_blacklist_jti(user_id(user), jti, reason))


async def arevoke_jti(user: Any, jti: str, *, reason: str = "revoked") -> bool:
    """:func:`revoke_jti` over ``redis.asyncio``."""
    return await arun(_blacklist_jti(user_id(user), jti, reason))


def _revoke_everything(before: datetime | None, reason: str) -> Operation[datetime]:
    if before is not None and before.tzinfo is None:
        raise ValueError("before: an aware datetime is needed, one with a time zone")
    if before is not None and before > datetime.now(tz=UTC):
        raise ValueError("before: that moment is yet to come")

    def finish(milliseconds: int) -> Done[datetime]:
        markers.reset()
        moment = _moment(milliseconds)
        facts = {"before": moment, "reason": reason}
        event = Event(signals.everything_revoked, facts, "everything_revoked", logging.WARNING)
        return Done(moment, (event,))

    before_ms = None if before is None else int(before.timestamp() * 1000)
    return Operation((commands.revoke_everything(before_ms, reason=_why(reason)),), finish)


def revoke_everything(before: datetime | None = None, *, reason: str = "revoked") -> datetime:
    """Refuse every session and every token from before a moment, now if None; in every process within a second.

    The moment that is in force afterwards: it only ever moves forward.

    :raises ValueError: when ``before`` has no time zone, or is yet to come.
    """
    return run(_revoke_everything(before, reason))


async def arevoke_everything(before: datetime | None = None, *, reason: str = "revoked") -> datetime:
    """:func:`revoke_everything` over ``redis.asyncio``."""
    return await arun(_revoke_everything(before, reason))
