"""djoser over HTTP, with the settings that its page shows: what each of its endpoints ends."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from jwt_redis import sessions
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


@pytest.fixture(scope="module")
def djoser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("tests.projects.djoser_settings", tmp_path_factory.mktemp("djoser")) as served:
        yield served


class Tokens:
    """What a device got when it signed in."""

    def __init__(self, device: Device, name: str, password: str) -> None:
        response = device.post("/auth/jwt/create/", {"username": name, "password": password})
        assert response.status_code == 200, response.text
        self.device = device
        self.access, self.refresh = response.json()["access"], response.json()["refresh"]

    def me(self, method: str = "GET", json: Any = None) -> Any:
        return self.device.call(method, "/auth/users/me/", json, bearer=self.access)

    def use(self, token: str | None = None) -> Any:
        return self.device.post("/auth/jwt/refresh/", {"refresh": token or self.refresh})

    def post(self, path: str, json: Any) -> Any:
        return self.device.post(path, json, bearer=self.access)

    def assert_alive(self) -> None:
        assert self.me().status_code == 200
        assert self.device.post("/auth/jwt/verify/", {"token": self.refresh}).status_code == 200

    def assert_ended(self, reason: str = "session_ended") -> None:
        refused, unused = self.me(), self.use()
        assert (refused.status_code, refused.json()["reason"]) == (401, reason)
        assert (unused.status_code, unused.json()["reason"]) == (401, reason)
        verified = self.device.post("/auth/jwt/verify/", {"token": self.refresh})
        assert (verified.status_code, verified.json()["reason"]) == (400, [reason])


def sign_in(djoser: Site, agent: str = "Firefox", name: str = "alice", password: str = ALICE) -> Tokens:
    return Tokens(djoser.device(agent), name, password)


_numbers = itertools.count()


@pytest.fixture
def someone(djoser: Site) -> str:
    """A user of the test's own, who is signed up as djoser has it."""
    name = f"user{next(_numbers)}"
    device = djoser.device()
    body = {"username": name, "password": ALICE, "email": f"{name}@example.com"}
    assert device.post("/auth/users/", body).status_code == 201
    activate(djoser, device)
    return name


def activate(djoser: Site, device: Device) -> None:
    assert device.post("/auth/users/activation/", link(djoser, "activate")).status_code == 204


def link(djoser: Site, kind: str) -> dict[str, str]:
    found = re.search(rf"{kind}/(\S+)/(\S+)", djoser.last_mail())
    assert found is not None
    return {"uid": found[1], "token": found[2]}


def test_the_page_shows_what_is_tested() -> None:
    settings, urls, *_ = blocks_of("how-to/djoser.md")
    assert settings in source_of("djoser_settings")
    assert urls in source_of("djoser_urls")


def test_signing_in_opens_a_session_on_the_device(djoser: Site) -> None:
    tokens = sign_in(djoser, "Firefox of alice")
    tokens.assert_alive()
    listed = tokens.device.get("/auth/sessions/", bearer=tokens.access).json()
    (here,) = [entry for entry in listed if entry["current"]]
    assert (here["user_agent"], here["ip"]) == ("Firefox of alice", "127.0.0.1")
    assert djoser.device().post("/auth/jwt/create/", {"username": "alice", "password": "no"}).status_code == 401


def test_a_refresh_token_is_used_once_and_its_copy_ends_the_session(djoser: Site) -> None:
    tokens = sign_in(djoser)
    first = tokens.use().json()
    # In the grace the immediate predecessor gives the same successor.
    again = tokens.use().json()
    assert claims(again["refresh"])["jti"] == claims(first["refresh"])["jti"] != claims(tokens.refresh)["jti"]
    assert tokens.use(first["refresh"]).status_code == 200
    reused = tokens.use()
    assert (reused.status_code, reused.json()["code"]) == (401, "token_not_valid")
    tokens.assert_ended()
    assert tokens.use(first["refresh"]).status_code == 401


def test_signing_out_ends_this_session_and_no_other(djoser: Site) -> None:
    here, there = sign_in(djoser), sign_in(djoser)
    answers = at_once(4, lambda _: djoser.device().post("/auth/logout/", {"refresh": here.refresh}))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sum(answer.json()["sessions_ended"] for answer in answers) == 1
    here.assert_ended()
    there.assert_alive()
    assert there.device.post("/auth/token/blacklist/", {"refresh": there.refresh}).status_code == 200
    there.assert_ended()


@pytest.mark.parametrize("mailed", [False, True], ids=["set_password", "reset_password"])
def test_a_new_password_ends_all_sessions(djoser: Site, someone: str, mailed: bool) -> None:
    here, there, other = sign_in(djoser, name=someone), sign_in(djoser, name=someone), sign_in(djoser)
    if mailed:
        stranger = djoser.device()
        assert stranger.post("/auth/users/reset_password/", {"email": f"{someone}@example.com"}).status_code == 204
        body = link(djoser, "password") | {"new_password": "staple battery 9"}
        assert stranger.post("/auth/users/reset_password_confirm/", body).status_code == 204
        # The link works once.
        assert stranger.post("/auth/users/reset_password_confirm/", body).status_code == 400
    else:
        wrong = {"new_password": "staple battery 9", "current_password": "no"}
        assert here.post("/auth/users/set_password/", wrong).status_code == 400
        here.assert_alive()
        right = wrong | {"current_password": ALICE}
        assert here.post("/auth/users/set_password/", right).status_code == 204
    here.assert_ended()
    there.assert_ended()
    other.assert_alive()
    sign_in(djoser, name=someone, password="staple battery 9").assert_alive()


def test_deleting_the_account_ends_all_sessions(djoser: Site, someone: str) -> None:
    here, there = sign_in(djoser, name=someone), sign_in(djoser, name=someone)
    assert here.me("DELETE", {"current_password": "no"}).status_code == 400
    here.assert_alive()
    assert here.me("DELETE", {"current_password": ALICE}).status_code == 204
    for tokens in (here, there):
        assert tokens.me().json()["reason"] == "session_ended"
        assert tokens.use().status_code == 401
        # Signing out of what is over is no error.
        assert tokens.device.post("/auth/logout/", {"refresh": tokens.refresh}).json() == {"sessions_ended": 0}


def test_another_name_ends_nothing_and_another_address_deactivates(djoser: Site, someone: str) -> None:
    here = sign_in(djoser, name=someone)
    renamed = {"new_username": f"{someone}x", "current_password": ALICE}
    assert here.post("/auth/users/set_username/", renamed).status_code == 204
    here.assert_alive()
    # With SEND_ACTIVATION_EMAIL the account is inactive until the new address is confirmed.
    assert here.me("PATCH", {"email": f"new-{someone}@example.com"}).status_code == 200
    assert here.me().json()["reason"] == "session_ended"
    assert here.use().status_code == 401
    activate(djoser, djoser.device())
    here.assert_ended()
    sign_in(djoser, name=f"{someone}x").assert_alive()


@pytest.mark.parametrize("name", no_good())
def test_tokens_that_are_no_good(djoser: Site, name: str) -> None:
    token, device = no_good()[name], djoser.device()
    for path in ("/auth/jwt/refresh/", "/auth/logout/"):
        response = device.post(path, {"refresh": token})
        assert (response.status_code, response.json()["code"]) == (401, "token_not_valid"), path
    assert device.get("/auth/users/me/", bearer=token.encode().decode("latin-1")).status_code == 401


@pytest.mark.parametrize("name", no_session())
def test_tokens_without_a_session(djoser: Site, name: str) -> None:
    token, device = no_session()[name], djoser.device()
    assert device.post("/auth/jwt/refresh/", {"refresh": token}).status_code == 401
    assert device.post("/auth/jwt/verify/", {"token": token}).status_code == 400
    # It is listed, should it have none, or there is nothing to end.
    assert device.post("/auth/logout/", {"refresh": token}).status_code == 200
    assert device.post("/auth/logout/", {"refresh": token}).json() == {"sessions_ended": 0}
    access = signed(**claims(token) | {"token_type": "access", "rotation": None})
    assert device.get("/auth/users/me/", bearer=access).status_code == 401


@pytest.mark.django_db
def test_social_login_opens_a_session(alice: Any) -> None:
    from jwt_redis.contrib.djoser import TokenStrategy

    given = TokenStrategy.obtain(alice)
    assert given["user"] is alice
    (session,) = sessions.list_sessions(alice)
    assert {claims(given[name])["sid"] for name in ("access", "refresh")} == {session.sid}
    assert sessions.explain(given["access"]).allowed


# The last one: whoever comes behind it has another Redis.
def test_while_redis_is_down_nobody_is_told_that_it_worked(djoser: Site) -> None:
    tokens, there = sign_in(djoser, name="bob", password=BOB), sign_in(djoser, name="bob", password=BOB)
    device = tokens.device
    assert device.post("/auth/users/reset_password/", {"email": "bob@example.com"}).status_code == 204
    new_password = link(djoser, "password") | {"new_password": "staple battery 9"}
    djoser.redis.kill()
    answers = [
        device.post("/auth/jwt/create/", {"username": "bob", "password": BOB}),
        tokens.use(),
        device.post("/auth/jwt/verify/", {"token": tokens.access}),
        device.post("/auth/logout/", {"refresh": tokens.refresh}),
        tokens.me(),
        tokens.post("/auth/users/set_password/", {"new_password": "staple battery 9", "current_password": BOB}),
        tokens.me("DELETE", {"current_password": BOB}),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "revocation_unavailable")}
    # The new password is in the database, and in the journal that the sessions are to end.
    assert device.post("/auth/users/reset_password_confirm/", new_password).status_code == 204
    assert there.me().status_code == 503
    djoser.redis.start()
    wait_for(lambda: tokens.me().status_code != 503, "the server has found Redis again")
    assert tokens.me().json()["reason"] == "session_ended"
    there.assert_ended()
    sign_in(djoser, name="bob", password="staple battery 9").assert_alive()
