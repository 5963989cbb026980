"""Random interleavings of all operations on the store, against a model in plain Python."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from django.test import override_settings
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from jwt_redis import recovery
from jwt_redis.records import Marker
from jwt_redis.store import client, commands, gate
from jwt_redis.testing.servers import RedisServer
from jwt_redis.verdicts import Claims, decide

pytestmark = [pytest.mark.django_db]


def execute(command: Any) -> Any:
    return recovery.trusted(lambda: client.execute(command))


USERS = st.sampled_from(["1", "2"])
SIDS = st.sampled_from([letter * 22 for letter in "abc"])
JTIS = st.sampled_from(["j1", "j2"])
# Long before any session: it refuses nobody.
MARKER = Marker("id", 1, 0)
FAR = 2**40


@dataclass
class ModelSession:
    rotation: int = 0
    nonce: str = ""
    ended: bool = False


class Store(RuleBasedStateMachine):
    """The default grace of ten seconds never ends within a run, so the immediate predecessor is always in grace."""

    port: int
    strategy: str

    def __init__(self) -> None:
        super().__init__()
        self.outside = redis.Redis(port=self.port, decode_responses=True)
        self.outside.flushall()
        gate.reset()
        recovery.establish()
        self.sessions: dict[tuple[str, str], ModelSession] = {}
        self.listed: set[tuple[str, str]] = set()
        self.count = 0

    def teardown(self) -> None:
        self.outside.close()

    @initialize()
    def start(self) -> None:
        self.count = 0

    def nonce(self) -> str:
        self.count += 1
        return f"n{self.count}"

    @rule(user=USERS, sid=SIDS)
    def open(self, user: str, sid: str) -> None:
        if (user, sid) in self.sessions:
            return  # session ids are random; one never comes twice
        execute(commands.open_session(user, sid, lifetime=1000, nonce=self.nonce(), fingerprint="f", device=""))
        self.sessions[user, sid] = ModelSession()

    @rule(user=USERS, sid=SIDS, behind=st.integers(-1, 3), resend=st.booleans())
    def use_a_refresh_token(self, user: str, sid: str, behind: int, resend: bool) -> None:
        model = self.sessions.get((user, sid))
        presented = max((model.rotation if model else 0) - behind, 0)
        nonce = model.nonce if model and resend and model.nonce else self.nonce()
        claims = Claims(user, f"{sid}.{presented}", sid, FAR, 0, 0, presented)
        found = execute(
            commands.rotate(
                claims, lifetime=1000, nonce=nonce, fingerprints=["f"], device="", marker=MARKER, rotating=True
            )
        )
        if model is None or model.ended:
            assert found.outcome == "gone"
        elif presented == model.rotation:
            assert found.outcome == "rotated"
            model.rotation, model.nonce = model.rotation + 1, nonce
        elif presented == model.rotation - 1:
            assert found.outcome == "grace"
        else:
            assert found.outcome == ("ahead" if presented > model.rotation else "reuse")
            model.ended = True

    @rule(user=USERS, sid=SIDS)
    def end(self, user: str, sid: str) -> None:
        unknown_too = self.strategy == "blacklist"
        found = execute(commands.end_sessions(user, [sid], reason="test", unknown_too=unknown_too))
        model = self.sessions.get((user, sid))
        assert bool(found.sids) == ((model is not None and not model.ended) or (model is None and unknown_too))
        if model is not None or unknown_too:
            self.sessions[user, sid] = ModelSession(ended=True)

    @rule(user=USERS, sid=SIDS)
    def end_others(self, user: str, sid: str) -> None:
        found = execute(commands.end_other_sessions(user, sid, reason="test"))
        expected = {s for (u, s), m in self.sessions.items() if u == user and s != sid and not m.ended}
        assert set(found.sids) == expected
        for other in expected:
            self.sessions[user, other].ended = True

    @rule(user=USERS)
    def end_all(self, user: str) -> None:
        found = execute(commands.end_all_sessions(user, reason="test"))
        expected = {s for (u, s), m in self.sessions.items() if u == user and not m.ended}
        assert set(found.sids) == expected
        for sid in expected:
            self.sessions[user, sid].ended = True

    @rule(user=USERS, jti=JTIS)
    def list_a_token(self, user: str, jti: str) -> None:
        added = execute(commands.blacklist_token(user, jti, int(time.time()) + 1000, reason="test")).added
        assert added == ((user, jti) not in self.listed)
        self.listed.add((user, jti))

    @rule(user=USERS)
    def prune(self, user: str) -> None:
        key = f"jwt:{{{user}}}"
        assert execute(commands.prune(key, dry_run=False))[:2] == (0, 0)

    @rule(user=USERS, sid=SIDS, jti=JTIS)
    def check(self, user: str, sid: str, jti: str) -> None:
        claims = Claims(user, jti, sid, FAR, FAR, FAR, None)
        verdict = decide(claims, execute(commands.read_state(claims)), MARKER, self.strategy, time.time())  # type: ignore[arg-type]
        model = self.sessions.get((user, sid))
        if (user, jti) in self.listed:
            expected = "token_blacklisted"
        elif model is not None:
            expected = "session_ended" if model.ended else None  # type: ignore[assignment]
        else:
            expected = "no_session" if self.strategy == "whitelist" else None  # type: ignore[assignment]
        assert verdict.reason == expected

    @invariant()
    def the_log_has_no_gap(self) -> None:
        numbers = [int(fields["number"]) for _, fields in self.outside.xrange("jwt:{log}")]
        known = int(self.outside.hget("jwt:{log}:marker", "revocations") or 0)
        assert numbers == list(range(1, known + 1))


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_the_store_is_what_the_model_says(redis_server: RedisServer, strategy: str) -> None:
    explore(redis_server, strategy, examples=25)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_the_store_is_what_the_model_says_for_long(redis_server: RedisServer, strategy: str) -> None:
    explore(redis_server, strategy, examples=300)


def explore(server: RedisServer, strategy: str, examples: int) -> None:
    machine: Any = type("Store", (Store,), {"port": server.port, "strategy": strategy})
    limits = hypothesis_settings(max_examples=examples, stateful_step_count=40, deadline=None, derandomize=True)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "STRATEGY": strategy}):
        run_state_machine_as_test(machine, settings=limits)
