"""A process that opens sessions and ends them, as it is told on its standard input: a line of JSON each, both ways."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import redis

# Seconds in which a revocation has to succeed, however often it is tried.
PATIENCE = 30.0


class Revoker:
    """Remembers the refresh tokens of the sessions that it has opened."""

    def __init__(self) -> None:
        from jwt_redis import signals

        self._refresh: dict[str, str] = {}
        self._pushed_out: list[str] = []
        self._is_void = False
        signals.session_ended.connect(self._note, weak=False)

    def _note(self, sid: str, reason: str, **kwargs: Any) -> None:
        if reason == "max_sessions":
            self._pushed_out.append(sid)

    @staticmethod
    def user(number: int) -> Any:
        """Nobody whom the database knows."""
        from django.contrib.auth import get_user_model

        return get_user_model()(pk=number, username=f"user{number}", password="!")

    def open(self, user: int, count: int) -> list[dict[str, str]]:
        """So many sessions of a user."""
        from jwt_redis import sessions

        opened = []
        for _ in range(count):
            refresh: Any = _again(lambda: sessions.open_session(self.user(user)))
            access = refresh.access_token
            self._refresh[refresh["sid"]] = str(refresh)
            opened.append({"sid": refresh["sid"], "jti": access["jti"], "access": str(access)})
        return opened

    def stumble(self, error: str) -> None:
        """In Cluster: the next time that a script has run here, its entries do not reach the log."""
        from jwt_redis.store import conversation

        append_log = conversation.append_log
        here = threading.get_ident()

        def failing(*args: Any) -> Any:
            if threading.get_ident() != here:
                # The thread that applies what the attempt before left pending.
                return append_log(*args)
            conversation.append_log = append_log
            raise getattr(redis, error)("it does not answer")

        conversation.append_log = failing

    def revoke(self, kind: str, user: int, sid: str, access: str) -> dict[str, Any]:
        """Until it is acknowledged: the moment of that, who was pushed out, and whether nothing came of it."""
        tries = 0
        self._pushed_out.clear()
        self._is_void = False

        def once() -> None:
            nonlocal tries
            tries += 1
            self._revoke(kind, user, sid, access)

        _again(once)
        # Nothing between the acknowledgement and the clock.
        at = time.monotonic()
        return {"at": at, "sids": list(self._pushed_out), "tries": tries, "void": self._is_void}

    def _revoke(self, kind: str, user: int, sid: str, access: str) -> None:
        from jwt_redis import sessions
        from jwt_redis.exceptions import RevokedToken
        from jwt_redis.tokens import RefreshToken

        row = self.user(user)
        if kind == "session":
            sessions.end_session(row, sid)
        elif kind == "all":
            sessions.end_all_sessions(row)
        elif kind == "others":
            sessions.end_other_sessions(row, sid)
        elif kind == "token":
            sessions.revoke_token(access)
        elif kind == "everything":
            sessions.revoke_everything()
        elif kind == "push-out":
            # As often as it takes: the oldest go first. Who was pushed out by an attempt that failed is not told.
            for _ in range(8):
                sessions.open_session(row)
                if sid in self._pushed_out:
                    break
        elif kind == "reuse":
            token = RefreshToken(self._refresh[sid])
            try:
                for _ in range(2):
                    sessions.rotate(token, row)
            except RevokedToken as error:
                # Of a session that the store has lost there was nothing to end.
                self._is_void = error.reason not in ("session_ended", "token_blacklisted")
                return
            raise AssertionError("a refresh token was used twice")
        else:
            raise ValueError(kind)


def _again(work: Any) -> Any:
    from jwt_redis.exceptions import RevocationUnavailable

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except RevocationUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def main() -> None:
    """Until the input ends."""
    import django

    django.setup()
    revoker = Revoker()
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(revoker, order.pop("do"))(**order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
