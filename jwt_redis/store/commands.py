"""Each operation on the store as data: what to send, and how to read the reply. Nothing here does I/O."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

from jwt_redis import keys
from jwt_redis.conf import config, leeway_seconds, longest_access_lifetime, longest_lifetime
from jwt_redis.records import EndedSession, Marker, SessionRecord, UserState, parse_session, parse_user_state
from jwt_redis.verdicts import Claims

__all__ = [
    "Command",
    "Ended",
    "Opened",
    "Rotation",
    "Script",
    "append_log",
    "blacklist_token",
    "end_all_sessions",
    "end_other_sessions",
    "end_sessions",
    "ensure_marker",
    "open_session",
    "prune",
    "read_marker",
    "read_sessions",
    "read_state",
    "rebind_sessions",
    "revoke_everything",
    "rotate",
]

T = TypeVar("T")

# Seconds past its end for which a field is kept, so that no clock difference or rounding loses one too early.
MARGIN = 60
DEFAULT_MAX_AGE = timedelta(days=90)


class Script:
    """A Lua script by its name: the text, put behind the part that the scripts on one user's state share."""

    def __init__(self, name: str, *, on_user: bool) -> None:
        self.name = name
        folder = resources.files("jwt_redis.store") / "lua"
        own = (folder / f"{name}.lua").read_text()
        self.text = (folder / "common.lua").read_text() + own if on_user else own
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def _script(name: str, on_user: bool) -> Script:
    return Script(name, on_user=on_user)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One command: ``args[0]`` is its name, or, with a script, the first argument after the keys."""

    keys: tuple[str, ...]
    args: tuple[str | int | float, ...]
    parse: Callable[[Any], T]
    script: Script | None = None
    # The user whose revocations the reply begins with; None where there can be none.
    logs_for: str | None = None
    # The script gives birth to the store where it can; in Cluster the marker is in another slot.
    needs_marker: bool = False


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


@dataclass(frozen=True, slots=True)
class Ended:
    """Sessions that this call ended; those that were over before are not among them."""

    sids: tuple[str, ...]


def _policy() -> tuple[str | int | float, ...]:
    """The arguments that common.lua reads before a script's own."""
    keep = int(leeway_seconds()) + MARGIN
    access = int(longest_access_lifetime())
    longest = int(longest_lifetime())
    lasting = config().strategy == "blacklist"
    return (keep, access + keep, longest, access, int(lasting), _new_id())


def _new_id() -> str:
    return secrets.token_urlsafe(12)


def _on_user(name: str, user: str, args: Sequence[str | int | float], parse: Callable[[Any], T]) -> Command[T]:
    return Command(
        keys=(keys.user_key(user), keys.devices_key(user), keys.log_key(), keys.marker_key()),
        args=(*_policy(), *args),
        # The first element holds the revocations, for the client.
        parse=lambda reply: parse(reply[1:]),
        script=_script(name, True),
        logs_for=user,
    )


def _ended(reply: Any) -> Ended:
    return Ended(tuple(reply[0]))


def read_state(claims: Claims) -> Command[UserState]:
    """What Redis knows of a token (HMGET): one key, one round trip."""
    session = keys.SESSION + (claims.sid or "")
    key = keys.user_key(claims.user)
    fields = (session, keys.BLACKLIST + claims.jti, keys.NOT_BEFORE)
    return Command((key,), ("HMGET", key, *fields), parse_user_state)


def read_marker() -> Command[Marker | None]:
    """The global record (HMGET); None where the store has none: it is new, or was lost."""
    key = keys.marker_key()
    return Command((key,), ("HMGET", key, "store_id", "born_ms", "not_before"), _marker)


def ensure_marker() -> Command[Marker | None]:
    """The same, but gives birth to the store where there is no marker."""
    return Command((keys.marker_key(),), (_new_id(),), _marker, _script("marker", False))


def _marker(reply: Sequence[str | None]) -> Marker | None:
    """None also for a damaged one: :func:`ensure_marker` mends it."""
    store_id, born, not_before = reply
    if store_id is None or not _is_number(born) or not (not_before is None or _is_number(not_before)):
        return None
    return Marker(store_id, int(born or 0), int(not_before or 0))


def _is_number(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()


def read_sessions(user: str) -> tuple[Command[dict[str, SessionRecord | EndedSession]], Command[dict[str, str]]]:
    """All of a user's sessions, and the devices and labels beside them (HGETALL twice)."""
    user_key, devices_key = keys.user_key(user), keys.devices_key(user)
    return (
        Command((user_key,), ("HGETALL", user_key), _sessions),
        Command((devices_key,), ("HGETALL", devices_key), _mapping),
    )


def _mapping(reply: Any) -> dict[str, str]:
    # RESP3 replies with a map, RESP2 with a flat list.
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _sessions(reply: Any) -> dict[str, SessionRecord | EndedSession]:
    found = {}
    for name, value in _mapping(reply).items():
        if name.startswith(keys.SESSION) and (record := parse_session(value)) is not None:
            found[name.removeprefix(keys.SESSION)] = record
    return found


def open_session(user: str, sid: str, *, lifetime: int, nonce: str, fingerprint: str, device: str) -> Command[Opened]:
    """A sign-in. ``lifetime``: the refresh token's, in seconds. ``device``: JSON, or "" to keep none."""
    max_age = config().session_max_age
    # Not configured: a refresh token that was given a longer life by the project keeps it.
    seconds = int(max_age.total_seconds()) if max_age else max(int(DEFAULT_MAX_AGE.total_seconds()), lifetime)
    args = (sid, lifetime, seconds, config().max_sessions or 0, nonce, fingerprint, device)

    def parse(reply: Any) -> Opened:
        session = parse_session(reply[0])
        if not isinstance(session, SessionRecord):
            raise ValueError("open_session.lua replied with no session")
        return Opened(session, tuple(reply[1]))

    return replace(_on_user("open_session", user, args, parse), needs_marker=True)


def rotate(
    claims: Claims,
    *,
    lifetime: int,
    nonce: str,
    fingerprints: Sequence[str],
    device: str,
    marker: Marker,
    rotating: bool,
) -> Command[Rotation]:
    """A refresh token is used. ``lifetime``: its successor's, in seconds. ``rotating``: False leaves the token good."""
    args = (
        claims.sid or "",
        claims.jti,
        claims.rotation or 0,
        nonce,
        int(config().refresh_grace * 1000),
        lifetime,
        ",".join(fingerprints),
        device,
        marker.not_before_ms,
        marker.born_ms,
        int(rotating),
    )
    return _on_user("rotate", claims.user, args, lambda r: Rotation(r[0], r[1], parse_session(r[2]), bool(r[3])))


def end_sessions(user: str, sids: Sequence[str], *, reason: str, unknown_too: bool = False) -> Command[Ended]:
    """End the sessions named. ``unknown_too``: leave a tombstone also where the store knows no such session."""
    return _on_user("end_session", user, (reason, int(unknown_too), *sids), _ended)


def end_other_sessions(user: str, sid: str, *, reason: str) -> Command[Ended]:
    """End all of a user's sessions but ``sid``."""
    return _on_user("end_other_sessions", user, (reason, sid), _ended)


def end_all_sessions(user: str, *, reason: str) -> Command[Ended]:
    """End all of a user's sessions; the user's older tokens without a session are refused too."""
    return _on_user("end_all_sessions", user, (reason,), _ended)


def blacklist_token(user: str, jti: str, exp: int, *, reason: str) -> Command[bool]:
    """Refuse one token until ``exp``. True when it was not listed before."""
    return _on_user("blacklist_token", user, (jti, exp, reason), lambda reply: bool(reply[0]))


def rebind_sessions(user: str, prints: Sequence[tuple[str, str, str]]) -> Command[int]:
    """Accept a second fingerprint. ``prints``: sid, old fingerprint, new one."""
    return _on_user("rebind_sessions", user, [part for triple in prints for part in triple], lambda r: int(r[0]))


def prune(user_key: str, *, dry_run: bool) -> Command[tuple[int, int]]:
    """Drop what has run out under one user's key: how many fields, and how many device fields without a session."""
    return Command(
        keys=(user_key, f"{user_key}:devices"),
        args=(*_policy(), int(dry_run)),
        parse=lambda reply: (int(reply[1]), int(reply[2])),
        script=_script("prune", True),
    )


def revoke_everything(before_ms: int | None, *, reason: str) -> Command[int]:
    """Trust nobody from before a moment, now if None. The moment in force afterwards, in milliseconds."""
    args = (_new_id(), _policy()[1], "" if before_ms is None else before_ms, reason)
    return Command((keys.log_key(), keys.marker_key()), args, int, _script("revoke_everything", False))


def append_log(user: str, revocations: Sequence[Sequence[str]]) -> Command[int]:
    """In Cluster, where the log is in another slot: write a script's revocations to it."""
    flat = [part for revocation in revocations for part in revocation]
    tag = keys.user_key(user)[len(config().key_prefix) + 1 : -1]
    args = (_new_id(), _policy()[1], tag, *flat)
    return Command((keys.log_key(), keys.marker_key()), args, int, _script("append_log", False))
