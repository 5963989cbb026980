"""What the pages on incidents, threats, strategies and personal data claim, held against the real thing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any
from unittest.mock import patch

import jwt as pyjwt
import pytest
import redis
from django.core.management import call_command
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt import state
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions, token_memo
from jwt_redis.keys import user_id
from jwt_redis.models import Revocation
from tests import settings as base
from tests.support.blocks import ROOT

LEAKED = base.SECRET_KEY
ANOTHER = "another key for tests that is long enough for HS256 to be content with it"


def forged(user: Any, sid: str | None, *, older: int = 0) -> str:
    """What somebody makes who has the key. ``older``: seconds."""
    now = int(time.time()) - older
    claims = {"token_type": "access", "exp": now + 300, "iat": now, "jti": "f" * 32, "user_id": user_id(user)}
    if sid is not None:
        claims |= {"sid": sid, "auth_time": now}
    return pyjwt.encode(claims, LEAKED, algorithm="HS256")


def ask(access: str) -> tuple[int, str | None]:
    response = APIClient().get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {access}")
    body = response.json()
    return response.status_code, body.get("reason") or body.get("code")


# A signing key leaked ------------------------------------------------------------------------------------------------


def test_under_the_whitelist_a_forged_token_needs_a_session_that_is_alive(alice: Any, bob: Any) -> None:
    seen = sessions.open_session(alice)["sid"]
    assert ask(forged(alice, seen)) == (200, None)
    # Another user's, one that never was, none at all.
    assert ask(forged(bob, seen))[0] == 401
    assert ask(forged(alice, sessions.new_sid()))[0] == 401
    assert ask(forged(alice, None))[0] == 401

    call_command("jwt_revoke", "--all", "--no-input", "--reason", "key_leaked")
    assert ask(forged(alice, seen)) == (401, "all_revoked")
    # Who signs in again has one of which the attacker has not heard.
    assert ask(str(sessions.open_session(alice).access_token)) == (200, None)


def test_under_the_blacklist_only_another_key_helps(alice: Any) -> None:
    blacklist = {**base.JWT_REDIS, "STRATEGY": "blacklist"}
    with override_settings(JWT_REDIS=blacklist):
        call_command("jwt_revoke", "--all", "--no-input", "--reason", "key_leaked")
        assert ask(forged(alice, None, older=10)) == (401, "all_revoked")
        # A token without a session says itself how old it is, in whole seconds.
        time.sleep(1.1)
        assert ask(forged(alice, None)) == (200, None)
        with _another_key():
            assert ask(forged(alice, None)) == (401, "token_not_valid")


def test_with_another_key_nothing_of_the_old_one_is_good(alice: Any) -> None:
    token = sessions.open_session(alice)
    access, refresh = str(token.access_token), str(token)
    assert ask(access) == (200, None)
    with _another_key():
        assert ask(access) == (401, "token_not_valid")
        answer = APIClient().post("/auth/token/refresh/", {"refresh": refresh}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")
        assert ask(str(sessions.open_session(alice).access_token)) == (200, None)


@contextmanager
def _another_key() -> Iterator[None]:
    """As after a restart with it: Simple JWT reads the key when it is loaded."""
    token_memo.clear()
    with (
        patch.object(state, "token_backend", TokenBackend("HS256", ANOTHER)),
        patch.object(Token, "_token_backend", None),
    ):
        yield
    token_memo.clear()


# Threats -------------------------------------------------------------------------------------------------------------


def refresh(token: str) -> tuple[int, str]:
    """The status, and the successor."""
    answer = APIClient().post("/auth/token/refresh/", {"refresh": token}, format="json")
    return answer.status_code, answer.json().get("refresh", "")


def test_a_thief_with_the_predecessor_gets_the_same_successor_and_no_more(alice: Any, settings: Any) -> None:
    first = str(sessions.open_session(alice))
    status, owners = refresh(first)
    assert (status, refresh(first)) == (200, (200, owners))
    # Always within the grace after the owner, a thief follows.
    status, next_one = refresh(owners)
    assert refresh(owners) == (200, next_one)
    # Whoever comes later than that with the used one ends it for both.
    settings.JWT_REDIS = {**base.JWT_REDIS, "REFRESH_GRACE": 0}
    status, last = refresh(next_one)
    assert status == 200
    assert refresh(next_one)[0] == 401
    assert refresh(last)[0] == 401
    assert sessions.list_sessions(alice) == []


@pytest.mark.parametrize("way", [("whitelist", "blacklist"), ("blacklist", "whitelist")])
def test_another_strategy_signs_nobody_out(alice: Any, way: tuple[str, str], settings: Any) -> None:
    before, after = way
    settings.JWT_REDIS = {**base.JWT_REDIS, "STRATEGY": before}
    stays, ends = sessions.open_session(alice), sessions.open_session(alice)
    sessions.end_session(alice, ends["sid"])
    settings.JWT_REDIS = {**base.JWT_REDIS, "STRATEGY": after}
    assert ask(str(stays.access_token)) == (200, None)
    assert refresh(str(stays))[0] == 200
    assert ask(str(ends.access_token)) == (401, "session_ended")


# Personal data -------------------------------------------------------------------------------------------------------


def keys_of(store: redis.Redis, user: str) -> set[str]:
    return {key.replace(user, "USER") for key in store.scan_iter(f"jwt:{{{user}}}*")}


@pytest.fixture
def signed_in(alice: Any, settings: Any) -> Any:
    """Two devices, one of them new, with all that can be known of them."""
    settings.JWT_REDIS = {**base.JWT_REDIS, "SIGN_IN_NOTICE": {"base_url": "https://example.com", "send": None}}
    for agent in ("Agent/1", "Agent/2"):
        answer = APIClient().post(
            "/auth/token/",
            {"username": "alice", "password": "correct horse"},
            format="json",
            HTTP_USER_AGENT=agent,
            REMOTE_ADDR="192.0.2.7",
        )
        assert answer.status_code == 200
    sid = sessions.list_sessions(alice)[0].sid
    sessions.set_label(alice, sid, "Alice's phone")
    return alice


def test_the_log_names_an_address_with_a_new_device_alone(
    signed_in: Any, caplog: pytest.LogCaptureFixture, db: None
) -> None:
    with caplog.at_level("DEBUG", logger="jwt_redis"):
        answer = APIClient().post(
            "/auth/token/",
            {"username": "alice", "password": "correct horse"},
            format="json",
            HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            REMOTE_ADDR="192.0.2.8",
        )
        APIClient().post("/auth/logout/", {"refresh": answer.json()["refresh"]}, format="json")
    told = [record for record in caplog.records if "192.0.2.8" in str(vars(record))]
    assert {getattr(record, "event", None) for record in told} == {"new_device_signed_in"}


def test_what_is_kept_is_where_the_page_says(signed_in: Any, store: redis.Redis) -> None:
    user = user_id(signed_in)
    named = re.findall(r"Redis, `(jwt:[^`]+)`", (ROOT / "docs/how-to/personal-data.md").read_text())
    assert keys_of(store, user) <= set(named) | {"jwt:{USER}"} and "jwt:{USER}:known" in keys_of(store, user)
    everything = "".join(_dump(store))
    # Of a person's own words and names nothing stands anywhere but with the devices.
    for told in ("192.0.2.7", "Agent/1", "Alice's phone"):
        assert told in everything
    store.delete(f"jwt:{{{user}}}:devices")
    everything = "".join(_dump(store))
    for told in ("192.0.2.7", "Agent/1", "phone", "alice", "example.com", signed_in.password):
        assert told not in everything


def _dump(store: redis.Redis) -> Iterator[str]:
    for key in store.scan_iter():
        kind = store.type(key)
        assert kind in ("hash", "stream", "string"), key
        yield str(store.hgetall(key) if kind == "hash" else store.xrange(key) if kind == "stream" else store.get(key))


@pytest.mark.django_db(transaction=True)
def test_a_deleted_user_leaves_nothing_but_what_keeps_the_tokens_out(signed_in: Any, store: redis.Redis) -> None:
    user = user_id(signed_in)
    access = str(sessions.open_session(signed_in).access_token)
    assert ask(access) == (200, None)
    signed_in.delete()
    assert ask(access) == (401, "session_ended")
    assert keys_of(store, user) == {"jwt:{USER}", "jwt:{USER}:known"}
    for told in ("192.0.2.7", "Agent/1", "phone", "alice"):
        assert told not in "".join(_dump(store))
    assert 0 < store.ttl(f"jwt:{{{user}}}") <= 86400 * 91
    # And in the journal, until it is of no use any more.
    [row] = Revocation.objects.filter(user=user)
    assert (row.reason, row.target, row.actor) == ("deleted", "", "")
    Revocation.objects.update(until=row.created_at.replace(year=2000))
    call_command("jwt_cleanup", "--json", stdout=StringIO())
    assert not Revocation.objects.filter(user=user).exists()


def test_without_client_ip_no_address_is_kept(alice: Any, store: redis.Redis, settings: Any) -> None:
    settings.JWT_REDIS = {**base.JWT_REDIS, "CLIENT_IP": None}
    APIClient().post(
        "/auth/token/",
        {"username": "alice", "password": "correct horse"},
        format="json",
        REMOTE_ADDR="192.0.2.7",
    )
    assert len(sessions.list_sessions(alice)) == 1
    assert "192.0.2.7" not in "".join(_dump(store))
