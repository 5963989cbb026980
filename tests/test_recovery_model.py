"""Random histories in which Redis loses what it was told: whatever was acknowledged as revoked stays refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.test import override_settings
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jwt_redis import journal, recovery, sessions
from jwt_redis.exceptions import RevokedToken
from jwt_redis.models import Revocation
from jwt_redis.store import client, gate, markers
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import RefreshToken

pytestmark = [pytest.mark.django_db(transaction=True)]

USERS = ("ann", "ben")
who = st.sampled_from(USERS)
number = st.integers(0, 5)


@dataclass
class Session:
    refresh: RefreshToken
    access: Any
    is_revoked: bool = False
    dead: list[Any] = field(default_factory=list)


class History(RuleBasedStateMachine):
    """The model is one line: what was revoked stays revoked. As long as nothing was lost, the rest stays alive."""

    port: int

    def __init__(self) -> None:
        super().__init__()
        Revocation.objects.all().delete()
        self.users = {name: get_user_model().objects.get_or_create(username=name)[0] for name in USERS}
        self.outside = redis.Redis(port=self.port)
        self.outside.flushall()
        self.forget()
        self.sessions: dict[str, list[Session]] = {name: [] for name in USERS}
        self.copy: dict[bytes, bytes] | None = None
        self.is_complete = True

    def teardown(self) -> None:
        self.outside.close()

    def forget(self) -> None:
        """As a process that has just started, and has seen nothing yet."""
        client.reset()
        gate.reset()
        markers.reset(setting="CACHES")

    @initialize()
    def begin(self) -> None:
        recovery.establish()

    def pick(self, user: str, index: int) -> Session | None:
        found = self.sessions[user]
        return found[index % len(found)] if found else None

    # What users do ---------------------------------------------------------------------------------------------------

    @rule(user=who)
    def sign_in(self, user: str) -> None:
        refresh = sessions.open_session(self.users[user])
        self.sessions[user].append(Session(refresh, refresh.access_token))

    @rule(user=who, index=number)
    def refresh(self, user: str, index: int) -> None:
        if (session := self.pick(user, index)) is None:
            return
        try:
            record = sessions.rotate(session.refresh, self.users[user])
        except RevokedToken:
            # It is over, or the store was set back behind its last rotation and it is now.
            assert session.is_revoked or not self.is_complete
            session.is_revoked = True
            return
        assert not session.is_revoked
        session.refresh = session.refresh.successor(record)
        session.access = session.refresh.access_token

    @rule(user=who, index=number)
    def sign_out(self, user: str, index: int) -> None:
        if session := self.pick(user, index):
            sessions.revoke_token(session.refresh)
            session.is_revoked = True

    @rule(user=who, index=number)
    def sign_out_others(self, user: str, index: int) -> None:
        if kept := self.pick(user, index):
            sessions.end_other_sessions(self.users[user], str(kept.refresh["sid"]))
            for session in self.sessions[user]:
                session.is_revoked |= session is not kept

    @rule(user=who)
    def sign_out_everywhere(self, user: str) -> None:
        sessions.end_all_sessions(self.users[user])
        for session in self.sessions[user]:
            session.is_revoked = True

    @rule(user=who, index=number)
    def blacklist(self, user: str, index: int) -> None:
        if session := self.pick(user, index):
            sessions.revoke_token(session.access)
            session.dead.append(session.access)
            session.access = session.refresh.access_token

    @rule(user=who, index=number)
    def leave_pending(self, user: str, index: int) -> None:
        """Not acknowledged: it may take effect at any time from here on."""
        if session := self.pick(user, index):
            journal.begin([journal.Entry.of_session(str(self.users[user].pk), str(session.refresh["sid"]), "test")])
            recovery.trusted(recovery.sweep)
            session.is_revoked = True

    # What happens to Redis -------------------------------------------------------------------------------------------

    @rule()
    def save(self) -> None:
        self.copy = {key: self.outside.dump(key) for key in self.outside.scan_iter()}

    @precondition(lambda self: self.copy is not None)
    @rule()
    def set_back(self) -> None:
        """Behind open connections: only the number tells."""
        assert self.copy is not None
        self.outside.flushall()
        for key, value in self.copy.items():
            self.outside.restore(key, 0, value)
        markers.reset()
        self.is_complete = False

    @precondition(lambda self: self.copy is not None)
    @rule()
    def crash(self) -> None:
        """A restart from the copy: connections break, and the server is a new one, which is to be marked again."""
        self.set_back()
        with self.outside.pipeline() as pipeline:
            for name in self.outside.hkeys("jwt:{log}:marker"):
                if b":" in name:
                    pipeline.hdel("jwt:{log}:marker", name)
            pipeline.execute()
        self.forget()

    @rule(often=st.integers(0, 3))
    def flush(self, often: int) -> None:
        # After it nothing is left that could go wrong, so it comes rarely.
        if often:
            return
        self.outside.flushall()
        markers.reset()
        self.is_complete = False

    @rule()
    def another_process(self) -> None:
        self.forget()

    # ------------------------------------------------------------------------------------------------------------------

    @invariant()
    def what_is_revoked_is_refused(self) -> None:
        for found in self.sessions.values():
            for session in found:
                for token in (session.access, session.refresh) if session.is_revoked else ():
                    assert not sessions.explain(token).allowed
                for token in session.dead:
                    assert not sessions.explain(token).allowed
                if self.is_complete and not session.is_revoked:
                    assert sessions.explain(session.access).allowed
                    assert sessions.explain(session.refresh).allowed


def explore(server: RedisServer, strategy: str, examples: int) -> None:
    machine: Any = type("History", (History,), {"port": server.port})
    limits = hypothesis_settings(max_examples=examples, stateful_step_count=30, deadline=None, derandomize=True)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "STRATEGY": strategy}):
        run_state_machine_as_test(machine, settings=limits)


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_what_was_revoked_stays_revoked_whatever_redis_loses(redis_server: RedisServer, strategy: str) -> None:
    explore(redis_server, strategy, examples=40)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_the_same_for_long(redis_server: RedisServer, strategy: str) -> None:
    explore(redis_server, strategy, examples=300)
