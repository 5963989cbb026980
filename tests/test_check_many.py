"""Very many tokens in one round trip: what is said of each is what is said of it alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import override_settings

from jwt_redis import sessions
from jwt_redis.exceptions import RevocationUnavailable, StoreNotReady
from jwt_redis.recovery import pending
from jwt_redis.store import client, commands, markers
from jwt_redis.tokens import AccessToken
from tests.test_redis_failure import pointed_at

pytestmark = pytest.mark.django_db


def access_of(number: int) -> Any:
    return sessions.open_session(get_user_model()(pk=number)).access_token


def all_kinds(store: redis.Redis) -> list[Any]:
    """Good ones, and one of each kind that is refused."""
    tokens = [access_of(number) for number in range(12)]
    tokens += tokens[:3]
    sessions.end_session("1", tokens[1]["sid"])
    sessions.revoke_token(tokens[2])
    sessions.end_all_sessions("3")
    store.delete("jwt:{4}")
    store.set("jwt:{5}:was", "x")
    store.rename("jwt:{5}:was", "jwt:{5}")
    alone = AccessToken()
    alone["user_id"] = "6"
    listed = AccessToken()
    listed["user_id"] = "7"
    sessions.revoke_token(listed)
    return [*tokens, alone, listed]


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_each_is_judged_as_it_is_alone(strategy: str, store: redis.Redis) -> None:
    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "STRATEGY": strategy}):
        tokens = all_kinds(store)
        alone = [sessions.check(token, directly=True) for token in tokens]
        assert {verdict.allowed for verdict in alone} == {True, False}
        assert sessions.check_many(tokens) == alone
        assert asyncio.run(sessions.acheck_many(tokens)) == alone
        # And where the marker has to be read with it.
        markers.reset()
        assert sessions.check_many(tokens) == alone
        markers.reset()
        assert asyncio.run(sessions.acheck_many(tokens)) == alone
        assert sessions.check_many([]) == [] == asyncio.run(sessions.acheck_many([]))


def test_they_are_one_round_trip_and_each_thing_is_asked_once(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it rests on is not read once more, however long this takes.
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    tokens = [access_of(number) for number in range(50)] * 4
    sessions.check(tokens[0], directly=True)
    sent: list[int] = []
    exchange = client._exchange
    monkeypatch.setattr(client, "_exchange", lambda server, wire: (sent.append(len(wire)), exchange(server, wire))[1])
    assert all(verdict.allowed for verdict in sessions.check_many(tokens))  # type: ignore[union-attr]
    assert sent == [50]


def test_directly_no_copy_of_the_marker_counts(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process revokes everything, while the copy of this one is young."""
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    tokens = [access_of(number) for number in range(3)]
    for is_async in (False, True):
        sessions.check(tokens[0], directly=True)
        command = commands.revoke_everything(None, reason="revoked")
        assert command.script is not None and markers.known() is not None
        store.eval(command.script.text, len(command.keys), *command.keys, "", *command.args)
        if is_async:
            verdicts = asyncio.run(sessions.acheck_many(tokens, directly=True))
        else:
            verdicts = sessions.check_many(tokens, directly=True)
        assert {verdict.reason for verdict in verdicts} == {"all_revoked"}  # type: ignore[union-attr]
        tokens = [access_of(number) for number in range(3, 6)]


def test_what_is_pending_about_one_is_pending_about_that_one(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [access_of(number) for number in range(3)]
    monkeypatch.setattr(pending, "_blocked", frozenset({"1"}))
    first, second, third = sessions.check_many(tokens)
    assert isinstance(second, StoreNotReady)
    assert first.allowed and third.allowed  # type: ignore[union-attr]


def test_while_redis_is_away_nobody_is_good() -> None:
    token = access_of(1)
    with pointed_at("redis://127.0.0.1:1/0"):
        with pytest.raises(RevocationUnavailable):
            sessions.check_many([token])
        with pytest.raises(RevocationUnavailable):
            asyncio.run(sessions.acheck_many([token]))


def test_one_that_was_imported_is_refused_whosever_it_is(store: redis.Redis) -> None:
    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "LEGACY_TOKENS": "adopt"}):
        good, refused = AccessToken(), AccessToken()
        for token in (good, refused):
            token["user_id"] = "1"
        store.set("jwt:{!" + refused["jti"] + "}", int(time.time()) + 300)
        alone = [sessions.check(token, directly=True) for token in (good, refused)]
        assert sessions.check_many([good, refused]) == alone
        assert alone[1].reason == "token_blacklisted"
