"""dj-rest-auth over HTTP, with the settings that its page shows: tokens in bodies and headers, and in cookies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.dj_rest_auth_clients import Client, InCookie, InHeader, assert_alive, assert_ended
from tests.support.neighbours import (
    ALICE,
    BOB,
    Device,
    Site,
    at_once,
    blocks_of,
    claims,
    no_good,
    no_session,
    signed,
    site,
    source_of,
)
from tests.support.waiting import wait_for

NEW = "staple battery 9"


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("tests.projects.dj_rest_auth_settings", tmp_path_factory.mktemp("header")) as served:
        yield served


@pytest.fixture(scope="module")
def cookie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("tests.projects.dj_rest_auth_cookie_settings", tmp_path_factory.mktemp("cookie")) as served:
        yield served


both = pytest.mark.parametrize("kind", [InHeader, InCookie], ids=["header", "cookie"])


@pytest.fixture
def served(kind: type[Client], request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue("cookie" if kind is InCookie else "header")
    return found


def test_the_page_shows_what_is_tested() -> None:
    settings, urls, cookies, *_ = blocks_of("how-to/dj-rest-auth.md")
    assert settings in source_of("dj_rest_auth_settings")
    assert urls in source_of("dj_rest_auth_urls")
    assert cookies in source_of("dj_rest_auth_cookie_settings")


@both
def test_signing_in_opens_a_session_on_the_device(served: Site, kind: type[Client]) -> None:
    client = kind(served, agent="Firefox of alice")
    assert_alive(client)
    (here,) = [entry for entry in client.call("GET", "/auth/sessions/").json() if entry["current"]]
    assert (here["user_agent"], here["ip"]) == ("Firefox of alice", "127.0.0.1")
    assert served.device().post("/auth/login/", {"username": "alice", "password": "no"}).status_code == 400


@both
def test_signing_in_is_said_to_django(served: Site, kind: type[Client]) -> None:
    client = kind(served, agent="Said to Django")
    said = client.device.get("/signed-in/").json()
    assert said["signed_in"].count("alice from Said to Django") == 1
    # Written where SIMPLE_JWT has UPDATE_LAST_LOGIN.
    assert said["has_last_login"] is (kind is InCookie)


@both
def test_a_refresh_token_is_used_once_and_its_copy_ends_the_session(served: Site, kind: type[Client]) -> None:
    client, other = kind(served), kind(served)
    thief = served.device("Thief")

    def steal(token: str) -> requests.Response:
        answer = thief.post("/auth/token/refresh/", {"refresh": token})
        thief.http.cookies.clear()
        return answer

    assert client.use().status_code == 200
    # In the grace the immediate predecessor gives the same successor; it is the one before that which tells.
    assert steal(client.refresh).status_code == 200
    if kind is InHeader:
        successor = client.use().json()["refresh"]
        assert thief.post("/auth/token/refresh/", {"refresh": successor}).status_code == 200
    else:
        assert client.cookies["refresh"] != client.refresh
        assert "refresh" not in client.use().json()
    assert steal(client.refresh).status_code == 401
    assert_ended(client)
    assert_alive(other)


@both
def test_signing_out_ends_this_session_and_no_other(served: Site, kind: type[Client]) -> None:
    here, there = kind(served), kind(served)
    assert here.sign_out().status_code == 200
    if isinstance(here, InCookie):
        assert set(here.cookies) == {"csrftoken"}
    assert here.sign_out().status_code == 200
    assert_ended(here)
    assert_alive(there)


@both
def test_signing_out_at_once_from_several_tabs(served: Site, kind: type[Client]) -> None:
    client = kind(served)
    body = {"refresh": client.refresh}
    answers = at_once(4, lambda _: served.device().post("/auth/logout/", body))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert_ended(client)


@both
def test_signing_out_by_the_access_token_alone(served: Site, kind: type[Client]) -> None:
    client = kind(served)
    assert served.device().post("/auth/logout/", bearer=client.access).status_code == 200
    assert_ended(client)


@both
def test_signing_out_when_the_access_token_has_expired(served: Site, kind: type[Client]) -> None:
    client = kind(served)
    expired = signed(**claims(client.access) | {"exp": 1})
    answer = served.device().post("/auth/logout/", {"refresh": client.refresh}, bearer=expired)
    assert answer.status_code == 200
    assert_ended(client)


def test_every_session_whose_cookie_is_thrown_away_is_ended(cookie: Site) -> None:
    browser, other = InCookie(cookie), InCookie(cookie, "bob", BOB)
    body = {"refresh": other.refresh}
    assert browser.device.post("/auth/logout/", body, headers=browser.device.csrf).status_code == 200
    assert_ended(browser)
    assert_ended(other)


@both
@pytest.mark.parametrize("mailed", [False, True], ids=["change", "reset"])
def test_a_new_password_ends_all_sessions(served: Site, kind: type[Client], mailed: bool) -> None:
    here, there, other = kind(served, "bob", BOB), kind(served, "bob", BOB), kind(served)
    try:
        new = {"new_password1": NEW, "new_password2": NEW}
        if mailed:
            csrf = here.device.csrf
            answer = here.device.post("/auth/password/reset/", {"email": "bob@example.com"}, headers=csrf)
            assert answer.status_code == 200
            body = new | link(served)
            assert here.device.post("/auth/password/reset/confirm/", body, headers=csrf).status_code == 200
            # The link works once; and the cookie that is left over is not in the way.
            assert here.device.post("/auth/password/reset/confirm/", body).status_code == 400
        else:
            assert here.call("POST", "/auth/password/change/", new).status_code == 400
            assert here.call("POST", "/auth/password/change/", new | {"old_password": "no"}).status_code == 400
            assert_alive(here)
            assert here.call("POST", "/auth/password/change/", new | {"old_password": BOB}).status_code == 200
        assert_ended(here)
        assert_ended(there)
        assert_alive(other)
    finally:
        back = {"new_password1": BOB, "new_password2": BOB, "old_password": NEW}
        assert kind(served, "bob", NEW).call("POST", "/auth/password/change/", back).status_code == 200


def link(served: Site) -> dict[str, str]:
    found = re.search(r"reset=(\S+)/(\S+)", served.last_mail())
    assert found is not None
    return {"uid": found[1], "token": found[2]}


@both
def test_the_list_of_sessions(served: Site, kind: type[Client]) -> None:
    here, there, third = kind(served), kind(served), kind(served)
    sid = claims(third.refresh)["sid"]
    assert here.call("DELETE", f"/auth/sessions/{sid}/").status_code == 204
    assert_ended(third)
    assert_alive(there)
    assert here.call("POST", "/auth/logout/others/").status_code == 200
    assert_ended(there)
    assert_alive(here)
    assert here.call("POST", "/auth/logout/all/").status_code == 200
    assert_ended(here)


def test_a_cookie_that_is_left_over_is_in_nobodys_way(cookie: Site) -> None:
    browser = InCookie(cookie)
    assert browser.sign_out().status_code == 200
    for left_over in (browser.access, "junk"):
        browser.put_back()
        browser.device.set_cookie("access", left_over)
        assert browser.device.post("/auth/password/reset/", {"email": "nobody@example.com"}).status_code == 200
        assert browser.sign_in("alice", ALICE).status_code == 200
        assert browser.call("GET", "/auth/user/").status_code == 200
        browser.sign_out()
    # And one that is worth nothing is taken back.
    browser.device.set_cookie("refresh", "junk", "/auth/")
    assert browser.sign_out().status_code == 200
    assert set(browser.cookies) == {"csrftoken"}


def test_a_cookie_needs_the_csrf_token_where_it_changes_something(cookie: Site) -> None:
    browser = InCookie(cookie)
    before = browser.cookies["csrftoken"]
    attempts = [
        browser.device.call("PATCH", "/auth/user/", {"first_name": "Mallory"}),
        browser.device.post("/auth/password/change/", {"old_password": ALICE}),
        browser.device.post("/auth/logout/"),
        browser.device.post("/auth/logout/", bearer="x.y.z"),
        browser.device.post("/auth/logout/all/"),
    ]
    assert [answer.status_code for answer in attempts] == [403, 403, 403, 403, 403]
    assert_alive(browser)
    # A token that a page has put there itself needs none.
    stranger = cookie.device()
    assert stranger.call("PATCH", "/auth/user/", {"first_name": "A"}, bearer=browser.access).status_code == 200
    # Another session, another CSRF token.
    assert browser.sign_in("alice", ALICE).status_code == 200
    assert browser.cookies["csrftoken"] != before


def test_the_cookies_are_for_the_browser_alone(cookie: Site) -> None:
    device = cookie.device()
    response = device.post("/auth/login/", {"username": "alice", "password": ALICE})
    sent = {line.split("=", 1)[0]: line for line in response.raw.headers.getlist("Set-Cookie")}
    for name, path in (("access", "Path=/;"), ("refresh", "Path=/auth/;")):
        for attribute in ("HttpOnly", "Secure", "SameSite=Lax", path):
            assert attribute in sent[name] + ";"


@both
@pytest.mark.parametrize("name", no_good())
def test_tokens_that_are_no_good(served: Site, kind: type[Client], name: str) -> None:
    token, device = no_good()[name], served.device()
    for path in ("/auth/token/refresh/", "/auth/logout/"):
        response = device.post(path, {"refresh": token})
        assert (response.status_code, response.json()["code"]) == (401, "token_not_valid"), path
        assert "WWW-Authenticate" in response.headers
    assert device.post("/auth/token/verify/", {"token": token}).status_code in (400, 401)
    sent = token.encode().decode("latin-1")
    assert device.get("/auth/user/", bearer=sent).status_code == 401
    if kind is InCookie:
        device.set_cookie("access", sent)
        device.set_cookie("refresh", sent, "/auth/")
        assert device.get("/auth/user/").status_code == 401
        assert device.post("/auth/token/refresh/", {}).status_code == 401


@both
@pytest.mark.parametrize("name", no_session())
def test_tokens_without_a_session(served: Site, kind: type[Client], name: str) -> None:
    token, device = no_session()[name], served.device()
    assert device.post("/auth/token/refresh/", {"refresh": token}).status_code == 401
    assert device.post("/auth/token/verify/", {"token": token}).status_code == 400
    assert device.post("/auth/logout/", {"refresh": token}).status_code == 200
    assert device.post("/auth/logout/", {"refresh": token}).status_code == 200
    access = signed(**claims(token) | {"token_type": "access", "rotation": None})
    assert device.get("/auth/user/", bearer=access).status_code == 401


@both
@pytest.mark.parametrize("body", [[], ["refresh"], "refresh", 5, {"refresh": 5}, {"refresh": [1]}, {"refresh": {}}])
def test_bodies_that_are_no_good(served: Site, kind: type[Client], body: Any) -> None:
    device = served.device()
    for path in ("/auth/token/refresh/", "/auth/logout/"):
        assert device.post(path, body).status_code in (400, 401), path
    assert device.post("/auth/logout/", data="{", headers={"Content-Type": "application/json"}).status_code == 400


@both
@pytest.mark.parametrize("body", [None, {}, {"refresh": ""}, {"refresh": None}])
def test_signing_out_without_a_token(served: Site, kind: type[Client], body: Any) -> None:
    answer = served.device().post("/auth/logout/", body)
    # A browser may have had its cookies taken back before.
    assert (answer.status_code, answer.json().keys()) == (200 if kind is InCookie else 401, {"detail"})
    # What the login answers with in place of the refresh token may come back.
    client = kind(served)
    device: Device = client.device
    bearer = None if kind is InCookie else client.access
    assert device.post("/auth/logout/", body, bearer=bearer, headers=device.csrf).status_code == 200
    assert_ended(client)


# The last ones: whoever comes behind them has another Redis.
@both
def test_while_redis_is_down_nobody_is_told_that_it_worked(served: Site, kind: type[Client]) -> None:
    client, there, bob = kind(served), kind(served), kind(served, "bob", BOB)
    new = {"new_password1": NEW, "new_password2": NEW, "old_password": ALICE}
    mailed = served.device().post("/auth/password/reset/", {"email": "bob@example.com"})
    assert mailed.status_code == 200
    served.redis.kill()
    answers = [
        served.device().post("/auth/login/", {"username": "alice", "password": ALICE}),
        client.use(),
        served.device().post("/auth/token/verify/", {"token": client.access}),
        client.sign_out(),
        client.call("GET", "/auth/user/"),
        client.call("POST", "/auth/password/change/", new),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "revocation_unavailable")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    # The new password is in the database, and in the journal that the sessions are to end.
    answer = served.device().post("/auth/password/reset/confirm/", new | link(served))
    assert answer.status_code == 200
    # The browser keeps its cookies: it is not signed out, and may try again.
    assert all("Set-Cookie" not in answer.headers for answer in answers)
    served.redis.start()
    wait_for(lambda: there.call("GET", "/auth/user/").status_code == 200, "the server has found Redis again")
    # The sign-out was in the journal, too.
    assert_ended(client)
    assert_ended(bob)
    assert_alive(there)
