"""dj-rest-auth in a project that is wired in another way than its page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.dj_rest_auth_clients import InCookie, assert_alive, assert_ended
from tests.support.neighbours import BOB, Site, site
from tests.support.server import ROOT

NEW = "staple battery 9"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("tests.projects.dj_rest_auth_session_settings", tmp_path_factory.mktemp("everything")) as served:
        yield served


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_signing_out_of_djangos_session_too(everything: Site, method: str) -> None:
    browser = InCookie(everything)
    assert browser.device.get("/by-session/").json() == {"user": "alice"}
    # Without a CSRF token, because the settings say so.
    assert browser.device.call("PATCH", "/auth/user/", {"first_name": "A"}).status_code == 200
    assert browser.device.call(method, "/auth/logout/").status_code == 200
    assert browser.device.get("/by-session/").json() == {"user": ""}
    assert_ended(browser)


def test_a_refused_token_does_not_keep_djangos_session(everything: Site) -> None:
    browser = InCookie(everything)
    refused = browser.device.post("/auth/logout/", {"refresh": "x.y.z"}, headers={"Cookie": _session(browser)})
    assert (refused.status_code, refused.json()["code"]) == (401, "token_not_valid")
    assert browser.device.get("/by-session/").json() == {"user": ""}
    # The cookie that could have ended it was not sent.
    browser.put_back()
    assert_alive(browser)


def _session(browser: InCookie) -> str:
    return f"sessionid={browser.cookies['sessionid']}"


def test_a_new_password_keeps_djangos_session_where_dj_rest_auth_says_so(everything: Site) -> None:
    here, there = InCookie(everything, "bob", BOB), InCookie(everything, "bob", BOB)
    new = {"new_password1": NEW, "new_password2": NEW, "old_password": BOB}
    assert here.call("POST", "/auth/password/change/", new).status_code == 200
    assert here.device.get("/by-session/").json() == {"user": "bob"}
    assert there.device.get("/by-session/").json() == {"user": ""}
    assert_ended(here)
    assert_ended(there)


def check(settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "django", "check", "--fail-level", "WARNING"]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    "settings", ["tests.projects.dj_rest_auth_settings", "tests.projects.dj_rest_auth_cookie_settings"]
)
def test_the_settings_of_the_page_pass_the_checks(settings: str) -> None:
    done = check(settings)
    assert done.returncode == 0, done.stderr


def test_what_of_dj_rest_auth_is_left_is_found() -> None:
    said = check("tests.projects.dj_rest_auth_stock_settings").stderr
    assert set(re.findall(r"\?: \(jwt_redis.E007\) (.*)", said)) == {
        "REST_AUTH['JWT_TOKEN_CLAIMS_SERIALIZER']: rest_framework_simplejwt.serializers.TokenObtainPairSerializer"
        " makes tokens without a session.",
        "REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES']: dj_rest_auth.jwt_auth.JWTCookieAuthentication lets revoked"
        " tokens in.",
        "dj_rest_auth.views.LogoutView, which is served as rest_logout, ends no session.",
        "dj_rest_auth.jwt_auth.get_refresh_view.<locals>.RefreshViewWithCookieSupport, which is served as"
        " token_refresh, takes revoked refresh tokens.",
    }
