"""What is read out of Redis, as plain values. The scripts in store/lua write the same texts."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["EndedSession", "Marker", "SessionRecord", "UserState", "parse_session", "parse_user_state"]

logger = logging.getLogger(__name__)

# rotation . opened at (ms) . last used (ms after opening) . refresh token ends . session ends (s after opening)
# . nonce . fingerprint. Differences, because a value over 64 bytes would leave Redis' compact encoding.
_LIVE = re.compile(
    r"(?P<rotation>\d{1,9})\.(?P<opened>\d{1,15})\.(?P<used>\d{1,15})\.(?P<expires>\d{1,11})\.(?P<ends>\d{1,11})"
    r"\.(?P<nonce>[\w-]{1,32})\.(?P<fingerprint>[\w-]{0,32})",
    re.ASCII,
)
_ENDED = re.compile(r"ended\.(?P<until>\d{1,12})\.(?P<why>\w{1,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as Redis holds it. Times are Redis' own: ``_ms`` in milliseconds, ``_at`` in seconds of the epoch."""

    rotation: int
    opened_ms: int
    used_ms: int
    expires_at: int
    ends_at: int
    nonce: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class EndedSession:
    """What is left of a session that was ended, until its last access token has expired."""

    until: int
    why: str


@dataclass(frozen=True, slots=True)
class UserState:
    """What Redis knows of one token: its session, its own listing, its user's not-before."""

    session: SessionRecord | EndedSession | None = None
    blacklisted: bool = False
    not_before_ms: int = 0
    # Something is there that cannot be read: never taken for "not revoked".
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """The global record: which store this is, when it was born, before which moment nobody is trusted."""

    store_id: str
    born_ms: int
    not_before_ms: int = 0
    # How many revocations this store has seen: it only grows, unless the store was rolled back.
    revocations: int = 0
    # What it may have lost is being applied: nobody is answered meanwhile.
    is_mending: bool = False
    # The names of the keys whose tokens are refused, all of them.
    refused_keys: frozenset[str] = frozenset()


def parse_session(text: str) -> SessionRecord | EndedSession | None:
    """A session field's value; None when it is damaged."""
    if found := _LIVE.fullmatch(text):
        rotation, opened_ms, used, expires, ends, nonce, fingerprint = found.groups()
        opened = int(opened_ms)
        return SessionRecord(
            int(rotation),
            opened,
            opened + int(used),
            opened // 1000 + int(expires),
            opened // 1000 + int(ends),
            nonce,
            fingerprint,
        )
    if found := _ENDED.fullmatch(text):
        return EndedSession(until=int(found["until"]), why=found["why"])
    return None


def parse_user_state(values: Sequence[str | None]) -> UserState:
    """The reply to HMGET of a session, a blacklist entry and the user's not-before."""
    session_text, blacklist_text, not_before_text = values
    session = None
    damaged = False
    if session_text is not None:
        session = parse_session(session_text)
        damaged = session is None
    not_before = 0
    if not_before_text is not None:
        if not_before_text.isascii() and not_before_text.isdigit():
            not_before = int(not_before_text)
        else:
            damaged = True
    if damaged:
        logger.error("A value in Redis is damaged; its session is refused.", extra={"event": "damaged_value"})
    return UserState(session, blacklist_text is not None, not_before, damaged)
