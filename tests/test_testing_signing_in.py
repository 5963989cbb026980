"""auth_headers and login, with each client and each way for tokens to travel; and what the assertions say."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from django.test import AsyncClient, Client
from rest_framework.test import APIClient

from jwt_redis import near_cache, sessions
from jwt_redis.testing import (
    aassert_live,
    aassert_revoked,
    aassert_session_ended,
    aassert_session_live,
    aauth_headers,
    alogin,
    assert_live,
    assert_revoked,
    assert_session_ended,
    assert_session_live,
    auth_headers,
    expired,
    login,
    override_jwt_settings,
)
from jwt_redis.tokens import AccessToken, RefreshToken, SlidingToken

COOKIES = {"COOKIE": {}}


@pytest.fixture
async def aalice(transactional_db: None, django_user_model: Any) -> Any:
    """In async code the database is used in another thread, which does not see what a test's transaction has."""
    return await django_user_model.objects.acreate_user("alice", "alice@example.com", "correct horse")


# Signing in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Client, APIClient])
@pytest.mark.parametrize("transport", ["header", "cookie"])
@pytest.mark.parametrize("url", ["/whoami/", "/plain/", "/stateless/"])
def test_clients(make: Any, transport: str, url: str, alice: Any, bob: Any) -> None:
    with override_jwt_settings(JWT_REDIS=COOKIES):
        client = make()
        first = login(client, alice, transport=transport)
        assert client.get(url).json()["user"] == str(alice.pk)
        assert login(client, bob, transport=transport).sid != first.sid
        assert client.get(url).json()["user"] == str(bob.pk)
        # The way of before does not linger.
        login(client, alice, transport="header" if transport == "cookie" else "cookie")
        assert client.get(url).json()["user"] == str(alice.pk)
        assert make().get("/whoami/").status_code == 401


@pytest.mark.parametrize("transport", ["header", "cookie"])
async def test_the_async_client(transport: str, aalice: Any) -> None:
    with override_jwt_settings(JWT_REDIS=COOKIES):
        client = AsyncClient()
        await alogin(client, aalice, transport=transport)
        for url in ("/plain-async/", "/whoami/"):
            assert (await client.get(url)).json()["user"] == str(aalice.pk)
        answer = await client.post("/auth/logout/", {"a": 1}, content_type="application/json")
        assert answer.status_code == 200
        assert (await client.get("/whoami/")).status_code == 401


def test_the_settings_choose_the_way(alice: Any) -> None:
    client = Client()
    login(client, alice)
    assert not client.cookies
    with override_jwt_settings(JWT_REDIS=COOKIES):
        login(client, alice)
        assert set(client.cookies) == {"__Host-access_token", "__Secure-refresh_token"}


def test_a_refresh_cookie_is_one_that_can_be_used(alice: Any) -> None:
    with override_jwt_settings(JWT_REDIS=COOKIES):
        client = Client()
        made = login(client, alice)
        assert client.post("/auth/token/refresh/").status_code == 200
        assert_revoked(made.refresh, "token_blacklisted")
        assert_session_live(alice, made.sid)


def test_a_client_that_enforces_csrf(alice: Any) -> None:
    with override_jwt_settings(JWT_REDIS=COOKIES):
        client = Client(enforce_csrf_checks=True)
        login(client, alice)
        assert client.post("/auth/logout/").status_code == 403
        token = client.cookies["csrftoken"].value
        assert client.post("/auth/logout/", headers={"X-CSRFToken": token}).status_code == 200


def test_a_request_s_own_header_has_the_last_word(alice: Any, bob: Any) -> None:
    client = Client()
    login(client, alice)
    others = auth_headers(bob)
    assert client.get("/whoami/", headers=others).json()["user"] == str(bob.pk)
    assert client.get("/whoami/", HTTP_AUTHORIZATION=others["Authorization"]).json()["user"] == str(bob.pk)
    assert client.get("/whoami/", headers={"authorization": "Bearer x"}).status_code == 401
    assert client.get("/whoami/", headers={"Accept": "application/json"}).json()["user"] == str(alice.pk)


def test_a_way_that_there_is_not(alice: Any) -> None:
    with pytest.raises(ValueError, match="'header' or 'cookie' is needed, not 'url'"):
        login(Client(), alice, transport="url")
    with pytest.raises(ValueError, match="COOKIE"):
        login(Client(), alice, transport="cookie")
    assert sessions.list_sessions(alice) == []


def test_a_client_of_another_kind(alice: Any) -> None:
    with pytest.raises(TypeError, match="see auth_headers"):
        login(requests.Session(), alice)
    assert sessions.list_sessions(alice) == []


async def test_headers_of_users_and_of_tokens(aalice: Any) -> None:
    assert await aauth_headers(aalice) != await aauth_headers(aalice)
    refresh = await sessions.aopen_session(aalice)
    for token in (refresh, refresh.access_token):
        headers = await aauth_headers(token)
        assert (await AsyncClient().get("/whoami/", headers=headers)).json()["user"] == str(aalice.pk)
    assert len(await sessions.alist_sessions(aalice)) == 3


def test_headers_are_spelled_as_the_settings_say(alice: Any) -> None:
    with override_jwt_settings(AUTH_HEADER_NAME="HTTP_X_TOKEN", AUTH_HEADER_TYPES=("JWT",)):
        headers = auth_headers(alice)
        assert list(headers) == ["X-Token"] and headers["X-Token"].startswith("JWT ")
        client = Client()
        login(client, alice)
        assert client.get("/whoami/").status_code == 200


async def test_a_project_of_sliding_tokens(aalice: Any) -> None:
    with override_jwt_settings(AUTH_TOKEN_CLASSES=("jwt_redis.tokens.SlidingToken",)):
        client = AsyncClient()
        made = await alogin(client, aalice)
        assert (made.refresh, SlidingToken(made.access)["sid"]) == ("", made.sid)
        assert (await client.get("/whoami/")).status_code == 200


# Expired ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leeway", [0, 30])
def test_a_token_whose_time_has_run_out(leeway: int, alice: Any) -> None:
    with override_jwt_settings(LEEWAY=leeway):
        refresh = sessions.open_session(alice)
        for token in (refresh.access_token, str(refresh)):
            late = expired(token)
            assert late != str(token)
            assert not sessions.explain(late).allowed
        answer = Client().get("/whoami/", headers={"Authorization": f"Bearer {expired(refresh.access_token)}"})
        assert (answer.status_code, answer.json()["messages"][0]["message"]) == (401, "Token is expired")
        assert_live(refresh)


# Assertions -------------------------------------------------------------------------------------------------------


def test_what_is_live(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    for token in (refresh, str(refresh), refresh.access_token, str(refresh.access_token)):
        assert_live(token)
    assert_session_live(alice, refresh["sid"])
    assert_session_live(str(alice.pk), refresh["sid"])


@pytest.mark.parametrize(
    ("end", "reason", "why"),
    [
        (lambda user, token: sessions.end_session(user, token["sid"]), "session_ended", "logout"),
        (lambda user, token: sessions.end_all_sessions(user), "session_ended", None),
        (lambda user, token: sessions.revoke_everything(), "all_revoked", None),
    ],
)
def test_what_is_revoked(end: Any, reason: str, why: str | None, alice: Any) -> None:
    refresh = sessions.open_session(alice)
    access = refresh.access_token
    with pytest.raises(AssertionError, match=r"still good.*The session is alive.*User \d+, session"):
        assert_revoked(access)
    with pytest.raises(AssertionError, match="is still live: opened"):
        assert_session_ended(alice, refresh["sid"])
    end(alice, refresh)
    for token in (access, str(access), refresh):
        assert_revoked(token)
        assert_revoked(token, reason)
    with pytest.raises(AssertionError, match=f"is refused for {reason}, not for token_blacklisted"):
        assert_revoked(access, "token_blacklisted")
    with pytest.raises(AssertionError, match=rf"The token is refused\. .*\({reason}\)"):
        assert_live(access)
    assert_session_ended(alice, refresh["sid"], why)
    with pytest.raises(AssertionError, match=r"is over for .*, not for max_sessions"):
        assert_session_ended(alice, refresh["sid"], "max_sessions")
    with pytest.raises(AssertionError, match=r"is not live\. Live ones: none"):
        assert_session_live(alice, refresh["sid"])


async def test_async_twins_say_the_same(aalice: Any) -> None:
    refresh = await sessions.aopen_session(aalice)
    await aassert_live(refresh)
    await aassert_session_live(aalice, refresh["sid"])
    with pytest.raises(AssertionError, match="still good"):
        await aassert_revoked(refresh)
    with pytest.raises(AssertionError, match="still live"):
        await aassert_session_ended(aalice, refresh["sid"])
    await sessions.aend_session(aalice, refresh["sid"], reason="stolen")
    await aassert_revoked(refresh, "session_ended")
    await aassert_session_ended(aalice, refresh["sid"], "stolen")
    with pytest.raises(AssertionError, match=r"Why: stolen\."):
        await aassert_live(refresh)
    with pytest.raises(AssertionError, match="is not live"):
        await aassert_session_live(aalice, refresh["sid"])


def test_a_token_that_is_no_good_is_not_a_revoked_one(alice: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    for bad in (expired(access), access[:-3], "", "x.y.z", access + "x"):
        with pytest.raises(AssertionError, match="no good, but it is not revoked"):
            assert_revoked(bad)
        assert_revoked(bad, "token_not_valid")
        with pytest.raises(AssertionError, match="The token is refused"):
            assert_live(bad)


def test_a_session_that_nobody_has_heard_of_is_not_an_ended_one(alice: Any, bob: Any) -> None:
    sid = sessions.open_session(alice)["sid"]
    sessions.end_session(alice, sid)
    for user, unknown in ((bob, sid), (alice, sessions.new_sid())):
        with pytest.raises(AssertionError, match="has had no session"):
            assert_session_ended(user, unknown)
    for wrong in ("", "x", "a b", None, 5):
        with pytest.raises(ValueError):
            assert_session_ended(alice, wrong)  # type: ignore[arg-type]


def test_a_reason_that_there_is_not(alice: Any) -> None:
    with pytest.raises(ValueError, match="'logged_out' is not one of all_revoked, "):
        assert_revoked(str(AccessToken()), "logged_out")


def test_a_token_object_is_asked_about_as_it_is_sent(alice: Any) -> None:
    refresh = RefreshToken.for_user(alice)
    # Its session is written when it is turned into a string, which is what sending it does.
    assert_live(refresh)
    assert_session_live(alice, refresh["sid"])


def test_a_near_cache_is_not_believed(alice: Any) -> None:
    from jwt_redis.store import client
    from tests.test_near_cache import start_following

    with override_jwt_settings(NEAR_CACHE={"lease": 60}):
        access = sessions.open_session(alice).access_token
        start_following()
        # The session's record alone, past the log: nobody but the store can know.
        user = str(alice.pk)
        ended = client.client().hset(f"jwt:{{{user}}}", f"sid:{access['sid']}", "ended.9999999999.elsewhere")
        assert ended == 0 and near_cache.is_fresh()
        assert_revoked(access, "session_ended")
        assert_session_ended(alice, access["sid"], "elsewhere")
