"""What a hostile review of the cookies, the async path and the adapters came to."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory
from django.urls import include, path
from django.views.decorators.cache import cache_page
from ninja import NinjaAPI
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework_simplejwt import authentication as stock

from jwt_redis import journal, sessions
from jwt_redis.authentication import JWTAuthentication, JWTStatelessUserAuthentication, RevocationCheckMixin
from jwt_redis.contrib import adrf
from jwt_redis.contrib.ninja import JWTAuth
from jwt_redis.cookie_views import SetsCookiesMixin
from jwt_redis.models import Revocation
from jwt_redis.tokens import SlidingToken
from tests import urls
from tests.support.neighbours import BOB, Site, site
from tests.test_cookies import ACCESS, HERE, REFRESH, Browser, alive, is_cleared, set_cookie_settings, vary

pytestmark = pytest.mark.django_db


api = NinjaAPI(urls_namespace="hostile", auth=JWTAuth(), docs_url=None, openapi_url=None)


@api.get("/me/")
def me(request: Any) -> dict[str, str]:
    return {"user": str(request.user.pk)}


class SignUp(SetsCookiesMixin):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def post(self, request: Any) -> Response:
        user = get_user_model().objects.create_user(request.data["username"])
        refresh = sessions.open_session(user, request)
        return Response({"access": str(refresh.access_token), "refresh": str(refresh)}, status=201)


urlpatterns = [
    path("sign-up/", SignUp.as_view()),
    path("ninja/", api.urls),
    path("cached/", cache_page(60)(urls.WhoAmI.as_view())),
    path("", include("tests.projects.cookie_urls")),
]


@pytest.fixture(autouse=True)
def _with_cookies(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.test_hostile_transport"
    set_cookie_settings(settings)
    cache.clear()


@pytest.fixture
def browser(alice: Any) -> Browser:
    """alice's, signed in."""
    made = Browser()
    made.login()
    return made


def with_cookies(browser: Browser, *pairs: str) -> APIClient:
    """A browser's CSRF cookie, and whatever else is in the header."""
    csrf = browser.client.cookies["csrftoken"].value
    return APIClient(enforce_csrf_checks=True, HTTP_COOKIE="; ".join([*pairs, f"csrftoken={csrf}"]))


def post(client: APIClient, browser: Browser, url: str) -> Any:
    return client.post(url, secure=True, HTTP_ORIGIN=HERE, HTTP_X_CSRFTOKEN=browser.csrf)


# Signing out ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "planted", ["{0}={1}; {0}=", "{0}=; {0}={1}", "{0} ={1}; {0}=x", "{0}={1}; {0} =x", "{0}={1}; {0}"]
)
def test_a_cookie_that_is_planted_beside_it_keeps_no_session_alive(alice: Any, browser: Browser, planted: str) -> None:
    client = with_cookies(browser, *(planted.format(name, browser.value(name)) for name in (ACCESS, REFRESH)))
    gone = post(client, browser, "/auth/logout/")
    assert gone.status_code == 200 and is_cleared(gone, ACCESS) and is_cleared(gone, REFRESH)
    assert alive(alice) == 0


@pytest.mark.parametrize("kind", ["sliding", "access"])
def test_a_token_that_has_run_out_still_says_which_session_to_end(alice: Any, kind: str) -> None:
    browser = Browser()
    browser.fetch_csrf()
    token: Any = SlidingToken.for_user(alice) if kind == "sliding" else sessions.open_session(alice).access_token
    token.set_exp(lifetime=timedelta(seconds=-1))
    # The sliding one may be refreshed for a day.
    browser.set(ACCESS, str(token))
    assert browser.post("/auth/logout/").status_code == 200
    assert alive(alice) == 0


def test_who_is_told_that_it_is_over_has_no_session_left(alice: Any, browser: Browser) -> None:
    client = with_cookies(browser, f"{REFRESH}=planted", f"{REFRESH}={browser.value(REFRESH)}")
    gone = post(client, browser, "/auth/token/blacklist/")
    assert gone.status_code != 200 or alive(alice) == 0


@pytest.mark.parametrize("how", ["header", "body"])
def test_the_session_of_a_cookie_that_is_cleared_is_over(alice: Any, browser: Browser, how: str) -> None:
    other = sessions.open_session(alice)
    if how == "header":
        gone = browser.post("/auth/logout/", HTTP_AUTHORIZATION=f"Bearer {other.access_token}")
    else:
        gone = browser.post("/auth/logout/", {"refresh": str(other)})
    assert gone.status_code == 200
    assert not is_cleared(gone, REFRESH) or alive(alice) == 0


# Setting cookies ------------------------------------------------------------------------------------------------------


def test_created_is_a_yes_too(db: None) -> None:
    browser = Browser()
    browser.fetch_csrf()
    made = browser.post("/sign-up/", {"username": "carol"})
    assert made.status_code == 201 and made.json() == {}
    assert {ACCESS, REFRESH} <= set(made.cookies)


# Caches ---------------------------------------------------------------------------------------------------------------

PATHS = ["/whoami/", "/plain/", "/plain-async/", "/cached/", "/auth/sessions/", "/ninja/me/"]


@pytest.mark.parametrize("url", PATHS)
def test_a_cache_gives_nobody_the_page_of_another(alice: Any, bob: Any, settings: Any, url: str) -> None:
    update, fetch = (f"django.middleware.cache.{name}FromCacheMiddleware" for name in ("Update", "Fetch"))
    update = update.replace("FromCache", "Cache")
    settings.MIDDLEWARE = [update, *settings.MIDDLEWARE, fetch]
    one, two = sessions.open_session(alice), sessions.open_session(bob)
    mine, theirs = Browser(), Browser()
    mine.set(ACCESS, str(one.access_token))
    theirs.set(ACCESS, str(two.access_token))
    page = mine.get(url)
    assert page.status_code == 200 and {"Authorization", "Cookie"} <= vary(page)
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {two.access_token}"}
    for other in (theirs.get(url), Browser().get(url), Browser().get(url, **bearer)):
        assert other.content != page.content


# Async ----------------------------------------------------------------------------------------------------------------


class _Ban:
    def get_user(self, validated_token: Any) -> Any:
        raise AuthenticationFailed("banned")


class _BanToken:
    def get_validated_token(self, raw_token: bytes) -> Any:
        raise AuthenticationFailed("banned")


class _BanRequest:
    def authenticate(self, request: Any) -> Any:
        if super().authenticate(request) is not None:  # type: ignore[misc]
            raise AuthenticationFailed("banned")


class _BanWitness:
    def check_password_witness(self, user: Any, token: Any) -> bool:
        raise AuthenticationFailed("banned")


class _Tracing:
    """What an observer puts in front: a twin of its own, which asks the next one."""

    async def aget_user(self, validated_token: Any) -> Any:
        return await super().aget_user(validated_token)  # type: ignore[misc]

    async def aget_validated_token(self, raw_token: bytes) -> Any:
        return await super().aget_validated_token(raw_token)  # type: ignore[misc]


class _Theirs(stock.JWTAuthentication):
    def get_validated_token(self, raw_token: bytes) -> Any:
        # As whoever keeps a table of tenants.
        get_user_model().objects.count()
        raise AuthenticationFailed("banned")


def _banned_by_the_instance() -> Any:
    made = JWTAuthentication()
    made.get_user = _Ban().get_user  # type: ignore[method-assign]
    return made


CLASSES: dict[str, Any] = {
    "a request": type("A", (_BanRequest, JWTAuthentication), {}),
    "a request, stateless": type("A", (_BanRequest, JWTStatelessUserAuthentication), {}),
    "a request, for adrf": type("A", (adrf.AsyncAuthenticationMixin, _BanRequest, JWTAuthentication), {}),
    "a user behind a twin": type("A", (_Tracing, _Ban, JWTAuthentication), {}),
    "a token behind a twin": type("A", (_Tracing, _BanToken, JWTStatelessUserAuthentication), {}),
    "a password": type("A", (_BanWitness, JWTAuthentication), {}),
    "a database": type("A", (RevocationCheckMixin, _Theirs), {}),
    "an instance": _banned_by_the_instance,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", CLASSES)
async def test_what_a_class_adds_to_a_sync_method_is_never_lost(what: str) -> None:
    user = await get_user_model().objects.acreate(username="carol")
    token = await sessions.aopen_session(user)
    request = AsyncRequestFactory().get("/", headers={"Authorization": f"Bearer {token.access_token}"})
    authenticator = CLASSES[what]()
    ask = authenticator.authenticate if "adrf" in what else authenticator.aauthenticate
    with pytest.raises(APIException, match="banned"):
        await ask(request)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("cls", [adrf.JWTAuthentication, adrf.JWTStatelessUserAuthentication, JWTAuthentication])
async def test_who_adds_nothing_is_asked_in_no_thread(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await get_user_model().objects.acreate(username="carol")
    access = (await sessions.aopen_session(user)).access_token
    assert (await sessions.acheck(access)).allowed

    async def no_thread(method: Any, argument: Any) -> Any:
        raise AssertionError(f"{method} in a thread")

    monkeypatch.setattr("jwt_redis.authentication._in_thread", no_thread)
    extra: Any
    for extra in ({"HTTP_AUTHORIZATION": f"Bearer {access}"}, {"HTTP_COOKIE": f"{ACCESS}={access}"}):
        found = await cls().aauthenticate(RequestFactory().get("/", **extra))
        assert str(found[0].pk) == str(user.pk)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_csrf_secret_in_djangos_session_is_read_in_async_code(alice: Any, settings: Any, method: str) -> None:
    settings.CSRF_USE_SESSIONS = True
    session = SessionStore()
    session["x"] = 1
    session.save()
    access = sessions.open_session(alice).access_token
    request: Any = RequestFactory().generic(method, "/", secure=True, HTTP_COOKIE=f"{ACCESS}={access}")
    request._dont_enforce_csrf_checks = False
    request.session = SessionStore(session.session_key)
    if method == "GET":
        assert asyncio.run(JWTAuthentication().aauthenticate(request))[0] == alice  # type: ignore[index]
    else:
        with pytest.raises(APIException, match="CSRF Failed"):
            asyncio.run(JWTAuthentication().aauthenticate(request))


@pytest.mark.django_db(transaction=True)
def test_a_csrf_secret_in_djangos_session_is_read_behind_the_middleware(alice: Any, settings: Any) -> None:
    """Without Django's AuthenticationMiddleware nobody has read the session before."""
    settings.CSRF_USE_SESSIONS = True
    names = ("SessionMiddleware", "JWTAuthenticationMiddleware")
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name.endswith(names)]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
    session = SessionStore()
    session["x"] = 1
    session.save()
    access = sessions.open_session(alice).access_token

    async def ask() -> Any:
        client = AsyncClient()
        client.cookies[ACCESS], client.cookies["sessionid"] = str(access), str(session.session_key)
        return (await client.get("/plain-async/", secure=True)).json()

    assert asyncio.run(ask())["user"] == str(alice.pk)


@pytest.mark.filterwarnings("ignore")
def test_a_fork_leaves_the_parents_loop_its_connections(alice: Any) -> None:
    """Parent and child have one epoll: what the child closes in its own loop, the parent hears no more of."""
    access = sessions.open_session(alice).access_token

    async def ask() -> None:
        for _ in range(3):
            assert (await sessions.acheck(access)).allowed
        child = os.fork()
        if child == 0:
            warnings.simplefilter("ignore")
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222
        assert (await sessions.acheck(access)).allowed

    asyncio.run(ask())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
async def test_a_row_that_is_written_after_the_cancellation_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was busy for longer than the request lived."""
    user = await get_user_model().objects.acreate(username="carol")
    token = await sessions.aopen_session(user)
    is_free, begin = threading.Event(), journal.begin

    def late(entries: Any) -> Any:
        is_free.wait(10)
        return begin(entries)

    monkeypatch.setattr(journal, "begin", late)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sessions.aend_session(user, token["sid"])
    # The thread that looks after pending rows finds none yet, and ends.
    await asyncio.sleep(1)
    is_free.set()
    await asyncio.sleep(0.1)
    assert await Revocation.objects.filter(target=token["sid"]).aexists(), "this test is about a row that is there"
    for _ in range(40):
        await asyncio.sleep(0.05)
        if not (await sessions.acheck(token.access_token)).allowed:
            return
    pytest.fail("still accepted")


# dj-rest-auth ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("tests.projects.dj_rest_auth_cookie_settings", tmp_path_factory.mktemp("neighbour")) as served:
        yield served


@pytest.mark.parametrize("how", ["login/", "token/refresh/"])
def test_another_site_signs_nobody_in_as_somebody_else(neighbour: Site, how: str) -> None:
    """A form on it, with the attacker's password, or with a refresh token of the attacker's."""
    form = {"username": "bob", "password": BOB}
    if how == "token/refresh/":
        attacker = neighbour.device()
        attacker.post("/auth/login/", form)
        form = {"refresh": str(attacker.http.cookies["refresh"])}
    victim = neighbour.device()
    answer = victim.http.post(f"{neighbour.base}/auth/{how}", data=form, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and "access" not in answer.cookies
