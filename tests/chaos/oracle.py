"""Who knows what was acknowledged, and therefore which answer is wrong.

All times are ``time.monotonic()`` of the process that makes the load: an answer is judged by when its request was
sent, and a revocation counts from when its acknowledgement had arrived.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

# No request was answered: a worker died, or hangs.
NO_ANSWER = 0
# Seconds, from docs/explanation/promises.md: a change of the user that was committed while Redis could not be told is
# known to who does not look at the user row so long after it can be.
PENDING_BOUND = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's: ``status`` 0 if there was none. ``worker``: the process that answered."""

    status: int
    body: dict[str, str]
    sent_at: float
    came_at: float
    worker: str = ""
    path: str = ""
    # A revocation was acknowledged that Redis had not heard of yet.
    is_pending: bool = False

    @property
    def is_ok(self) -> bool:
        """2xx?"""
        return 200 <= self.status < 300


@dataclass(eq=False)
class User:
    """Somebody who signs in. ``passwords``: those that may be the right one, where a change was not answered."""

    name: str
    passwords: list[str]
    is_active: bool = True
    sessions: list[Session] = field(default_factory=list)
    # Revocations of all sessions: under way, and when the last one began.
    revoking: int = 0
    revoked_at: float = 0.0


@dataclass(eq=False)
class Session:
    """One sign-in, with all the access tokens that it ever had."""

    user: User
    sid: str
    access: str
    refresh: str
    former: list[str] = field(default_factory=list)
    # Somebody has tried to end it: from then on a refusal is no loss.
    is_targeted: bool = False
    # The end was acknowledged, and every request from then on must be refused.
    revoked_at: float | None = None
    how: str = ""
    # Acknowledged while Redis could not be told: bounded for whoever does not look at the user row.
    is_pending: bool = False
    is_lost: bool = False
    busy: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_live(self) -> bool:
        """As far as anybody knows."""
        return not self.is_targeted and not self.is_lost


@dataclass(frozen=True, slots=True)
class RevokedToken:
    """An access token that was revoked alone."""

    access: str
    revoked_at: float


@dataclass(frozen=True, slots=True)
class Wrong:
    """A token that was accepted after its revocation had been acknowledged."""

    how: str
    what: str
    seconds_after: float
    at: float
    worker: str


def sid_of(token: str) -> str:
    """The session of a token, which is not verified."""
    payload = token.split(".")[1]
    claims: dict[str, str] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims["sid"]


class Oracle:
    """Thread-safe."""

    def __init__(self, users: list[User]) -> None:
        self._lock = threading.Lock()
        self.users = users
        self.live: list[Session] = []
        self.revoked: list[Session] = []
        self.tokens: list[RevokedToken] = []
        self.wrong: list[Wrong] = []
        self.lost: list[Session] = []
        self.statuses: Counter[int] = Counter()
        self.unexpected: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        # When Redis could be reached again from everywhere, and who was let in within the bound that is stated for it.
        self.whole_at: float | None = None
        self.bounded: list[Wrong] = []
        self.opened = 0
        self.checks: dict[str, Counter[str]] = defaultdict(Counter)

    # What happened ------------------------------------------------------------------------------------------------

    def answered(self, request: str, answer: Answer) -> None:
        """Any request at all."""
        with self._lock:
            self.statuses[answer.status] += 1
            if not answer.is_ok and answer.status not in (401, 503, NO_ANSWER):
                self.unexpected[f"{answer.status} {request}"] += 1

    def signed_in(self, user: User, answer: Answer) -> Session:
        """A new session."""
        access = answer.body["access"]
        session = Session(user, sid_of(access), access, answer.body["refresh"])
        with self._lock:
            # Who signs in while all of the user's sessions end may be caught, or not.
            session.is_targeted = user.revoking > 0 or user.revoked_at >= answer.sent_at
            user.sessions.append(session)
            if not session.is_targeted:
                self.live.append(session)
            self.opened += 1
        return session

    def refreshed(self, session: Session, answer: Answer) -> None:
        """A refresh token was used."""
        with self._lock:
            if answer.is_ok:
                session.former.append(session.access)
                session.access = answer.body["access"]
                session.refresh = answer.body["refresh"]
        self._judge(session, "refresh", answer)

    def checked(self, session: Session, answer: Answer) -> None:
        """An access token of a session was used."""
        self._judge(session, "access", answer)

    def checked_token(self, token: RevokedToken, answer: Answer) -> None:
        """One that was revoked alone."""
        if answer.is_ok and answer.sent_at > token.revoked_at:
            self._note_wrong("token", "access", answer, token.revoked_at)

    def _judge(self, session: Session, what: str, answer: Answer) -> None:
        if answer.is_ok and session.revoked_at is not None and answer.sent_at > session.revoked_at:
            is_bounded = session.is_pending and answer.path == "stateless/" and self._is_soon_after(answer)
            self._note_wrong(session.how, what, answer, session.revoked_at, is_bounded=is_bounded)
        if answer.status == 401 and session.is_live:
            with self._lock:
                # Looked at again under the lock: somebody may have begun to end it.
                if session.is_live:
                    session.is_lost = True
                    self.lost.append(session)
                    self._drop_live(session)

    def _is_soon_after(self, answer: Answer) -> bool:
        return self.whole_at is None or answer.sent_at <= self.whole_at + PENDING_BOUND

    def _note_wrong(self, how: str, what: str, answer: Answer, revoked_at: float, *, is_bounded: bool = False) -> None:
        with self._lock:
            found = self.bounded if is_bounded else self.wrong
            found.append(Wrong(how, what, answer.sent_at - revoked_at, answer.sent_at, answer.worker))

    def _drop_live(self, session: Session) -> None:
        if session in self.live:
            self.live.remove(session)

    # Revocations --------------------------------------------------------------------------------------------------

    def begin(self, sessions: list[Session], user: User | None = None) -> list[Session]:
        """These are about to be ended; with a ``user`` as all that the user has, so that new ones may be caught."""
        with self._lock:
            for session in sessions:
                session.is_targeted = True
                self._drop_live(session)
            if user is not None:
                user.revoking += 1
                user.revoked_at = time.monotonic()
        return sessions

    def end(
        self, how: str, sessions: list[Session], answer: Answer, user: User | None = None, within: float = 0
    ) -> None:
        """The answer has come. ``within``: seconds after it in which the revocation may still spread."""
        with self._lock:
            if user is not None:
                user.revoking -= 1
                user.revoked_at = time.monotonic()
            if not answer.is_ok:
                self.unanswered[how] += 1
                return
            self.acknowledged[how] += 1
            for session in sessions:
                if session.revoked_at is None:
                    session.revoked_at, session.how = answer.came_at + within, how
                    session.is_pending = answer.is_pending
                    self.revoked.append(session)

    def end_token(self, access: str, answer: Answer) -> None:
        """One access token was revoked alone."""
        with self._lock:
            if answer.is_ok:
                self.acknowledged["token"] += 1
                self.tokens.append(RevokedToken(access, answer.came_at))
            else:
                self.unanswered["token"] += 1

    # Whom to ask --------------------------------------------------------------------------------------------------

    def some_live(self, rng: random.Random) -> Session | None:
        """One that should work."""
        with self._lock:
            return rng.choice(self.live) if self.live else None

    def some_revoked(self, rng: random.Random) -> Session | RevokedToken | None:
        """One that should not: as often as not one of the latest."""
        with self._lock:
            found = self.tokens if self.tokens and rng.random() < 0.2 else self.revoked
            if not found:
                return None
            recent = found[-40:] if rng.random() < 0.6 else found
            return rng.choice(recent)

    def sessions_of(self, user: User, but: Session | None = None) -> list[Session]:
        """All of a user's that were not ended yet."""
        with self._lock:
            return [s for s in user.sessions if s is not but and s.revoked_at is None]
