"""A store with many sessions in it, and what the ``scale`` suite does to it."""

from __future__ import annotations

import random
from typing import Final

from django_redis.cache import RedisCache
from rest_framework_simplejwt.tokens import Token

from benchmarks.samples import Commands, SessionMaker, sids_of, sign_in, verify
from benchmarks.stores import connect, send, use
from jwt_redis import keys, sessions
from jwt_redis.decoding import claims_of
from jwt_redis.store import commands
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken

__all__ = ["FilledStore"]

_SESSIONS_A_USER = 2
# What the SCAN looks through is apart: it sees one database only.
_SCAN_DB = 1
_ENDING_USERS = 20


class FilledStore:
    """``size`` sessions, two a user, as this package keeps them; and beside them as many keys, one a session."""

    live: Final = 5
    checks: Final = 200
    pipelined: Final = 1_000

    def __init__(self, server: RedisServer, size: int) -> None:
        self.server = server
        self.size = size
        users = size // _SESSIONS_A_USER
        self._maker = SessionMaker(server)
        self._cache = RedisCache(server.url.replace("/0", f"/{_SCAN_DB}"), {})
        self._stranger = users + 1
        send(server, self._maker.opened(users, _SESSIONS_A_USER))
        send(server, self._session_keys(users), db=_SCAN_DB)
        verify(server, users, _SESSIONS_A_USER)

        chosen = random.Random(size)
        self.ending = chosen.sample(range(1, users + 1), _ENDING_USERS)
        others = [user for user in chosen.choices(range(1, users + 1), k=2 * self.pipelined) if user not in self.ending]
        self._tokens = self._tokens_of(others[: self.pipelined])
        self._commands = [commands.read_state(claims_of(token)).args for token in self._tokens]

    def open_sessions(self) -> None:
        """The users whose sessions will be ended get new ones, and nothing is left of the old."""
        use(self.server)
        with connect(self.server) as store:
            for user in self.ending:
                store.delete(keys.user_key(str(user)), keys.devices_key(str(user)))
        for user in self.ending:
            for _ in range(self.live):
                sign_in(user)

    def end_sessions(self) -> None:
        """One call for each of those users."""
        for user in self.ending:
            assert sessions.end_all_sessions(user) == self.live

    def prepare_check(self) -> None:
        """The connection, and proof that the tokens are good."""
        use(self.server)
        assert sessions.check(self._tokens[0]).allowed

    def check(self) -> None:
        """Users from all over the store, one round trip each."""
        for token in self._tokens[: self.checks]:
            sessions.check(token)

    def check_in_pipeline(self) -> None:
        """The same command without the round trip, which hides what the server does."""
        with connect(self.server) as store:
            pipeline = store.pipeline(transaction=False)
            for args in self._commands:
                pipeline.execute_command(*args)
            replies = pipeline.execute()
        assert all(session for session, _, _ in replies)

    def open_as_keys(self) -> None:
        """Sessions of one more user, as keys of their own."""
        for _ in range(self.live):
            self._cache.set(f"session:{self._stranger}:{self._maker.sid()}", 1)

    def end_by_scan(self, count: int) -> None:
        """How a project without an index ends them."""
        assert self._cache.delete_pattern(f"session:{self._stranger}:*", itersize=count) == self.live

    def _session_keys(self, users: int) -> Commands:
        prefix, timeout = self._cache.make_key("session:"), 86_400
        for user in range(1, users + 1):
            for _ in range(_SESSIONS_A_USER):
                yield ("SET", f"{prefix}{user}:{self._maker.sid()}", 1, "EX", timeout)

    def _tokens_of(self, users: list[int]) -> list[Token]:
        tokens: list[Token] = []
        for user, sids in sids_of(self.server, users):
            token = AccessToken()
            token["user_id"], token["sid"] = str(user), sids[0]
            tokens.append(token)
        return tokens
