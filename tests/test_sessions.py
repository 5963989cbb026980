"""The public functions: sync and async twins, signals, arguments."""

from __future__ import annotations

import copy
import inspect
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken as StockRefreshToken

from jwt_redis import sessions, signals
from jwt_redis.exceptions import RevokedToken
from jwt_redis.operations import SENDER
from jwt_redis.store import client, markers
from jwt_redis.tokens import RefreshToken

pytestmark = pytest.mark.django_db

PURE = {"new_sid", "MAX_LABEL", "RULES", "Explanation", "Recognition", "Session", "StatusListToken"}
SYNC = sorted(name for name in sessions.__all__ if name not in PURE and f"a{name}" in sessions.__all__)


def test_every_function_has_an_async_twin() -> None:
    twins = {f"a{name}" for name in SYNC}
    assert set(SYNC) | twins | PURE == set(sessions.__all__)
    assert len(SYNC) == 22


@pytest.mark.parametrize("name", SYNC)
def test_a_twin_has_the_same_signature(name: str) -> None:
    one, other = getattr(sessions, name), getattr(sessions, f"a{name}")
    assert inspect.signature(one) == inspect.signature(other)
    assert inspect.iscoroutinefunction(other) and not inspect.iscoroutinefunction(one)


async def test_the_twins_do_the_same(transactional_db: None, django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate(username="carol", password="one")
    token = await sessions.aopen_session(user)
    other = await sessions.aopen_session(user)
    # In no order: both may have been opened in one millisecond.
    assert {s.sid for s in await sessions.alist_sessions(user)} == {other["sid"], token["sid"]}
    assert (await sessions.acheck(token.access_token)).allowed
    record = await sessions.arotate(token, user)
    assert record.rotation == 1
    assert await sessions.aend_other_sessions(user, token["sid"]) == 1
    assert (await sessions.aexplain(other)).reason == "session_ended"
    assert not await sessions.aend_session(user, other["sid"])
    user.password = "two"
    await user.asave()
    assert await sessions.aend_stale_sessions(user) == 0  # the save did it
    assert (await sessions.aexplain(token)).reason == "session_ended"
    third = await sessions.aopen_session(user)
    assert await sessions.aset_label(user, third["sid"], "mine")
    recognized = await sessions.arecognize(user, third["sid"])
    assert recognized is not None and recognized.session.label == "mine"
    access = third.access_token
    assert await sessions.arevoke_token(access) and not await sessions.arevoke_token(access)
    assert await sessions.arevoke_jti(user, "some-jti")
    made = RefreshToken.for_user(user)
    await sessions.aregister(made)
    assert (await sessions.aexplain(made)).allowed
    assert await sessions.aend_all_sessions(user) == 2
    assert await sessions.arebind_sessions(user, user) == 0
    await sessions.arevoke_everything()
    with pytest.raises(TokenError):
        await sessions.arotate(third, user)
    await client.aclient().aclose()


# Signals -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> Any:
    """What was sent, in order: the signal's name and its arguments."""
    seen: list[tuple[str, dict[str, Any]]] = []
    receivers = []
    for name, signal in vars(signals).items():
        if not isinstance(signal, signals.Signal):
            continue

        def receiver(sender: Any, signal: Any, name: str = name, **facts: Any) -> None:
            assert sender == SENDER
            seen.append((name, facts))

        signal.connect(receiver)
        receivers.append((signal, receiver))
    yield seen
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def test_signals(alice: Any, heard: list[Any]) -> None:
    user = str(alice.pk)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}):
        token = sessions.open_session(alice)
        sessions.rotate(token, alice)
        with pytest.raises(TokenError):
            sessions.rotate(token, alice)
        second = sessions.open_session(alice)
        sessions.revoke_token(second.access_token, reason="lost")
        sessions.end_all_sessions(alice)
        moment = sessions.revoke_everything(reason="leak")
        time.sleep(0.005)  # the same millisecond counts as before
        ahead = sessions.open_session(alice)
        ahead.payload["rotation"] = 9
        with pytest.raises(TokenError):
            sessions.rotate(ahead, alice)
    sid, other, third = token["sid"], second["sid"], ahead["sid"]
    jti = next(facts["jti"] for name, facts in heard if name == "token_revoked")
    assert heard == [
        ("session_started", {"user": user, "sid": sid}),
        ("session_refreshed", {"user": user, "sid": sid, "outcome": "rotated"}),
        ("refresh_token_reused", {"user": user, "sid": sid}),
        ("session_ended", {"user": user, "sid": sid, "reason": "refresh_token_reused"}),
        ("session_started", {"user": user, "sid": other}),
        ("token_revoked", {"user": user, "jti": jti, "reason": "lost"}),
        ("session_ended", {"user": user, "sid": other, "reason": "logout_all"}),
        ("user_revoked", {"user": user, "sids": (other,), "reason": "logout_all"}),
        ("everything_revoked", {"before": moment, "reason": "leak"}),
        ("session_started", {"user": user, "sid": third}),
        ("store_rolled_back", {"user": user, "sid": third}),
        ("session_ended", {"user": user, "sid": third, "reason": "store_rolled_back"}),
    ]


@pytest.mark.parametrize("rotating", [True, False])
@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_once_everything_is_revoked_elsewhere_no_token_is_exchanged(
    strategy: str, rotating: bool, alice: Any, store: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which this process has heard nothing: its copy of the marker is good for a while."""
    settings.JWT_REDIS = {**settings.JWT_REDIS, "STRATEGY": strategy}
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    token = sessions.open_session(alice)
    sessions.rotate(token, alice, rotating=rotating)
    seconds, microseconds = store.time()
    store.hset("jwt:{log}:marker", "not_before", seconds * 1000 + microseconds // 1000)
    known = markers.known()
    assert known is not None and known.not_before_ms == 0
    # Of one that was used a moment ago there would be grace.
    with pytest.raises(RevokedToken, match="all_revoked"):
        sessions.rotate(token, alice, rotating=rotating)
    time.sleep(0.002)
    assert sessions.rotate(sessions.open_session(alice), alice)


def test_doing_it_again_says_nothing_again(alice: Any, heard: list[Any]) -> None:
    token = sessions.open_session(alice)
    sessions.end_session(alice, token["sid"])
    del heard[:]
    sessions.end_session(alice, token["sid"])
    sessions.revoke_token(token)
    assert heard == []


def test_a_receiver_that_raises_harms_nothing(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    def receiver(**kwargs: Any) -> None:
        raise RuntimeError("boom")

    signals.session_started.connect(receiver)
    try:
        token = sessions.open_session(alice)
    finally:
        signals.session_started.disconnect(receiver)
    assert sessions.explain(token).allowed
    assert "boom" in caplog.text


def test_no_token_is_in_the_log(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="jwt_redis"):
        token = sessions.open_session(alice)
        sessions.rotate(token, alice)
        sessions.revoke_token(token)
    assert "session_started" in caplog.text and str(token).split(".")[1] not in caplog.text


# Arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sid", ["", "short", "x" * 65, "a b" + "x" * 20, None, 1])
def test_a_bad_sid_is_named(alice: Any, sid: Any) -> None:
    for function in (sessions.end_session, sessions.end_other_sessions):
        with pytest.raises(ValueError, match="sid"):
            function(alice, sid)


@pytest.mark.parametrize("user", ["", None, [], {}, 1.5, True, object()])
def test_a_bad_user_is_named(user: Any) -> None:
    for call in (sessions.list_sessions, sessions.end_all_sessions):
        with pytest.raises(ValueError, match="user"):
            call(user)


def test_bad_moments_are_named() -> None:
    with pytest.raises(ValueError, match="time zone"):
        sessions.revoke_everything(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="yet to come"):
        sessions.revoke_everything(datetime.now(tz=UTC) + timedelta(minutes=1))


def test_a_bad_reason_and_a_bad_jti_are_named(alice: Any) -> None:
    with pytest.raises(ValueError, match="reason"):
        sessions.end_all_sessions(alice, reason="a.b")
    with pytest.raises(ValueError, match="jti"):
        sessions.revoke_jti(alice, "")


def test_an_expired_or_bad_token_has_nothing_to_revoke() -> None:
    for token in ("", "abc", "a.b.c"):
        with pytest.raises(TokenError):
            sessions.revoke_token(token)


def test_a_user_may_be_named_in_several_ways(alice: Any) -> None:
    token = sessions.open_session(alice)
    for user in (alice, alice.pk, str(alice.pk)):
        assert [session.sid for session in sessions.list_sessions(user)] == [token["sid"]]


# Tokens without a session ------------------------------------------------------------------------------------------


def test_simple_jwts_own_tokens_have_no_session(alice: Any) -> None:
    stock = StockRefreshToken.for_user(alice)
    for token in (str(stock), str(stock.access_token)):
        assert sessions.explain(token).reason == "no_session"
    with pytest.raises(TokenError):
        sessions.rotate(stock, alice)


def test_under_the_blacklist_strategy_foreign_tokens_pass_until_listed(alice: Any, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
    sessions.open_session(alice)  # the store is born
    stock = StockRefreshToken.for_user(alice)
    access = stock.access_token
    for token in (stock, access):
        token["iat"] += 2  # not of the second in which the store was born
        token.get_token_backend().leeway = 10
    try:
        assert sessions.explain(str(access)).allowed
        # A refresh token has to have a session whatever the strategy.
        assert sessions.explain(str(stock)).reason == "no_session"
        assert sessions.revoke_token(str(access))
        assert sessions.explain(str(access)).reason == "token_blacklisted"
        access["jti"] = "another"
        assert sessions.explain(str(access)).allowed
        sessions.end_all_sessions(alice)
        access["iat"] -= 3
        assert sessions.explain(str(access)).reason in ("user_revoked", "store_lost")
    finally:
        access.get_token_backend().leeway = 0


def test_a_session_that_redis_lost_is_refused_by_the_whitelist_only(alice: Any, settings: Any, store: Any) -> None:
    token = sessions.open_session(alice)
    access = str(token.access_token)
    store.delete(f"jwt:{{{alice.pk}}}")
    # Opened in the second in which the store was born.
    assert sessions.explain(access).reason == "store_lost"
    store.hset("jwt:{log}:marker", "born_ms", 1)
    markers.reset()
    assert sessions.explain(access).reason == "no_session"
    store.flushall()
    markers.reset()
    assert sessions.explain(access).reason == "store_lost"
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
    assert sessions.explain(access).reason == "store_lost"


def test_a_token_is_registered_once_and_before_it_is_a_string(alice: Any, store: Any) -> None:
    token = RefreshToken.for_user(alice)
    assert not store.exists(f"jwt:{{{alice.pk}}}")
    assert "sid" in repr(token) and not store.exists(f"jwt:{{{alice.pk}}}")
    text = str(token)
    first = store.hgetall(f"jwt:{{{alice.pk}}}")
    assert len(first) == 1 and str(token) == text
    assert token.access_token["sid"] == token["sid"]
    assert store.hgetall(f"jwt:{{{alice.pk}}}") == first


def test_no_session_id_looks_like_an_option_of_a_command() -> None:
    assert not any(sessions.new_sid().startswith("-") for _ in range(2000))


def test_an_access_token_says_when_nobody_asked_redis_about_its_session(alice: Any) -> None:
    # What a near cache goes by: the token's age proves nothing about its session.
    refresh = sessions.open_session(alice)
    assert "rotation" not in refresh.access_token.payload
    read = RefreshToken(str(refresh))
    assert read.access_token["rotation"] == 0
    read.check_blacklist()
    assert "rotation" not in read.access_token.payload
    successor = read.successor(sessions.rotate(read, alice))
    assert "rotation" not in successor.access_token.payload
    # On another machine its clock says nothing.
    assert copy.copy(successor).access_token["rotation"] == 1


def test_it_says_so_whatever_claims_a_project_does_not_copy(alice: Any) -> None:
    class Plain(RefreshToken):
        no_copy_claims = ("exp", "jti", "token_type", "iat")

    class Strict(RefreshToken):
        no_copy_claims = (*RefreshToken.no_copy_claims, "rotation")

    for cls in (Plain, Strict):
        refresh = cls.for_user(alice)
        assert "rotation" not in refresh.access_token.payload
        assert cls(str(refresh)).access_token["rotation"] == 0


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_a_token_that_is_revoked_before_it_ever_left_opens_no_session(alice: Any, settings: Any, strategy: str) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "STRATEGY": strategy}
    token = RefreshToken.for_user(alice)
    token.blacklist()
    assert sessions.explain(str(token)).allowed is False
    assert sessions.explain(str(token.access_token)).allowed is False
    assert sessions.list_sessions(alice) == []
