"""django-ninja's auth classes over gunicorn and uvicorn: who gets in, who does not, and with which answer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from asgiref.sync import SyncToAsync
from django.contrib.auth import get_user_model
from django.test import RequestFactory, override_settings
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from rest_framework.exceptions import AuthenticationFailed

from jwt_redis import sessions
from jwt_redis.contrib.ninja import AsyncJWTAuth, JWTAuth, Refused, Unauthenticated, add_exception_handlers
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken
from tests.support.server import ROOT, http_server
from tests.support.topology import pointed_at

CLASSES = [f"{operation}/{kind}" for operation in ("sync", "async") for kind in ("sync", "async")]
CHALLENGE = 'Bearer realm="api"'


class World(NamedTuple):
    base: str
    redis: RedisServer

    def ask(self, url: str, token: Any = None, method: str = "GET", **arguments: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= arguments.pop("headers", {})
        return requests.request(method, f"{self.base}/{url}", headers=headers, timeout=10, **arguments)

    def post(self, url: str, body: Any, **arguments: Any) -> Any:
        return requests.post(f"{self.base}/auth/{url}", json=body, timeout=10, **arguments)

    def sign_in(self) -> Any:
        response = self.post("token/", {"username": "alice", "password": "correct horse"})
        assert response.status_code == 200, response.text
        return response.json()


@contextmanager
def world_in(folder: Path, asgi: bool, **environment: str) -> Iterator[World]:
    with (
        RedisServer() as server,
        http_server(
            folder,
            workers=1,
            settings="tests.projects.ninja_settings",
            asgi=asgi,
            JWT_REDIS_TEST_URL=server.url,
            **environment,
        ) as base,
    ):
        yield World(base, server)


@pytest.fixture(scope="module", params=["gunicorn", "uvicorn"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp(request.param), request.param == "uvicorn") as made:
        yield made


# Who gets in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_a_good_token_is_let_in_until_it_is_revoked(world: World, cls: str) -> None:
    pair = world.sign_in()
    sid = AccessToken(pair["access"], verify=False)["sid"]
    row = world.ask(f"full/{cls}/row", pair["access"]).json()
    assert row == {"user": row["user"], "kind": "User", "sid": sid}
    stateless = world.ask(f"full/{cls}/stateless", pair["access"]).json()
    assert stateless == {**row, "kind": "TokenUser"}
    assert world.ask(f"bare/{cls}/row", pair["access"]).json() == row

    assert world.post("logout/", {"refresh": pair["refresh"]}).json() == {"sessions_ended": 1}
    for url in ("row", "stateless", "open", "recent", "several"):
        response = world.ask(f"full/{cls}/{url}", pair["access"])
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, CHALLENGE)
        assert response.json() == {
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [{"token_class": "AccessToken", "token_type": "access", "message": "Token is blacklisted"}],
            "reason": "session_ended",
        }
        bare = world.ask(f"bare/{cls}/{url}", pair["access"])
        assert (bare.status_code, bare.json()) == (401, {"detail": "Given token not valid for any token type"})


def bad_tokens(world: World) -> dict[str, str]:
    """By what is wrong with them."""
    good = world.sign_in()["access"]
    expired = AccessToken(good, verify=False)
    expired.payload["exp"] = int(time.time()) - 60
    head, payload, signature = good.split(".")
    other = "B" if signature[0] == "A" else "A"
    return {
        "forged": ".".join((head, payload, other + signature[1:])),
        "truncated": good[:-5],
        "two parts": f"{head}.{payload}",
        "expired": str(expired),
        "a refresh token": world.sign_in()["refresh"],
        "words": "no token at all",
        "nothing": "",
        "not ASCII": "t\xf6ken.t\xf6ken.t\xf6ken",
        "long": "x" * 6000,
    }


@pytest.mark.parametrize("cls", CLASSES)
def test_bad_tokens_are_refused_as_by_rest_framework(world: World, cls: str) -> None:
    for what, token in bad_tokens(world).items():
        expected = world.ask("auth/sessions/", token)
        for url in ("row", "stateless", "several"):
            response = world.ask(f"full/{cls}/{url}", token)
            assert response.status_code == expected.status_code == 401, what
            if what == "nothing":
                # A header without a token: none of the classes is meant, or all.
                continue
            assert response.json() == expected.json(), what
            assert response.headers["WWW-Authenticate"] == expected.headers["WWW-Authenticate"]
            bare = world.ask(f"bare/{cls}/{url}", token)
            assert (bare.status_code, bare.json()) == (401, {"detail": expected.json()["detail"]}), what


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("cls", CLASSES)
def test_odd_user_ids_are_refused_by_the_row_and_are_users_without_it(world: World, cls: str) -> None:
    with pointed_at(world.redis):
        for odd in ("abc", "9" * 400, "-1", "0", "1 OR 1=1", "\x00", "ünïcode", "99999999"):
            user = get_user_model()(pk=odd, password="")
            token = str(RefreshToken.for_user(user).access_token)
            response = world.ask(f"full/{cls}/row", token)
            assert (response.status_code, response.json()["code"]) == (401, "user_not_found"), odd
            assert world.ask(f"full/{cls}/stateless", token).json()["user"] == odd


@pytest.mark.parametrize("cls", CLASSES)
def test_without_our_header_the_next_class_is_asked(world: World, cls: str) -> None:
    for where in ("full", "bare"):
        url = f"{where}/{cls}/several"
        assert world.ask(url, headers={"X-Key": "a machine's key"}).json() == {"auth": "the machine"}
        assert requests.get(f"{world.base}/{url}", auth=("bob", "open sesame"), timeout=10).json() == {"auth": "bob"}
        assert world.ask(url, world.sign_in()["access"]).json()["kind"] == "User"
        # A token that is refused is not helped by what comes behind it.
        refused = world.ask(url, "x.y.z", headers={"X-Key": "a machine's key"})
        assert (refused.status_code, refused.json()["detail"]) == (401, "Given token not valid for any token type")
        for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": ""}, {"Authorization": "Bearer"}):
            assert world.ask(f"{where}/{cls}/row", headers=headers).status_code == 401
        assert world.ask(f"{where}/{cls}/row").json() == {"detail": "Unauthorized"}


@pytest.mark.parametrize("cls", CLASSES)
def test_max_age_asks_for_a_recent_sign_in(world: World, cls: str) -> None:
    pair = world.sign_in()
    assert world.ask(f"full/{cls}/recent", pair["access"]).status_code == 200
    old = AccessToken(pair["access"], verify=False)
    old.payload["auth_time"] = int(time.time()) - 3600
    response = world.ask(f"full/{cls}/recent", str(old))
    assert (response.status_code, response.json()["code"]) == (401, "insufficient_user_authentication")
    assert 'max_age="300"' in response.headers["WWW-Authenticate"]
    assert world.ask(f"full/{cls}/row", str(old)).status_code == 200
    assert world.ask(f"bare/{cls}/recent", str(old)).json() == {"detail": "Sign in again to do this."}


# Redis is gone -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_while_redis_cannot_be_asked_the_answer_is_503(tmp_path: Path, server: str) -> None:
    with world_in(tmp_path, server == "uvicorn") as world:
        token = world.sign_in()["access"]
        assert world.ask("full/sessions", token).json() == [AccessToken(token, verify=False)["sid"]]
        world.redis.kill()
        for cls in CLASSES:
            for url in ("row", "stateless", "several"):
                response = world.ask(f"full/{cls}/{url}", token)
                assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
                assert response.json()["code"] == "revocation_unavailable"
                bare = world.ask(f"bare/{cls}/{url}", token)
                assert (bare.status_code, bare.json()) == (503, {"detail": response.json()["detail"]})
            assert world.ask(f"full/{cls}/open", token).json()["kind"] == "TokenUser"
            assert world.ask(f"full/{cls}/open", token[:-5]).status_code == 401
        # The operation itself asks Redis.
        assert world.ask("full/sessions", token).status_code == 503


# Cookies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("middleware", ["", "1"])
def test_a_cookie_will_do_and_then_csrf_counts(tmp_path: Path, middleware: str) -> None:
    with world_in(tmp_path, True, JWT_REDIS_TEST_COOKIES="1", JWT_REDIS_TEST_MIDDLEWARE=middleware) as world:
        browser = requests.Session()
        token = browser.get(f"{world.base}/auth/csrf/", timeout=10).json()["csrf_token"]
        credentials = {"username": "alice", "password": "correct horse"}
        csrf = {"X-CSRFToken": token}
        signed_in = browser.post(f"{world.base}/auth/token/", json=credentials, headers=csrf, timeout=10).json()
        cookies, csrf = dict(browser.cookies), {"X-CSRFToken": signed_in["csrf_token"]}
        other = {**cookies, "access_token": cookies["access_token"][:-5]}
        for cls in CLASSES:
            for url in ("row", "stateless", "several"):
                assert world.ask(f"full/{cls}/{url}", cookies=cookies).json()["sid"]
                post = world.ask(f"full/{cls}/{url}", method="POST", cookies=cookies)
                assert (post.status_code, post.json()["detail"][:11]) == (403, "CSRF Failed")
                assert world.ask(f"bare/{cls}/{url}", method="POST", cookies=cookies).json() == post.json()
                assert world.ask(f"full/{cls}/{url}", method="POST", cookies=cookies, headers=csrf).status_code == 200
                # A bad cookie is none; a header comes before any.
                bad = world.ask(f"full/{cls}/{url}", cookies=other)
                assert (bad.status_code, bad.json()) == (401, {"detail": "Unauthorized"})
                assert world.ask(f"full/{cls}/{url}", "x.y.z", cookies=cookies).status_code == 401
                bearer = cookies["access_token"]
                assert world.ask(f"full/{cls}/{url}", bearer, method="POST", cookies=other).status_code == 200
            machine = world.ask(f"full/{cls}/several", cookies=other, headers={"X-Key": "a machine's key"})
            assert machine.json() == {"auth": "the machine"}


# In process ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_stateless_async_takes_no_thread(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = str(sessions.open_session(alice).access_token)
    hops = []
    original = SyncToAsync.__call__

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        hops.append(self.func)
        return await original(self, *args, **kwargs)

    def blocking(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("Redis was asked over the sync client, in the event loop.")

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    monkeypatch.setattr(sessions, "check", blocking)

    async def ask(auth: AsyncJWTAuth) -> int:
        hops.clear()
        request: Any = RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})
        found = await auth(request)
        assert found is not None and str((await request.auser()).pk) == str(request.user.pk) == str(alice.pk)
        return len(hops)

    async def both() -> list[int]:
        return [await ask(AsyncJWTAuth(stateless=True)), await ask(AsyncJWTAuth())]

    stateless, row = asyncio.run(both())
    # The row is read in a thread: that is Django's async ORM.
    assert stateless == 0 and row > 0


def test_the_openapi_schema_is_valid_and_shows_the_scheme() -> None:
    api = NinjaAPI(urls_namespace="shown")

    @api.get("in", auth=[JWTAuth(), AsyncJWTAuth(stateless=True)])
    def view(request: Any) -> None:
        return None

    made = api.get_openapi_schema(path_prefix="")
    # It compiles the grammar of each format when it is imported, which takes seconds.
    from openapi_spec_validator import validate as validate_specification

    validate_specification(json.loads(json.dumps(made)))
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token."}
    assert made["components"]["securitySchemes"] == {"JWTAuth": bearer, "AsyncJWTAuth": bearer}
    assert made["paths"]["/in"]["get"]["security"] == [{"JWTAuth": []}, {"AsyncJWTAuth": []}]
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "COOKIE": {}}):
        assert "`__Host-access_token`" in JWTAuth().openapi_security_schema["description"]


@pytest.mark.parametrize("cls", [JWTAuth, AsyncJWTAuth])
def test_wrong_arguments_are_named(cls: Any) -> None:
    for name, value in (("on_redis_failure", "maybe"), ("max_age", 5), ("max_age", timedelta(0))):
        with pytest.raises(ValueError, match=f"^{name}: "):
            cls(**{name: value})


def test_a_refusal_is_what_a_handler_of_django_ninjas_errors_knows() -> None:
    refused = Unauthenticated(AuthenticationFailed("No."), CHALLENGE)
    assert isinstance(refused, AuthenticationError) and isinstance(refused, HttpError)
    assert (refused.status_code, str(refused), refused.body) == (401, "No.", {"detail": "No."})
    assert refused.headers == {"WWW-Authenticate": CHALLENGE}
    unavailable = Refused(RevocationUnavailable(), CHALLENGE)
    assert not isinstance(unavailable, AuthenticationError)
    assert (unavailable.status_code, unavailable.headers) == (503, {"Retry-After": "1"})
    assert Refused(AuthenticationFailed(["Several."])).body == ["Several."]


@pytest.mark.django_db(transaction=True)
def test_a_project_may_name_its_own_class_and_its_own_handler(alice: Any) -> None:
    from ninja.testing import TestClient

    from jwt_redis.authentication import JWTAuthentication

    class Picky(JWTAuthentication):
        def get_user(self, validated_token: Any) -> Any:
            raise AuthenticationFailed({"detail": "Not you.", "code": "picky"})

    class PickyAuth(JWTAuth):
        authentication_class = Picky

    api = NinjaAPI(urls_namespace="own")
    add_exception_handlers(api)

    @api.get("in", auth=PickyAuth())
    def view(request: Any) -> None:
        return None

    token = str(sessions.open_session(alice).access_token)
    # The client makes a request of its own kind: what counts is META.
    client = TestClient(api)
    response = client.get("in", META={"HTTP_AUTHORIZATION": f"Bearer {token}"})
    assert (response.status_code, response.json()) == (401, {"detail": "Not you.", "code": "picky"})

    @api.exception_handler(Refused)
    def mine(request: Any, error: Refused) -> Any:
        return api.create_response(request, {"why": error.body["code"]}, status=error.status_code)

    assert client.get("in", META={"HTTP_AUTHORIZATION": f"Bearer {token}"}).json() == {"why": "picky"}


def test_without_django_ninja_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['ninja'] = None\n"
        "import django; django.setup()\n"
        "try:\n    import jwt_redis.contrib.ninja\nexcept ImportError as error:\n    print(error)"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert "pip install 'jwt_redis[ninja]'" in done.stdout, done.stderr
