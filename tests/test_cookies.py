"""Tokens in cookies: their attributes, who is let in by them, and what another site cannot do with them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from http.cookies import Morsel
from typing import Any

import jwt
import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import include, re_path, set_script_prefix
from django.urls import path as route
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import PermissionDenied
from rest_framework.test import APIClient
from rest_framework_simplejwt.authentication import JWTAuthentication as StockJWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import cookie_paths, cookies, sessions, views
from jwt_redis.authentication import JWTAuthentication, RevocationCheckMixin
from jwt_redis.checks import check_settings
from jwt_redis.conf import Cookie, config
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import SlidingToken
from tests.test_redis_failure import pointed_at

pytestmark = pytest.mark.django_db

ACCESS, REFRESH = "__Host-access_token", "__Secure-refresh_token"
HERE, EVIL = "https://testserver", "https://evil.example"
ALICE = {"username": "alice", "password": "correct horse"}
DAY = 24 * 60 * 60


@pytest.fixture(autouse=True)
def _with_cookies(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.projects.cookie_urls"
    set_cookie_settings(settings)


def set_cookie_settings(settings: Any, **cookie: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "COOKIE": cookie}


class Browser:
    """A page of this site in a browser: it sends its cookies, its Origin, and the CSRF token that it was given."""

    def __init__(self, origin: str = HERE) -> None:
        self.client = APIClient(enforce_csrf_checks=True)
        self.origin = origin
        self.csrf: str | None = None

    def ask(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        if method != "get":
            extra.setdefault("HTTP_ORIGIN", self.origin)
            if self.csrf is not None:
                extra.setdefault("HTTP_X_CSRFTOKEN", self.csrf)
        extra.setdefault("format", "json")
        return getattr(self.client, method)(path, body, secure=True, **extra)

    def get(self, path: str, **extra: Any) -> Any:
        return self.client.get(path, secure=True, **extra)

    def post(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self.ask("post", path, body, **extra)

    def fetch_csrf(self) -> None:
        self.csrf = self.get("/auth/csrf/").json()["csrf_token"]

    def login(self, path: str = "/auth/token/", body: Any = None) -> Any:
        self.fetch_csrf()
        response = self.post(path, body or ALICE)
        assert response.status_code == 200, response.content
        self.csrf = response.json()["csrf_token"]
        return response

    def value(self, name: str) -> str:
        return str(self.client.cookies[name].value)

    def set(self, name: str, value: str) -> None:
        self.client.cookies[name] = value


@pytest.fixture
def browser(alice: Any) -> Browser:
    """alice's, signed in."""
    made = Browser()
    made.login()
    return made


def attributes(morsel: Morsel[str]) -> dict[str, Any]:
    return {name: value for name, value in morsel.items() if value and name != "expires"}


def is_cleared(response: Any, name: str) -> bool:
    morsel = response.cookies.get(name)
    return morsel is not None and morsel.value == "" and morsel["max-age"] == 0


def vary(response: Any) -> set[str]:
    return {name.strip() for name in response.get("Vary", "").split(",")} - {""}


def sid(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["sid"])


def alive(user: Any) -> int:
    return len(sessions.list_sessions(user))


# The cookies --------------------------------------------------------------------------------------------------------


def test_a_login_sets_both_cookies_and_keeps_the_tokens_out_of_the_body(alice: Any) -> None:
    browser = Browser()
    response = browser.login()
    assert set(response.json()) == {"csrf_token"}
    access, refresh = response.cookies[ACCESS], response.cookies[REFRESH]
    both = {"httponly": True, "secure": True, "samesite": "Lax"}
    assert attributes(access) == {**both, "path": "/", "max-age": access["max-age"]}
    assert attributes(refresh) == {**both, "path": "/auth/", "max-age": refresh["max-age"]}
    assert 295 <= access["max-age"] <= 300 and DAY - 5 <= refresh["max-age"] <= DAY
    assert sid(access.value) == sid(refresh.value) == sessions.list_sessions(alice)[0].sid


@pytest.mark.parametrize(
    ("cookie", "access", "refresh"),
    [
        ({"refresh_path": "/"}, ("__Host-access_token", "/"), ("__Host-refresh_token", "/")),
        ({"path": "/api/"}, ("__Secure-access_token", "/api/"), (REFRESH, "/auth/")),
        ({"domain": "testserver"}, ("__Secure-access_token", "/"), (REFRESH, "/auth/")),
        ({"prefix": False, "access": "a", "refresh": "r"}, ("a", "/"), ("r", "/auth/")),
        ({"secure": False}, ("access_token", "/"), ("refresh_token", "/auth/")),
        ({"samesite": "Strict"}, (ACCESS, "/"), (REFRESH, "/auth/")),
        ({"samesite": "None"}, (ACCESS, "/"), (REFRESH, "/auth/")),
        ({"persistent": False}, (ACCESS, "/"), (REFRESH, "/auth/")),
    ],
)
def test_attributes_are_as_the_settings_say_and_clearing_has_the_same(
    alice: Any, settings: Any, cookie: dict[str, Any], access: tuple[str, str], refresh: tuple[str, str]
) -> None:
    set_cookie_settings(settings, **cookie)
    browser = Browser()
    response = browser.login()
    assert browser.get("/whoami/").status_code == 200
    gone = browser.post("/auth/logout/")
    for name, path in (access, refresh):
        morsel = response.cookies[name]
        assert morsel["path"] == path and morsel["domain"] == cookie.get("domain", "")
        assert morsel["httponly"] is True and bool(morsel["secure"]) == cookie.get("secure", True)
        assert morsel["samesite"] == cookie.get("samesite", "Lax")
        assert bool(morsel["max-age"]) == bool(morsel["expires"]) == cookie.get("persistent", True)
        assert is_cleared(gone, name)
        differing = ("max-age", "expires")
        assert {k: v for k, v in gone.cookies[name].items() if k not in differing} == {
            k: v for k, v in morsel.items() if k not in differing
        }


def test_in_body_puts_them_there_too(alice: Any, settings: Any) -> None:
    set_cookie_settings(settings, in_body=True)
    body = Browser().login().json()
    assert set(body) == {"access", "refresh", "csrf_token"} and sid(body["access"]) == sid(body["refresh"])


def test_without_the_setting_nothing_of_this_is_there(alice: Any, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions"}
    http = APIClient(enforce_csrf_checks=True)
    response = http.post("/auth/token/", ALICE, format="json")
    assert set(response.json()) == {"access", "refresh"} and not response.cookies
    assert vary(response) == {"Accept"}
    http.cookies[ACCESS] = http.cookies["access_token"] = response.json()["access"]
    whoami = http.get("/whoami/")
    assert whoami.status_code == 401 and vary(whoami) == {"Accept"}
    assert vary(http.get("/plain/")) <= {"Cookie"}  # of Django's session
    assert http.get("/auth/csrf/").status_code == 404
    assert http.post("/auth/token/refresh/", {}, format="json").json() == {"refresh": ["This field is required."]}
    assert http.post("/auth/logout/", {}, format="json").status_code == 401
    with pytest.raises(ImproperlyConfigured, match="COOKIE"):
        cookies.set_cookies(HttpResponse(), access=response.json()["access"])
    with pytest.raises(ImproperlyConfigured, match="COOKIE"):
        cookies.clear_cookies(HttpResponse())
    assert cookies.access_cookies(whoami.wsgi_request) == cookies.refresh_cookies(whoami.wsgi_request) == []


def test_a_cookie_that_no_browser_keeps_is_told_of(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    token = sessions.open_session(alice)
    access = token.access_token
    caplog.clear()
    cookies.set_cookies(HttpResponse(), access=access)
    assert not caplog.records
    access["claims"] = "x" * 4000
    cookies.set_cookies(HttpResponse(), access=access)
    (record,) = caplog.records
    assert record.event == "cookie_too_large" and record.levelname == "ERROR"  # type: ignore[attr-defined]
    assert "x" * 50 not in record.getMessage()
    with pytest.raises(TokenError):
        cookies.set_cookies(HttpResponse(), access="no token")


# The story ----------------------------------------------------------------------------------------------------------


def test_from_the_login_to_the_logout(alice: Any, browser: Browser) -> None:
    assert browser.get("/whoami/").json() == {"user": str(alice.pk)}
    assert browser.get("/plain/").json()["user"] == str(alice.pk)
    assert browser.get("/plain-async/").json()["user"] == str(alice.pk)
    assert browser.get("/stateless/").status_code == browser.get("/fresh/").status_code == 200
    assert browser.post("/auth/token/verify/").status_code == 200
    (listed,) = browser.get("/auth/sessions/").json()
    assert listed["current"] is True
    assert browser.post("/act/").status_code == 200

    before = browser.value(REFRESH), browser.value(ACCESS)
    response = browser.post("/auth/token/refresh/")
    assert (response.status_code, response.json()) == (200, {})
    after = browser.value(REFRESH), browser.value(ACCESS)
    assert before[0] != after[0] and before[1] != after[1] and sid(before[0]) == sid(after[0])
    assert browser.get("/whoami/").status_code == 200

    gone = browser.post("/auth/logout/")
    assert (gone.status_code, gone.json()) == (200, {"sessions_ended": 1})
    assert is_cleared(gone, ACCESS) and is_cleared(gone, REFRESH)
    assert alive(alice) == 0
    assert browser.get("/whoami/").status_code == 401
    again = browser.post("/auth/logout/")
    assert (again.status_code, again.json()) == (200, {"sessions_ended": 0})
    # Whoever has kept the cookies has nothing.
    browser.set(ACCESS, after[1])
    browser.set(REFRESH, after[0])
    assert browser.get("/whoami/").status_code == 401
    assert browser.post("/auth/token/refresh/").json()["reason"] == "session_ended"


def test_without_rotation_the_refresh_cookie_stays(alice: Any, browser: Browser, settings: Any) -> None:
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ROTATE_REFRESH_TOKENS": False}
    response = browser.post("/auth/token/refresh/")
    assert response.status_code == 200 and ACCESS in response.cookies and REFRESH not in response.cookies


def test_a_sliding_token_is_in_the_access_cookie_for_as_long_as_it_may_be_refreshed(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rest_framework_simplejwt.authentication.api_settings.AUTH_TOKEN_CLASSES", (SlidingToken,))
    browser = Browser()
    response = browser.login("/ours/sliding/")
    assert set(response.json()) == {"csrf_token"} and REFRESH not in response.cookies
    assert DAY - 5 <= response.cookies[ACCESS]["max-age"] <= DAY
    assert browser.get("/whoami/").status_code == 200
    renewed = browser.post("/ours/sliding/refresh/")
    assert (renewed.status_code, renewed.json()) == (200, {}) and renewed.cookies[ACCESS].value
    assert browser.post("/auth/logout/").json() == {"sessions_ended": 1}
    assert browser.get("/whoami/").status_code == 401


@pytest.mark.parametrize("ending", ["logout/", "logout/all/", "token/blacklist/", "sessions/SID/"])
def test_every_way_to_sign_out_clears_the_cookies(alice: Any, settings: Any, ending: str) -> None:
    set_cookie_settings(settings, clear_site_data=True)
    browser = Browser()
    browser.login()
    path = "/auth/" + ending.replace("SID", sid(browser.value(ACCESS)))
    response = browser.ask("delete" if "SID" in ending else "post", path)
    assert response.status_code in (200, 204)
    assert is_cleared(response, ACCESS) and is_cleared(response, REFRESH)
    assert response["Clear-Site-Data"] == '"cache", "cookies", "storage"'
    assert alive(alice) == 0


def test_ending_other_sessions_leaves_the_cookies(alice: Any, browser: Browser) -> None:
    other = sessions.open_session(alice)
    sessions.open_session(alice)
    for response in (
        browser.ask("delete", f"/auth/sessions/{other['sid']}/"),
        browser.ask("delete", "/auth/sessions/nobodys/"),
        browser.post("/auth/logout/others/"),
    ):
        assert ACCESS not in response.cookies and "Clear-Site-Data" not in response
    assert alive(alice) == 1 and browser.get("/whoami/").status_code == 200


def test_clear_site_data_names_what_the_setting_names(alice: Any, settings: Any) -> None:
    set_cookie_settings(settings, clear_site_data=["cookies"])
    browser = Browser()
    browser.login()
    assert browser.post("/auth/logout/")["Clear-Site-Data"] == '"cookies"'
    set_cookie_settings(settings)
    assert "Clear-Site-Data" not in browser.post("/auth/logout/")


def test_a_projects_own_views_set_and_clear_them(alice: Any, browser: Browser) -> None:
    first = browser.value(ACCESS)
    assert browser.post("/password/", {"password": "another horse"}).status_code == 200
    assert sid(browser.value(ACCESS)) != sid(first) and alive(alice) == 1
    assert browser.get("/whoami/").status_code == 200
    assert browser.post("/auth/token/refresh/").status_code == 200
    response = browser.get("/bye/")
    assert is_cleared(response, ACCESS) and is_cleared(response, REFRESH)


# What another site cannot do ----------------------------------------------------------------------------------------


# What it is sent with, beside the user's cookies.
FORGERIES: dict[str, dict[str, str]] = {
    "another origin": {"HTTP_ORIGIN": EVIL},
    "another origin that knows the token": {"HTTP_ORIGIN": EVIL, "HTTP_X_CSRFTOKEN": "THE TOKEN"},
    "a form, from a browser that sends no Origin": {"HTTP_REFERER": f"{EVIL}/form", "HTTP_X_CSRFTOKEN": "THE TOKEN"},
    "nothing": {"HTTP_X_CSRFTOKEN": "THE TOKEN"},
    "no token": {"HTTP_ORIGIN": HERE},
    "a token of somebody else": {"HTTP_ORIGIN": HERE, "HTTP_X_CSRFTOKEN": "x" * 64},
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/auth/token/"),
        ("post", "/auth/token/refresh/"),
        ("post", "/auth/token/verify/"),
        ("post", "/auth/token/blacklist/"),
        ("post", "/auth/logout/"),
        ("post", "/auth/logout/others/"),
        ("post", "/auth/logout/all/"),
        ("delete", "/auth/sessions/SID/"),
        ("post", "/ours/sliding/"),
        ("post", "/ours/sliding/refresh/"),
        ("post", "/password/"),
        ("post", "/act/"),
        ("put", "/act/"),
        ("patch", "/act/"),
        ("delete", "/act/"),
        ("post", "/register/"),
        ("post", "/exempt/"),
        ("post", "/exempt-async/"),
        ("delete", "/exempt/"),
    ],
)
def test_a_forged_request_changes_nothing(alice: Any, browser: Browser, forgery: str, method: str, path: str) -> None:
    sessions.open_session(alice)
    kept = browser.value(ACCESS), browser.value(REFRESH)
    # What a form sends is what any site may send.
    body = "username=alice&password=" + ("evil+horse" if path == "/password/" else "correct+horse")
    extra: dict[str, Any] = {k: browser.csrf if v == "THE TOKEN" else v for k, v in FORGERIES[forgery].items()}
    ask = getattr(browser.client, method)
    kind = "application/x-www-form-urlencoded"
    response = ask(path.replace("SID", sid(kept[0])), body, secure=True, content_type=kind, **extra)
    assert response.status_code == 403, response.content
    assert "CSRF Failed" in response.content.decode()
    assert {ACCESS, REFRESH}.isdisjoint(response.cookies)
    assert (browser.value(ACCESS), browser.value(REFRESH)) == kept
    assert alive(alice) == 2 and not Group.objects.exists()
    alice.refresh_from_db()
    assert alice.check_password("correct horse")


def test_a_login_from_another_site_is_refused_where_there_is_no_cookie_yet(alice: Any, bob: Any) -> None:
    """Login CSRF: the user would go on as somebody else."""
    browser = Browser(EVIL)
    response = browser.post("/auth/token/", ALICE)
    assert response.status_code == 403 and not response.cookies and alive(alice) == 0


def test_a_refresh_token_in_the_body_needs_a_csrf_token_as_well(alice: Any, bob: Any, browser: Browser) -> None:
    """Its answer would put another's tokens into the cookies, or take the user's away."""
    refresh = str(sessions.open_session(bob))
    for path in ("/auth/token/refresh/", "/auth/logout/", "/auth/token/blacklist/"):
        response = browser.post(path, {"refresh": refresh}, HTTP_ORIGIN=EVIL)
        assert response.status_code == 403 and {ACCESS, REFRESH}.isdisjoint(response.cookies)
    assert alive(bob) == 1
    # A verdict on the caller's own token gives nothing away, and sets nothing.
    assert Browser(EVIL).post("/auth/token/verify/", {"token": refresh}).status_code == 200


def test_safe_methods_need_no_token(browser: Browser) -> None:
    browser.csrf, browser.origin = None, EVIL
    for method in ("get", "head", "options"):
        assert browser.ask(method, "/whoami/", HTTP_ORIGIN=EVIL).status_code == 200


def test_trusted_origins_are_djangos(browser: Browser, settings: Any) -> None:
    browser.origin = "https://app.example"
    assert browser.post("/act/").status_code == 403
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
    assert browser.post("/act/").status_code == 200


def test_a_form_may_send_the_token_as_a_field(alice: Any, browser: Browser) -> None:
    token, browser.csrf = browser.csrf, None
    for kind in ("multipart", None):
        fields: Any = {"csrfmiddlewaretoken": token, **ALICE}
        extra: dict[str, Any] = {"format": "multipart"}
        if kind is None:
            fields = f"csrfmiddlewaretoken={token}&username=alice&password=correct+horse"
            extra = {"content_type": "application/x-www-form-urlencoded", "format": None}
        for path in ("/act/", "/exempt/"):
            assert browser.post(path, fields, **extra).status_code == 200
        # The body is read once for the token and is there for the serializer all the same.
        response = browser.post("/auth/token/", fields, **extra)
        assert response.status_code == 200, response.content
        token = response.json()["csrf_token"]
    assert browser.client.post("/auth/token/refresh/", secure=True, HTTP_ORIGIN=HERE).status_code == 403
    again = browser.post("/auth/token/refresh/", {"csrfmiddlewaretoken": token}, format="multipart")
    assert again.status_code == 200


def test_csrf_off_is_off(alice: Any, settings: Any) -> None:
    set_cookie_settings(settings, csrf=False)
    browser = Browser(EVIL)
    assert browser.post("/auth/token/", ALICE).json() == {}
    for path in ("/act/", "/exempt/", "/auth/token/refresh/", "/auth/logout/"):
        assert browser.post(path).status_code == 200


def test_a_login_renews_the_csrf_secret(alice: Any) -> None:
    browser = Browser()
    browser.fetch_csrf()
    before, old = browser.csrf, browser.value("csrftoken")
    browser.login()
    assert browser.value("csrftoken") != old
    assert browser.post("/act/", HTTP_X_CSRFTOKEN=before).status_code == 403
    assert browser.post("/act/").status_code == 200
    # Asking again gives another mask of the same secret.
    secret = browser.value("csrftoken")
    browser.fetch_csrf()
    assert browser.value("csrftoken") == secret and browser.post("/act/").status_code == 200


def test_the_csrf_token_is_never_cached(alice: Any) -> None:
    response = Browser().get("/auth/csrf/")
    assert "no-store" in response["Cache-Control"] and "Cookie" in vary(response)
    assert response.cookies["csrftoken"].value


def test_with_djangos_own_middleware_nothing_is_checked_or_set_twice(alice: Any, settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware", *settings.MIDDLEWARE]
    browser = Browser()
    browser.login()
    assert browser.post("/act/").status_code == browser.post("/guarded/").status_code == 200
    assert browser.post("/exempt/").status_code == 200
    token, browser.csrf = browser.csrf, None
    Group.objects.all().delete()
    for path in ("/act/", "/guarded/", "/exempt/"):
        assert browser.post(path).status_code == 403
    assert not Group.objects.exists()
    browser.csrf = token
    assert browser.post("/auth/token/refresh/").status_code == browser.post("/auth/logout/").status_code == 200


def test_csrf_secrets_may_be_in_djangos_session(alice: Any, settings: Any) -> None:
    settings.CSRF_USE_SESSIONS = True
    browser = Browser()
    browser.login()
    assert "csrftoken" not in browser.client.cookies and "sessionid" in browser.client.cookies
    assert browser.post("/act/").status_code == 200
    assert browser.post("/act/", HTTP_X_CSRFTOKEN="x" * 64).status_code == 403


def test_drf_does_not_take_the_middlewares_word_for_a_cookie(alice: Any, browser: Browser, settings: Any) -> None:
    """Another middleware has asked for the user before: the token is known to be good, the request is not."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_cookies.looking"]
    assert browser.post("/act/", HTTP_ORIGIN=EVIL).status_code == 403
    assert browser.post("/act/").status_code == 200


def looking(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        assert request.user is not None
        return get_response(request)

    return middleware


# Who wins -----------------------------------------------------------------------------------------------------------


def bearer(token: Any) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def test_the_header_wins_and_needs_no_csrf_token(alice: Any, bob: Any, browser: Browser) -> None:
    bobs = sessions.open_session(bob)
    header = bearer(bobs.access_token)
    for path in ("/whoami/", "/plain/", "/plain-async/"):
        assert browser.get(path, **header).json()["user"] == str(bob.pk)
    browser.csrf, browser.origin = None, EVIL
    assert browser.post("/act/", **header).status_code == browser.post("/exempt/", **header).status_code == 200
    # And one that is bad is refused, whatever the cookie says.
    for value in ("Bearer bad", "Bearer", "Bearer a b"):
        assert browser.get("/whoami/", HTTP_AUTHORIZATION=value).status_code == 401
        assert browser.get("/plain/", HTTP_AUTHORIZATION=value).json()["anonymous"] is True
    # One of another kind is not ours: a proxy's, say.
    assert browser.get("/whoami/", HTTP_AUTHORIZATION="Basic YTpi").json() == {"user": str(alice.pk)}
    assert browser.get("/plain/", HTTP_AUTHORIZATION="Basic YTpi").json()["user"] == str(alice.pk)
    assert browser.post("/auth/logout/", HTTP_AUTHORIZATION="Bearer a b").status_code == 401
    response = browser.post("/auth/logout/", **header)
    assert response.json() == {"sessions_ended": 1} and alive(bob) == 0 and alive(alice) == 1


class ByKey(StockJWTAuthentication):
    """A project's own, with an ``authenticate`` that knows another way."""

    def authenticate(self, request: Any) -> Any:
        if request.META.get("HTTP_X_KEY"):
            return AnonymousUser(), None
        return super().authenticate(request)


class ByKeyOrCookie(RevocationCheckMixin, ByKey):
    pass


def test_the_mixin_brings_cookies_to_a_projects_own_class(alice: Any, browser: Browser, rf: Any) -> None:
    def ask(method: str, **extra: Any) -> Any:
        request = rf.generic(method, "/", secure=True, HTTP_COOKIE=f"{ACCESS}={browser.value(ACCESS)}", **extra)
        request._dont_enforce_csrf_checks = False
        return ByKeyOrCookie().authenticate(request)

    assert ask("GET")[0] == alice
    assert ask("POST", HTTP_X_KEY="1") == (AnonymousUser(), None)
    assert ask("POST", **bearer(browser.value(ACCESS)))[0] == alice
    with pytest.raises(PermissionDenied, match="CSRF Failed"):
        ask("POST")


def test_the_body_wins_over_the_cookie(alice: Any, bob: Any, browser: Browser) -> None:
    bobs = sessions.open_session(bob)
    response = browser.post("/auth/token/refresh/", {"refresh": str(bobs)})
    assert response.status_code == 200 and sid(browser.value(REFRESH)) == bobs["sid"]
    other = sessions.open_session(alice)
    for path in ("/auth/logout/", "/auth/token/blacklist/"):
        assert browser.post(path, {"refresh": "bad"}).status_code == 401
    assert browser.post("/auth/token/verify/", {"token": "bad"}).status_code == 401
    assert browser.post("/auth/logout/", {"refresh": str(other)}).json() == {"sessions_ended": 1}
    assert alive(bob) == 1 and alive(alice) == 1


def test_djangos_own_session_stays_beside_a_cookie(alice: Any, admin_user: Any, browser: Browser) -> None:
    """The administrator, who has the site open in the same browser."""
    browser.client.force_login(admin_user)
    assert browser.get("/admin/").status_code == 200
    for path in ("/plain/", "/plain-async/"):
        assert browser.get(path).json() == {"user": str(admin_user.pk), "anonymous": False, "sid": None, "error": None}
    assert browser.get("/whoami/").json() == {"user": str(alice.pk)}


def test_views_without_cookies(alice: Any, browser: Browser) -> None:
    """For native apps: no cookie, no CSRF, tokens in the body."""
    assert browser.post("/act-without/").status_code == 401
    assert browser.post("/native/refresh/", {}).json() == {"refresh": ["This field is required."]}
    assert browser.post("/native/logout/").status_code == browser.post("/native/logout/all/").status_code == 401
    native = APIClient(enforce_csrf_checks=True)
    pair = native.post("/native/token/", ALICE, format="json")
    assert set(pair.json()) == {"access", "refresh"} and not pair.cookies
    new = native.post("/native/refresh/", {"refresh": pair.json()["refresh"]}, format="json")
    assert set(new.json()) == {"access", "refresh"} and not new.cookies
    assert native.post("/act-without/", **bearer(new.json()["access"])).status_code == 200
    gone = native.post("/native/logout/", {"refresh": new.json()["refresh"]}, format="json")
    assert gone.json() == {"sessions_ended": 1} and not gone.cookies and vary(gone) == {"Accept"}
    assert alive(alice) == 1


# Cookies that are no good -------------------------------------------------------------------------------------------


def _foreign(alice: Any) -> str:
    payload = sessions.open_session(alice).access_token.payload
    return jwt.encode(payload, "the key of another service, which is long enough", algorithm="HS256")


def _unsigned(alice: Any) -> str:
    _, body, _ = str(sessions.open_session(alice).access_token).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{none}.{body}."


def _expired(alice: Any) -> str:
    token = sessions.open_session(alice).access_token
    token.set_exp(lifetime=-timedelta(seconds=60))
    return str(token)


def _ended(alice: Any) -> str:
    token = sessions.open_session(alice)
    sessions.end_session(alice, token["sid"])
    return str(token.access_token)


def _refresh_of_ended(alice: Any) -> str:
    token = sessions.open_session(alice)
    sessions.end_session(alice, token["sid"])
    return str(token)


def _of_a_deleted_user(alice: Any) -> str:
    token = sessions.open_session(alice).access_token
    token["user_id"] = "987654"
    return str(token)


BAD: dict[str, Any] = {
    "stale": _ended,
    "stale refresh": _refresh_of_ended,
    "expired": _expired,
    "foreign": _foreign,
    "unsigned": _unsigned,
    "truncated": lambda alice: str(sessions.open_session(alice).access_token)[:-9],
    "oversized": lambda alice: "x." * 50_000,
    "of a deleted user": _of_a_deleted_user,
    "text": lambda alice: "hello",
    "odd bytes": lambda alice: "\xe9\xff☠".encode().decode("latin-1"),
    "deleted": lambda alice: "",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_cookie_breaks_nothing_and_a_logout_clears_it(alice: Any, kind: str) -> None:
    bad = BAD[kind](alice)
    browser = Browser()
    browser.fetch_csrf()
    browser.set(ACCESS, bad)
    browser.set(REFRESH, bad)
    # Nobody, anywhere; and a stale cookie alone is no 403.
    for path in ("/whoami/", "/stateless/", "/auth/sessions/", "/behind-stock/"):
        response = browser.get(path)
        assert response.status_code == 401 and response["WWW-Authenticate"] == 'Bearer realm="api"'
    csrf, browser.csrf = browser.csrf, None
    assert browser.post("/register/").json() == {"user": "None"}
    assert browser.post("/act/").status_code == 401
    assert browser.get("/plain/").json()["anonymous"] is browser.get("/plain-async/").json()["anonymous"] is True
    assert (browser.get("/plain/").json()["error"] is None) == (kind == "deleted")
    browser.csrf = csrf
    # Nothing to refresh with, and the cookies are left alone: another tab may have set new ones.
    for path in ("/auth/token/refresh/", "/ours/sliding/refresh/"):
        refused = browser.post(path)
        assert refused.status_code == 401 and {ACCESS, REFRESH}.isdisjoint(refused.cookies)
    # The verdict on a token that was revoked is Simple JWT's 400.
    assert browser.post("/auth/token/verify/").status_code in (400, 401)
    for path, body in (("/auth/logout/", {"sessions_ended": 0}), ("/auth/token/blacklist/", {})):
        browser.set(ACCESS, bad)
        browser.set(REFRESH, bad)
        gone = browser.post(path)
        # One that has merely run out still says which session is meant.
        ended = {"sessions_ended": 1} if body and kind == "expired" else body
        assert (gone.status_code, gone.json()) == (200, ended)
        assert is_cleared(gone, ACCESS) and is_cleared(gone, REFRESH)
    browser.set(ACCESS, bad)
    browser.set(REFRESH, bad)
    browser.login()
    assert browser.get("/whoami/").json() == {"user": str(alice.pk)}


def test_one_good_cookie_is_enough_to_sign_out(alice: Any, browser: Browser) -> None:
    browser.set(ACCESS, "bad")
    assert browser.post("/auth/logout/").json() == {"sessions_ended": 1}
    browser.login()
    browser.set(REFRESH, "bad")
    assert browser.post("/auth/logout/").json() == {"sessions_ended": 1}


def test_a_cookie_that_comes_twice_is_nobodys(alice: Any, bob: Any, browser: Browser, caplog: Any) -> None:
    """A sibling of the host may set one for both, and Django's dict would have either."""
    theirs = sessions.open_session(bob)
    ours = {name: browser.value(name) for name in (ACCESS, REFRESH, "csrftoken")}
    csrf = {"HTTP_X_CSRFTOKEN": browser.csrf, "HTTP_ORIGIN": HERE, "secure": True}
    for first in (True, False):
        twice = [f"{ACCESS}={theirs.access_token}", f"{ACCESS}={ours[ACCESS]}"]
        twice += [f"{REFRESH}={theirs}", f"{REFRESH}={ours[REFRESH]}"]
        header = "; ".join([*(twice if first else reversed(twice)), f"csrftoken={ours['csrftoken']}"])
        client = APIClient(enforce_csrf_checks=True, HTTP_COOKIE=header)
        assert client.get("/whoami/", secure=True).status_code == 401
        assert client.get("/plain/", secure=True).json()["anonymous"] is True
        refused = client.post("/auth/token/refresh/", **csrf)
        assert refused.status_code == 401 and "twice" in refused.json()["detail"]
        assert alive(alice) == alive(bob) == 1
    assert {r.event for r in caplog.records if hasattr(r, "event")} >= {"cookie_ambiguous"}
    assert ours[ACCESS] not in caplog.text
    # Whoever signs out has them all ended.
    assert client.post("/auth/logout/", **csrf).json() == {"sessions_ended": 2}
    # The same value twice is one, and a name that ends alike is another.
    same = f"{ACCESS}=x; old-{ACCESS}=y; {ACCESS}=x"
    request = APIClient(HTTP_COOKIE=same).get("/untouched/").wsgi_request
    assert cookies.access_cookie(request) == b"x" and cookies.raw_access_token(request) == b"x"


def test_raw_access_token_prefers_the_header(alice: Any) -> None:
    client = APIClient(HTTP_COOKIE=f"{ACCESS}=theirs")
    assert cookies.raw_access_token(client.get("/untouched/", **bearer("ours")).wsgi_request) == b"ours"
    assert cookies.raw_access_token(client.get("/untouched/").wsgi_request) == b"theirs"
    assert cookies.raw_access_token(APIClient().get("/untouched/").wsgi_request) is None


@pytest.fixture
def dead_redis() -> Iterator[Any]:
    with RedisServer() as server:
        url = server.url
    yield lambda: pointed_at(url)


def test_where_redis_is_down_the_cookies_stay(alice: Any, browser: Browser, dead_redis: Any) -> None:
    current = sid(browser.value(ACCESS))
    with dead_redis():
        for path in ("/whoami/", "/plain/", "/plain-async/"):
            assert browser.get(path).status_code == 503
        for method, path in (
            ("post", "/auth/token/refresh/"),
            ("post", "/auth/logout/"),
            ("post", "/auth/logout/all/"),
            ("post", "/auth/token/blacklist/"),
            ("delete", f"/auth/sessions/{current}/"),
        ):
            response = browser.ask(method, path)
            assert response.status_code == 503 and response["Retry-After"]
            assert {ACCESS, REFRESH}.isdisjoint(response.cookies) and "Clear-Site-Data" not in response


# Vary ---------------------------------------------------------------------------------------------------------------


def test_what_depends_on_who_asks_says_so(alice: Any, browser: Browser) -> None:
    depends = {"Authorization", "Cookie"}
    access = sessions.open_session(alice).access_token
    for client, extra in ((browser, {}), (Browser(), {}), (browser, bearer(access)), (browser, bearer("bad"))):
        for path in ("/whoami/", "/plain/", "/plain-async/", "/auth/sessions/", "/register/"):
            assert vary(client.get(path, **extra)) - {"Accept"} == depends, path
        assert vary(client.get("/untouched/", **extra)) == set()
    for path in ("/auth/token/", "/auth/token/refresh/", "/auth/logout/"):
        assert depends <= vary(browser.post(path, ALICE))
        assert depends <= vary(browser.post(path, ALICE, HTTP_ORIGIN=EVIL))


def test_a_header_of_another_name_is_named(alice: Any, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest_framework_simplejwt.settings.api_settings.AUTH_HEADER_NAME", "HTTP_X_ACCESS_TOKEN")
    assert vary(browser.get("/whoami/")) - {"Accept"} == {"X-Access-Token", "Cookie"}


# Under asyncio ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_the_classes_over_asyncio(django_user_model: Any, rf: Any) -> None:
    user = await django_user_model.objects.acreate_user("alice", password="correct horse")
    token = await sessions.aopen_session(user)

    async def ask(method: str, raw: object, **extra: str) -> Any:
        request = rf.generic(method, "/", secure=True, HTTP_COOKIE=f"{ACCESS}={raw}; csrftoken={'c' * 32}", **extra)
        request._dont_enforce_csrf_checks = False
        return await JWTAuthentication().aauthenticate(request)

    access = token.access_token
    assert (await ask("GET", access))[0] == user
    with pytest.raises(PermissionDenied, match="CSRF Failed"):
        await ask("POST", access, HTTP_ORIGIN=EVIL, HTTP_X_CSRFTOKEN="c" * 32)
    assert (await ask("POST", access, HTTP_ORIGIN=HERE, HTTP_X_CSRFTOKEN="c" * 32))[0] == user
    assert await ask("POST", "stale", HTTP_ORIGIN=EVIL) is None
    assert (await ask("POST", "stale", HTTP_ORIGIN=EVIL, **bearer(access)))[0] == user


@pytest.mark.django_db(transaction=True)
async def test_plain_views_over_asyncio(django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate_user("alice", password="correct horse")
    token = await sessions.aopen_session(user)
    client = AsyncClient(enforce_csrf_checks=True)
    client.cookies[ACCESS] = str(token.access_token)
    seen = await client.get("/plain-async/", secure=True)
    assert seen.json()["sid"] == token["sid"] and {"Authorization", "Cookie"} <= vary(seen)
    refused = await client.post("/exempt-async/", secure=True, headers={"Origin": EVIL})
    assert refused.status_code == 403 and "CSRF Failed" in refused.json()["error"]
    csrf = (await client.get("/auth/csrf/", secure=True)).json()["csrf_token"]
    headers = {"Origin": HERE, "X-CSRFToken": csrf}
    assert (await client.post("/exempt-async/", secure=True, headers=headers)).status_code == 200
    await sessions.aend_session(user, token["sid"])
    stale = await client.get("/plain-async/", secure=True)
    assert stale.json()["anonymous"] is True and stale.json()["error"]["reason"] == "session_ended"


def test_a_middleware_without_djangos_behind_it(alice: Any, browser: Browser, settings: Any) -> None:
    settings.MIDDLEWARE = ["jwt_redis.middleware.JWTAuthenticationMiddleware"]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
    for path in ("/plain/", "/plain-async/"):
        assert browser.get(path).json()["user"] == str(alice.pk)
        assert Browser().get(path).json() == {"user": "None", "anonymous": True, "sid": None, "error": None}


# Where the refresh cookie is sent -------------------------------------------------------------------------------------


def urlconf(*patterns: Any) -> Any:
    return type("urlconf", (), {"urlpatterns": list(patterns)})()


TENANTS = urlconf(route("t/<str:tenant>/auth/", include("jwt_redis.urls")))


def test_the_refresh_cookies_path_is_what_its_urls_have_in_common(settings: Any) -> None:

    refresh, logout = views.TokenRefreshView.as_view(), views.LogoutView.as_view()
    native = views.TokenRefreshView.as_view(uses_cookies=False)
    shipped = include("jwt_redis.urls")

    def made(*patterns: Any) -> str:
        settings.ROOT_URLCONF = urlconf(*patterns)
        return cookie_paths.refresh_path(Cookie())

    assert made(route("auth/", shipped)) == "/auth/"
    assert made(route("api/", include((([route("v1/auth/", shipped)]), "api"), namespace="v1"))) == "/api/v1/auth/"
    assert made(route("a/refresh", refresh), route("a/logout", logout)) == "/a/"
    assert made(route("a/refresh", refresh), route("a/refresher", logout)) == "/a/"
    assert made(route("a/refresh/", refresh), route("native/", native)) == "/a/refresh/"
    assert made(route("a/refresh", refresh)) == "/a/refresh"
    assert made(route("a/refresh/", refresh), route("logout/", logout)) == "/"
    assert made(route("<str:tenant>/auth/", shipped)) == "/"
    assert made(route("t/<str:tenant>/refresh/", refresh)) == "/t/"
    assert made(re_path(r"^api/auth/(?P<v>\d)/refresh$", refresh)) == "/api/auth/"
    assert made(re_path(r"^api/refresh/$", refresh)) == "/api/refresh/"
    assert made(re_path(r"^api/refresh/?$", refresh)) == "/api/"
    assert made(*i18n_patterns(route("auth/", shipped))) == "/"
    assert made(route(gettext_lazy("auth/"), shipped)) == "/"  # type: ignore[arg-type]
    assert made(route("native/", native)) == "/"
    try:
        set_script_prefix("/app/")
        assert made(route("auth/", shipped)) == "/app/auth/"
    finally:
        set_script_prefix("/")


@pytest.mark.parametrize(
    ("cookie", "urls", "expected"),
    [
        ({}, "tests.projects.cookie_urls", []),
        ({"refresh_path": "/"}, "tests.projects.cookie_urls", []),
        ({"refresh_path": "/auth"}, "tests.projects.cookie_urls", []),
        ({"refresh_path": "/t/acme/auth/"}, TENANTS, []),
        ({"refresh_path": "/x/acme/auth/"}, TENANTS, ["jwt_redis.W006"]),
        ({"refresh_path": "/auth/token/"}, "tests.projects.cookie_urls", ["jwt_redis.W006"]),
        ({"refresh_path": "/aut"}, "tests.projects.cookie_urls", ["jwt_redis.W006"]),
        ({}, None, ["jwt_redis.W006"]),
        ({"secure": False}, "tests.projects.cookie_urls", ["jwt_redis.W004"]),
        ({"csrf": False}, "tests.projects.cookie_urls", ["jwt_redis.W005"]),
        ({"samesite": "None", "secure": False}, "tests.projects.cookie_urls", ["jwt_redis.E002"]),
    ],
)
def test_checks(settings: Any, cookie: dict[str, Any], urls: Any, expected: list[str]) -> None:
    set_cookie_settings(settings, **cookie)
    settings.ROOT_URLCONF = urls or urlconf()
    assert [message.id for message in check_settings()] == expected
    settings.DEBUG = True
    assert [message.id for message in check_settings()] == [i for i in expected if i != "jwt_redis.W004"]


def test_what_is_missed_is_named(settings: Any) -> None:
    set_cookie_settings(settings, refresh_path="/auth/token/")
    (message,) = check_settings()
    assert message.msg.endswith("to jwt_redis.views.LogoutView.") and "/auth/token/" in message.msg


# The setting --------------------------------------------------------------------------------------------------------


def test_defaults(settings: Any) -> None:
    assert config().cookie == Cookie()
    set_cookie_settings(settings, clear_site_data=True)
    assert config().cookie == Cookie(clear_site_data=("cache", "cookies", "storage"))
    settings.JWT_REDIS = {"ALIAS": "sessions"}
    assert config().cookie is None


@pytest.mark.parametrize(
    ("cookie", "said"),
    [
        (True, "a dict such as"),
        ({"acess": "a"}, "'acess' is not one of 'access'"),
        ({"access": ""}, "access: a non-empty string"),
        ({"access": "a b"}, "access: letters"),
        ({"access": "a;b"}, "access: letters"),
        ({"refresh": "a=b"}, "refresh: letters"),
        ({"refresh": "ä"}, "refresh: letters"),
        ({"access": "__Host-x"}, "access: the prefix is put in front"),
        ({"access": "x", "refresh": "x"}, "two names are needed"),
        ({"path": "api/"}, "path: a path such as"),
        ({"path": "/a;b"}, "path: a path such as"),
        ({"path": None}, "path: a path such as"),
        ({"refresh_path": "/a\r\nSet-Cookie: x"}, "refresh_path: a path such as"),
        ({"domain": "https://example.com"}, "domain: None or a domain"),
        ({"domain": "example.com:80"}, "domain: None or a domain"),
        ({"domain": ""}, "domain: None or a domain"),
        ({"samesite": "lax"}, "samesite: it is one of 'Strict', 'Lax', 'None'"),
        ({"samesite": None}, "samesite: it is one of"),
        ({"samesite": "None", "secure": False}, "samesite: with 'None'"),
        ({"secure": 1}, "secure: True or False"),
        ({"csrf": "yes"}, "csrf: True or False"),
        ({"clear_site_data": "cookies"}, "clear_site_data: True, False or a list"),
        ({"clear_site_data": ["cookie"]}, "clear_site_data: 'cookie' is not one of"),
    ],
)
def test_wrong_values_are_named(settings: Any, cookie: Any, said: str) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "COOKIE": cookie}
    with pytest.raises(ImproperlyConfigured, match="COOKIE") as raised:
        config()
    assert said in str(raised.value)
    assert [message.id for message in check_settings()] == ["jwt_redis.E002"]
