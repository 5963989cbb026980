"""What a process remembers of the revocation log. Pure: no I/O, no thread, no clock of its own.

It answers one question: was *nothing* revoked that could concern this token? Whatever it has heard of, and whatever it
cannot have heard of, is for Redis to judge. So one entry too many costs a round trip, and never a wrong verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from jwt_redis.keys import user_tag
from jwt_redis.store.commands import LogEntry
from jwt_redis.verdicts import Claims

__all__ = ["CLOCK_DIFFERENCE", "Memory"]

# Seconds by which the clock that a token was issued by may be ahead of Redis'.
CLOCK_DIFFERENCE: Final = 60.0
# In how many parts the horizon is forgotten.
_PARTS: Final = 3
# Half the memory of a 64-bit integer. Two ids that fold into one are told apart by Redis.
_FOLD: Final = 2**60 - 1


@dataclass(slots=True)
class _Part:
    """What was heard within a third of the horizon. ``since``: seconds of whatever clock the caller has."""

    since: float
    ids: set[int] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    everything: bool = False

    def add(self, kind: str, user: str, target: str) -> None:
        if kind == "adopted":
            return  # a token got a session: nothing that was good is refused for it
        if kind in ("session", "token"):
            self.ids.add(hash(target) & _FOLD)
        elif user:
            # All or the other sessions of a user; or a kind that only a newer version knows.
            self.users.add(user)
        else:
            self.everything = True


class Memory:
    """Revocations of the last ``horizon`` seconds.

    ``access_lifetime``: of the longest-lived token that it speaks for, in seconds; ``horizon`` is longer by what
    clocks may differ. ``needs_session``: the whitelist, where a token without a session is refused by itself.

    One thread writes what it reads in the log, any other may add what it revokes itself, all may ask.
    """

    def __init__(self, horizon: float, access_lifetime: float, *, needs_session: bool, now: float) -> None:
        self._horizon = horizon
        self._access_lifetime = access_lifetime
        self._needs_session = needs_session
        # Replaced as a whole, so that who asks meanwhile sees one or the other. The newest comes first.
        self._parts: tuple[_Part, ...] = (_Part(now),)
        self._complete_from = float("inf")
        # Never forgotten: what a stolen key signs has whatever times the thief likes.
        self._refused_keys: frozenset[str] = frozenset()

    @property
    def complete_from(self) -> float:
        """Seconds of the epoch by Redis' clock: nothing that was revoked since is missing. Infinite for "never"."""
        return self._complete_from

    def is_complete_from(self, moment: float) -> None:
        """What was revoked before that moment may be missing, what was revoked since is not."""
        self._complete_from = moment

    def add(self, kind: str, user: str, target: str) -> None:
        """One revocation. ``user`` as from :func:`jwt_redis.keys.user_tag`."""
        if kind == "key":
            self.refuse_keys(frozenset({target}))
        else:
            self._parts[0].add(kind, user, target)

    def refuse_keys(self, kids: frozenset[str]) -> None:
        """What these keys have signed is refused."""
        if not kids <= self._refused_keys:
            self._refused_keys |= kids

    def hear(self, entries: Iterable[LogEntry]) -> None:
        """Entries of the log."""
        for entry in entries:
            self.add(entry.kind, entry.user, entry.target)

    def forget(self, now: float) -> None:
        """Drop what is older than the horizon: to be called now and then, by one thread."""
        parts = self._parts
        if now - parts[0].since >= self._horizon / _PARTS:
            # Its age counts from when the next one began: until then it was added to, however long that was.
            ended = (now, *(part.since for part in parts))
            kept = (part for part, end in zip(parts, ended, strict=False) if now - end < self._horizon)
            self._parts = (_Part(now), *kept)

    def is_silent_on(self, claims: Claims) -> bool:
        """Is nothing known that could concern this token, and would it be known?"""
        sid = claims.sid
        if claims.owns_session or claims.is_unasked:
            return False
        if self._refused_keys and claims.key in self._refused_keys:
            return False
        # Longer-lived than what is remembered; a second for what was rounded.
        if claims.exp - claims.iat > self._access_lifetime + 1:
            return False
        if claims.iat <= self._complete_from + CLOCK_DIFFERENCE:
            return False
        if sid is None and self._needs_session:
            return False
        jti = hash(claims.jti) & _FOLD
        session = jti if sid is None else hash(sid) & _FOLD
        for part in self._parts:
            if part.everything or session in part.ids or jti in part.ids:
                return False
            if part.users and user_tag(claims.user) in part.users:
                return False
        return True

    def __len__(self) -> int:
        """How many ids and users are remembered."""
        return sum(len(part.ids) + len(part.users) for part in self._parts)
