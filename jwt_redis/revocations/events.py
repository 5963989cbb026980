"""What is heard of the revocation log: revocations, and how far the log is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from jwt_redis.keys import UserTag, claim_of, user_tag
from jwt_redis.log_reading import Position
from jwt_redis.store.commands import LogEntry
from jwt_redis.verdicts import Claims

__all__ = ["ALL", "GAP", "HEARD", "KEY", "OTHERS", "SESSION", "TOKEN", "UNAVAILABLE", "USER", "Event", "revocation"]

#: One session has ended.
SESSION: Final = "session"
#: One token is refused.
TOKEN: Final = "token"  # noqa: S105
#: All sessions of a user but one, up to a moment.
OTHERS: Final = "others"
#: All sessions of a user, up to a moment.
USER: Final = "user"
#: All there are, up to a moment.
ALL: Final = "all"
#: All that a signing key signed, and will sign.
KEY: Final = "key"

#: No revocation: whatever was acknowledged up to ``at`` has been told.
HEARD: Final = "heard"
#: No revocation: some may be missing. What was revoked from this position on follows; the rest is to be asked for.
GAP: Final = "gap"
#: No revocation: Redis cannot be asked. Nothing is lost by that: what is revoked meanwhile follows.
UNAVAILABLE: Final = "unavailable"

_NO_REVOCATIONS: Final = frozenset({HEARD, GAP, UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was heard.

    ``kind``: one of this module's constants; another is a revocation that only a newer version knows by name.
    ``position``: where to go on after it, for ``follow(since=...)``; up to 150 of ``A-Z a-z 0-9 . _ -``, so that it
    can be an SSE ``Last-Event-ID``. "" while there is none.
    ``at``: when, by Redis' clock. For ``unavailable`` the moment up to which all is known, None if there is none.
    ``number``: of the revocation; the log has them without gaps. 0 for what is none.
    ``user``: the user-id claim's value, "" for none. Of one longer than 96 characters only a digest is known, which the
    functions of :mod:`jwt_redis.sessions` take as well.
    ``sid``, ``jti``: of what was revoked. ``kept_sid``: the one session that ``others`` has spared.
    ``kid``: of the key that ``key`` is about; "no-kid" for the tokens without one.
    ``reason``: why it was revoked, as the function that did so was told; for ``gap``, what is wrong.
    """

    kind: str
    position: str
    at: datetime | None
    number: int = 0
    user: str = ""
    sid: str = ""
    jti: str = ""
    kept_sid: str = ""
    reason: str = ""
    kid: str = ""

    @property
    def is_revocation(self) -> bool:
        """Was something revoked? Or is this about the log?"""
        return self.kind not in _NO_REVOCATIONS

    def concerns(self, claims: Claims) -> bool:
        """Could the token be refused from now on? Of a ``session`` or a ``token`` it is; of the rest ask
        :func:`jwt_redis.sessions.check`, as younger sessions are good."""
        if self.kind == SESSION:
            # Told of a name that somebody else's session has, it is nothing of that one.
            return claims.sid == self.sid and user_tag(claims.user) == user_tag(self.user)
        if self.kind == TOKEN:
            return claims.jti == self.jti
        if self.kind == KEY:
            return claims.key == self.kid
        if self.kind in (HEARD, UNAVAILABLE) or (self.kind == OTHERS and claims.sid == self.kept_sid):
            return False
        return not self.user or user_tag(claims.user) == user_tag(self.user)


def revocation(entry: LogEntry, store_id: str) -> Event:
    """An entry of the log."""
    kind, target = entry.kind, entry.target
    return Event(
        kind=kind,
        position=str(Position(entry.id, entry.number, store_id)),
        at=datetime.fromtimestamp(entry.moment, tz=UTC),
        number=entry.number,
        user=claim_of(UserTag(entry.user)),
        sid=target if kind == SESSION else "",
        jti=target if kind == TOKEN else "",
        kept_sid=target if kind == OTHERS else "",
        reason=entry.reason,
        kid=target if kind == KEY else "",
    )
