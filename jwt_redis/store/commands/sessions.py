"""A user's sessions: what is known of them, and how one begins and goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jwt_redis import keys
from jwt_redis.conf import DEFAULT_MAX_AGE, config
from jwt_redis.records import EndedSession, Marker, SessionRecord, UserState, parse_session, parse_user_state
from jwt_redis.store.commands.command import Command, on_user
from jwt_redis.store.commands.replies import read_mapping
from jwt_redis.verdicts import KEY_REVOKED, Claims


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a sign-in: the record, and the older sessions that had to make room."""

    session: SessionRecord
    ended: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of a refresh token: rotated, touched, grace, ahead, reuse or gone, and for the refused why."""

    outcome: str
    reason: str
    session: SessionRecord | EndedSession | None
    # This very use of the token ended the session.
    ended: bool
    # The session began with a token that had none.
    is_adopted: bool = False
    # Older sessions that had to make room for it.
    made_room: tuple[str, ...] = ()
    # Where the session stands in the status lists; "" if nowhere.
    place: str = ""


def read_state(claims: Claims) -> Command[UserState]:
    """What Redis knows of a token (HMGET): one key, one round trip."""
    session = keys.SESSION + (claims.sid or "")
    key = keys.user_key(claims.user)
    fields = (session, keys.BLACKLIST + claims.jti, keys.NOT_BEFORE)
    return Command((key,), ("HMGET", key, *fields), parse_user_state)


def read_session(user: str, sid: str) -> Command[UserState]:
    """One session of a user, by its id (HMGET)."""
    key = keys.user_key(user)
    return Command((key,), ("HMGET", key, keys.SESSION + sid), lambda reply: parse_user_state([reply[0], None, None]))


def read_sessions(user: str) -> tuple[Command[dict[str, SessionRecord | EndedSession]], Command[dict[str, str]]]:
    """All of a user's sessions, and the devices and labels beside them (HGETALL twice)."""
    user_key, devices_key = keys.user_key(user), keys.devices_key(user)
    return (
        Command((user_key,), ("HGETALL", user_key), _sessions),
        Command((devices_key,), ("HGETALL", devices_key), read_mapping),
    )


def _sessions(reply: Any) -> dict[str, SessionRecord | EndedSession]:
    found = {}
    for name, value in read_mapping(reply).items():
        if name.startswith(keys.SESSION) and (record := parse_session(value)) is not None:
            found[name.removeprefix(keys.SESSION)] = record
    return found


def seconds_of_session(lifetime: int) -> int:
    """How old a session may become whose first refresh token has that ``lifetime``, both in seconds."""
    max_age = config().session_max_age
    # Not configured: a refresh token that was given a longer life by the project keeps it.
    return int(max_age.total_seconds()) if max_age else max(int(DEFAULT_MAX_AGE.total_seconds()), lifetime)


def open_session(
    user: str, sid: str, *, lifetime: int, nonce: str, fingerprint: str, device: str, place: str = ""
) -> Command[Opened]:
    """A sign-in. ``lifetime``: the refresh token's, in seconds. ``device``: JSON, or "" to keep none. ``place``: from
    :func:`take_place`."""
    seconds = seconds_of_session(lifetime)
    args = (sid, lifetime, seconds, config().max_sessions or 0, nonce, fingerprint, device, place)

    def parse(reply: Any) -> Opened:
        session = parse_session(reply[0])
        if not isinstance(session, SessionRecord):
            raise ValueError("open_session.lua replied with no session")
        return Opened(session, tuple(reply[1]))

    return on_user("open_session", user, args, parse)


def rotate(
    claims: Claims,
    *,
    lifetime: int,
    nonce: str,
    fingerprints: Sequence[str],
    device: str,
    marker: Marker,
    rotating: bool,
    is_observing: bool = False,
    legacy_end: int = 0,
) -> Command[Rotation]:
    """A refresh token is used. ``lifetime``: its successor's, in seconds. ``rotating``: False leaves the token good.

    ``is_observing``: nothing ends a session, and the outcome tells what would. ``legacy_end``: when a token without a
    session has its end, in seconds of the epoch; it gets one. 0 for all others.
    """
    refused = Rotation("gone", KEY_REVOKED, None, False)

    def parse(reply: Any) -> Rotation:
        outcome, reason, text, ended, is_adopted, made_room, place = reply
        return Rotation(outcome, reason, parse_session(text), bool(ended), bool(is_adopted), tuple(made_room), place)

    def by_moment(not_before_ms: int) -> Command[Rotation]:
        args = (
            claims.sid or "",
            claims.jti,
            claims.rotation or 0,
            nonce,
            int(config().refresh_grace * 1000),
            lifetime,
            ",".join(fingerprints),
            device,
            not_before_ms,
            marker.born_ms,
            int(rotating),
            legacy_end,
            claims.iat,
            seconds_of_session(lifetime),
            config().max_sessions or 0,
            int(is_observing),
            claims.key,
        )
        return on_user("rotate", claims.user, args, parse)

    return replace(by_moment(marker.not_before_ms), if_key_refused=(claims.key, refused), by_moment=by_moment)


def set_label(user: str, sid: str, label: str) -> Command[bool]:
    """Name a live session, "" to take its name away. Whether there is such a session."""
    return on_user("set_label", user, (sid, label), lambda reply: bool(reply[0]))


def rebind_sessions(user: str, prints: Sequence[tuple[str, str, str]]) -> Command[int]:
    """Accept a second fingerprint. ``prints``: sid, old fingerprint, new one."""
    return on_user("rebind_sessions", user, [part for triple in prints for part in triple], lambda r: int(r[0]))
