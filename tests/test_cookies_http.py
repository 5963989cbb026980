"""Tokens in cookies over HTTP: real servers, a client that keeps and sends cookies by their rules."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import Cookie
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.support.server import http_server

ALICE = {"username": "alice", "password": "correct horse"}
EVIL = "https://evil.example"
# Where the browser meets TLS, the application meets a proxy that says so.
KINDS: dict[str, dict[str, Any]] = {
    "gunicorn, http": {"secure": False},
    "uvicorn, https": {"secure": True, "asgi": True},
    "gunicorn, https": {"secure": True},
    "uvicorn, https, with Django's middleware": {"secure": True, "asgi": True, "JWT_REDIS_TEST_CSRF_MIDDLEWARE": "1"},
}
SLOW = list(KINDS)[2:]


class TLSInFront(HTTPAdapter):
    """The client speaks https; behind the proxy, which says so, it is http."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        plain = request.copy()
        plain.url = str(request.url).replace("https", "http", 1)
        plain.headers["X-Forwarded-Proto"] = "https"
        response = super().send(plain, *args, **kwargs)
        response.request, response.url = request, str(request.url)
        return response


class Browser:
    """One user's, at one site."""

    def __init__(self, base: str, secure: bool, database: Path) -> None:
        self.base = base.replace("http", "https") if secure else base
        self.database = database
        self.session = requests.Session()
        self.session.mount("https://", TLSInFront())
        self.access = "__Host-access_token" if secure else "access_token"
        self.refresh = "__Secure-refresh_token" if secure else "refresh_token"
        self.csrf = ""

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(self.base + path, headers=headers, timeout=20)

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        ours = {"Origin": self.base, "X-CSRFToken": self.csrf}
        return self.session.post(self.base + path, json=body, headers={**ours, **headers}, timeout=20)

    def fetch_csrf(self) -> None:
        self.csrf = self.get("/auth/csrf/").json()["csrf_token"]

    def login(self) -> requests.Response:
        self.fetch_csrf()
        response = self.post("/auth/token/", ALICE)
        self.csrf = response.json()["csrf_token"]
        return response

    def held(self) -> dict[str, Cookie]:
        return {cookie.name: cookie for cookie in self.session.cookies}

    def groups(self) -> list[str]:
        """What the site's views have done."""
        with sqlite3.connect(self.database) as connection:
            found = [name for (name,) in connection.execute("SELECT name FROM auth_group")]
        connection.close()
        return found


@pytest.fixture(params=[pytest.param(kind, marks=[pytest.mark.slow] * (kind in SLOW)) for kind in KINDS])
def browser(request: pytest.FixtureRequest, redis_server: Any, tmp_path: Path) -> Iterator[Browser]:
    kind = dict(KINDS[request.param])
    secure = kind.pop("secure")
    cookie = json.dumps({"secure": secure, "clear_site_data": ["cache", "storage"]})
    server = http_server(
        tmp_path, workers=2, settings="tests.projects.cookie_settings", JWT_REDIS_TEST_COOKIE=cookie, **kind
    )
    with server as base:
        yield Browser(base, secure, tmp_path / "db.sqlite3")


def test_the_story_and_the_forgeries(browser: Browser) -> None:
    assert browser.get("/whoami/").status_code == 401
    signed_in = browser.login()
    assert signed_in.status_code == 200 and set(signed_in.json()) == {"csrf_token"}
    held = browser.held()
    assert {name: cookie.path for name, cookie in held.items()} == {
        browser.access: "/",
        browser.refresh: "/auth/",
        "csrftoken": "/",
    }
    for name in (browser.access, browser.refresh):
        assert held[name].secure == (browser.access.startswith("__"))
        assert held[name].has_nonstandard_attr("HttpOnly")
        assert held[name].get_nonstandard_attr("SameSite") == "Lax"
    # Only under /auth/ is the refresh token sent.
    sent = browser.get("/whoami/").request.headers["Cookie"]
    assert browser.access in sent and browser.refresh not in sent
    assert browser.refresh in str(browser.get("/auth/sessions/").request.headers["Cookie"])

    alice = browser.get("/whoami/").json()["user"]
    for path in ("/plain/", "/plain-async/", "/stateless/", "/fresh/"):
        seen = browser.get(path)
        assert seen.json()["user"] == alice and {"Authorization", "Cookie"} <= set(seen.headers["Vary"].split(", "))
    (listed,) = browser.get("/auth/sessions/").json()
    assert listed["current"] is True

    _forge(browser)
    for path in ("/act/", "/exempt/", "/exempt-async/"):
        assert browser.post(path).status_code == 200
    assert sorted(browser.groups()) == [f"drf {alice}", f"plain {alice}"]

    # Two tabs at once: one successor, and both go on.
    old = held[browser.refresh].value
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _refresh_alone(browser, str(old)), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.cookies[browser.refresh] for answer in answers}) == 1
    assert browser.post("/auth/token/refresh/").status_code == 200
    assert browser.held()[browser.refresh].value == answers[0].cookies[browser.refresh]
    assert browser.get("/whoami/").status_code == 200

    kept = {name: str(browser.held()[name].value) for name in (browser.access, browser.refresh)}
    gone = browser.post("/auth/logout/")
    assert gone.json() == {"sessions_ended": 1} and gone.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert set(browser.held()) == {"csrftoken"}
    assert browser.get("/whoami/").status_code == 401
    # A copy of the cookies is worth nothing, and is no hindrance to the next login.
    _plant(browser, kept)
    assert browser.get("/whoami/").status_code == 401
    refused = browser.post("/auth/token/refresh/")
    assert (refused.status_code, refused.json()["reason"]) == (401, "session_ended")
    assert browser.post("/auth/logout/").json() == {"sessions_ended": 0}
    assert set(browser.held()) == {"csrftoken"}
    _plant(browser, kept)
    assert browser.login().status_code == 200 and browser.get("/whoami/").status_code == 200


def _forge(browser: Browser) -> None:
    """Each with the user's cookies; another site makes the browser do it, or has a form posted."""
    held = {name: cookie.value for name, cookie in browser.held().items()}
    for path in ("/auth/token/", "/auth/token/refresh/", "/auth/logout/", "/act/", "/register/", "/exempt/"):
        for headers, body in (
            ({"Origin": EVIL}, None),
            ({"X-CSRFToken": ""}, None),
            ({"Origin": EVIL, "X-CSRFToken": "", "Content-Type": "application/x-www-form-urlencoded"}, ALICE),
        ):
            response = browser.post(path, body, **headers)
            assert response.status_code == 403 and "CSRF Failed" in response.text, path
    assert {name: cookie.value for name, cookie in browser.held().items()} == held
    assert browser.groups() == [] and len(browser.get("/auth/sessions/").json()) == 1


def _refresh_alone(browser: Browser, refresh: str) -> requests.Response:
    cookies = {browser.refresh: refresh, "csrftoken": str(browser.held()["csrftoken"].value)}
    headers = {"Origin": browser.base, "X-CSRFToken": browser.csrf}
    with requests.Session() as alone:
        alone.mount("https://", TLSInFront())
        return alone.post(browser.base + "/auth/token/refresh/", cookies=cookies, headers=headers, timeout=20)


def _plant(browser: Browser, values: dict[str, str]) -> None:
    for name, value in values.items():
        path = "/auth/" if name == browser.refresh else "/"
        browser.session.cookies.set(name, value, path=path, domain="127.0.0.1", secure=browser.base.startswith("https"))
